"""Counts of machine code: how they are read, and that kernels do not grow unnoticed."""

from __future__ import annotations

import json

import pytest

from benchmarks import machine_code
from benchmarks.cases import Program
from benchmarks.machine_code import Kernel
from benchmarks.predictions import Card, Count, cells, steps, sweep_of, warps
from benchmarks.sass import LATENCIES, Control, Loop, Path, instructions, loops

PRINTED = """
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   ISETP.NE.AND P0, PT, RZ, UR5, PT ;
.L_x_2:
        /*0020*/                   SHFL.DOWN PT, R4, R5, 0x1, R6 ;
        /*0030*/                   FFMA R4, R4, R5, R6 ;
        /*0040*/              @!P1 MUFU.EX2 R4, R4 ;
        /*0050*/              @!P1 BRA `(.L_x_3) ;
        /*0060*/                   STS [R4], R5 ;
.L_x_3:
        /*0070*/              @P0  BRA `(.L_x_2) ;
.L_x_4:
        /*0080*/                   LDS.128 R4, [R5] ;
        /*0090*/                   STG.E.128 desc[UR4][R6.64], R4 ;
        /*00a0*/                   BRA P2, `(.L_x_4) ;
        /*00b0*/                   BRA.DIV UR4, `(.L_x_5) ;
        /*00c0*/              @P3  BRA `(.L_x_1) ;
        /*00d0*/                   EXIT ;
.L_x_5:
        /*00e0*/                   SHFL.IDX PT, R4, R5, R6, R7 ;
        /*00f0*/                   BRA `(.L_x_4) ;
"""


def test_loops_are_found() -> None:
    found, labels = instructions(PRINTED)
    assert len(found) == 16
    assert labels[".L_x_2"] == 2
    steps, writes = loops(found, labels)
    units = {"branch": 2, "fma": 1, "shared": 1, "shuffle": 1, "special": 1}
    assert (steps["does"], steps["instructions"], steps["units"]) == ("steps", 6, units)
    assert steps["path"]["units"] == units
    assert not steps["path"]["alone"]  # a branch leads past STS
    units = {"branch": 1, "global": 1, "shared": 1}
    assert (writes["does"], writes["instructions"], writes["units"]) == ("writes", 3, units)
    assert writes["moves"] == 1
    assert writes["path"]["alone"]


# The condition in the middle leaves the loop; what has a logarithm may be passed over.
LEFT_IN_THE_MIDDLE = """
.L_x_1:
        /*0000*/                   SHFL.UP PT, R4, R5, 0x1, RZ ;    /* 0x0000000000000000 */
                                                                    /* 0x000e620000000000 */
        /*0010*/              @!P1 BRA `(.L_x_2) ;                  /* 0x0000000000000000 */
                                                                    /* 0x000fe20000000000 */
        /*0020*/                   MUFU.LG2 R6, R6 ;                /* 0x0000000000000000 */
                                                                    /* 0x000fe20000000000 */
.L_x_2:
        /*0030*/                   FADD R5, R4, R5 ;                /* 0x0000000000000000 */
                                                                    /* 0x002fc80000000000 */
        /*0040*/               @P0 BRA `(.L_x_3) ;                  /* 0x0000000000000000 */
                                                                    /* 0x000fe20000000000 */
        /*0050*/                   BRA `(.L_x_1) ;                  /* 0x0000000000000000 */
                                                                    /* 0x000fe20000000000 */
.L_x_3:
        /*0060*/                   EXIT ;                           /* 0x0000000000000000 */
                                                                    /* 0x000fea0003800000 */
"""


def test_a_path_and_its_cycles() -> None:
    found, labels = instructions(LEFT_IN_THE_MIDDLE)
    assert found[0].control == Control(stall=1, writes=1, reads=7, waits=0)
    assert found[3].control == Control(stall=4, writes=7, reads=7, waits=2)
    (loop,) = loops(found, labels)
    path = loop["path"]
    assert (loop["instructions"], path["instructions"]) == (6, 5)
    assert not path["gamma"]
    # The sum waits for the shuffle; then come its own 4 cycles and those of two branches.
    assert path["cycles"] == LATENCIES["shuffle"] + 4 + 1 + 1


def of_steps(instructions_a_turn: int, cycles: int, *, shuffles: int, alone: bool = True) -> Loop:
    units = {"fma": instructions_a_turn - shuffles, "shuffle": shuffles}
    path = Path(
        alone=alone,
        gamma=False,
        instructions=instructions_a_turn,
        units=units,
        fused=0,
        cycles=cycles,
    )
    return Loop(does="steps", instructions=instructions_a_turn, units=units, moves=0, path=path)


def counted(sweep: str, *steps_loops: Loop) -> Count:
    return Count(
        sweep=sweep, family="edit", dtype="float32", registers=128, stack=0, spilled=0,
        shared={"1": 20000, "3": 50000}, instructions=1000, loops=list(steps_loops),
    )  # fmt: skip


def test_steps_are_told_by_their_shuffles() -> None:
    four, two = of_steps(400, 600, shuffles=8), of_steps(400, 600, shuffles=10)
    count = counted("backward", four, two)
    assert (steps(count, four), cells(count, four)) == (4, 8)
    assert (steps(count, two), cells(count, two)) == (2, 4)  # with sums of three tables
    assert "50.0 a cell, 150 cycles a step alone" in "\n".join(machine_code.lines(count))
    with pytest.raises(ValueError, match="shuffle"):
        steps(count, of_steps(400, 600, shuffles=7))


def test_predictions() -> None:
    loop = of_steps(400, 600, shuffles=8)
    count = counted("forward", loop, of_steps(800, 900, shuffles=8))
    assert warps(count, "1", in_block=4) == 8  # as many as fit the memory
    assert warps(count, "3", in_block=4) == 4
    assert warps(count, "1") == 11  # each with a kilobyte of its block's own
    assert warps(count, "3") == 4
    card = Card(multiprocessors=10, clock=1e9, bandwidth=1e12)
    # One strip: the columns, and 31 for the last lane to have done them, rounded up to pieces.
    alone = sweep_of(count, Program("numbers", 1, 64, 1024), card)
    assert alone == (pytest.approx(1056 * 150e-9), "latency")
    # Eight on a multiprocessor, two on a scheduler, ten times over.
    many = sweep_of(count, Program("numbers", 800, 64, 1024), card)
    assert many == (pytest.approx(10 * 1056 * 200e-9), "issue")
    # Those of three tables take the longer loop, and wait for the strips above.
    tables = sweep_of(count, Program("tables", 1, 128, 1024), card)
    assert tables.seconds == pytest.approx((1056 + 48) * 225e-9)


@pytest.mark.skipif(machine_code.why_not() is not None, reason=str(machine_code.why_not()))
def test_kernels_do_not_grow() -> None:
    """By a twentieth at most, or python -m benchmarks.machine_code --keep records it anew."""
    kept = json.loads(machine_code.record(90).read_text())
    if kept["nvcc"] != machine_code.compiler():
        pytest.skip(f"the record is of nvcc {kept['nvcc']}, here is {machine_code.compiler()}")
    kernels = [
        Kernel(sweep, family, "float32")
        for family in ("edit", "soft_dtw")
        for sweep in ("forward", "backward", "tangent")
    ]
    of_kernel = {(k["sweep"], k["family"], k["dtype"]): k for k in kept["kernels"]}
    for kernel, found in zip(kernels, machine_code.counts(kernels, 90), strict=True):
        wanted = of_kernel[kernel]
        assert (found["stack"], found["spilled"]) == (0, 0), kernel
        for does in ("steps", "stages", "converts", "writes"):
            now, then = (
                sum(loop["instructions"] for loop in each["loops"] if loop["does"] == does)
                for each in (found, wanted)
            )
            assert now <= 1.05 * then, (kernel, does)
        now, then = (shortest_path(each) for each in (found, wanted))
        assert now <= 1.05 * then, kernel
        assert found["registers"] <= 1.05 * wanted["registers"], kernel
        if kernel.sweep == "forward":  # numbers of 16 bits are loaded and converted four at a time
            converted = instructions_a_move(found, "converts")
            assert len(converted) >= 2  # float16, bfloat16
            assert max(converted) <= 1.5 * max(instructions_a_move(found, "stages")), kernel

        if kernel.sweep == "backward":
            # What leaves a cell is what has arrived in it: shares are rounded, then taken from it.
            paths = [loop["path"] for loop in found["loops"] if loop["does"] == "steps"]
            assert all(path["fused"] == 0 for path in paths if not path["gamma"]), kernel


def instructions_a_move(count: Count, does: str) -> list[float]:
    """Of each loop that moves 16 bytes at a time."""
    own = (loop for loop in count["loops"] if loop["does"] == does)
    return [loop["instructions"] / loop["moves"] for loop in own if loop["moves"]]


def shortest_path(count: Count) -> float:
    """Instructions a cell of full strips, or what comes nearest; without gamma's gradient."""
    return min(
        loop["path"]["instructions"] / cells(count, loop)
        for loop in count["loops"]
        if loop["does"] == "steps"
    )

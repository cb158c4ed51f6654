"""Counts of machine code: how they are read, and that kernels do not grow unnoticed."""

from __future__ import annotations

import json

import pytest

from benchmarks import machine_code
from benchmarks.machine_code import Count, Kernel, instructions, issue_bound, loops

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
    assert loops(found, labels) == [
        {
            "does": "steps",
            "instructions": 6,
            "units": {"branch": 2, "fma": 1, "shared": 1, "shuffle": 1, "special": 1},
        },
        {
            "does": "writes",
            "instructions": 3,
            "units": {"branch": 1, "global": 1, "shared": 1},
        },
    ]


def test_bounds() -> None:
    found = loops(*instructions(PRINTED))
    counted = Count(
        sweep="forward", family="edit", dtype="float32", registers=1, stack=0, spilled=0,
        instructions=16, loops=found,
    )  # fmt: skip
    assert machine_code.cells(counted) == 4  # two rows, two steps
    card = machine_code.Card(multiprocessors=10, clock=1e9)
    # 40 instructions a nanosecond, each of 32 lanes, and 1.5 for a cell
    assert issue_bound(counted, found[0], card) == pytest.approx(40 * 32 / 1.5)
    text = "\n".join(machine_code.lines(counted, "H100"))
    assert "steps       6, 2 a cell" in text


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
        for does in ("steps", "stages", "writes"):
            now, then = (
                sum(loop["instructions"] for loop in each["loops"] if loop["does"] == does)
                for each in (found, wanted)
            )
            assert now <= 1.05 * then, (kernel, does)
        assert found["registers"] <= 1.05 * wanted["registers"], kernel

"""What machine code lets one expect of a card: predictions by a small model, never measurements.

A strip is a warp with two rows a lane (one in float64), which walks its columns a step at a time;
in a step each lane does a column of its rows. Of a step the model knows how many instructions a
warp issues, and how many cycles it takes alone (benchmarks.sass): the path of full strips, with
what stages the tables and brings the gradients back, or for short pairs that of the strips' edges.
So many warps are on a multiprocessor at once as its registers and its shared memory hold; each of
its schedulers issues one instruction a cycle. Then

    cycles of a step = the larger of a warp's alone and the instructions of all on its scheduler

and a strip takes its columns, the lanes it stands askew, and HAND_ON steps for each strip of its
pair above it. Not in it: launches, the memory's latency and bandwidth, clocks that fall, caches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import torch

from benchmarks.cases import BARS, CASES, Program
from benchmarks.sass import Loop
from softdp.families import FAMILIES

CSRC = Path(__file__).resolve().parents[1] / "csrc"
PIECE = 16  # steps between two barriers
HAND_ON = 48  # steps that a strip is behind the one above
MOST_WARPS = 16  # of long tables, for a multiprocessor: kMostWarps of plan.h


class Card(NamedTuple):
    """What bounds how fast strips are swept."""

    multiprocessors: int
    clock: float  # Hz
    bandwidth: float  # bytes a second, as its maker has it
    schedulers: int = 4
    registers: int = 65536  # of a multiprocessor
    shared: int = 228 * 1024
    warps: int = 64


CARDS = {"H100": Card(132, 1.755e9, 3.35e12), "H200": Card(132, 1.785e9, 4.8e12)}


class Count(TypedDict):
    """What a kernel is compiled to."""

    sweep: str
    family: str
    dtype: str
    registers: int
    stack: int  # bytes of local memory, in which arrays are that a loop's counter points into
    spilled: int
    shared: dict[str, int]  # bytes of shared memory a strip, with so many full tables
    instructions: int
    loops: list[Loop]


def steps(count: Count, loop: Loop) -> int:
    """How many steps a turn of a loop has.

    A step hands a running value of each state on to the next lane, of two words, or the masses that
    arcs lead up (their changes, too), and where gradients are summed over rows one sum for each
    table. Unrolled are 1, 2 or 4.
    """
    words = 1 if count["dtype"] == "float32" else 2
    family = FAMILIES["lcs" if count["family"].startswith("lcs") else count["family"]]
    tables, states = family.tables, family.states
    # States that arcs lead down from, and these arcs: of Drop-DTW's matches none is a diagonal; a
    # local alignment's last state goes along its row alone, and its gaps down; a monotonic one's
    # arcs are a diagonal and one along its row.
    others = {"drop_dtw": (2, 3), "local": (4, 5), "monotonic": (1, 1)}
    down, arcs = others.get(family.name, (states, 2 * states))
    in_step = {
        "forward": [2 * down],
        "forward, exact": [2 * down // words],  # float64 has no second word
        "backward": [arcs, arcs + tables],
        "tangent": [down],
        "backward, tangent": [2 * arcs + tables],
    }
    for shuffles in in_step[count["sweep"]]:
        if (turns := loop["units"]["shuffle"] / (shuffles * words)) in (1, 2, 4):
            return int(turns)
    raise ValueError(f"what does {count['sweep']} shuffle? {loop['units']}")


def cells(count: Count, loop: Loop) -> int:
    """How many cells a lane does in a turn of a loop over steps."""
    plan = (CSRC / "wavefront/cuda/plan.h").read_text()
    rows = re.search(r"kRows = sizeof\(T\) == 4 \? (\d+) : (\d+);", plan)
    assert rows, "plan.h says otherwise what kRows is"
    return steps(count, loop) * int(rows[1 if count["dtype"] == "float32" else 2])


def warps(count: Count, full: str, in_block: int = 1) -> int:
    """How many are on a multiprocessor at once: of long tables in blocks of one, of short of four.

    There are no more blocks of long tables than plan.h has room for.
    """
    card = CARDS["H100"]
    registers = 32 * math.ceil(count["registers"] / 8) * 8
    by_registers = card.registers // (in_block * registers)
    by_memory = card.shared // (in_block * count["shared"][full] + 1024)
    return in_block * min(
        by_registers, by_memory, MOST_WARPS if in_block == 1 else card.warps // in_block
    )


def loop_of(count: Count, program: Program) -> Loop:
    """The one that a program's strips take, without gamma's gradient.

    Of the loops of full strips those with more tables have more instructions; of the others the one
    of edges has most.
    """
    loops = [
        loop for loop in count["loops"] if loop["does"] == "steps" and not loop["path"]["gamma"]
    ]
    lanes = _lanes(program)
    own = [loop for loop in loops if loop["path"]["alone"] == (lanes == 32)] or loops
    return (max if lanes < 32 or program.kind == "tables" else min)(
        own, key=lambda loop: loop["path"]["instructions"] / cells(count, loop)
    )


def _lanes(program: Program) -> int:
    return next((lanes for lanes in (8, 16) if program.n <= 2 * lanes), 32)


def _moved(count: Count, does: str, many: int) -> float:
    """Instructions a step that move so many numbers for each of a warp's cells."""
    ratios = [
        loop["instructions"] / loop["moves"]
        for loop in count["loops"]
        if loop["does"] == does and loop["moves"]
    ]
    return many * max(ratios, default=0) * 64 * PIECE * 4 / 16 / 32 / PIECE


class Sweep(NamedTuple):
    """What is predicted of a sweep."""

    seconds: float
    bound: Literal["issue", "latency"]


def sweep_of(count: Count, program: Program, card: Card) -> Sweep:
    """A program swept on a card."""
    loop, full = loop_of(count, program), "3" if program.kind == "tables" else "1"
    tables, forward = int(full), count["sweep"] == "forward"
    moved = _moved(count, "stages", tables if forward else 1)
    moved += 0 if forward else _moved(count, "writes", tables)
    issued = loop["path"]["instructions"] / steps(count, loop) + moved
    alone = loop["path"]["cycles"] / steps(count, loop) + moved
    strips, lanes = math.ceil(program.n / 64), _lanes(program)
    at_once = card.multiprocessors * warps(count, full, 1 if strips > 1 else 4)
    wanted = program.batch * strips * lanes / 32
    on_scheduler = min(wanted, at_once) / (card.multiprocessors * card.schedulers)
    step = max(alone, on_scheduler * issued)
    own_steps = math.ceil((program.m + lanes - 1) / PIECE) * PIECE + HAND_ON * (strips - 1)
    seconds = max(1, wanted / at_once) * own_steps * step / card.clock
    return Sweep(seconds, "issue" if step > alone else "latency")


class Prediction(NamedTuple):
    """What is predicted of a case on a card, both sweeps together."""

    case: str
    cells: float
    forward: Sweep
    backward: Sweep
    bytes_moved: int

    @property
    def gcups(self) -> float:
        """Giga cell updates a second."""
        return self.cells * 1e-9 / (self.forward.seconds + self.backward.seconds)


def predictions(counts: Sequence[Count], card: Card) -> list[Prediction]:
    """The cases of one float32 program on a GPU of which both sweeps are counted."""
    of = {
        (count["sweep"], count["family"]): count for count in counts if count["dtype"] == "float32"
    }
    found = []
    for name, case in CASES.items():
        program = case.programs[0]
        family = "soft_dtw" if program.kind == "dtw" else "edit"
        sweeps = [of.get((sweep, family)) for sweep in ("forward", "backward")]
        plain = case.dtype == torch.float32 and case.gradient and len(case.programs) == 1
        if (
            "cuda" not in case.devices
            or not plain
            or program.ragged
            or program.width
            or None in sweeps
        ):
            continue
        forward, backward = (sweep_of(count, program, card) for count in sweeps if count)
        moved = program.bytes_moved(case.dtype, gradient=True)
        found.append(Prediction(name, program.cells(), forward, backward, moved))
    return found


def predicted(counts: Sequence[Count], card_name: str) -> list[str]:
    """Predictions as text."""
    card = CARDS[card_name]
    bars = {bar.case: bar for bar in BARS if (bar.device, bar.quantity) == ("cuda", "gcups")}
    told = []
    for prediction in predictions(counts, card):
        cells = prediction.cells * 1e-9
        forward, backward = (
            f"{cells / sweep.seconds:4.0f} ({sweep.bound})"
            for sweep in (prediction.forward, prediction.backward)
        )
        roofline = cells / (prediction.bytes_moved / card.bandwidth)
        bar = f", the bar is {bars[prediction.case].bound:.0f}" if prediction.case in bars else ""
        told.append(
            f"{prediction.case:24} forward {forward}, backward {backward}, "
            f"both {prediction.gcups:4.0f}, {prediction.gcups / roofline:4.0%} "
            f"of the {roofline:.0f} that bytes allow{bar}"
        )
    return [f"Predicted GCUPS on an {card_name}, not measured:", *told] if told else []


def beside(found: Sequence[Prediction], measured: Mapping[str, float]) -> list[str]:
    """What was predicted and what was measured, in GCUPS by case, and how far apart they are."""
    told, errors = [], []
    for prediction in found:
        if prediction.case not in measured:
            continue
        own = measured[prediction.case]
        errors.append(abs(math.log(prediction.gcups / own)))
        told.append(
            f"{prediction.case:24} predicted {prediction.gcups:5.1f}, measured {own:5.1f}, "
            f"{own / prediction.gcups:.2f} of it"
        )
    if told:
        factor = math.exp(sum(errors) / len(errors))
        told.append(f"the predictions are off by a factor of {factor:.2f} (geometric mean)")
    return told

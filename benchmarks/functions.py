"""Times what stands around the scores beside its peers: ``python -m benchmarks.functions``.

Bands, open and free ends, borders, blocks of rows, tables of costs, divergences, derivatives of
second order, affine gaps, transducers: forward and backward; alignments: without gradients; in
float32, each beside the same computed otherwise (the whole table, plain torch, a peer that is
installed). The gradients of the others are compared with softdp's before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from benchmarks import function_cases, lattice_cases, timing
from benchmarks.function_cases import LONG, Case, Way
from benchmarks.machine import machine

CASES = (*function_cases.CASES, *lattice_cases.CASES)


class Record(TypedDict):
    """A way's time of forward + backward and what memory that takes at most."""

    case: str
    way: str
    shapes: tuple[tuple[int, ...], ...]
    median_ms: float
    spread_ms: float
    calls: int
    peak_mb: float | None


def leaves_of(case: Case) -> list[Tensor]:
    """The case's inputs: what is random stays the same."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator).square_().div_(shape[-1] ** 0.5).requires_grad_()
        for shape in case.shapes
    ]


def measure(case: Case, effort: timing.Effort) -> list[Record]:
    """A record for each way that can run here; those that do not agree raise ValueError."""
    threads = torch.get_num_threads()
    torch.set_num_threads(case.threads or threads)
    try:
        return _measured(case, effort)
    finally:
        torch.set_num_threads(threads)


def _measured(case: Case, effort: timing.Effort) -> list[Record]:
    ways = [way for way in case.ways if way.needs is None or importlib.util.find_spec(way.needs)]
    leaves = leaves_of(case)

    generator = torch.Generator().manual_seed(1)
    upstream: dict[torch.Size, Tensor] = {}
    for way in ways if case.backward else ():
        shape = way.scores(*leaves).shape
        upstream.setdefault(shape, torch.randn(shape, generator=generator))

    def forward_and_backward(way: Way) -> tuple[Tensor, ...]:
        if not case.backward:
            with torch.no_grad():
                return (way.scores(*leaves),)
        scores = way.scores(*leaves)
        return torch.autograd.grad(scores, leaves, upstream[scores.shape])

    wanted = forward_and_backward(ways[0]) if len(ways) > 1 and case.backward else ()
    for way in ways[1:] if case.backward else ():
        for got, own in zip(forward_and_backward(way), wanted, strict=True):
            error = ((got - own).norm() / own.norm()).item()
            if not error <= case.tolerance:
                raise ValueError(f"{case.name}: {way.name} has another gradient, by {error:.1e}")
    del wanted
    room = timing.room(torch.device("cpu"))
    peaks = [room.peak_memory(lambda way=way: forward_and_backward(way)) for way in ways]  # type: ignore[misc]
    taken = room.measure_in_turn(
        [lambda way=way: forward_and_backward(way) for way in ways],  # type: ignore[misc]
        effort,
    )
    return [
        Record(
            case=case.name,
            way=way.name,
            shapes=case.shapes,
            median_ms=1e3 * each.median,
            spread_ms=1e3 * each.spread,
            calls=each.calls,
            peak_mb=None if peak is None else peak / 1e6,
        )
        for way, each, peak in zip(ways, taken, peaks, strict=True)
    ]


def missed(case: Case, records: Sequence[Record]) -> list[str]:
    """The bars that the first way does not meet."""
    first, times = records[0], {record["way"]: record["median_ms"] for record in records}
    told = [
        f"{case.name}: {first['median_ms'] / times[way]:.2f} of the time of {way}, wanted {most}"
        for way, most in case.ratio.items()
        if not first["median_ms"] <= most * times[way]
    ]
    peak = first["peak_mb"]
    if case.peak is not None and peak is not None and not peak <= case.peak:
        told.append(f"{case.name}: {peak:.0f} MB at most, wanted {case.peak:.0f}")
    return told


def line(record: Record, first: Record) -> str:
    """A record as text, beside that of the first way."""
    peak = "" if record["peak_mb"] is None else f"{record['peak_mb']:10.1f} MB"
    ratio = record["median_ms"] / first["median_ms"]
    return (
        f"{record['case']:28} {record['way']:26} {record['median_ms']:11.2f} ms "
        f"(spread {record['spread_ms']:8.2f}) {ratio:8.2f} times {peak}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each way; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.functions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="the cases with it in the name")
    parser.add_argument("--long", action="store_true", help=f"{LONG.name}, too: once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    options = parser.parse_args(arguments)
    full = timing.room(torch.device("cpu")).FULL
    runs = [(case, full) for case in CASES] + [(LONG, timing.QUICK)] * options.long
    records: list[Record] = []
    told: list[str] = []
    for case, effort in runs:
        if options.only not in case.name:
            continue
        found = measure(case, effort)
        records += found
        told += missed(case, found)
        for record in found:
            print(line(record, found[0]), flush=True)
    print("\n".join(told) or "every bar is met")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"machine": machine(torch.device("cpu"))}
        options.json.write_text(json.dumps([head, *records], indent=1) + "\n")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())

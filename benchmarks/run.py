"""Runs the benchmark: ``python -m benchmarks.run --device cpu --json FILE``.

Every case is run by every implementation that is present, in one process, in turn, on the same
input. What the columns mean:

    forward ms     scores, with what the backward needs kept (in a score-only case: without)
    fwd+bwd ms     scores and the gradients of every table
    GCUPS          giga cell updates a second: cells / (forward + backward), where cells is
                   batch * n * m, or the cells inside the lengths where pairs have lengths;
                   of the forward alone in a score-only case
    peak MB        highest memory during forward + backward, beyond inputs and gradients
    gradient error the largest |gradient - float64 gradient|; the float64 gradient is the
                   reference's, or softdp's own where the reference would take too long
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

import torch

from benchmarks import peers, timing
from benchmarks.cases import BARS, CASES, Bar, Case, ProgramInputs


class Record(TypedDict):
    """One implementation's figures for one case; n and m are those of the largest program."""

    case: str
    implementation: str
    batch: int
    n: int
    m: int
    dtype: str
    forward_ms: float
    forward_spread_ms: float
    forward_backward_ms: float | None
    forward_backward_spread_ms: float | None
    gcups: float
    peak_mb: float | None
    gradient_error: float | None


def run_case(case: Case, device: torch.device, effort: timing.Effort) -> list[Record]:
    """Measures one case for every implementation that can run it."""
    inputs = case.inputs(device)
    able = [item for item in peers.implementations() if item.runs(case)]
    prepared = [item.prepare(case, inputs) for item in able]
    errors = _gradient_errors(case, inputs, prepared)
    peaks = [_peak_beyond_gradients(case, item) for item in prepared]

    calls: list[timing.Action] = []
    for item in prepared:
        calls += [item.scores, item.gradients] if case.gradient else [item.scores]
    timings = timing.measure_in_turn(calls, effort)
    each = len(calls) // len(prepared)
    forwards, wholes = timings[::each], timings[each - 1 :: each]

    records = []
    for implementation, forward, whole, peak, error in zip(
        able, forwards, wholes, peaks, errors, strict=True
    ):
        records.append(
            Record(
                case=case.name,
                implementation=implementation.name,
                batch=case.largest.batch,
                n=case.largest.n,
                m=case.largest.m,
                dtype=str(case.dtype).removeprefix("torch."),
                forward_ms=forward.median * 1e3,
                forward_spread_ms=forward.spread * 1e3,
                forward_backward_ms=whole.median * 1e3 if case.gradient else None,
                forward_backward_spread_ms=whole.spread * 1e3 if case.gradient else None,
                gcups=case.cells() / whole.median * 1e-9,
                peak_mb=None if peak is None else peak * 1e-6,
                gradient_error=error,
            )
        )
    return records


def _gradient_errors(
    case: Case, inputs: Sequence[ProgramInputs], prepared: Sequence[peers.Prepared]
) -> list[float | None]:
    """The largest error over the leaves, for each implementation; its first call, too."""
    if not case.gradient:
        for item in prepared:
            item.scores()
        return [None] * len(prepared)
    oracle = peers.REFERENCE if case.reference else peers.SOFTDP
    exact = oracle.prepare(case, [item.to(torch.float64) for item in inputs]).gradients()
    errors: list[float | None] = []
    for item in prepared:
        pairs = zip(item.gradients(), exact, strict=True)
        # A NaN in one leaf wins over every number here, as it would not with Python's max.
        largest = torch.stack([(gradient - expected).abs().max() for gradient, expected in pairs])
        errors.append(largest.max().item())
    return errors


def _peak_beyond_gradients(case: Case, prepared: peers.Prepared) -> int | None:
    if not case.gradient:
        return timing.peak_memory(prepared.scores)
    peak = timing.peak_memory(prepared.gradients)
    if peak is None:
        return None
    return max(0, peak - sum(leaf.numel() * leaf.element_size() for leaf in prepared.leaves))


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on and with."""
    packages = {}
    for name in ("numpy", "numba", *(peer.name for peer in peers.PEERS)):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "device": device.type,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": packages,
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this checkout, with -dirty where tracked files differ; None outside git."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def table(records: Sequence[Record]) -> str:
    """The records as text; times under a millisecond in microseconds too."""
    head = (
        "case",
        "implementation",
        "forward ms",
        "fwd+bwd ms",
        "GCUPS",
        "peak MB",
        "gradient error",
    )
    rows = [head]
    for record in records:
        rows.append(
            (
                record["case"],
                record["implementation"],
                _milliseconds(record["forward_ms"], record["forward_spread_ms"]),
                _milliseconds(record["forward_backward_ms"], record["forward_backward_spread_ms"]),
                f"{record['gcups']:.4f}",
                "-" if record["peak_mb"] is None else f"{record['peak_mb']:.1f}",
                "-" if record["gradient_error"] is None else f"{record['gradient_error']:.1e}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _milliseconds(median: float | None, spread: float | None) -> str:
    if median is None or spread is None:
        return "-"
    text = f"{median:.2f} +-{spread:.2f}" if median >= 1 else f"{median:.4f} +-{spread:.4f}"
    return text if median >= 1 else f"{text} ({median * 1e3:.0f} us)"


def bars(records: Sequence[Record], device: torch.device) -> str:
    """Which bars are met; those of cases that were not run are left out."""
    ours = {record["case"]: record for record in records if record["implementation"] == "softdp"}
    lines = []
    for bar in BARS:
        if bar.device != device.type or bar.case not in ours:
            continue
        value = _value(bar, ours[bar.case], records)
        sign = "at least" if bar.at_least else "at most"
        if value is None:
            lines.append(f"unknown  {bar.case}: {bar.quantity} {sign} {bar.bound:g}, not measured")
            continue
        met = value >= bar.bound if bar.at_least else value <= bar.bound
        line = f"{'met   ' if met else 'missed'}   {bar.case}: {bar.quantity} {value:.3g}"
        lines.append(f"{line}, {sign} {bar.bound:g}")
    for record in ours.values():
        peer = _best_peer(record, records)
        if peer is not None:
            ratio = record["gcups"] / peer["gcups"]
            lines.append(
                f"ratio    {record['case']}: {ratio:.1f} times {peer['implementation']}"
                f" on {peer['case']}"
            )
    return "\n".join(lines)


def _value(bar: Bar, record: Record, records: Sequence[Record]) -> float | None:
    if bar.quantity == "gcups":
        return record["gcups"]
    if bar.quantity == "times_best_peer":
        peer = _best_peer(record, records)
        return None if peer is None else record["gcups"] / peer["gcups"]
    if bar.quantity == "microseconds":
        milliseconds = record["forward_backward_ms"]
        return None if milliseconds is None else milliseconds * 1e3
    peak = record["peak_mb"]
    return None if peak is None else peak * 1e6 / CASES[bar.case].cells()


def _best_peer(record: Record, records: Sequence[Record]) -> Record | None:
    """The fastest peer on the same case, or else on soft-DTW of the same shape and dtype."""
    names = {peer.name for peer in peers.PEERS}
    if record["forward_backward_ms"] is None:
        return None
    plain = f"dtw-{record['batch']}x{record['n']}x{record['m']}"
    for case in (record["case"], plain):
        found = [
            other
            for other in records
            if other["implementation"] in names
            and other["case"] == case
            and other["dtype"] == record["dtype"]
        ]
        if found:
            return max(found, key=lambda other: other["gcups"])
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; an implementation that raises ends the run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    parser.add_argument(
        "--case",
        nargs="+",
        choices=CASES,
        default=list(CASES),
        metavar="NAME",
        help="default: all of " + ", ".join(CASES),
    )
    parser.add_argument("--quick", action="store_true", help="few calls: does everything run?")
    parser.add_argument(
        "--bars", action="store_true", help="say which bars are met; a missed one does not fail"
    )
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    effort = timing.QUICK if options.quick else timing.FULL

    records: list[Record] = []
    for name in options.case:
        print(f"{name} ...", flush=True)
        records += run_case(CASES[name], device, effort)
    facts = machine(device)
    print(table(records))
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    if options.bars:
        print(bars(records, device))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([{"machine": facts}, *records], indent=1) + "\n")


if __name__ == "__main__":
    main()

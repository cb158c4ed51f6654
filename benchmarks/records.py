"""What is measured, as records, as a table and beside the bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch

from benchmarks import peers
from benchmarks.cases import BARS, CASES, Bar


class GpuFigures(TypedDict, total=False):
    """What only a GPU's record has.

    gpu_ms is forward + backward (or the score alone) replayed as a CUDA graph, None where that
    cannot be captured; bytes_moved is what must move (Program.bytes_moved), and roofline_share the
    time that this takes at the measured copy bandwidth, over gpu_ms or else the time from Python;
    input_copies is how many copies of the inputs took turns.
    """

    gpu_ms: float | None
    gpu_spread_ms: float | None
    bytes_moved: int
    roofline_share: float
    input_copies: int


class Record(GpuFigures):
    """One implementation's figures for one case; n and m are those of the largest program.

    Milliseconds are medians; fastest_ms is the least of forward + backward (or the score alone),
    what the code can do in a quiet moment of a shared machine.
    """

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
    fastest_ms: float
    gcups: float
    peak_mb: float | None
    gradient_error: float | None


def table(records: Sequence[Record]) -> str:
    """The records as text; times under a millisecond in microseconds too."""
    head: tuple[str, ...] = (
        "case",
        "implementation",
        "forward ms",
        "fwd+bwd ms",
        "fastest",
        "GCUPS",
        "peak MB",
        "gradient error",
    )
    gpu = any("roofline_share" in record for record in records)
    if gpu:
        head = (*head, "GPU ms", "roofline")
    rows = [head]
    for record in records:
        row: tuple[str, ...] = (
            record["case"],
            record["implementation"],
            _milliseconds(record["forward_ms"], record["forward_spread_ms"]),
            _milliseconds(record["forward_backward_ms"], record["forward_backward_spread_ms"]),
            f"{record['fastest_ms']:.3g}",
            f"{record['gcups']:.4f}",
            "-" if record["peak_mb"] is None else f"{record['peak_mb']:.1f}",
            "-" if record["gradient_error"] is None else f"{record['gradient_error']:.1e}",
        )
        if gpu:
            graph = _milliseconds(record.get("gpu_ms"), record.get("gpu_spread_ms"))
            row = (*row, graph, _percent(record.get("roofline_share")))
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2g}%"


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
        value = _value(bar, ours[bar.case], records, device)
        sign = "at least" if bar.at_least else "at most"
        if value is None:
            lines.append(f"unknown  {bar.case}: {bar.quantity} {sign} {bar.bound:g}, not measured")
            continue
        met = value >= bar.bound if bar.at_least else value <= bar.bound
        line = f"{'met   ' if met else 'missed'}   {bar.case}: {bar.quantity} {value:.3g}"
        lines.append(f"{line}, {sign} {bar.bound:g}")
    for record in ours.values():
        peer = _best_peer(record, records, device)
        if peer is not None:
            ratio = record["gcups"] / peer["gcups"]
            lines.append(
                f"ratio    {record['case']}: {ratio:.1f} times {peer['implementation']}"
                f" on {peer['case']}"
            )
    return "\n".join(lines)


def _value(
    bar: Bar, record: Record, records: Sequence[Record], device: torch.device
) -> float | None:
    if bar.quantity == "gcups":
        return record["gcups"]
    if bar.quantity == "times_best_peer":
        peer = _best_peer(record, records, device)
        return None if peer is None else record["gcups"] / peer["gcups"]
    if bar.quantity in ("microseconds", "gpu_microseconds"):
        from_python = bar.quantity == "microseconds"
        milliseconds = record["forward_backward_ms"] if from_python else record.get("gpu_ms")
        return None if milliseconds is None else milliseconds * 1e3
    peak = record["peak_mb"]
    return None if peak is None else peak * 1e6 / CASES[bar.case].cells()


def _best_peer(record: Record, records: Sequence[Record], device: torch.device) -> Record | None:
    """The fastest peer on the same case, or else on soft-DTW of the same shape and dtype."""
    names = {peer.name for peer in peers.peers_on(device)}
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

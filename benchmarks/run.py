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

and with --device cuda, where all times above are of a loop in Python, between CUDA events:

    GPU ms         forward + backward replayed as a CUDA graph: the GPU's time alone
    roofline       the bytes that must move (Program.bytes_moved) over the measured bandwidth of
                   a copy, as a share of GPU ms, or of fwd+bwd ms where there is no graph

A peer that fails is named and left out. Where softdp or the reference fails the other cases are
run all the same, and the run ends with that error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import peers, timing
from benchmarks.cases import CASES, Case, ProgramInputs
from benchmarks.machine import machine
from benchmarks.records import GpuFigures, Record, bars, table


class Result(NamedTuple):
    """A case's records, and a line for everything that was left out with the reason."""

    records: list[Record]
    left_out: list[str]


class _Subject(NamedTuple):
    """An implementation that has run the case once."""

    implementation: peers.Implementation
    prepared: list[peers.Prepared]  # one for each copy of the inputs
    error: float | None
    peak: int | None

    def scores(self) -> timing.Action:
        return _in_rotation([item.scores for item in self.prepared])

    def gradients(self) -> timing.Action:
        return _in_rotation([item.gradients for item in self.prepared])


def _in_rotation(calls: Sequence[Callable[[], object]]) -> timing.Action:
    turn = itertools.cycle(calls)
    return lambda: next(turn)()


def run_case(
    case: Case, device: torch.device, effort: timing.Effort, bandwidth: float = float("nan")
) -> Result:
    """Measures one case for every implementation that can run it.

    bandwidth: bytes a second that a copy moves on this GPU.
    """
    room = timing.room(device)
    inputs = _copies(case.inputs(device), device)
    exact = _exact_gradients(case, inputs[0])
    subjects, left_out = [], []
    for implementation in peers.implementations(device):
        if not implementation.runs(case):
            continue
        try:
            subjects.append(_first_run(case, implementation, inputs, exact, room))
        except Exception as error:
            if not _may_fail(implementation, error, device):
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            left_out.append(f"{case.name}: {implementation.name} failed, {reason}")

    calls: list[timing.Action] = []
    for subject in subjects:
        calls += [subject.scores(), subject.gradients()] if case.gradient else [subject.scores()]
    timings = room.measure_in_turn(calls, effort)
    each = len(calls) // len(subjects)
    forwards, wholes = timings[::each], timings[each - 1 :: each]

    records = []
    for subject, forward, whole in zip(subjects, forwards, wholes, strict=True):
        gpu = GpuFigures()
        if device.type == "cuda":
            graph, reason = _graph_time(case, subject, effort)
            left_out += [f"{case.name}: no graph of softdp, {reason}"] if reason else []
            gpu = _on_gpu(case, graph, whole, bandwidth, len(inputs))
        record = Record(
            case=case.name,
            implementation=subject.implementation.name,
            batch=case.largest.batch,
            n=case.largest.n,
            m=case.largest.m,
            dtype=str(case.dtype).removeprefix("torch."),
            forward_ms=forward.median * 1e3,
            forward_spread_ms=forward.spread * 1e3,
            forward_backward_ms=whole.median * 1e3 if case.gradient else None,
            forward_backward_spread_ms=whole.spread * 1e3 if case.gradient else None,
            fastest_ms=whole.fastest * 1e3,
            gcups=case.cells() / whole.median * 1e-9,
            peak_mb=None if subject.peak is None else subject.peak * 1e-6,
            gradient_error=subject.error,
            **gpu,
        )
        records.append(record)
    return Result(records, left_out)


def _copies(inputs: tuple[ProgramInputs, ...], device: torch.device) -> list[Any]:
    """The inputs, on a GPU so many times that they do not stay in its cache."""
    if device.type != "cuda":
        return [inputs]
    from benchmarks.timing import cuda

    size = sum(table.nbytes for item in inputs for table in item.tables)
    copies = cuda.copies_beyond_cache(size, torch.cuda.get_device_properties(device).L2_cache_size)
    return [inputs, *(tuple(item.clone() for item in inputs) for _ in range(copies - 1))]


def _exact_gradients(case: Case, inputs: Sequence[ProgramInputs]) -> tuple[Tensor, ...]:
    if not case.gradient:
        return ()
    oracle = peers.REFERENCE if case.reference else peers.SOFTDP
    return oracle.prepare(case, [item.to(torch.float64) for item in inputs]).gradients()


def _first_run(
    case: Case,
    implementation: peers.Implementation,
    inputs: Sequence[Sequence[ProgramInputs]],
    exact: Sequence[Tensor],
    room: timing.Room,
) -> _Subject:
    """Warms up; takes the largest error over the leaves and the peak of memory."""
    prepared = [implementation.prepare(case, item) for item in inputs]
    first = prepared[0]
    if not case.gradient:
        first.scores()
        return _Subject(implementation, prepared, None, room.peak_memory(first.scores))
    pairs = zip(first.gradients(), exact, strict=True)
    # A NaN in one leaf wins over every number here, as it would not with Python's max.
    largest = torch.stack([(gradient - expected).abs().max() for gradient, expected in pairs])
    peak = room.peak_memory(first.gradients)
    if peak is not None:
        peak = max(0, peak - sum(leaf.nbytes for leaf in first.leaves))
    return _Subject(implementation, prepared, largest.max().item(), peak)


def _may_fail(implementation: peers.Implementation, error: Exception, device: torch.device) -> bool:
    """Whether a failure is no defect here: a peer's, or the reference's want of memory."""
    if implementation in peers.peers_on(device):
        return True
    return implementation is peers.REFERENCE and isinstance(error, torch.OutOfMemoryError)


def _graph_time(
    case: Case, subject: _Subject, effort: timing.Effort
) -> tuple[timing.Timing | None, str]:
    """Of softdp alone: peers wait for the GPU. With the reason where there is none."""
    from benchmarks.timing import cuda

    if subject.implementation is not peers.SOFTDP:
        return None, ""
    action = subject.gradients() if case.gradient else subject.scores()
    try:
        return cuda.graph_time(action, len(subject.prepared), effort), ""
    except RuntimeError as error:
        return None, str(error).splitlines()[0]


def _on_gpu(
    case: Case,
    graph: timing.Timing | None,
    whole: timing.Timing,
    bandwidth: float,
    input_copies: int,
) -> GpuFigures:
    seconds = (graph or whole).median
    return GpuFigures(
        gpu_ms=None if graph is None else graph.median * 1e3,
        gpu_spread_ms=None if graph is None else graph.spread * 1e3,
        bytes_moved=case.bytes_moved(),
        roofline_share=case.bytes_moved() / bandwidth / seconds,
        input_copies=input_copies,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    device = torch.device(options.device)
    room = timing.room(device)
    effort = timing.QUICK if options.quick else room.FULL
    names = options.case or [name for name, case in CASES.items() if device.type in case.devices]
    facts = machine(device)
    records: list[Record] = []
    left_out: list[str] = []
    failures: list[Exception] = []
    bandwidth = facts.get("copy_bandwidth", float("nan"))
    end = time.monotonic() + options.seconds
    for name in names:
        if time.monotonic() > end:
            left_out.append(f"{name}: {options.seconds:g} seconds were over")
            continue
        print(f"{name} ...", flush=True)
        try:
            result = run_case(CASES[name], device, effort, bandwidth)
        except Exception as error:
            failures.append(error)
            left_out.append(f"{name}: failed, {type(error).__name__}: {error}".splitlines()[0])
        else:
            records += result.records
            left_out += result.left_out
        if options.json:
            _write(options.json, facts, left_out, records)
    print(table(records))
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print("".join(f"left out {line}\n" for line in left_out), end="")
    if options.bars:
        print(bars(records, device))
    if options.json:
        _write(options.json, facts, left_out, records)
    if failures:
        raise failures[0]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    parser.add_argument(
        "--case",
        nargs="+",
        choices=CASES,
        metavar="NAME",
        help="default: those of the device, of " + ", ".join(CASES),
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="after which no further case is begun"
    )
    parser.add_argument("--quick", action="store_true", help="few calls: does everything run?")
    parser.add_argument(
        "--bars", action="store_true", help="say which bars are met; a missed one does not fail"
    )
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this torch sees no GPU")
    return options


def _write(
    file: Path, facts: dict[str, Any], left_out: Sequence[str], records: Sequence[Record]
) -> None:
    """After every case, so that a run that is cut short leaves what it has."""
    head = {"machine": facts} | ({"left_out": left_out} if left_out else {})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([head, *records], indent=1) + "\n")


if __name__ == "__main__":
    main()

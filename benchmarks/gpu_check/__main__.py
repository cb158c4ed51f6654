"""Builds for the GPU at hand, checks the kernels on it and measures them.

Build, the test-suite on cuda, CUDA graphs, streams and devices, the four tools of
compute-sanitizer, benchmarks: each step within its time, each log kept. The records go to
RESULTS/<gpu>-<date>.json; summary, table and predictions beside the measurements to the .txt beside
it. Ends with 0 if nothing failed,
with 1 if something did, with 2 where there is no GPU. What is left out is said, with the reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_check import runner, steps

COUNTS = steps.ROOT / "benchmarks" / "results" / "machine-code-sm_90.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--log", type=Path, default=steps.ROOT / "build" / "gpu-check")
    parser.add_argument("--results", type=Path, default=steps.ROOT / "benchmarks" / "results")
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything")
    options = parser.parse_args(arguments)
    try:
        machine = steps.look()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    if not machine.gpus:
        print(f"torch {machine.torch} (CUDA {machine.cuda}) sees no GPU", file=sys.stderr)
        return 2
    logs, results = options.log.resolve(), options.results.resolve()
    logs.mkdir(parents=True, exist_ok=True)
    records = results / f"{_file_name(machine.gpus[0])}-{datetime.date.today()}.json"
    head = f"{', '.join(machine.gpus)}; torch {machine.torch}, CUDA {machine.cuda}"
    print(f"{head}; logs in {logs}", flush=True)
    outcomes = runner.run(
        steps.steps(machine, logs, records),
        steps.ROOT,
        logs,
        60 * options.minutes,
        told=lambda outcome: print(runner.line(outcome), flush=True),
    )
    text = report(head, outcomes, compared(machine.gpus[0], records))
    results.mkdir(parents=True, exist_ok=True)
    records.with_suffix(".txt").write_text(text)
    print(f"\n{text}")
    return int(any(item.verdict.state == "fail" for item in outcomes))


def report(head: str, outcomes: Sequence[runner.Outcome], compared: Sequence[str] = ()) -> str:
    """Summary, the benchmark's table as it was printed, and predictions beside it."""
    measured = next((item.log for item in outcomes if item.step.name == "benchmarks"), None)
    printed = measured.read_text(errors="replace") if measured else ""
    lines = [line for line in printed.splitlines() if not line.endswith(" ...")]  # its progress
    lines = [head, "", runner.summary(outcomes), "", *lines]
    return "\n".join([*lines, *(["", *compared] if compared else [])]).rstrip() + "\n"


def compared(gpu: str, records: Path) -> list[str]:
    """What the counts of the kernels' machine code let one expect of this GPU, and what it did.

    Nothing where that cannot be said: of a GPU that is not in `predictions.CARDS`, or without
    records of softdp.
    """
    if not COUNTS.is_file() or not records.is_file():
        return []
    # Not before there are records: softdp has to be built to be imported.
    from benchmarks.cases import CASES
    from benchmarks.predictions import CARDS, beside, predictions

    card = next((card for name, card in CARDS.items() if name in gpu), None)
    if card is None:
        return []
    _, *measured = json.loads(records.read_text())
    gcups = {
        record["case"]: CASES[record["case"]].cells() * 1e-6 / record["gpu_ms"]
        for record in measured
        if record["implementation"] == "softdp" and record.get("gpu_ms")
    }
    counts = json.loads(COUNTS.read_text())
    told = beside(predictions(counts["kernels"], card), gcups)
    compiler = f"nvcc {counts['nvcc']}"
    return (
        [f"GCUPS beside what counts of the machine code ({compiler}) predict:", *told]
        if told
        else []
    )


def _file_name(gpu: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())

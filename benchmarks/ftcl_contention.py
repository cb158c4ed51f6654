"""Times trainings beside other busy processes: ``python -m benchmarks.ftcl_contention --data DIR``.

A comparison of one variant by ten seeds, and a training alone, which has as many threads as there
are cores: as it is, with one thread, and with threads that spin while they wait for each other, as
they would without `ftcl_model/__main__.py`. Each has nothing beside it, and then as many other busy
processes as there are cores. These take half of every core, so that nothing but the last should
take more than about twice as long.

The data may be any folder of features; the gestures are in docs/experiments.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch

from benchmarks.contention import busy_processes
from benchmarks.machine import machine
from ftcl_model.distributed import available_cores


class Record(TypedDict):
    """How long a command took, its start included, beside so many other busy processes."""

    what: str
    busy: int
    seconds: float


class Command(NamedTuple):
    """A command of ftcl_model, but for its output, and what is added to its environment."""

    what: str
    words: Sequence[str]
    environment: Mapping[str, str]


def commands(config: str, data: Path, runs: int) -> list[Command]:
    """What is timed."""
    inputs = ("--config", config, "--data", str(data), "--device", "cpu")
    compare = ("compare", *inputs, "--variants", "aligned", "--seeds", str(runs))
    train = ("train", *inputs, "--no-progress")
    return [
        Command(f"comparison of {runs} runs", compare, {}),
        Command("training", train, {}),
        Command("training on one core", train, {"OMP_NUM_THREADS": "1"}),
        # As GNU's library has it where nothing is said.
        Command("training, threads that spin", train, {"GOMP_SPINCOUNT": "300000"}),
    ]


def seconds(command: Command) -> float:
    """Run a command in a process of its own, with an output folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "ftcl_model", *command.words, "--output", f"{folder}/out"]
        environment = os.environ | command.environment
        start = time.perf_counter()
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each command, and write the records with the machine's description."""
    cores = available_cores()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ftcl_contention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the features")
    parser.add_argument("--config", default="gestures", help="a file or a preset (gestures)")
    parser.add_argument("--runs", type=int, default=10, help="of the comparison (10)")
    parser.add_argument(
        "--busy", type=int, default=cores, metavar="N", help=f"other busy processes ({cores})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    options = parser.parse_args(arguments)
    records: list[Record] = []
    for command in commands(options.config, options.data, options.runs):
        idle = seconds(command)
        with busy_processes(options.busy):
            busy = seconds(command)
        records += [
            Record(what=command.what, busy=0, seconds=idle),
            Record(what=command.what, busy=options.busy, seconds=busy),
        ]
        print(
            f"{command.what:28} alone {idle:7.1f} s, beside {options.busy} busy {busy:7.1f} s: "
            f"times {busy / idle:.2f}",
            flush=True,
        )
        if options.json:  # each time, as all together takes a quarter of an hour
            options.json.parent.mkdir(parents=True, exist_ok=True)
            head = {"machine": machine(torch.device("cpu"))}
            options.json.write_text(json.dumps([head, *records], indent=1) + "\n")


if __name__ == "__main__":
    main()

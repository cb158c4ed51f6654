"""Times one thread against several where others work: ``python -m benchmarks.contention``.

Forward and backward of soft-DTW, and of a softmax over tables of the same shape for scale, with
nothing beside them and then with as many other busy processes as there are processors. Where two
threads share a table and one of them has no processor, the other must not wait for it: more threads
should never take more than 1.5 times as long as one.

The mean counts beside the median: few calls are interrupted, and those for long.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

import softdp
from benchmarks.machine import machine

SHAPES = ((4, 64, 64), (1, 300, 300), (1, 1000, 1000), (32, 256, 256), (1, 4096, 4096))
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softdp.soft_dtw": softdp.soft_dtw,
    "torch.softmax": lambda table: table.softmax(-1),
}
BUSY = """
import os, sys
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    sum(range(100_000))
"""


class Record(TypedDict):
    """An operation's times of forward + backward with a number of threads, in milliseconds."""

    operation: str
    batch: int
    n: int
    m: int
    busy: int  # other processes
    threads: int
    calls: int
    median_ms: float
    mean_ms: float
    slowest_tenth_ms: float  # which one call in ten exceeds


class Effort(NamedTuple):
    """How long to measure: turns that each number of threads gets, and seconds of a turn."""

    turns: int
    seconds: float


FULL = Effort(turns=10, seconds=0.5)
QUICK = Effort(turns=1, seconds=0.0)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many other processes, each at work as long as it gets a processor."""
    command = [sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def measure(
    operation: str, shape: tuple[int, int, int], threads: Sequence[int], busy: int, effort: Effort
) -> list[Record]:
    """A record for each number of threads, which take turns."""
    table = torch.rand(shape, requires_grad=True)
    result = OPERATIONS[operation](table)
    upstream = torch.ones_like(result)
    times: dict[int, list[float]] = {count: [] for count in threads}
    before = torch.get_num_threads()
    try:
        for _ in range(effort.turns):
            for count, taken in times.items():
                torch.set_num_threads(count)
                end = time.perf_counter() + effort.seconds
                while True:
                    start = time.perf_counter()
                    torch.autograd.grad(OPERATIONS[operation](table), table, upstream)
                    taken.append(time.perf_counter() - start)
                    if time.perf_counter() >= end:
                        break
    finally:
        torch.set_num_threads(before)
    return [_record(operation, shape, busy, count, taken) for count, taken in times.items()]


def _record(
    operation: str, shape: tuple[int, int, int], busy: int, threads: int, seconds: Sequence[float]
) -> Record:
    milliseconds = 1e3 * np.asarray(seconds)
    return Record(
        operation=operation,
        batch=shape[0],
        n=shape[1],
        m=shape[2],
        busy=busy,
        threads=threads,
        calls=len(milliseconds),
        median_ms=float(np.median(milliseconds)),
        mean_ms=float(np.mean(milliseconds)),
        slowest_tenth_ms=float(np.quantile(milliseconds, 0.9)),
    )


def line(records: Sequence[Record]) -> str:
    """One measurement as text: each number of threads, and how the last compares to the first."""
    one, *_, most = records
    shape = f"{one['batch']} x {one['n']} x {one['m']}"
    columns = [
        f"{record['threads']}: {record['median_ms']:8.3f} ms, mean {record['mean_ms']:8.3f}, "
        f"a tenth over {record['slowest_tenth_ms']:8.3f}"
        for record in records
    ]
    compared = f"times {most['median_ms'] / one['median_ms']:.2f}"
    compared += f", mean {most['mean_ms'] / one['mean_ms']:.2f}"
    head = f"{one['operation']:16} {shape:15} {one['busy']} busy"
    return " | ".join([head, *columns, compared])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each measurement, and write the records with the machine's description."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.contention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--busy", type=int, default=cores, metavar="N", help=f"other busy processes ({cores})"
    )
    parser.add_argument(
        "--threads", type=int, default=cores, metavar="N", help=f"to compare with one ({cores})"
    )
    parser.add_argument("--quick", action="store_true", help="few calls: does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    records: list[Record] = []
    for busy in (0, options.busy):
        with busy_processes(busy):
            for shape in SHAPES:
                for operation in OPERATIONS:
                    threads = (1, options.threads)
                    records += (found := measure(operation, shape, threads, busy, effort))
                    print(line(found), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"machine": machine(torch.device("cpu"))}
        options.json.write_text(json.dumps([head, *records], indent=1) + "\n")


if __name__ == "__main__":
    main()

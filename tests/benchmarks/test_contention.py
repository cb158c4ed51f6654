"""One thread against several: turns, records, and the processes beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import contention
from benchmarks.contention import Effort, busy_processes, line, measure


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Clock:
    """Advances by what a call takes with the present number of threads."""

    def __init__(self, seconds: dict[int, list[float]]) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.calls: list[int] = []

    def operation(self, table: torch.Tensor) -> torch.Tensor:
        self.calls.append(torch.get_num_threads())
        self.now += self.seconds[self.calls[-1]].pop(0)
        return table.sum((-2, -1))


def test_threads_take_turns_and_each_has_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock({2: [0.0], 1: [1.0] * 4, 3: [0.5, 0.5, 0.5, 0.5, 0.5, 4.5]})
    monkeypatch.setattr(contention.time, "perf_counter", lambda: clock.now)
    monkeypatch.setitem(contention.OPERATIONS, "sum", clock.operation)
    one, three = measure("sum", (2, 3, 4), (1, 3), busy=5, effort=Effort(turns=2, seconds=2.0))
    assert torch.get_num_threads() == 2
    assert clock.calls == [2, 1, 1, 3, 3, 3, 3, 1, 1, 3, 3]
    assert one == {
        "operation": "sum", "batch": 2, "n": 3, "m": 4, "busy": 5, "threads": 1, "calls": 4,
        "median_ms": 1000.0, "mean_ms": 1000.0, "slowest_tenth_ms": 1000.0,
    }  # fmt: skip
    assert (three["threads"], three["calls"]) == (3, 6)
    assert three["median_ms"] == pytest.approx(500)
    assert three["mean_ms"] == pytest.approx(7000 / 6)
    assert three["slowest_tenth_ms"] == pytest.approx(2500)
    assert line([one, three]).endswith("times 0.50, mean 1.17")


def test_busy_processes_are_there_and_go() -> None:
    def children() -> int:
        tasks = Path("/proc/self/task").glob("*/children")
        return sum(len(task.read_text().split()) for task in tasks)

    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this system does not tell a process its children")
    before = children()
    with busy_processes(3):
        assert children() == before + 3
    assert children() == before


def test_command_line_writes_a_record_for_each_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contention, "SHAPES", ((2, 3, 4), (1, 5, 6)))
    file = tmp_path / "new" / "contention.json"
    contention.main(["--quick", "--busy", "1", "--threads", "3", "--json", str(file)])
    head, *records = json.loads(file.read_text())
    assert head["machine"]["device"] == "cpu"
    assert [(r["busy"], r["n"], r["operation"], r["threads"]) for r in records] == [
        (busy, n, operation, threads)
        for busy in (0, 1)
        for n in (3, 5)
        for operation in ("softdp.soft_dtw", "torch.softmax")
        for threads in (1, 3)
    ]
    assert all(record["calls"] == 1 and record["mean_ms"] > 0 for record in records)
    assert len(capsys.readouterr().out.splitlines()) == len(records) / 2

"""Functions beside their peers: what agrees is timed, what a bar says is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import functions, timing
from benchmarks.function_cases import Case, Way
from benchmarks.functions import CASES, Record, measure, missed

SMALL = [
    case._replace(
        shapes=tuple((*shape[:-2], min(shape[-2], 40), min(shape[-1], 50)) for shape in case.shapes)
    )
    for case in CASES
    if case.name not in ("in two parts", "a band of 2 %")
]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_every_way_of_a_case_runs_and_agrees(case: Case) -> None:
    records = measure(case, timing.QUICK)
    assert records[0]["way"] == case.ways[0].name
    assert all(record["median_ms"] > 0 for record in records)


def test_another_gradient_is_refused() -> None:
    def half(x: Tensor) -> Tensor:
        return x.sum() / 2

    case = Case("sums", ((3, 4),), (Way("sum", torch.sum), Way("half", half)))
    with pytest.raises(ValueError, match=r"sums: half has another gradient, by 5\.0e-01"):
        measure(case, timing.QUICK)


def record(way: str, milliseconds: float, peak: float | None) -> Record:
    return Record(
        case="c", way=way, shapes=((1, 1),), median_ms=milliseconds, spread_ms=0.0, calls=1,
        peak_mb=peak,
    )  # fmt: skip


def test_bars_that_are_missed_are_told() -> None:
    case = Case("c", ((1, 1),), (), ratio={"whole": 0.2}, peak=100.0)
    met = [record("ours", 2.0, 100.0), record("whole", 10.0, 500.0)]
    assert missed(case, met) == []
    assert missed(case, [record("ours", 2.0, None), met[1]]) == []
    assert missed(case, [record("ours", 3.0, 101.0), met[1]]) == [
        "c: 0.30 of the time of whole, wanted 0.2",
        "c: 101 MB at most, wanted 100",
    ]


def test_the_command_writes_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(functions, "CASES", SMALL[:1])
    monkeypatch.setattr(timing.room(torch.device("cpu")), "FULL", timing.QUICK)
    assert functions.main(["--json", str(tmp_path / "new" / "records.json")]) == 0
    head, *records = json.loads((tmp_path / "new" / "records.json").read_text())
    assert "machine" in head
    assert records[0]["way"] == "softdp"
    assert "every bar is met" in capsys.readouterr().out

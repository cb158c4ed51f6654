"""The registry: what is promised to be measured is there, and inputs are what they say."""

from __future__ import annotations

import pytest
import torch

from benchmarks import cases
from benchmarks.cases import BARS, CASES, Program

CPU = torch.device("cpu")


def test_names_are_unique():
    assert len(CASES) == len(cases._ALL)
    assert all(name == case.name for name, case in CASES.items())


def test_every_bar_has_its_case():
    assert {bar.case for bar in BARS} <= CASES.keys()


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("dtw", (32, 256, 256)),
        ("numbers", (32, 256, 256)),
        ("tables", (32, 256, 256)),
        ("dtw", (1, 4096, 4096)),
        ("numbers", (1, 4096, 4096)),
        ("numbers", (1024, 30, 30)),
        ("tables", (16, 5, 5)),
        ("lcs", (16, 30, 30)),
    ],
)
def test_promised_programs_are_measured_in_float32(kind, shape):
    found = [
        program
        for case in CASES.values()
        if case.dtype == torch.float32 and case.gradient
        for program in case.programs
    ]
    assert Program(kind, *shape) in found


def test_there_are_a_score_only_a_float64_and_a_ragged_case():
    assert any(not case.gradient for case in CASES.values())
    assert any(case.dtype == torch.float64 for case in CASES.values())
    assert any(program.ragged for case in CASES.values() for program in case.programs)


@pytest.mark.parametrize(
    ("kind", "tables"), [("dtw", 1), ("numbers", 1), ("tables", 3), ("lcs", 1)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_finite_tables_and_the_same_each_time(kind, tables, dtype):
    program = Program(kind, 2, 3, 4)
    first, second = (program.inputs(dtype, CPU) for _ in range(2))
    assert len(first.tables) == tables
    assert first.lengths is None
    for one, other in zip(first.tables, second.tables, strict=True):
        assert one.shape == (2, 3, 4)
        assert one.dtype == dtype
        assert one.isfinite().all()
        assert torch.equal(one, other)


def test_float32_inputs_are_the_rounded_float64_inputs():
    program = Program("tables", 2, 3, 4)
    single = program.inputs(torch.float32, CPU)
    double = program.inputs(torch.float64, CPU).to(torch.float32)
    assert all(map(torch.equal, single.tables, double.tables))


def test_ragged_lengths_fit_the_table_and_only_their_cells_count():
    program = Program("dtw", 64, 16, 8, ragged=True)
    lengths = program.inputs(torch.float32, CPU).lengths
    assert lengths is not None
    for length, side in zip(lengths, (16, 8), strict=True):
        assert length.dtype == torch.int64
        assert side // 4 <= length.min() < length.max() <= side
    pairs = zip(*(length.tolist() for length in lengths), strict=True)
    assert program.cells() == sum(n * m for n, m in pairs)


def test_cells_of_a_case_are_those_of_all_its_programs():
    case = CASES["ftcl-step"]
    assert case.cells() == 16 * (5 * 5 + 30 * 30)
    assert (case.largest.batch, case.largest.n, case.largest.m) == (16, 30, 30)

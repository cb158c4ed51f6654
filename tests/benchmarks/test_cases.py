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
    assert all(bar.device in CASES[bar.case].devices for bar in BARS)


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
    ("kind", "batch", "n", "m"),
    [
        *(
            (kind, *shape)
            for kind in ("numbers", "dtw")
            for shape in ((512, 256, 256), (64, 1024, 1024), (1, 16384, 16384), (65536, 30, 30))
        ),
        ("tables", 512, 256, 256),
    ],
)
def test_promised_programs_are_measured_on_a_gpu(kind, batch, n, m):
    case = CASES[f"{kind}-{batch}x{n}x{m}"]
    assert case.devices == ("cuda",)
    assert case.programs == (Program(kind, batch, n, m),)
    assert case.dtype == torch.float32


def test_other_inputs_are_measured_on_a_gpu():
    found = [case for case in CASES.values() if "cuda" in case.devices]
    dtypes = {case.dtype for case in found}
    assert dtypes == {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    assert any(not case.gradient for case in found)
    assert any(program.ragged for case in found for program in case.programs)
    assert any(program.width is not None for case in found for program in case.programs)
    assert CASES["ftcl-step"] in found


@pytest.mark.parametrize(
    ("kind", "dtype", "gradient", "bytes_a_cell"),
    [
        ("numbers", torch.float32, True, 16),  # read 4, keep 4; read 4, write 4
        ("dtw", torch.float32, True, 16),
        ("tables", torch.float32, True, 32),
        ("numbers", torch.float16, True, 12),
        ("numbers", torch.float64, True, 48),
        ("numbers", torch.float32, False, 4),
    ],
)
def test_bytes_that_must_move(kind, dtype, gradient, bytes_a_cell):
    case = cases.Case("case", (Program(kind, 2, 3, 4),) * 2, dtype, gradient)
    assert case.bytes_moved() == 2 * 24 * bytes_a_cell


def test_bytes_beyond_the_lengths_need_not_move():
    program = Program("numbers", 8, 16, 16, ragged=True)
    assert program.bytes_moved(torch.float32, True) == 16 * program.cells() < 16 * 8 * 256


def test_clones_have_the_values_in_other_memory():
    inputs = Program("tables", 2, 3, 4, ragged=True).inputs(torch.float32, CPU)
    copy = inputs.clone()
    for table, other in zip(inputs.tables, copy.tables, strict=True):
        assert torch.equal(table, other)
        assert table.data_ptr() != other.data_ptr()


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

"""Potentials that exp(V / gamma) does not hold as mantissa and exponent: V itself runs there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from softdp import reference
from tests.softdp.support import gradients, normal

DTYPES = [torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def masked_row(value: float) -> Callable[[list[Tensor]], None]:
    """A row that every path has to cross, and a mask over half of all matches."""

    def change(tables: list[Tensor]) -> None:
        match, _, delete = tables
        match[normal(*match.shape, seed=9) > 0] = value
        match[..., 3, :] = value
        delete[..., 3, :] = value

    return change


def one_cell(table: int, value: float, *place: int) -> Callable[[list[Tensor]], None]:
    def change(tables: list[Tensor]) -> None:
        tables[table][place] = value

    return change


CHANGES = {
    "a mask of -1e9": masked_row(-1e9),
    "a mask of -1e30": masked_row(-1e30),
    "a large cost": one_cell(0, -3e8, 2, 5, 6),
    "a large reward": one_cell(0, 1e8, 2, 5, 6),
    "+inf": one_cell(0, math.inf, 1, 4, 4),
    "a gap of -1e12 in one pair": one_cell(1, -1e12, 5, 0, 7),
    "a gap of +inf in one pair": one_cell(2, math.inf, 5, 8, 11),
    "nothing": lambda tables: None,
}


def tables_of(pairs: int, n: int, m: int, change: Callable[[list[Tensor]], None]) -> list[Tensor]:
    tables = [normal(pairs, n, m, seed=seed) for seed in range(3)]
    change(tables)
    return tables


def check(
    compiled: ModuleType, tables: list[Tensor], dtype: torch.dtype, device: torch.device, **options
) -> None:
    """Score and alignment of the kernels against the reference in float64 of the same numbers."""
    options.setdefault("leading_gaps", "free")
    tables = [table.to(dtype) for table in tables]
    leaves = [table.to(device).requires_grad_() for table in tables]
    exact = [table.double().requires_grad_() for table in tables]
    score = compiled.edit_similarity(*leaves, **options)
    wanted = reference.edit_similarity(*exact, **options)
    rtol, atol = (1e-6, 1e-4) if dtype == torch.float32 else (1e-9, 1e-7)
    torch.testing.assert_close(score.cpu().double(), wanted, rtol=rtol, atol=atol)
    for got, expected in zip(gradients(score, leaves), gradients(wanted, exact), strict=True):
        torch.testing.assert_close(got.cpu().double(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [1.0, 1e-3])
@pytest.mark.parametrize("change", CHANGES)
def test_large_and_infinite_potentials(
    compiled: ModuleType, device: torch.device, change: str, gamma: float, dtype: torch.dtype
) -> None:
    check(compiled, tables_of(8, 9, 12, CHANGES[change]), dtype, device, gamma=gamma)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [1e-6, 1e-30])
def test_a_tiny_gamma(
    compiled: ModuleType, device: torch.device, gamma: float, dtype: torch.dtype
) -> None:
    # In sixteenths, so that nothing hangs on the rounding of a sum.
    tables = [(16 * table).round() / 16 for table in tables_of(3, 20, 30, CHANGES["nothing"])]
    check(compiled, tables, dtype, device, gamma=gamma)


# The smallest numbers are subnormal: 1 / gamma is infinite.
SMALLEST = [
    (torch.float32, 1.4e-45),
    (torch.float32, 1e-40),
    (torch.float32, 4.2e-39),
    (torch.float32, 1.2e-38),
    (torch.float64, 5e-324),
    (torch.float64, 1e-310),
    (torch.float64, 2.3e-308),
]


@pytest.mark.parametrize(("dtype", "gamma"), SMALLEST)
@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance", "lcs", "gated", "soft_dtw"])
def test_the_smallest_gammas_have_their_limit(
    implementation: ModuleType,
    device: torch.device,
    name: str,
    gamma: float,
    dtype: torch.dtype,
) -> None:
    # Sums of sixteenths are exact, and these have no two alignments of the same score.
    table = torch.tensor([[9, 2, 5], [3, 16, 4], [1, 7, 32], [64, 8, 11]], dtype=dtype) / 16
    results = []
    for smoothing in (gamma, 0.0):
        inputs = [
            table.to(device).requires_grad_(),
            torch.tensor(smoothing, dtype=dtype, device=device).requires_grad_(),
        ]
        common = {"gamma": inputs[1]}
        if name in ("lcs", "gated"):
            width = 0.25 if name == "gated" else 0.0
            score = implementation.lcs(inputs[0], 3 / 32, gate_width=width, **common)
        elif name == "soft_dtw":
            score = implementation.soft_dtw(inputs[0], **common)
        else:
            score = getattr(implementation, name)(inputs[0], 17 / 16, 35 / 16, **common)
        results.append((score, *gradients(score, inputs)))
    (score, alignment, to_gamma), (hard_score, hard_alignment, _) = results
    torch.testing.assert_close(score, hard_score, rtol=0, atol=1e-6)
    torch.testing.assert_close(alignment, hard_alignment, rtol=0, atol=1e-6)
    assert to_gamma.isfinite()


@pytest.mark.parametrize(("dtype", "gamma"), SMALLEST)
def test_the_smallest_gammas_share_what_is_equal(
    implementation: ModuleType, device: torch.device, gamma: float, dtype: torch.dtype
) -> None:
    inputs = [
        torch.ones(2, 2, dtype=dtype, device=device, requires_grad=True),
        torch.tensor(gamma, dtype=dtype, device=device, requires_grad=True),
    ]
    distance = implementation.edit_distance(inputs[0], 1.0, 1.0, gamma=inputs[1])
    # Substitutions alone make 2; each cell has one arc that is best.
    assert distance == 2
    alignment, to_gamma = gradients(distance, inputs)
    torch.testing.assert_close(alignment.cpu(), torch.eye(2, dtype=dtype), rtol=0, atol=1e-6)
    assert to_gamma == 0
    distance = implementation.soft_dtw(inputs[0] * 0 + inputs[0].detach(), gamma=inputs[1])
    assert distance == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_pair_of_tiny_gamma_among_others(
    compiled: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    tables = [(16 * table).round() / 16 for table in tables_of(8, 9, 12, CHANGES["nothing"])]
    gamma = torch.tensor([0.5, 1.0, 1e-6, 0.25, 0.0, 2.0, 0.1, 1.0], dtype=torch.float64)
    gammas = {torch.float32: gamma.float(), torch.float64: gamma}
    leaves = [table.to(device, dtype).requires_grad_() for table in tables]
    exact = [table.to(dtype).double().requires_grad_() for table in tables]
    score = compiled.edit_similarity(*leaves, gamma=gammas[dtype].to(device), leading_gaps="free")
    wanted = reference.edit_similarity(*exact, gamma=gammas[dtype].double(), leading_gaps="free")
    torch.testing.assert_close(score.cpu().double(), wanted, rtol=1e-6, atol=1e-5)
    for got, expected in zip(gradients(score, leaves), gradients(wanted, exact), strict=True):
        torch.testing.assert_close(got.cpu().double(), expected, rtol=0, atol=2e-4)


def test_costs_of_soft_dtw_beyond_reach(compiled: ModuleType, device: torch.device) -> None:
    cost = normal(4, 9, 12, seed=1).square().float()
    cost[2, 4] = 1e9  # every path crosses it
    leaf, exact = cost.to(device).requires_grad_(), cost.double().requires_grad_()
    score, wanted = compiled.soft_dtw(leaf), reference.soft_dtw(exact)
    torch.testing.assert_close(score.cpu().double(), wanted, rtol=1e-6, atol=1e-5)
    (got,), (expected,) = gradients(score, [leaf]), gradients(wanted, [exact])
    torch.testing.assert_close(got.cpu().double(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("place", [(0, 0, 2999), (0, 69, 2999), (0, 40, 1500), (0, 69, 0)])
def test_one_that_comes_late_in_a_long_table(
    compiled: ModuleType, device: torch.device, place: tuple[int, ...]
) -> None:
    match = normal(1, 70, 3000, seed=1).float()
    match[place] = 1e8
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        leaf = match.to(device).requires_grad_()
        score = compiled.edit_similarity(leaf, -0.3, -0.2, gamma=0.5)
        results.append((score, *gradients(score, [leaf])))
    for one, two in zip(*results, strict=True):
        assert one.equal(two)
    exact = match.double().requires_grad_()
    wanted = reference.edit_similarity(exact, -0.3, -0.2, gamma=0.5)
    score, alignment = (result.cpu().double() for result in results[0])
    torch.testing.assert_close(score, wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(alignment, gradients(wanted, [exact])[0], rtol=0, atol=2e-4)

"""Where paths begin and end: gaps of either sequence at either end, open ends of soft-DTW."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from softdp import reference
from tests.softdp.path_enumeration import Rules, Table, score
from tests.softdp.support import LEADING_GAPS, gradients, normal

EVERY = list(itertools.product(LEADING_GAPS, repeat=4))
N, M = 3, 4


def tables(device: torch.device) -> list[Tensor]:
    shapes = (2, N, M), (2, N + 1, M), (2, N, M + 1)
    return [normal(*shape, seed=k).to(device).requires_grad_() for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance"])
@pytest.mark.parametrize(("lead_x", "lead_y", "trail_x", "trail_y"), EVERY)
def test_gaps_at_every_end_against_every_path(
    implementation: ModuleType,
    device: torch.device,
    name: str,
    lead_x: str,
    lead_y: str,
    trail_x: str,
    trail_y: str,
) -> None:
    leaves = tables(device)
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device, requires_grad=True)
    result = getattr(implementation, name)(
        *leaves, gamma=gamma, leading_gaps=(lead_x, lead_y), trailing_gaps=(trail_x, trail_y)
    )
    got = gradients(result, [*leaves, gamma])
    sign = -1 if name == "edit_distance" else 1
    rules = Rules((lead_x, lead_y), (trail_x, trail_y))
    for k in range(2):
        table = Table(*(sign * leaf[k].detach().cpu().numpy() for leaf in leaves))
        wanted = score(table, gamma[k].item(), rules)
        np.testing.assert_allclose(sign * result[k].item(), wanted.score, rtol=1e-10)
        for gradient, expected in zip(got[:3], wanted.table, strict=True):
            np.testing.assert_allclose(gradient[k].cpu().numpy(), expected, atol=1e-10)
        np.testing.assert_allclose(sign * got[3][k].item(), wanted.gamma, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (40, 7), (33, 65)])
def test_reversed_sequences_score_the_same(
    compiled: ModuleType, device: torch.device, shape: tuple[int, int], gamma: float
) -> None:
    n, m = shape
    shapes = (n, m), (n + 1, m), (n, m + 1)
    match, insert, delete = (normal(*each, seed=k).to(device) for k, each in enumerate(shapes))
    for lead_x, lead_y, trail_x, trail_y in EVERY:
        forth = compiled.edit_similarity(
            match, insert, delete, gamma=gamma,
            leading_gaps=(lead_x, lead_y), trailing_gaps=(trail_x, trail_y),
        )  # fmt: skip
        back = compiled.edit_similarity(
            match.flip(0, 1), insert.flip(0, 1), delete.flip(0, 1), gamma=gamma,
            leading_gaps=(trail_x, trail_y), trailing_gaps=(lead_x, lead_y),
        )  # fmt: skip
        torch.testing.assert_close(forth, back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_length_agrees_with_the_reference(
    compiled: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    n, m = 5, 36
    lengths = torch.cartesian_prod(torch.arange(n + 1), torch.arange(0, m + 1, 7)).T
    pairs = lengths.shape[1]
    leaves = [
        normal(pairs, n, m, seed=1).to(device, dtype).requires_grad_(),
        normal(pairs, 1, m, seed=2).to(device, dtype).requires_grad_(),
        normal(pairs, n, 1, seed=3).to(device, dtype).requires_grad_(),
    ]
    for gaps in itertools.product(("paid", "free"), ("free", "forbidden"), repeat=2):
        outcomes = []
        for module in (compiled, reference):
            result = module.edit_similarity(
                *leaves, gamma=0.7, lengths=(lengths[0], lengths[1]),
                leading_gaps=gaps[:2], trailing_gaps=gaps[2:],
            )  # fmt: skip
            outcomes.append((result, *gradients(result.nan_to_num(0, 0, 0), leaves)))
        tolerance = 1e-11 if dtype == torch.float64 else 1e-4
        for got, wanted in zip(*outcomes, strict=True):
            torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("open_begin", [False, True])
@pytest.mark.parametrize("open_end", [False, True])
def test_open_ends_of_soft_dtw_against_every_path(
    implementation: ModuleType, device: torch.device, open_begin: bool, open_end: bool
) -> None:
    cost = normal(2, N, M, seed=1).to(device).requires_grad_()
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device, requires_grad=True)
    result = implementation.soft_dtw(cost, gamma=gamma, open_begin=open_begin, open_end=open_end)
    to_cost, to_gamma = gradients(result, [cost, gamma])
    for k in range(2):
        # Paths begin with a match: from every cell of row 0, by no other arc.
        own = -cost[k].detach().cpu().numpy()
        insert = np.vstack([np.full((1, M), -np.inf), own])
        delete = np.hstack([np.full((N, 1), -np.inf), own])
        delete[0] = -np.inf
        begins = {(0, j): 0.0 for j in range(M if open_begin else 1)}
        ends = [(N, j) for j in range(1 if open_end else M, M + 1)]
        table = Table(own, insert, delete)
        wanted = score(table, gamma[k].item(), Rules(begins=begins), ends)
        np.testing.assert_allclose(-result[k].item(), wanted.score, rtol=1e-10)
        summed = wanted.table.match + wanted.table.insert[1:] + wanted.table.delete[:, 1:]
        np.testing.assert_allclose(to_cost[k].cpu().numpy(), summed, atol=1e-10)
        np.testing.assert_allclose(-to_gamma[k].item(), wanted.gamma, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_subsequence_is_found_where_it_was_put(
    compiled: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    y = normal(200, 3, seed=5).to(device, dtype)
    x = y[70:110]
    cost = torch.cdist(x, y).square().requires_grad_()
    distance = compiled.soft_dtw(cost, gamma=0.0, open_begin=True, open_end=True)
    assert distance.item() == pytest.approx(0, abs=1e-4)
    (alignment,) = gradients(distance, [cost])
    assert alignment.nonzero().tolist() == [[i, 70 + i] for i in range(40)]


@pytest.mark.host
@pytest.mark.parametrize("gaps", ["open", ("free",), ("free", "paid", "free"), 3, ("free", None)])
@pytest.mark.parametrize("argument", ["leading_gaps", "trailing_gaps"])
def test_gaps_that_are_none_are_refused(
    implementation: ModuleType, argument: str, gaps: object
) -> None:
    with pytest.raises(ValueError, match=rf"^edit_similarity: {argument} must be 'free', 'paid'"):
        implementation.edit_similarity(torch.zeros(2, 3), 0.0, 0.0, **{argument: gaps})


@pytest.mark.host
def test_paid_gaps_have_to_be_known(implementation: ModuleType) -> None:
    match, gap = torch.zeros(2, 3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"with a row more .* shape \(\.\.\., 3, 3\)"):
        implementation.edit_similarity(match, gap, 0.0, leading_gaps="paid")
    with pytest.raises(ValueError, match=r"with a column more .* shape \(\.\.\., 2, 4\)"):
        implementation.edit_similarity(match, 0.0, gap, leading_gaps="paid")
    longer = torch.zeros(3, 3)
    assert implementation.edit_similarity(match, longer, 0.0, leading_gaps="paid").shape == ()


@pytest.mark.host
@pytest.mark.parametrize("name", ["open_begin", "open_end"])
def test_open_is_a_yes_or_a_no(implementation: ModuleType, name: str) -> None:
    with pytest.raises(TypeError, match=f"^soft_dtw: {name} must be True or False, got 'x'"):
        implementation.soft_dtw(torch.zeros(2, 3), **{name: "x"})

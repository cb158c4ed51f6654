"""Local alignment: every path, every argument, all there is to ask."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import softdp
from softdp import SmithWatermanAlignment
from tests.softdp.alignment_oracle import M, N, Oracle, check
from tests.softdp.path_enumeration import Way
from tests.softdp.support import (
    GAP_FORMS,
    check_agreement,
    check_frequencies,
    check_transforms,
    gap_shape,
    gradients,
    normal,
    some_lengths,
)

Costs = tuple[Tensor, Tensor, Tensor, Tensor]  # open and extend in x, in y: (pairs, n, m) each


def costs_of(pairs: int, n: int, m: int, device: torch.device) -> Costs:
    each = [normal(pairs, n, m, seed=k + 9).to(device) for k in range(4)]
    return each[0], each[1], each[2], each[3]


def given(costs: Costs) -> dict[str, Any]:
    open_x, extend_x, open_y, extend_y = costs
    return {"gap_open": (open_x, open_y), "gap_extend": (extend_x, extend_y)}


def local_ways(similarity: Tensor, costs: Costs, k: int, n: int, m: int) -> list[Way]:
    """Every path of a pair of these lengths that begins and ends with a match."""
    own = similarity[k].cpu().numpy()
    open_x, extend_x, open_y, extend_y = (cost[k].cpu().numpy() for cost in costs)
    found: list[Way] = []

    def walk(i: int, j: int, before: str, value: float, arcs: list[Any]) -> None:
        """From where i steps of x and j of y are consumed."""
        if before == "match":
            found.append(Way(arcs[0][1], value, list(arcs)))
        if i < n and j < m:
            walk(i + 1, j + 1, "match", value + own[i, j], [*arcs, ("match", (i, j))])
        if not arcs:
            return
        if i < n:
            cost = extend_x[i, j - 1] + (open_x[i, j - 1] if before != "delete" else 0)
            walk(i + 1, j, "delete", value - cost, [*arcs, ("delete", (i, j))])
        if j < m:
            cost = extend_y[i - 1, j] + (open_y[i - 1, j] if before != "insert" else 0)
            walk(i, j + 1, "insert", value - cost, [*arcs, ("insert", (i, j))])

    for i in range(n):
        for j in range(m):
            walk(i, j, "", 0.0, [])
    return found


def test_every_path(device: torch.device) -> None:
    similarity, costs = normal(2, N, M, seed=1).to(device), costs_of(2, N, M, device)
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device)
    alignment = SmithWatermanAlignment(similarity, gamma=gamma, **given(costs))
    check(
        alignment,
        [Oracle(local_ways(similarity, costs, k, N, M), gamma[k].item(), N, M) for k in range(2)],
    )
    score = softdp.smith_waterman(similarity, gamma=gamma, **given(costs))
    torch.testing.assert_close(score, alignment.score, rtol=1e-12, atol=1e-12)


def test_every_path_of_lengths(device: torch.device) -> None:
    lengths = torch.cartesian_prod(torch.arange(N + 1), torch.arange(M + 1)).T
    pairs = lengths.shape[1]
    similarity, costs = normal(pairs, N, M, seed=1).to(device), costs_of(pairs, N, M, device)
    oracles = []
    for k, (n, m) in enumerate(lengths.T.tolist()):  # what lies beyond is not read
        oracles.append(Oracle(local_ways(similarity, costs, k, n, m), 0.7, n, m))
        similarity[k, n:] = similarity[k, :, m:] = math.nan
    alignment = SmithWatermanAlignment(
        similarity, gamma=0.7, lengths=(lengths[0], lengths[1]), **given(costs)
    )
    check(alignment, oracles)


def test_parts_are_found_wherever_they_are(
    implementation: ModuleType, device: torch.device
) -> None:
    x, y = (torch.tensor(list(word.encode())) for word in ("TTTTGATTACATT", "CCCCCCGATTTACA"))
    similarity = torch.where(x[:, None] == y, 5.0, -4.0).to(device)
    score = implementation.smith_waterman(similarity, gap_open=3.0, gap_extend=1.0, gamma=0.0)
    assert score.item() == 7 * 5 - 4  # GATT-ACA
    score = implementation.smith_waterman(similarity, gap=4.0, gamma=0.0)
    assert score.item() == 7 * 5 - 4
    apart = implementation.smith_waterman(-torch.ones(3, 4, device=device), gap=1.0, gamma=0.0)
    assert apart.item() == -1  # an alignment has one step at least
    for n, m in [(0, 0), (0, 3), (4, 0)]:
        nothing = implementation.smith_waterman(torch.zeros(2, n, m, device=device), gap=1.0)
        assert nothing.tolist() == [-math.inf] * 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "n", "m"),
    [((), 70, 33), ((2, 3), 31, 65), ((40,), 17, 20), ((0,), 3, 4), ((2,), 0, 5), ((3,), 90, 1)],
)
def test_agreement_with_the_specification(
    device: torch.device, batch: tuple[int, ...], n: int, m: int, dtype: torch.dtype
) -> None:
    similarity = normal(*batch, n, m, seed=1).to(dtype)
    shapes = [(), (n, 1), (*batch, 1, 1), (1, m)]
    costs = [normal(*shape, seed=2 + k).abs().to(dtype) for k, shape in enumerate(shapes)]
    lengths = some_lengths(batch, n, m)

    def score(implementation: Any, own: Tensor, *rest: Tensor) -> Tensor:
        open_x, extend_x, open_y, extend_y, gamma = rest
        return implementation.smith_waterman(
            own, gap_open=(open_x, open_y), gap_extend=(extend_x, extend_y), gamma=gamma,
            lengths=lengths,
        )  # fmt: skip

    check_agreement(score, [similarity, *costs], device)


@pytest.mark.parametrize("form", GAP_FORMS)
def test_gaps_in_every_form(implementation: ModuleType, device: torch.device, form: str) -> None:
    batch, n, m = (2,), 4, 3
    shape = gap_shape(form, batch, n, m)
    similarity, costs = normal(*batch, n, m, seed=1), [normal(*shape, seed=2 + k) for k in range(4)]
    leaves = [tensor.to(device).requires_grad_() for tensor in (similarity, *costs)]

    def score(own: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return implementation.smith_waterman(own, gap_open=(a, c), gap_extend=(b, d), gamma=0.6)

    assert gradcheck(score, leaves)
    full = [cost.expand(*batch, n, m).to(device) for cost in costs]
    torch.testing.assert_close(score(*leaves), score(leaves[0], *full))
    if implementation is softdp:
        assert gradgradcheck(score, leaves)


def test_linear_gaps_are_affine_ones_that_open_for_nothing(device: torch.device) -> None:
    similarity = normal(3, 6, 5, seed=1).to(device)
    linear = SmithWatermanAlignment(similarity, gap=(0.5, 0.7), gamma=0.4)
    affine = SmithWatermanAlignment(similarity, gap_open=0, gap_extend=(0.5, 0.7), gamma=0.4)
    torch.testing.assert_close(linear.score, affine.score)
    torch.testing.assert_close(linear.entropy(), affine.entropy())
    assert linear.best().arcs.equal(affine.best().arcs)


def test_without_smoothing_the_best_part_has_all_of_it(device: torch.device) -> None:
    similarity = normal(4, 9, 7, seed=1).to(device).requires_grad_()
    alignment = SmithWatermanAlignment(similarity, gap_open=0.5, gap_extend=0.2, gamma=0.0)
    (gradient,) = gradients(alignment.score.sum(), [similarity])
    best = alignment.best()
    for k in range(4):
        cells = torch.zeros(9, 7, dtype=torch.float64, device=device)
        for (i, j), arc in zip(best.pairs[k].tolist(), best.arcs[k].tolist(), strict=True):
            if arc == 0:
                cells[i, j] = 1
        torch.testing.assert_close(gradient[k], cells)
    torch.testing.assert_close(best.score, alignment.score)
    torch.testing.assert_close(alignment.log_prob(best), torch.zeros_like(best.score))


def test_expectations_and_entropies_have_derivatives(device: torch.device) -> None:
    similarity = normal(2, 3, 2, seed=1).to(device).requires_grad_()
    costs = [cost.requires_grad_() for cost in costs_of(2, 3, 2, device)]
    gamma = torch.tensor([0.6, 1.1], dtype=torch.float64, device=device, requires_grad=True)

    def asked(own: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        a = SmithWatermanAlignment(own, gamma=rest[-1], **given((*rest[:4],)))  # type: ignore[arg-type]
        return *a.expected, a.entropy(), a.log_prob(best)

    with torch.no_grad():
        best = SmithWatermanAlignment(similarity, **given((*costs,))).best()  # type: ignore[arg-type]
    assert gradcheck(asked, (similarity, *costs, gamma))


def test_samples_are_as_frequent_as_their_probability(device: torch.device) -> None:
    similarity, costs = normal(2, 2, 3, seed=3).to(device), costs_of(2, 2, 3, device)
    a = SmithWatermanAlignment(similarity, gamma=0.8, **given(costs))
    paths = a.sample(20000, torch.Generator().manual_seed(1))
    for k in range(2):
        oracle = Oracle(local_ways(similarity, costs, k, 2, 3), 0.8, 2, 3)
        check_frequencies(paths, k, oracle.key_shares())
    worth = a.score + 0.8 * a.log_prob(paths)
    torch.testing.assert_close(paths.score, worth, rtol=1e-9, atol=1e-9)


def test_what_is_no_local_path_has_no_probability(device: torch.device) -> None:
    alignment = SmithWatermanAlignment(torch.zeros(3, 3, device=device), gap=0.1)
    best = alignment.best()
    shifted = best._replace(pairs=torch.where(best.pairs >= 0, best.pairs + 3, -1))
    assert alignment.log_prob(best).isfinite()
    for amiss in (
        best._replace(lengths=torch.zeros_like(best.lengths)),
        shifted,
        best._replace(arcs=torch.where(best.arcs >= 0, 1, -1)),
    ):
        assert alignment.log_prob(amiss) == -math.inf


def test_torch_func_and_compile(device: torch.device) -> None:
    similarity = normal(4, 5, 3, seed=1).to(device)

    def score(own: Tensor) -> Tensor:
        return softdp.smith_waterman(own, gap_open=1.0, gap_extend=0.5, gamma=0.4)

    check_transforms(score, similarity)

    def best(own: Tensor) -> Tensor:
        return SmithWatermanAlignment(own, gap_open=1.0, gap_extend=0.5).best().arcs

    assert torch.vmap(best)(similarity).equal(best(similarity))


@pytest.mark.parametrize("gamma", [0.01, 1.0])
def test_long_tables_are_exact(device: torch.device, gamma: float) -> None:
    similarity = normal(700, 900, seed=1).to(device) - 0.5
    exact = softdp.smith_waterman(similarity, gap_open=1.0, gap_extend=0.3, gamma=gamma)
    rounded = similarity.float().requires_grad_()
    score = softdp.smith_waterman(rounded, gap_open=1.0, gap_extend=0.3, gamma=gamma)
    assert abs(score.item() - exact.item()) < 3e-5 * max(1, abs(exact.item()))
    (gradient,) = gradients(score, [rounded])
    leaf = similarity.requires_grad_()
    (wanted,) = gradients(
        softdp.smith_waterman(leaf, gap_open=1.0, gap_extend=0.3, gamma=gamma), [leaf]
    )
    np.testing.assert_allclose(gradient.cpu(), wanted.cpu(), atol=2e-3)


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "give gap, or gap_open and gap_extend; got none of them"),
        ({"gap": torch.zeros(7, 1)}, ValueError, r"gap must broadcast .* got \(7, 1\)"),
        ({"gap": 1.0, "gamma": -1.0}, ValueError, "gamma must be >= 0"),
        ({"gap": 1.0, "lengths": (9, 1)}, ValueError, r"lengths\[0\] must be in 0\.\.4, got 9"),
    ],
)
def test_what_does_not_fit_is_refused(
    implementation: ModuleType, options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=f"^smith_waterman: .*{message}"):
        implementation.smith_waterman(torch.zeros(3, 4, 5), **options)

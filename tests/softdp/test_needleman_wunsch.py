"""Global alignment with linear and affine gaps: every path, every argument, all there is to ask."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import softdp
from softdp import NeedlemanWunschAlignment
from tests.softdp.alignment_oracle import M, N, Oracle, check
from tests.softdp.path_enumeration import Rules, Table, Way, ways
from tests.softdp.support import (
    GAP_FORMS,
    LEADING_GAPS,
    check_agreement,
    check_frequencies,
    check_transforms,
    gap_shape,
    normal,
    some_lengths,
)

Costs = tuple[Tensor, Tensor, Tensor, Tensor]  # open and extend in x (n, m + 1), in y (n + 1, m)


def costs_of(pairs: int, n: int, m: int, device: torch.device) -> Costs:
    """A cost for each cell, and the first for gaps before the first step of the other sequence."""
    shapes = [(pairs, n, m + 1)] * 2 + [(pairs, n + 1, m)] * 2
    return tuple(normal(*shape, seed=k + 9).to(device) for k, shape in enumerate(shapes))


def affine_ways(
    similarity: Tensor, costs: Costs, k: int, n: int, m: int, rules: Rules
) -> list[Way]:
    """Every path of a pair of these lengths, with what it is worth."""
    own = similarity[k, :n, :m].cpu().numpy()
    open_x, extend_x, open_y, extend_y = (cost[k].cpu().numpy() for cost in costs)
    paths = ways(Table(own, np.zeros((n + 1, m)), np.zeros((n, m + 1))), rules)

    def worth(way: Way) -> Iterator[float]:
        before = None
        for kind, place in way.arcs:
            if kind == "match":
                yield own[place]
                before = kind
                continue
            opened, extended = (open_x, extend_x) if kind == "delete" else (open_y, extend_y)
            yield -extended[place] - (opened[place] if kind != before else 0)
            before = kind

    return [Way(way.begin, math.fsum(worth(way)), way.arcs) for way in paths]


def given(costs: Costs) -> dict[str, Any]:
    open_x, extend_x, open_y, extend_y = costs
    return {"gap_open": (open_x, open_y), "gap_extend": (extend_x, extend_y)}


@pytest.mark.parametrize("trailing", list(itertools.product(LEADING_GAPS, repeat=2)))
def test_every_path_of_every_end(device: torch.device, trailing: tuple[str, str]) -> None:
    similarity, costs = normal(2, N, M, seed=1).to(device), costs_of(2, N, M, device)
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device)
    for leading in itertools.product(LEADING_GAPS, repeat=2):
        options: dict[str, Any] = {"leading_gaps": leading, "trailing_gaps": trailing}
        options |= {"gamma": gamma, **given(costs)}
        rules = Rules(leading, trailing)
        oracles = [
            Oracle(affine_ways(similarity, costs, k, N, M, rules), gamma[k].item(), N, M)
            for k in range(2)
        ]
        alignment = NeedlemanWunschAlignment(similarity, **options)
        check(alignment, oracles)
        score = softdp.needleman_wunsch(similarity, **options)
        torch.testing.assert_close(score, alignment.score, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ends", [("paid", "paid"), ("free", "free"), ("free", "paid")])
def test_every_path_of_lengths(device: torch.device, ends: tuple[str, str]) -> None:
    lengths = torch.cartesian_prod(torch.arange(N + 1), torch.arange(M + 1)).T
    pairs = lengths.shape[1]
    similarity, costs = normal(pairs, N, M, seed=1).to(device), costs_of(pairs, N, M, device)
    for k, (n, m) in enumerate(lengths.T.tolist()):  # what lies beyond is not read
        similarity[k, n:] = similarity[k, :, m:] = math.nan
    alignment = NeedlemanWunschAlignment(
        similarity, gamma=0.7, lengths=(lengths[0], lengths[1]),
        leading_gaps=ends[0], trailing_gaps=ends[1], **given(costs),
    )  # fmt: skip
    rules = Rules((ends[0],) * 2, (ends[1],) * 2)
    check(
        alignment,
        [
            Oracle(affine_ways(similarity, costs, k, n, m, rules), 0.7, n, m)
            for k, (n, m) in enumerate(lengths.T.tolist())
        ],
    )


@pytest.mark.parametrize("trailing", ["paid", "free"])
def test_every_path_in_bands(device: torch.device, trailing: str) -> None:
    similarity, costs = normal(3, N, M, seed=1).to(device), costs_of(3, N, M, device)
    bands = torch.tensor(
        [[[0, 2], [1, 3], [1, 3]], [[0, 1], [0, 3], [2, 3]], [[0, 1], [2, 3], [2, 3]]]
    )
    alignment = NeedlemanWunschAlignment(
        similarity, gamma=0.7, band=bands.to(device), leading_gaps="forbidden",
        trailing_gaps=trailing, **given(costs),
    )  # fmt: skip
    oracles = []
    for k in range(3):
        rules = Rules(("forbidden",) * 2, (trailing,) * 2, bands[k].numpy())
        oracles.append(Oracle(affine_ways(similarity, costs, k, N, M, rules), 0.7, N, M))
    check(alignment, oracles)


def test_a_gap_of_k_steps_costs_open_and_k_extend(
    implementation: ModuleType, device: torch.device
) -> None:
    for n, m in [(4, 0), (0, 3), (1, 1), (5, 2)]:
        similarity = torch.full((n, m), -100.0, device=device)
        score = implementation.needleman_wunsch(similarity, gap_open=3.0, gap_extend=0.5, gamma=0.0)
        assert score.item() == -(3.0 * ((n > 0) + (m > 0)) + 0.5 * (n + m))  # both turns are there
    similarity = torch.zeros(2, 2, device=device)
    costs = {"gap_open": (1.0, 10.0), "gap_extend": (0.25, 2.0)}  # in x, in y
    for first, second, wanted in [(2, 0, -1.5), (0, 2, -14.0)]:
        score = implementation.needleman_wunsch(similarity[:first, :second], gamma=0.0, **costs)
        assert score.item() == wanted


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "n", "m"),
    [((), 70, 33), ((2, 3), 31, 65), ((40,), 17, 20), ((0,), 3, 4), ((2,), 0, 5)],
)
def test_agreement_with_the_specification(
    device: torch.device, batch: tuple[int, ...], n: int, m: int, dtype: torch.dtype
) -> None:
    similarity = normal(*batch, n, m, seed=1).to(dtype)
    in_x = [normal(*shape, seed=2 + k).to(dtype) for k, shape in enumerate([(), (n, 1)])]
    in_y = [
        normal(*shape, seed=4 + k).to(dtype) for k, shape in enumerate([(*batch, 1, 1), (1, m)])
    ]
    lengths = some_lengths(batch, n, m)

    def score(implementation: Any, own: Tensor, *rest: Tensor, ends: dict[str, str]) -> Tensor:
        open_x, extend_x, open_y, extend_y, gamma = rest
        return implementation.needleman_wunsch(
            own, gap_open=(open_x, open_y), gap_extend=(extend_x, extend_y), gamma=gamma,
            lengths=lengths, **ends,
        )  # fmt: skip

    for leading, trailing in [("paid", "paid"), ("free", "free"), ("forbidden", "free")]:
        ends = {"leading_gaps": leading, "trailing_gaps": trailing}
        call = functools.partial(score, ends=ends)
        check_agreement(call, [similarity, *in_x, *in_y], device)


@pytest.mark.parametrize("form", GAP_FORMS)
def test_gaps_in_every_form(implementation: ModuleType, device: torch.device, form: str) -> None:
    batch, n, m = (2,), 4, 3
    shape = gap_shape(form, batch, n, m)
    similarity, costs = normal(*batch, n, m, seed=1), [normal(*shape, seed=2 + k) for k in range(4)]
    leaves = [tensor.to(device).requires_grad_() for tensor in (similarity, *costs)]

    def score(own: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return implementation.needleman_wunsch(
            own, gap_open=(a, c), gap_extend=(b, d), gamma=0.6, leading_gaps="free"
        )

    assert gradcheck(score, leaves)
    full = [cost.expand(*batch, n, m).to(device) for cost in costs]
    torch.testing.assert_close(score(*leaves), score(leaves[0], *full))
    if implementation is softdp:
        assert gradgradcheck(score, leaves)


def test_linear_gaps_are_affine_ones_that_open_for_nothing(device: torch.device) -> None:
    similarity = normal(3, 6, 5, seed=1).to(device)
    gap = normal(6, 1, seed=2).to(device), 0.7
    options: dict[str, Any] = {"gamma": 0.4, "trailing_gaps": ("free", "paid")}
    linear = NeedlemanWunschAlignment(similarity, gap=gap, **options)
    affine = NeedlemanWunschAlignment(similarity, gap_open=0, gap_extend=gap, **options)
    score = softdp.needleman_wunsch(similarity, gap=gap, **options)
    for one, other in (
        (linear.score, affine.score),
        (linear.score, score),
        (linear.score, softdp.edit_similarity(similarity, -0.7, -gap[0], **options)),
        (linear.entropy(), affine.entropy()),
        *zip(linear.expected, affine.expected, strict=True),
        (linear.log_prob(affine.best()), affine.log_prob(linear.best())),
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert linear.best().arcs.equal(affine.best().arcs)


@pytest.mark.parametrize("ends", ["paid", "free"])
def test_expectations_and_entropies_have_derivatives(device: torch.device, ends: str) -> None:
    similarity = normal(2, 3, 2, seed=1).to(device).requires_grad_()
    costs = [cost.to(device).requires_grad_() for cost in costs_of(2, 3, 2, device)]
    gamma = torch.tensor([0.6, 1.1], dtype=torch.float64, device=device, requires_grad=True)

    def asked(own: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        a = NeedlemanWunschAlignment(
            own, gamma=rest[-1], leading_gaps=ends, trailing_gaps=ends, **given(rest[:4])
        )
        return *a.expected, a.entropy(), a.log_prob(best)

    with torch.no_grad():
        ends_alike = {"leading_gaps": ends, "trailing_gaps": ends}
        own_costs = given(tuple(costs))
        best = NeedlemanWunschAlignment(similarity, **ends_alike, **own_costs).best()
    assert gradcheck(asked, (similarity, *costs, gamma))


def test_samples_are_as_frequent_as_their_probability(device: torch.device) -> None:
    similarity, costs = normal(2, N, M, seed=3).to(device), costs_of(2, N, M, device)
    for ends in ("paid", "free"):
        a = NeedlemanWunschAlignment(
            similarity, gamma=0.8, leading_gaps=ends, trailing_gaps=ends, **given(costs)
        )
        paths = a.sample(20000, torch.Generator().manual_seed(1))
        rules = Rules((ends,) * 2, (ends,) * 2)
        for k in range(2):
            oracle = Oracle(affine_ways(similarity, costs, k, N, M, rules), 0.8, N, M)
            check_frequencies(paths, k, oracle.key_shares())
        worth = a.score + 0.8 * a.log_prob(paths)
        torch.testing.assert_close(paths.score, worth, rtol=1e-9, atol=1e-9)


def test_torch_func_and_compile(device: torch.device) -> None:
    similarity = normal(4, 5, 3, seed=1).to(device)

    def score(own: Tensor) -> Tensor:
        return softdp.needleman_wunsch(own, gap_open=1.0, gap_extend=0.5, gamma=0.4)

    check_transforms(score, similarity)

    def best(own: Tensor) -> Tensor:
        return NeedlemanWunschAlignment(own, gap_open=1.0, gap_extend=0.5).best().arcs

    assert torch.vmap(best)(similarity).equal(best(similarity))


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "give gap, or gap_open and gap_extend; got none of them"),
        ({"gap": 1.0, "gap_open": 1.0}, TypeError, "got gap, gap_open"),
        ({"gap_extend": 1.0}, TypeError, "got gap_extend"),
        ({"gap": (1.0, 2.0, 3.0)}, ValueError, "gap must be one cost, or two of them .* got 3"),
        ({"gap": "1"}, TypeError, "gap must be a number or a tensor, got str"),
        ({"gap": (1.0, None)}, TypeError, r"gap\[1\] must be a number or a tensor"),
        ({"gap": torch.zeros(7, 1)}, ValueError, r"gap must broadcast .* got \(7, 1\)"),
        (
            {"gap_open": torch.zeros(4, 5), "gap_extend": 1.0},
            ValueError,
            r"leading_gaps='paid' in x needs .* shape \(\.\.\., 4, 1\), .* shape \(\.\.\., 4, 6\)",
        ),
        (
            {"gap_open": (1.0, torch.zeros(4, 1)), "gap_extend": 1.0},
            ValueError,
            r"leading_gaps='paid' in y needs .* shape \(\.\.\., 1, 5\), .* shape \(\.\.\., 5, 5\)",
        ),
        (
            {
                "gap_open": (torch.zeros(4, 5), 1.0),
                "gap_extend": (torch.zeros(4, 6), 1.0),
                "leading_gaps": "free",
            },
            ValueError,
            r"gap_open and gap_extend in x must broadcast to one another",
        ),
        ({"gap": 1.0, "gamma": -1.0}, ValueError, "gamma must be >= 0"),
        ({"gap": 1.0, "leading_gaps": "none"}, ValueError, "leading_gaps must be"),
    ],
)
def test_what_does_not_fit_is_refused(
    implementation: ModuleType, options: dict[str, Any], error: type, message: str
) -> None:
    similarity = torch.zeros(3, 4, 5)
    with pytest.raises(error, match=f"^needleman_wunsch: .*{message}"):
        implementation.needleman_wunsch(similarity, **options)


@pytest.mark.host
def test_the_op_refuses_paid_gaps_that_vary(compiled: ModuleType) -> None:
    first, number = torch.zeros(3, 4, 5), torch.zeros(())
    for place, gap in ((1, torch.zeros(4, 5)), (2, torch.zeros(5)), (3, torch.zeros(4, 1))):
        tables = [first, number, number, number, number]
        tables[place] = gap
        options = (number, None, None, None, None, 4, 3, False, False)
        with pytest.raises(RuntimeError, match="paid leading gaps need inserts that do not vary"):
            torch.ops.softdp.affine(*tables, *options)

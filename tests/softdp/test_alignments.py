"""Alignments against every path of tiny tables, and of larger ones the best."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import softdp
from softdp import EditAlignment, LCSAlignment, SoftDTWAlignment
from tests.softdp.alignment_oracle import M, N, Oracle, check, gap_tables, of_pair
from tests.softdp.path_enumeration import Rules, Table, ways
from tests.softdp.support import LEADING_GAPS, gradients, normal


@pytest.mark.parametrize("minimise", [False, True])
@pytest.mark.parametrize("trailing", list(itertools.product(LEADING_GAPS, repeat=2)))
def test_gaps_at_every_end(device: torch.device, trailing: tuple[str, str], minimise: bool) -> None:
    tables, sign = gap_tables(device), -1 if minimise else 1
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device)
    for leading in itertools.product(LEADING_GAPS, repeat=2):
        alignment = EditAlignment(
            *tables, gamma=gamma, leading_gaps=leading, trailing_gaps=trailing, minimise=minimise
        )
        oracles = [
            Oracle(
                ways(of_pair(tables, k, N, M, sign), Rules(leading, trailing)),
                gamma[k].item(), N, M,
            )
            for k in range(2)
        ]  # fmt: skip
        check(alignment, oracles, sign)


@pytest.mark.parametrize("ends", [("paid", "paid"), ("free", "free"), ("free", "paid")])
def test_lengths(device: torch.device, ends: tuple[str, str]) -> None:
    lengths = torch.cartesian_prod(torch.arange(N + 1), torch.arange(M + 1)).T
    tables = gap_tables(device, lengths.shape[1])
    alignment = EditAlignment(
        *tables, gamma=0.7, lengths=(lengths[0], lengths[1]),
        leading_gaps=ends[0], trailing_gaps=ends[1],
    )  # fmt: skip
    oracles = []
    for k, (n, m) in enumerate(lengths.T.tolist()):
        rules = Rules((ends[0],) * 2, (ends[1],) * 2)
        oracles.append(Oracle(ways(of_pair(tables, k, n, m), rules), 0.7, n, m))
    check(alignment, oracles)


@pytest.mark.parametrize("trailing", ["paid", "free"])
def test_bands(device: torch.device, trailing: str) -> None:
    tables = gap_tables(device, 3)
    bands = torch.tensor(
        [
            [[0, 2], [1, 3], [1, 3]],
            [[0, 1], [0, 3], [2, 3]],
            [[0, 1], [2, 3], [2, 3]],  # which no path passes
        ]
    )
    alignment = EditAlignment(
        *tables, gamma=0.7, band=bands.to(device), leading_gaps="forbidden", trailing_gaps=trailing
    )
    oracles = []
    for k in range(3):
        rules = Rules(("forbidden",) * 2, (trailing,) * 2, bands[k].numpy())
        oracles.append(Oracle(ways(of_pair(tables, k, N, M), rules), 0.7, N, M))
    check(alignment, oracles)


@pytest.mark.parametrize("open_end", [False, True])
@pytest.mark.parametrize("open_begin", [False, True])
def test_soft_dtw(device: torch.device, open_begin: bool, open_end: bool) -> None:
    lengths = torch.tensor([[3, 3], [2, 3], [3, 1], [0, 2], [2, 0]]).T
    cost = normal(5, N, M, seed=1)
    alignment = SoftDTWAlignment(
        cost.to(device), gamma=0.6, lengths=(lengths[0], lengths[1]),
        open_begin=open_begin, open_end=open_end,
    )  # fmt: skip
    oracles = []
    for k, (n, m) in enumerate(lengths.T.tolist()):
        worth = -cost[k, :n, :m].numpy()
        table = Table(worth, np.pad(worth, ((1, 0), (0, 0))), np.pad(worth, ((0, 0), (1, 0))))
        begins = {(0, j): 0.0 for j in range(m + 1 if open_begin else 1)}
        rules = Rules(("forbidden",) * 2, begins=begins)
        ends = [(n, j) for j in range(0 if open_end else m, m + 1)]
        found = ways(table, rules, ends)
        if open_begin:  # both arcs into the first row are the same beginning
            found = [way for way in found if not way.arcs or way.arcs[0][0] == "match"]
        oracles.append(Oracle(found, 0.6, n, m))
    check(alignment, oracles, -1)
    wanted = softdp.soft_dtw(
        cost.to(device), gamma=0.6, lengths=(lengths[0], lengths[1]),
        open_begin=open_begin, open_end=open_end,
    )  # fmt: skip
    assert alignment.score.equal(wanted)


@pytest.mark.parametrize("gate_width", [0.0, 0.3])
def test_lcs(device: torch.device, gate_width: float) -> None:
    similarity, gamma = normal(2, N, M, seed=1), torch.tensor([0.3, 1.0], dtype=torch.float64)
    alignment = LCSAlignment(
        similarity.to(device), 0.1, gamma=gamma.to(device), gate_width=gate_width
    )
    oracles = []
    for k in range(2):
        c, g = similarity[k].numpy(), gamma[k].item()
        if gate_width == 0:
            match = np.where(c > 0.1, c, -math.inf)
            gap = np.where(c > 0.1, -math.inf, -g * math.log(2))
        else:
            z = (c - 0.1) / gate_width
            match, gap = c - g * np.logaddexp(0, -z), -g * np.logaddexp(0, z) - g * math.log(2)
        table = Table(match, np.pad(gap, ((1, 0), (0, 0))), np.pad(gap, ((0, 0), (1, 0))))
        found = [way for way in ways(table, Rules(("free",) * 2)) if way.value > -math.inf]
        oracles.append(Oracle(found, g, N, M))
    check(alignment, oracles)
    wanted = softdp.lcs(similarity.to(device), 0.1, gamma=gamma.to(device), gate_width=gate_width)
    assert alignment.score.equal(wanted)


def test_ties_are_broken_match_then_delete_then_insert(device: torch.device) -> None:
    whole = torch.zeros(2, 2, dtype=torch.float64, device=device)
    best = softdp.best_alignment(whole, 0.0, 0.0)
    assert best.arcs[: best.lengths].tolist() == [0, 0]
    no_match = torch.full_like(whole, -math.inf)
    best = softdp.best_alignment(no_match, 0.0, 0.0)
    # A delete is taken before an insert, from the end on.
    assert best.arcs.tolist() == [2, 2, 1, 1]
    assert best.pairs.tolist() == [[-1, 0], [-1, 1], [0, 1], [1, 1]]
    best = softdp.best_alignment(whole, 0.0, 0.0, leading_gaps="free", trailing_gaps="free")
    assert best.score == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("pairs", "n", "m"), [(1, 70, 90), (5, 33, 40), (40, 9, 130), (70, 12, 7)])
def test_the_best_path_of_larger_tables(
    device: torch.device, dtype: torch.dtype, pairs: int, n: int, m: int
) -> None:
    match = (normal(pairs, n, m, seed=1) * 64).round().div(64).to(device, dtype)
    lengths = [torch.arange(pairs) % size + 1 for size in (n, m)]
    lengths[0][0], lengths[1][0] = n, m
    band = softdp.sakoe_chiba(n, m, 9, lengths=(lengths[0], lengths[1])).to(device)
    for options in ({}, {"band": band}, {"leading_gaps": "free", "trailing_gaps": "free"}):
        call = {"lengths": (lengths[0], lengths[1]), **options}
        best = softdp.best_alignment(match, -0.25, -0.5, **call)
        wanted = softdp.edit_similarity(match, -0.25, -0.5, gamma=0.0, **call)
        assert best.score.equal(wanted)
        # All in binary fractions: the sums are exact in any order.
        alignment = EditAlignment(match, -0.25, -0.5, gamma=0.0, **call)
        assert alignment._sum(best.pairs, best.arcs).equal(wanted.double())
        assert (alignment.log_prob(best) == 0).all()
        leaf = match.clone().requires_grad_()
        (taken,) = gradients(softdp.edit_similarity(leaf, -0.25, -0.5, gamma=0.0, **call), [leaf])
        again = torch.zeros_like(taken)
        for k in range(pairs):
            i, j = best.pairs[k, best.arcs[k] == 0].unbind(-1)
            again[k, i, j] = 1
        assert again.equal(taken)

"""Paths that are drawn, and the op that walks."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch

from softdp import AlignmentPath, EditAlignment, SoftDTWAlignment
from tests.softdp.alignment_oracle import M, N, Oracle, gap_tables, of_pair
from tests.softdp.path_enumeration import Rules, ways
from tests.softdp.support import normal


def frequencies(path: AlignmentPath, pair: int) -> dict[tuple[Any, ...], int]:
    found: dict[tuple[Any, ...], int] = {}
    arcs, pairs = path.arcs[:, pair].tolist(), path.pairs[:, pair].tolist()
    for k, length in enumerate(path.lengths[:, pair].tolist()):
        key = tuple((arcs[k][step], *pairs[k][step]) for step in range(length))
        found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ends", [("paid", "paid"), ("free", "free"), ("forbidden", "free")])
def test_paths_are_drawn_as_often_as_is_probable(
    device: torch.device, dtype: torch.dtype, ends: tuple[str, str]
) -> None:
    count, gamma = 20000, 0.8
    tables = [table.to(dtype) for table in gap_tables(device)]
    alignment = EditAlignment(*tables, gamma=gamma, leading_gaps=ends[0], trailing_gaps=ends[1])
    path = alignment.sample(count, torch.Generator().manual_seed(3))
    for k in range(2):
        rules = Rules((ends[0],) * 2, (ends[1],) * 2)
        table = of_pair([t.double() for t in tables], k, N, M)
        shares = Oracle(ways(table, rules), gamma, N, M).key_shares()
        drawn = frequencies(path, k)
        assert set(drawn) <= set(shares)
        assert_chi_square(shares, drawn, count)
    score = alignment._sum(path.pairs, path.arcs).to(path.score.dtype)
    assert path.score.equal(score)
    torch.testing.assert_close(
        alignment.log_prob(path).double(), (score - alignment.score).double() / gamma,
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def assert_chi_square(
    shares: dict[tuple[Any, ...], float], drawn: dict[tuple[Any, ...], int], count: int
) -> None:
    """What is expected less than ten times is taken together."""
    common = [(share * count, drawn.get(key, 0)) for key, share in shares.items()]
    rare = [pair for pair in common if pair[0] < 10]
    cells = [pair for pair in common if pair[0] >= 10]
    cells.append((sum(e for e, _ in rare), sum(o for _, o in rare)))
    statistic = sum((o - e) ** 2 / e for e, o in cells if e > 0)
    freedom = len(cells) - 1
    # Wilson and Hilferty: a normal number, above 4 once in 30,000 times.
    normal_number = ((statistic / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(
        2 / (9 * freedom)
    )
    assert normal_number < 4, f"chi-square of {statistic:.1f} at {freedom} degrees of freedom"


@pytest.mark.parametrize("open_begin", [False, True])
def test_open_ends_are_drawn_as_often_as_is_probable(
    device: torch.device, open_begin: bool
) -> None:
    cost = normal(1, N, M, seed=1).to(device)
    alignment = SoftDTWAlignment(cost, gamma=0.7, open_begin=open_begin, open_end=True)
    path = alignment.sample(10000, torch.Generator().manual_seed(5))
    drawn = frequencies(path, 0)
    logs = alignment.log_prob(path)[:, 0].exp().tolist()
    shares = dict(zip((key for key in each_key(path, 0)), logs, strict=True))
    assert sum(shares.values()) > 0.99
    rest = 1 - sum(shares.values())
    assert_chi_square({**shares, ("rest",): max(rest, 0.0)}, drawn, 10000)


def each_key(path: AlignmentPath, pair: int) -> list[tuple[Any, ...]]:
    arcs, pairs = path.arcs[:, pair].tolist(), path.pairs[:, pair].tolist()
    return [
        tuple((arcs[k][step], *pairs[k][step]) for step in range(length))
        for k, length in enumerate(path.lengths[:, pair].tolist())
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_paths_whatever_the_threads(device: torch.device, dtype: torch.dtype) -> None:
    match = normal(21, 30, 50, seed=1).to(device, dtype)
    lengths = torch.arange(21) + 5, 50 - torch.arange(21)
    outcomes = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        alignment = EditAlignment(
            match, -0.5, -0.5, gamma=0.5, lengths=lengths, trailing_gaps="free"
        )
        outcomes.append(alignment.sample(7, torch.Generator().manual_seed(1)))
    torch.set_num_threads(threads)
    for one, other in zip(*outcomes, strict=True):
        assert one.equal(other)
    fewer = alignment.sample(7, torch.Generator().manual_seed(2))
    assert not fewer.arcs.equal(outcomes[0].arcs)


def test_a_path_does_not_depend_on_the_other_pairs(device: torch.device) -> None:
    match = normal(9, 20, 30, seed=1).to(device)
    many = EditAlignment(match, -0.5, -0.5, gamma=0.5)
    one = EditAlignment(match[0], -0.5, -0.5, gamma=0.5)
    paths = many.sample(5, torch.Generator().manual_seed(1))
    alone = one.sample(5, torch.Generator().manual_seed(1))
    assert paths.arcs[:, 0].equal(alone.arcs)
    more = many.sample(8, torch.Generator().manual_seed(1))
    assert more.arcs[:5].equal(paths.arcs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_opcheck(device: torch.device, dtype: torch.dtype) -> None:
    first = normal(3, 4, 5, seed=1).to(device, dtype)
    lengths = torch.tensor([4, 0, 3], device=device), torch.tensor([5, 2, 1], device=device)
    gamma = torch.tensor(0.5, dtype=dtype, device=device)
    given = first, gamma, None, *lengths, None
    score, weights, _ = torch.ops.softdp.soft_dtw(*given, True, False)
    cells = torch.stack((*lengths, torch.zeros_like(lengths[0])), -1)[:, None].expand(3, 2, 3)
    for seeds in (None, torch.arange(3, device=device)):
        for its_cells in (None, cells):
            arguments = weights, first, *lengths, None, score, its_cells, 2, 1, 8, True, seeds
            torch.library.opcheck(torch.ops.softdp.walk, arguments)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: torch.zeros(7, dtype=torch.float64)}, "weights must be those of a forward call"),
        ({6: torch.zeros(3, 1, 3)}, "cells must be int64"),
        ({6: torch.zeros(2, 1, 3, dtype=torch.int64)}, r"of shape \(3, 1, 3\), got \(2, 1, 3\)"),
        ({6: torch.zeros(2, dtype=torch.int64)}, r"of shape \(3, 1, 3\), got \(2,\)"),
        ({7: 2}, r"cells must be int64 .* of shape \(3, 2, 3\), got \(3, 1, 3\)"),
        ({7: -1, 6: None}, "paths must be at least 0, got -1"),
        ({7: 2**61, 6: None}, "too large"),
        ({5: torch.zeros(3)}, "score must be in the dtype"),
        ({5: torch.zeros(2, dtype=torch.float64)}, "score must be in the dtype"),
        ({2: torch.tensor([5, 1, 1]), 3: torch.tensor([1, 1, 1])}, "n_lengths must be in 0..4"),
        ({9: 9}, "leading_gaps must be"),
        ({11: torch.tensor(7)}, "seeds must be int64"),
        ({11: torch.zeros(3)}, "seeds must be int64"),
        ({8: 4}, "no family has cells of 4 states"),
        ({8: 3}, "weights must be those of a forward call"),
    ],
)
def test_the_op_refuses_what_would_read_out_of_bounds(
    compiled: ModuleType, changes: dict[int, Any], message: str
) -> None:
    first = normal(3, 4, 5, seed=1)
    gamma = torch.tensor(0.5, dtype=torch.float64)
    score, weights, _ = torch.ops.softdp.soft_dtw(first, gamma, None, None, None, None, True, False)
    given: list[Any] = [
        weights,
        first,
        None,
        None,
        None,
        score,
        torch.tensor([4, 5, 0]).expand(3, 1, 3),
        1,
        1,
        8,
        True,
        torch.arange(3),
    ]
    torch.ops.softdp.walk(*given)
    for place, value in changes.items():
        given[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.softdp.walk(*given)


@pytest.mark.host
def test_cells_outside_the_lengths_have_no_path(compiled: ModuleType) -> None:
    first = normal(1, 4, 5, seed=1)
    gamma = torch.tensor(0.5, dtype=torch.float64)
    score, weights, _ = torch.ops.softdp.soft_dtw(first, gamma, None, None, None, None, True, False)
    cells = torch.tensor([[[5, 5, 0], [4, 6, 0], [-1, 2, 0], [4, 5, 0], [4, 5, 1]]])
    pairs, arcs, lengths = torch.ops.softdp.walk(
        weights, first, None, None, None, score, cells, 5, 1, 8, True, None
    )
    assert lengths[0, [0, 1, 2, 4]].tolist() == [0, 0, 0, 0]
    assert (pairs[0, :3] == -1).all()
    assert (arcs[0, :3] == -1).all()
    assert lengths[0, 3] > 0


@pytest.mark.host
def test_a_score_of_no_path_has_none(compiled: ModuleType) -> None:
    first = normal(5, 4, 5, seed=1)
    gamma = torch.tensor(0.5, dtype=torch.float64)
    score, weights, _ = torch.ops.softdp.soft_dtw(first, gamma, None, None, None, None, True, False)
    score[1:4] = torch.tensor([math.inf, -math.inf, math.nan])
    for minimise, none in ((True, [1, 3]), (False, [2, 3])):
        _, arcs, lengths = torch.ops.softdp.walk(
            weights, first, None, None, None, score, None, 2, 1, 8, minimise, None
        )
        assert (lengths == 0).all(-1).nonzero().flatten().tolist() == none
        assert (arcs[none] == -1).all()

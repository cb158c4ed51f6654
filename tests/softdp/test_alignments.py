"""Alignments out of the weights of a sweep, against every path of tiny tables."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import softdp
from softdp import AlignmentPath, EditAlignment, LCSAlignment, SoftDTWAlignment
from tests.softdp.path_enumeration import Rules, Table, Way, ways
from tests.softdp.support import LEADING_GAPS, gradients, normal

N, M = 3, 3
_KINDS = "match", "delete", "insert"


class Oracle:
    """The distribution over the paths of one pair. costs: values are the negatives of these."""

    def __init__(self, found: Sequence[Way], gamma: float, n: int, m: int) -> None:
        self.found, self.n, self.m = found, n, m
        values = np.array([way.value for way in found])
        self.best = values.max(initial=-math.inf)
        self.possible = self.best > -math.inf
        scaled = np.exp((values - self.best) / gamma) if self.possible else values * 0
        self.shares = scaled / scaled.sum() if self.possible else scaled
        self.score = self.best + gamma * math.log(scaled.sum()) if self.possible else -math.inf

    def entropy(self) -> float:
        return -sum(share * math.log(share) for share in self.shares if share > 0)

    def expected(self) -> list[np.ndarray]:
        """Of match, delete and insert."""
        tables = [np.zeros((self.n, self.m)) for _ in range(3)]
        for share, way in zip(self.shares, self.found, strict=True):
            for arc, i, j in way.steps():
                if i >= 0 and j >= 0:
                    tables[arc][i, j] += share
        return tables

    def paths(self, most: int) -> AlignmentPath:
        """All of them, in the form of AlignmentPath, with room for so many steps."""
        pairs = torch.full((len(self.found), most, 2), -1)
        arcs = torch.full((len(self.found), most), -1)
        for k, way in enumerate(self.found):
            for step, (arc, i, j) in enumerate(way.steps()):
                arcs[k, step], pairs[k, step] = arc, torch.tensor([i, j])
        lengths = torch.tensor([len(way.arcs) for way in self.found], dtype=torch.int64)
        return AlignmentPath(pairs, arcs, lengths, torch.zeros(len(self.found)))

    def key_shares(self) -> dict[tuple[Any, ...], float]:
        """By the steps: paths without one are not told apart."""
        found: dict[tuple[Any, ...], float] = {}
        for share, way in zip(self.shares, self.found, strict=True):
            key = tuple(way.steps())
            found[key] = found.get(key, 0.0) + share
        return found


def check(alignment: Any, oracles: Sequence[Oracle], sign: int = 1) -> None:
    """All that an alignment says of its pairs, shape (pairs,)."""
    expected, entropy, best = alignment.expected, alignment.entropy(), alignment.best()
    n, m = expected.match.shape[-2:]
    device = expected.match.device
    of_best = alignment.log_prob(best)
    for k, oracle in enumerate(oracles):
        close(alignment.score[k], sign * oracle.score, "score")
        for kind, wanted in zip(_KINDS, oracle.expected(), strict=True):
            padded = np.zeros((n, m))
            padded[: oracle.n, : oracle.m] = wanted
            close(getattr(expected, kind)[k], padded, f"expected {kind}")
        close(entropy[k], oracle.entropy(), "entropy")
        close(best.score[k], sign * oracle.best, "score of the best path")
        if not oracle.possible:
            assert best.lengths[k] == 0
            assert of_best[k] == -math.inf
            continue
        close(of_best[k], math.log(oracle.shares.max()), "probability of the best path")
        length = int(best.lengths[k])
        assert (best.arcs[k, :length] >= 0).all()
        assert (best.arcs[k, length:] == -1).all()
        assert (best.pairs[k, length:] == -1).all()
        # The k-th paths of every pair are asked for together: of the others any.
        paths = oracle.paths(n + m)
        together = AlignmentPath(
            *(part.to(device)[:, None].expand(-1, len(oracles), *part.shape[1:]) for part in paths)
        )
        got = alignment.log_prob(together)[:, k]
        wanted_logs = np.log(np.maximum(oracle.shares, 1e-300))
        close(got, np.where(oracle.shares > 0, wanted_logs, -math.inf), "log_prob")


def close(actual: Tensor, expected: Any, what: str) -> None:
    np.testing.assert_allclose(
        actual.detach().cpu().numpy(), expected, rtol=1e-9, atol=1e-11, err_msg=what
    )


def gap_tables(device: torch.device, pairs: int = 2) -> list[Tensor]:
    shapes = (pairs, N, M), (pairs, N + 1, M), (pairs, N, M + 1)
    return [normal(*shape, seed=k).to(device) for k, shape in enumerate(shapes)]


def of_pair(tables: Sequence[Tensor], k: int, n: int, m: int, sign: int = 1) -> Table:
    match, insert, delete = (sign * table[k].cpu().numpy() for table in tables)
    return Table(match[:n, :m], insert[: n + 1, :m], delete[:n, : m + 1])


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


def double(*shape: int, seed: int, device: torch.device) -> Tensor:
    return normal(*shape, seed=seed).to(device).requires_grad_()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"leading_gaps": "free", "trailing_gaps": "free"},
        {"leading_gaps": ("paid", "free"), "trailing_gaps": ("paid", "free"), "minimise": True},
        {"leading_gaps": "forbidden", "trailing_gaps": "forbidden"},
    ],
)
def test_expected_arcs_and_entropies_differentiate(
    device: torch.device, options: dict[str, Any]
) -> None:
    lengths = torch.tensor([3, 2]), torch.tensor([4, 3])

    def all_of(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        a = EditAlignment(match, insert, delete, gamma=gamma, lengths=lengths, **options)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    leaves = [
        double(2, 3, 4, seed=1, device=device), double(1, 4, seed=2, device=device),
        double(2, 3, 1, seed=3, device=device),
        torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True),
    ]  # fmt: skip
    assert torch.autograd.gradcheck(all_of, leaves)


@pytest.mark.parametrize("gate_width", [0.0, 0.4])
def test_those_of_lcs_do(device: torch.device, gate_width: float) -> None:
    def all_of(c: Tensor, gamma: Tensor, *tau: Tensor) -> tuple[Tensor, ...]:
        a = LCSAlignment(c, *(tau or (0.1,)), gamma=gamma, gate_width=gate_width, band=2)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    gamma = torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True)
    tau = torch.tensor(0.1, dtype=torch.float64, device=device, requires_grad=True)
    leaves = double(2, 3, 4, seed=1, device=device), gamma, *((tau,) if gate_width else ())
    assert torch.autograd.gradcheck(all_of, leaves)


@pytest.mark.parametrize("open_ends", [False, True])
def test_those_of_soft_dtw_do(device: torch.device, open_ends: bool) -> None:
    def all_of(cost: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        a = SoftDTWAlignment(cost, gamma=gamma, open_begin=open_ends, open_end=open_ends)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    gamma = torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(all_of, (double(2, 3, 4, seed=1, device=device), gamma))


def test_without_gradients(device: torch.device) -> None:
    match = double(4, 9, 8, seed=1, device=device)
    wanted = softdp.expected_alignment(match, -0.3, -0.2)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            alignment = EditAlignment(match, -0.3, -0.2)
            for one, other in zip(alignment.expected, wanted, strict=True):
                assert one.equal(other)
                assert not one.requires_grad
            alignment.best(), alignment.sample(2), alignment.entropy()
    with torch.no_grad():
        alignment = EditAlignment(match, -0.3, -0.2)
        assert not alignment.expected.match.requires_grad
    # What was made without a graph is made again where one is wanted.
    assert alignment.expected.match.requires_grad
    assert alignment.score.requires_grad
    (gradient,) = gradients(softdp.edit_similarity(match, -0.3, -0.2), [match])
    torch.testing.assert_close(wanted.match.detach(), gradient)


@pytest.mark.parametrize("minimise", [False, True])
@pytest.mark.parametrize("gaps", LEADING_GAPS)
def test_the_reference_expects_the_same(device: torch.device, gaps: str, minimise: bool) -> None:
    lengths = torch.tensor([9, 4, 7]), torch.tensor([6, 8, 0])
    leaves = [
        double(*shape, seed=k, device=device)
        for k, shape in enumerate([(3, 9, 8), (1, 8), (3, 9, 1)])
    ]
    options: dict[str, Any] = {
        "gamma": 0.7, "lengths": lengths, "leading_gaps": gaps, "trailing_gaps": "free",
        "minimise": minimise,
    }  # fmt: skip
    outcomes = []
    for module in (softdp, softdp.reference):
        expected = module.expected_alignment(*leaves, **options)
        total = sum((normal(3, 9, 8, seed=k).to(device) * e).sum() for k, e in enumerate(expected))
        outcomes.append([*expected, *gradients(total, leaves)])
        with torch.no_grad():
            assert module.expected_alignment(*leaves, **options).match.equal(expected.match)
    torch.testing.assert_close(outcomes[0], outcomes[1])


def test_nothing_is_swept_twice(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    alignment = EditAlignment(normal(4, 9, 8, seed=1).to(device), -0.3, -0.2)
    swept: list[str] = []
    called = softdp.alignments._called

    def counted(op: Any, *given: Any) -> Any:
        if op is not torch.ops.softdp.walk.default:
            swept.append(op._schema.name)
        return called(op, *given)

    monkeypatch.setattr(softdp.alignments, "_called", counted)
    assert swept == []
    for _ in range(2):
        alignment.score, alignment.expected, alignment.sample(2)
    assert swept == ["softdp::edit", "softdp::edit_backward"]
    for _ in range(2):
        alignment.best(), alignment.entropy()
    assert swept[2:] == ["softdp::edit", "softdp::edit_backward"]


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    match = normal(3, 9, 8, seed=1).to(device, torch.float16)
    expected = softdp.expected_alignment(match, -0.3, -0.2)
    wanted = softdp.expected_alignment(match.float(), -0.3, -0.2)
    assert expected.match.dtype == torch.float32
    assert all(one.equal(other) for one, other in zip(expected, wanted, strict=True))


def test_where_there_is_no_path(device: torch.device) -> None:
    match = torch.full((2, 3, 3), -math.inf, dtype=torch.float64, device=device)
    alignment = EditAlignment(match, -math.inf, -math.inf)
    for path in (alignment.best(), alignment.sample(4)):
        assert (path.lengths == 0).all()
        assert (path.arcs == -1).all()
        assert (path.pairs == -1).all()
        assert (path.score == -math.inf).all()
        assert (alignment.log_prob(path) == -math.inf).all()
    assert (alignment.entropy() == 0).all()
    assert all((table == 0).all() for table in alignment.expected)


def test_without_smoothing(device: torch.device) -> None:
    alignment = EditAlignment(normal(3, 9, 8, seed=1).to(device), -0.3, -0.2, gamma=0.0)
    best = alignment.best()
    assert (alignment.entropy() == 0).all()
    assert (alignment.log_prob(best) == 0).all()
    assert alignment.sample(2).arcs.equal(best.arcs.expand(2, -1, -1))
    worse = best._replace(arcs=best.arcs.roll(1, 0), pairs=best.pairs.roll(1, 0))
    assert (alignment.log_prob(worse) == -math.inf).all()


@pytest.mark.parametrize(
    "shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 0, 0), (3, 4), (2, 2, 3, 4)]
)
def test_empty_and_other_shapes(device: torch.device, shape: tuple[int, ...]) -> None:
    *batch, n, m = shape
    for options in ({}, {"leading_gaps": "free", "trailing_gaps": "free"}):
        alignment = EditAlignment(torch.zeros(shape, device=device), -1.0, -1.0, **options)
        assert all(table.shape == shape for table in alignment.expected)
        for path, front in ((alignment.best(), ()), (alignment.sample(3), (3,))):
            assert path.pairs.shape == (*front, *batch, n + m, 2)
            assert path.arcs.shape == (*front, *batch, n + m)
            assert path.lengths.shape == path.score.shape == (*front, *batch)
            assert alignment.log_prob(path).isfinite().all()
        assert alignment.sample(0).arcs.shape == (0, *batch, n + m)
        assert alignment.entropy().shape == tuple(batch)


Sized = Callable[[Tensor, Tensor, Tensor, Tensor], Any]
COMPILED: dict[str, Sized] = {
    "paid": lambda c, n, m, g: softdp.expected_alignment(
        c, -0.3, c[..., :1], gamma=g, lengths=(n, m)
    ),
    "free": lambda c, n, m, g: softdp.expected_alignment(
        c, -0.3, -0.2, gamma=g, lengths=(n, m), leading_gaps="free", trailing_gaps="free"
    ),
    "soft_dtw": lambda c, n, m, g: SoftDTWAlignment(
        c, gamma=g, lengths=(n, m), open_begin=True, open_end=True
    ).expected,
    "lcs": lambda c, n, m, g: LCSAlignment(
        c, 0.3, gamma=g, gate_width=0.1, lengths=(n, m)
    ).expected,
}


@pytest.mark.parametrize("name", COMPILED)
def test_one_graph_serves_every_size(
    device: torch.device, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = functools.partial(COMPILED[name])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend("aot_eager")
    whole = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
    counts = []
    for pairs, n, m in [(3, 5, 6), (4, 7, 9), (20, 33, 12), (5, 4, 130)]:
        table = double(pairs, n, m, seed=1, device=device)
        rows, columns = (torch.arange(pairs, device=device) % size + 1 for size in (n, m))
        gamma = torch.tensor(0.5, dtype=torch.float64, device=device, requires_grad=True)
        outcomes = []
        for function in (whole, model):
            expected = function(table, rows, columns, gamma)
            total = sum((normal(*e.shape, seed=9).to(device) * e).sum() for e in expected)
            outcomes.append([*expected, *gradients(total, [table, gamma])])
        torch.testing.assert_close(outcomes[0], outcomes[1])
        counts.append(graphs.frame_count)
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize("name", ["expected_alignment", "best_alignment", "EditAlignment"])
def test_errors_name_what_was_called(device: torch.device, name: str) -> None:
    function = getattr(softdp, name)
    match = torch.zeros(2, 3, 4, device=device)
    with pytest.raises(TypeError, match=f"^{name}: match must be a tensor"):
        function([[1.0]], 0.0, 0.0)
    with pytest.raises(ValueError, match=f"^{name}: insert must broadcast to match's shape"):
        function(match, torch.zeros(5, device=device), 0.0)
    with pytest.raises(ValueError, match=rf"^{name}: lengths\[0\] must be in 0..3, got 4"):
        function(match, 0.0, 0.0, lengths=(torch.tensor([4, 0]), torch.tensor([1, 1])))
    with pytest.raises(ValueError, match=f"^{name}: leading_gaps='paid' in y needs an insert"):
        function(match, torch.zeros(3, 4, device=device), 0.0)
    with pytest.raises(TypeError, match=f"^{name}: minimise must be True or False"):
        function(match, 0.0, 0.0, minimise=1)


def test_errors_of_the_other_families(device: torch.device) -> None:
    table = torch.zeros(2, 3, 4, device=device)
    with pytest.raises(ValueError, match=r"^LCSAlignment: gate_width must be 0 or"):
        LCSAlignment(table, 0.0, gate_width=-1.0)
    with pytest.raises(TypeError, match=r"^SoftDTWAlignment: open_end must be True or False"):
        SoftDTWAlignment(table, open_end=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^SoftDTWAlignment: gamma must be"):
        SoftDTWAlignment(table, gamma=-1.0)


def test_errors_of_what_is_asked_for(device: torch.device) -> None:
    alignment = EditAlignment(torch.zeros(2, 3, 4, device=device), 0.0, 0.0)
    with pytest.raises(TypeError, match="EditAlignment: k must be an integer, got float"):
        alignment.sample(2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="EditAlignment: k must be at least 0, got -1"):
        alignment.sample(-1)
    with pytest.raises(TypeError, match="EditAlignment: path must be an AlignmentPath"):
        alignment.log_prob(alignment.best().arcs)  # type: ignore[arg-type]
    best = alignment.best()
    with pytest.raises(
        ValueError, match=r"EditAlignment: path.arcs must be int64 of shape \(2, 7\)"
    ):
        alignment.log_prob(best._replace(arcs=best.arcs[..., 1:]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_opcheck(device: torch.device, dtype: torch.dtype) -> None:
    first = normal(3, 4, 5, seed=1).to(device, dtype)
    lengths = torch.tensor([4, 0, 3], device=device), torch.tensor([5, 2, 1], device=device)
    gamma = torch.tensor(0.5, dtype=dtype, device=device)
    given = first, gamma, None, *lengths, None
    _, weights, _ = torch.ops.softdp.soft_dtw(*given, True, False)
    cells = torch.stack(lengths, -1)[:, None].expand(3, 2, 2)
    for seed in (None, 7):
        torch.library.opcheck(
            torch.ops.softdp.walk, (weights, first, *lengths, None, cells, 8, seed)
        )


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: torch.zeros(7, dtype=torch.float64)}, "weights must be those of a forward call"),
        ({5: torch.zeros(3, 1, 2)}, "cells must be int64"),
        ({5: torch.zeros(2, 1, 2, dtype=torch.int64)}, r"of shape \(..., paths, 2\)"),
        ({5: torch.zeros(2, dtype=torch.int64)}, r"of shape \(..., paths, 2\)"),
        ({2: torch.tensor([5, 1, 1]), 3: torch.tensor([1, 1, 1])}, "n_lengths must be in 0..4"),
        ({6: 9}, "leading_gaps must be"),
    ],
)
def test_the_op_refuses_what_would_read_out_of_bounds(
    compiled: ModuleType, changes: dict[int, Any], message: str
) -> None:
    first = normal(3, 4, 5, seed=1)
    gamma = torch.tensor(0.5, dtype=torch.float64)
    _, weights, _ = torch.ops.softdp.soft_dtw(first, gamma, None, None, None, None, True, False)
    given: list[Any] = [
        weights,
        first,
        None,
        None,
        None,
        torch.tensor([4, 5]).expand(3, 1, 2),
        8,
        1,
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
    _, weights, _ = torch.ops.softdp.soft_dtw(first, gamma, None, None, None, None, True, False)
    cells = torch.tensor([[[5, 5], [4, 6], [-1, 2], [4, 5]]])
    pairs, arcs, lengths = torch.ops.softdp.walk(weights, first, None, None, None, cells, 8, None)
    assert lengths[0, :3].tolist() == [0, 0, 0]
    assert (pairs[0, :3] == -1).all()
    assert (arcs[0, :3] == -1).all()
    assert lengths[0, 3] > 0

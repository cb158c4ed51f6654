"""Drop-DTW: every path, every argument, all there is to ask."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import softdp
from softdp import AlignmentPath, DropDTWAlignment
from tests.softdp.support import (
    check_agreement,
    check_frequencies,
    check_transforms,
    normal,
    some_lengths,
)

N, M = 3, 3
WAYS = list(itertools.product([True, False], repeat=2))  # one_to_many, many_to_one


class Drops(NamedTuple):
    """A path: what it costs, and of each step its arc, i and j."""

    cost: float
    steps: tuple[tuple[int, int, int], ...]


def ways(
    cost: Tensor,
    drop_x: Tensor,
    drop_y: Tensor,
    n: int,
    m: int,
    one_to_many: bool,
    many_to_one: bool,
) -> list[Drops]:
    """Every path of a pair of these lengths."""
    own, x, y = (tensor.cpu().numpy() for tensor in (cost, drop_x, drop_y))
    found: list[Drops] = []

    def walk(i: int, j: int, matched: bool, spent: float, steps: tuple[Any, ...]) -> None:
        if (i, j) == (n, m):
            found.append(Drops(spent, steps))
        if i < n and j < m:
            walk(i + 1, j + 1, True, spent + own[i, j], (*steps, (0, i, j)))
        if i < n and matched and many_to_one:
            walk(i + 1, j, True, spent + own[i, j - 1], (*steps, (1, i, j - 1)))
        if j < m and matched and one_to_many:
            walk(i, j + 1, True, spent + own[i - 1, j], (*steps, (2, i - 1, j)))
        if i < n:
            walk(i + 1, j, False, spent + x[i], (*steps, (3, i, j - 1)))
        if j < m:
            walk(i, j + 1, False, spent + y[j], (*steps, (4, i - 1, j)))

    walk(0, 0, False, 0.0, ())
    return found


def check(
    alignment: DropDTWAlignment, found: Sequence[list[Drops]], gamma: Sequence[float]
) -> None:
    """All that an alignment says of its pairs, shape (pairs,)."""
    expected, entropy, best = alignment.expected, alignment.entropy(), alignment.best()
    n, m = expected.match.shape[-2:]
    for k, (paths, smoothing) in enumerate(zip(found, gamma, strict=True)):
        costs = np.array([path.cost for path in paths])
        terms = np.exp((costs.min() - costs) / smoothing)
        shares = terms / terms.sum()

        def close(got: Tensor, wanted: Any) -> None:
            np.testing.assert_allclose(got.detach().cpu().numpy(), wanted, rtol=1e-9, atol=1e-11)

        close(alignment.score[k], costs.min() - smoothing * math.log(terms.sum()))
        close(entropy[k], -sum(share * math.log(share) for share in shares if share > 0))
        close(best.score[k], costs.min())
        tables = np.zeros((n, m)), np.zeros(n), np.zeros(m)
        for share, path in zip(shares, paths, strict=True):
            for arc, i, j in path.steps:
                place: Any = (i, j) if arc < 3 else i if arc == 3 else j
                tables[max(arc - 2, 0)][place] += share
        for table, wanted in zip(expected, tables, strict=True):
            close(table[k], wanted)
        steps = list(zip(best.arcs[k].tolist(), *best.pairs[k].T.tolist(), strict=True))
        length = int(best.lengths[k])
        assert tuple(steps[:length]) in {paths[at].steps for at in np.flatnonzero(terms == 1)}
        assert all(step == (-1, -1, -1) for step in steps[length:])
        # All of them at once, asked of every pair; of the others any.
        arcs = torch.full((len(paths), n + m), -1)
        pairs = torch.full((len(paths), n + m, 2), -1)
        for at, path in enumerate(paths):
            for s, (arc, i, j) in enumerate(path.steps):
                arcs[at, s], pairs[at, s] = arc, torch.tensor([i, j])
        lengths = torch.tensor([len(path.steps) for path in paths])
        asked = AlignmentPath(pairs, arcs, lengths, torch.zeros(len(paths)))
        asked = AlignmentPath(
            *(
                part.to(best.arcs.device)[:, None].expand(-1, len(found), *part.shape[1:])
                for part in asked
            )
        )
        close(alignment.log_prob(asked)[:, k], np.log(np.maximum(shares, 1e-300)))


def drawn(pairs: int, n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    cost, drop_x, drop_y = (
        normal(*shape, seed=k).to(device)
        for k, shape in enumerate([(pairs, n, m), (pairs, n), (pairs, m)])
    )
    return cost, drop_x, drop_y


@pytest.mark.parametrize(("one_to_many", "many_to_one"), WAYS)
def test_every_path(device: torch.device, one_to_many: bool, many_to_one: bool) -> None:
    tables = drawn(2, N, M, device)
    gamma = torch.tensor([0.5, 1.2], dtype=torch.float64, device=device)
    options = {"one_to_many": one_to_many, "many_to_one": many_to_one}
    alignment = DropDTWAlignment(*tables, gamma=gamma, **options)  # type: ignore[arg-type]
    found = [ways(*(table[k] for table in tables), N, M, **options) for k in range(2)]
    check(alignment, found, gamma.tolist())
    distance = softdp.drop_dtw(*tables, gamma=gamma, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(distance, alignment.score, rtol=1e-12, atol=1e-12)


def test_every_path_of_lengths(device: torch.device) -> None:
    lengths = torch.cartesian_prod(torch.arange(N + 1), torch.arange(M + 1)).T
    pairs = lengths.shape[1]
    tables = drawn(pairs, N, M, device)
    found = []
    for k, (n, m) in enumerate(lengths.T.tolist()):  # what lies beyond is not read
        found.append(ways(*(table[k] for table in tables), n, m, True, True))
        cost, drop_x, drop_y = (table[k] for table in tables)
        cost[n:] = cost[:, m:] = drop_x[n:] = drop_y[m:] = math.nan
    alignment = DropDTWAlignment(*tables, gamma=0.7, lengths=(lengths[0], lengths[1]))
    check(alignment, found, [0.7] * pairs)


def test_outliers_are_left_out(implementation: ModuleType, device: torch.device) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], device=device)
    y = torch.tensor([1.0, 9.0, 2.0, 2.0, 3.0], device=device)
    cost = (x[:, None] - y).square()
    assert implementation.drop_dtw(cost, 0.5, 0.5, gamma=0.0).item() == 0.5
    assert implementation.drop_dtw(cost, 0.5, 0.5, gamma=0.0, one_to_many=False).item() == 1.0
    # What may not be left out is matched.
    assert implementation.drop_dtw(cost, math.inf, math.inf, gamma=0.0).item() == pytest.approx(
        implementation.soft_dtw(cost, gamma=0.0).item()
    )
    several = implementation.drop_dtw(
        cost.T, math.inf, 0.5, gamma=0.0, many_to_one=False, one_to_many=False
    )
    assert several.item() == math.inf  # five steps, and no more than three to match them with
    for n, m, wanted in [(0, 0, 0.0), (0, 3, 0.75), (4, 0, 2.0)]:
        nothing = implementation.drop_dtw(torch.zeros(2, n, m, device=device), 0.5, 0.25)
        assert nothing.tolist() == [wanted] * 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "n", "m"),
    [((), 70, 33), ((2, 3), 31, 65), ((40,), 17, 20), ((0,), 3, 4), ((2,), 0, 5), ((3,), 90, 1)],
)
def test_agreement_with_the_specification(
    device: torch.device, batch: tuple[int, ...], n: int, m: int, dtype: torch.dtype
) -> None:
    tables = [normal(*batch, n, m, seed=1).to(dtype), normal(n, seed=2).to(dtype)]
    tables.append(normal(*batch, m, seed=3).to(dtype))
    lengths = some_lengths(batch, n, m)

    def distance(implementation: Any, *given: Tensor, ways: dict[str, bool]) -> Tensor:
        *tables, gamma = given
        return implementation.drop_dtw(*tables, gamma=gamma, lengths=lengths, **ways)

    for one_to_many, many_to_one in WAYS:
        options = {"one_to_many": one_to_many, "many_to_one": many_to_one}
        check_agreement(functools.partial(distance, ways=options), tables, device)


@pytest.mark.parametrize("shapes", [((), ()), ((4,), (3,)), ((2, 1), (2, 3)), ((1, 4), ())])
def test_drops_in_every_form(
    implementation: ModuleType, device: torch.device, shapes: tuple[tuple[int, ...], ...]
) -> None:
    tensors = [
        normal(2, 4, 3, seed=1),
        *(normal(*shape, seed=2 + k) for k, shape in enumerate(shapes)),
    ]
    leaves = [tensor.to(device).requires_grad_() for tensor in tensors]

    def distance(cost: Tensor, drop_x: Tensor, drop_y: Tensor) -> Tensor:
        return implementation.drop_dtw(cost, drop_x, drop_y, gamma=0.6)

    assert gradcheck(distance, leaves)
    full = leaves[1].expand(2, 4), leaves[2].expand(2, 3)
    torch.testing.assert_close(distance(*leaves), distance(leaves[0], *full))
    if implementation is softdp:
        assert gradgradcheck(distance, leaves)


def test_expectations_and_entropies_have_derivatives(device: torch.device) -> None:
    cost, drop_x, drop_y = (table.requires_grad_() for table in drawn(2, 3, 2, device))
    gamma = torch.tensor([0.6, 1.1], dtype=torch.float64, device=device, requires_grad=True)

    def asked(*given: Tensor) -> tuple[Tensor, ...]:
        a = DropDTWAlignment(*given[:3], gamma=given[3])
        return *a.expected, a.entropy(), a.log_prob(best)

    with torch.no_grad():
        best = DropDTWAlignment(cost, drop_x, drop_y).best()
    assert gradcheck(asked, (cost, drop_x, drop_y, gamma))


def test_samples_are_as_frequent_as_their_probability(device: torch.device) -> None:
    tables = drawn(2, 2, 3, device)
    a = DropDTWAlignment(*tables, gamma=0.8)
    paths = a.sample(20000, torch.Generator().manual_seed(1))
    for k in range(2):
        found = ways(*(table[k] for table in tables), 2, 3, True, True)
        costs = np.array([path.cost for path in found])
        terms = np.exp(-costs / 0.8)
        shares = (terms / terms.sum()).tolist()
        steps = [path.steps for path in found]
        check_frequencies(paths, k, dict(zip(steps, shares, strict=True)))
    worth = a.score - 0.8 * a.log_prob(paths)
    torch.testing.assert_close(paths.score, worth, rtol=1e-9, atol=1e-9)


def test_what_is_no_path_has_no_probability(device: torch.device) -> None:
    tables = torch.zeros(3, 3, device=device), 0.1, 0.1
    alignment = DropDTWAlignment(*tables, one_to_many=False)
    best = alignment.best()
    assert alignment.log_prob(best).isfinite()
    along = torch.tensor([0, 2, 2, 1, 1, -1], device=device)
    pairs = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 2], [2, 2], [-1, -1]], device=device)
    other = best._replace(arcs=along, pairs=pairs, lengths=torch.tensor(5, device=device))
    assert DropDTWAlignment(*tables).log_prob(other).isfinite()
    for amiss in (
        other,  # of one step with many
        best._replace(lengths=torch.zeros_like(best.lengths)),
        best._replace(pairs=torch.where(best.pairs >= 0, best.pairs + 1, -1)),
        best._replace(arcs=torch.where(best.arcs >= 0, 1, -1)),
    ):
        assert alignment.log_prob(amiss) == -math.inf


def test_torch_func_and_compile(device: torch.device) -> None:
    cost = normal(4, 5, 3, seed=1).to(device)

    def distance(own: Tensor) -> Tensor:
        return softdp.drop_dtw(own, 0.3, 0.5, gamma=0.4)

    check_transforms(distance, cost)

    def best(own: Tensor) -> Tensor:
        return DropDTWAlignment(own, 0.3, 0.5).best().arcs

    assert torch.vmap(best)(cost).equal(best(cost))


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"drop_x": "1"}, TypeError, "drop_x must be a number or a tensor, got str"),
        ({"drop_x": torch.zeros(5)}, ValueError, r"drop_x must be .* shape \(3, 4\), got \(5,\)"),
        (
            {"drop_y": torch.zeros(4, 5)},
            ValueError,
            r"drop_y must be .* shape \(3, 5\), got \(4, 5",
        ),
        ({"drop_y": torch.zeros(5).double()}, TypeError, "drop_y must have cost's dtype float32"),
        ({"gamma": -1.0}, ValueError, "gamma must be >= 0"),
        ({"one_to_many": 1}, TypeError, "one_to_many must be True or False, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    implementation: ModuleType, changes: dict[str, Any], error: type, message: str
) -> None:
    given: dict[str, Any] = {"drop_x": 1.0, "drop_y": 1.0} | changes
    with pytest.raises(error, match=f"^drop_dtw: .*{message}"):
        implementation.drop_dtw(torch.zeros(3, 4, 5), **given)

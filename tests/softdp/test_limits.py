"""Infinite and undefined potentials: the limit where there is one, else no number."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch

from tests.softdp.enumeration import edit, soft_dtw
from tests.softdp.support import LEADING_GAPS, assert_equal_to_oracle, gradients, normal

INF = math.inf
DTYPES = [torch.float32, torch.float64]
GAMMAS = [0.0, 0.5]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize(
    ("leading_gaps", "match", "gap"),
    [("forbidden", -INF, 0.0), ("free", -INF, -INF), ("paid", 1.0, -INF)],
)
@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance"])
def test_a_table_without_a_path(
    implementation: ModuleType,
    device: torch.device,
    name: str,
    leading_gaps: str,
    match: float,
    gap: float,
    gamma: float,
    dtype: torch.dtype,
) -> None:
    sign = 1 if name == "edit_similarity" else -1
    options = {"dtype": dtype, "device": device, "requires_grad": True}
    inputs = [
        torch.full((2, 3, 4), sign * match, **options),
        torch.full((2, 1, 4), sign * gap, **options),
        torch.full((3, 1), sign * gap, **options),
        torch.full((), gamma, **options),
    ]
    score = getattr(implementation, name)(*inputs[:3], gamma=inputs[3], leading_gaps=leading_gaps)
    assert score.tolist() == [-sign * INF] * 2
    for gradient in gradients(score, inputs):
        assert (gradient == 0).all()


def test_only_the_pair_without_a_path_loses_its_gradient(
    implementation: ModuleType, device: torch.device
) -> None:
    match = normal(2, 3, 3, seed=1)
    match[0, 2, 2] = -INF
    inputs = [match.to(device).requires_grad_(), normal(3, 1, seed=2).to(device).requires_grad_()]
    lengths = (torch.tensor([3, 3]), torch.tensor([3, 3]))
    gap = torch.tensor(-INF, dtype=torch.float64, device=device)
    score = implementation.edit_similarity(
        inputs[0], gap, gap, gamma=0.5, lengths=lengths, leading_gaps="forbidden"
    )
    assert score[0] == -INF
    torch.testing.assert_close(score[1], inputs[0][1].diagonal().sum())
    (alignment,) = gradients(score, inputs[:1])
    assert (alignment[0] == 0).all()
    torch.testing.assert_close(alignment[1].cpu(), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [0.0, 0.4])
@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
def test_absent_arcs(
    implementation: ModuleType, device: torch.device, leading_gaps: str, gamma: float
) -> None:
    pairs, n, m = 12, 3, 3
    paid = leading_gaps == "paid"
    shapes = [(n, m), (1 if paid else n, m), (n, 1 if paid else m)]
    potentials = []
    for seed, shape in enumerate(shapes):
        values = normal(pairs, *shape, seed=seed)
        absent = normal(pairs, *shape, seed=10 + seed) > -0.3
        potentials.append(values.masked_fill(absent, -INF))
    smoothing = torch.full((pairs,), gamma, dtype=torch.float64)
    size = (np.full(pairs, n), np.full(pairs, m))
    oracle = edit(
        *(potential.numpy() for potential in potentials),
        smoothing.numpy(),
        size,
        leading_gaps,
        np.ones(pairs),
    )
    assert np.isinf(oracle.score).any()
    assert np.isfinite(oracle.score).any()
    inputs = [tensor.to(device).requires_grad_() for tensor in (*potentials, smoothing)]
    score = implementation.edit_similarity(*inputs[:3], gamma=inputs[3], leading_gaps=leading_gaps)
    assert_equal_to_oracle(score, oracle.score, "score")
    received = gradients(score, inputs)
    for gradient, wanted, name in zip(received, oracle[1:], oracle._fields[1:], strict=True):
        assert_equal_to_oracle(gradient, wanted, f"gradient of {name}")
    for gradient, tensor in zip(received, inputs[:3], strict=False):
        assert (gradient[tensor == -INF] == 0).all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_absent_cells_of_soft_dtw(
    implementation: ModuleType, device: torch.device, gamma: float
) -> None:
    pairs, n, m = 12, 3, 3
    cost = normal(pairs, n, m, seed=1).masked_fill(normal(pairs, n, m, seed=2) > 0.5, INF)
    smoothing = torch.full((pairs,), gamma, dtype=torch.float64)
    size = (np.full(pairs, n), np.full(pairs, m))
    oracle = soft_dtw(cost.numpy(), smoothing.numpy(), size, np.ones(pairs))
    assert np.isinf(oracle.score).any()
    assert np.isfinite(oracle.score).any()
    inputs = [cost.to(device).requires_grad_(), smoothing.to(device).requires_grad_()]
    score = implementation.soft_dtw(inputs[0], gamma=inputs[1])
    assert_equal_to_oracle(score, oracle.score, "distance")
    for gradient, wanted in zip(gradients(score, inputs), oracle[1:], strict=True):
        assert_equal_to_oracle(gradient, wanted, "gradient")


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_arcs_share_a_cell_equally(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    match, insert, delete = (torch.zeros(2, 2, dtype=dtype, device=device) for _ in range(3))
    match[0, 0] = INF
    inputs = [table.requires_grad_() for table in (match, insert, delete)]
    score = implementation.edit_similarity(*inputs, gamma=0.5, leading_gaps="free")
    assert score == INF
    # All three arcs into (2, 2) come from infinite cells, the rest have one such source.
    third = 1 / 3
    for gradient, wanted in zip(
        gradients(score, inputs),
        ([[1, 0], [0, third]], [[0, third], [0, third]], [[0, 0], [third, third]]),
        strict=True,
    ):
        torch.testing.assert_close(
            gradient.cpu(), torch.tensor(wanted, dtype=dtype), rtol=0, atol=2e-5
        )


def test_infinite_potentials_have_their_limit(
    implementation: ModuleType, device: torch.device
) -> None:
    similarity = normal(3, 4, seed=1).to(device)
    similarity[1, 2] = INF
    assert implementation.edit_similarity(similarity, -1.0, -1.0) == INF
    assert implementation.edit_similarity(similarity, -1.0, -1.0, gamma=0.0) == INF
    assert implementation.edit_distance(-similarity, 1.0, 1.0) == -INF
    assert implementation.edit_distance(similarity, 1.0, 1.0).isfinite()
    for gate_width in (0.0, 0.3):
        assert implementation.lcs(similarity, 0.5, gate_width=gate_width) == INF
        assert implementation.lcs(-similarity, 0.5, gate_width=gate_width).isfinite()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_an_infinite_arc_that_no_path_reaches_does_nothing(
    implementation: ModuleType, device: torch.device, gamma: float
) -> None:
    # Into row 1, from a border that is forbidden.
    options = {"gamma": gamma, "leading_gaps": "forbidden"}
    match = normal(3, 4, seed=1).to(device)
    unreached = match.clone()
    unreached[0, 2] = INF
    inputs = [unreached.requires_grad_(), match.requires_grad_()]
    scores = [implementation.edit_similarity(table, -0.5, -0.7, **options) for table in inputs]
    torch.testing.assert_close(*scores)
    alignments = [gradients(score, [table])[0] for score, table in zip(scores, inputs, strict=True)]
    torch.testing.assert_close(*alignments)
    assert alignments[0][0, 2] == 0


@pytest.mark.parametrize("gate_width", [0.0, 0.3])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_lcs_of_impossible_matches(
    implementation: ModuleType, device: torch.device, gamma: float, gate_width: float
) -> None:
    similarity = torch.full((4, 3), -INF, device=device, requires_grad=True)
    inputs = [
        similarity,
        torch.tensor(0.2, device=device, requires_grad=True),
        torch.tensor(gamma, device=device, requires_grad=True),
    ]
    score = implementation.lcs(similarity, inputs[1], gamma=inputs[2], gate_width=gate_width)
    assert score.item() == pytest.approx(0, abs=1e-6)
    received = gradients(score, inputs)
    for gradient in received[:2]:
        assert (gradient == 0).all()
    assert received[2].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("leading_gaps", ["free", "forbidden"])
def test_nan_in_any_cell_of_any_table_shows(
    implementation: ModuleType,
    device: torch.device,
    leading_gaps: str,
    gamma: float,
    dtype: torch.dtype,
) -> None:
    n, m = 2, 3
    cells = 3 * n * m
    # Pair k has its NaN in place k; the last pair has none.
    potentials = normal(cells + 1, cells, seed=1, dtype=dtype)
    potentials[range(cells), range(cells)] = torch.nan
    tables = potentials.to(device).unflatten(-1, (3, n, m)).unbind(1)
    inputs = [table.clone().requires_grad_() for table in tables]
    score = implementation.edit_similarity(*inputs, gamma=gamma, leading_gaps=leading_gaps)
    assert score[:-1].isnan().all()
    assert score[-1].isfinite()
    for gradient in gradients(score, inputs):
        assert gradient[-1].isfinite().all()


@pytest.mark.parametrize("gate_width", [0.0, 0.3])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_nan_in_any_cell_of_a_similarity_shows(
    implementation: ModuleType, device: torch.device, gamma: float, gate_width: float
) -> None:
    similarity = normal(7, 6, seed=1)
    similarity[range(6), range(6)] = torch.nan
    score = implementation.lcs(
        similarity.unflatten(-1, (2, 3)).to(device), 0.1, gamma=gamma, gate_width=gate_width
    )
    assert score[:-1].isnan().all()
    assert score[-1].isfinite()
    undefined = implementation.lcs(
        torch.zeros(2, 2, device=device), math.nan, gamma=gamma, gate_width=gate_width
    )
    assert undefined.isnan()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("similarity", "threshold", "gate_width", "gamma", "score", "alignment"),
    [
        # Without smoothing there is no gate, whatever c - threshold over its width would be.
        (-INF, 0.2, INF, 0.0, 0.0, 0.0),
        (INF, 0.2, INF, 0.0, INF, 1.0),
        (INF, INF, 10.0, 0.0, INF, 1.0),
        (-INF, -INF, 10.0, 0.0, 0.0, 0.0),
        (1.0, INF, 10.0, 0.0, 1.0, 1.0),
        (-1.0, -INF, INF, 0.0, 0.0, 0.0),
        # A gate of infinite width is half open, one of an infinite threshold open or shut.
        (0.5, 0.2, INF, 1.0, math.log((math.exp(0.5) + 1) / 2), 1 / (1 + math.exp(-0.5))),
        (0.5, INF, 0.1, 1.0, 0.0, 0.0),
        (0.5, -INF, 0.1, 1.0, 0.5, 1.0),
        (INF, 0.2, 0.1, 1.0, INF, 1.0),
        (-INF, 0.2, 0.1, 1.0, 0.0, 0.0),
        # Infinite less infinite, and over infinite, have no limit.
        (INF, INF, 0.1, 1.0, math.nan, math.nan),
        (-INF, -INF, 0.1, 1.0, math.nan, math.nan),
        (INF, 0.2, INF, 1.0, math.nan, math.nan),
        (-INF, 0.2, INF, 1.0, math.nan, math.nan),
    ],
)
def test_a_gate_at_infinity(
    implementation: ModuleType,
    device: torch.device,
    similarity: float,
    threshold: float,
    gate_width: float,
    gamma: float,
    score: float,
    alignment: float,
    dtype: torch.dtype,
) -> None:
    numbers = {"dtype": dtype, "device": device, "requires_grad": True}
    inputs = [
        torch.full((1, 1), similarity, **numbers),
        torch.tensor(threshold, **numbers),
        torch.tensor(gamma, **numbers),
    ]
    got = implementation.lcs(*inputs[:2], gamma=inputs[2], gate_width=gate_width)
    torch.testing.assert_close(got.item(), score, rtol=1e-6, atol=1e-6, equal_nan=True)
    if math.isnan(score):
        return
    to_similarity, to_threshold, to_gamma = gradients(got, inputs)
    torch.testing.assert_close(to_similarity.item(), alignment, rtol=0, atol=2e-5)
    assert to_threshold == 0
    assert to_gamma.isfinite()


@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance", "lcs", "gated", "soft_dtw"])
@pytest.mark.parametrize("value", [math.nan, INF, -INF])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_undefined_stays_in_its_pair(
    implementation: ModuleType,
    device: torch.device,
    dtype: torch.dtype,
    value: float,
    name: str,
    n: int,
) -> None:
    # Pairs 0 to 4 of a group of eight hold the value: 0 in one cell, 2 in a gap and the threshold,
    # the others where no step counts, that of the threshold among them.
    m, spoilt = 3, torch.arange(8) < 5
    n_lengths = torch.tensor([n, 0, n, 0, n, n, 0, n])
    m_lengths = torch.tensor([m, m, m, m, 0, m, m, 2])
    results = []
    for special in (value, 0.25):
        tables = [normal(8, n, m, seed=1), normal(8, 1, m, seed=2), normal(8, n, 1, seed=3)]
        threshold = normal(8, seed=4)
        tables[0][0, 0, 0] = tables[1][2, 0, 1] = tables[2][2, 0, 0] = special
        for uncounted in (tables[0][1], tables[2][3], tables[1][4], threshold[2:5]):
            uncounted.fill_(special)
        gamma = torch.full((8,), 0.5, dtype=dtype, device=device).requires_grad_()
        inputs = [table.to(device, dtype).requires_grad_() for table in (*tables, threshold)]
        common = {"gamma": gamma, "lengths": (n_lengths, m_lengths)}
        if name in ("lcs", "gated"):
            width = 0.1 if name == "gated" else 0.0
            score = implementation.lcs(inputs[0], inputs[3], gate_width=width, **common)
        elif name == "soft_dtw":
            score = implementation.soft_dtw(inputs[0], **common)
        else:
            score = getattr(implementation, name)(*inputs[:3], **common)
        results.append((score, *gradients(score, [*inputs, gamma])))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got[~spoilt], wanted[~spoilt], rtol=1e-5, atol=2e-4)
    beyond = (torch.arange(n)[:, None] >= n_lengths[:, None, None]) | (
        torch.arange(m) >= m_lengths[:, None, None]
    )
    assert (results[0][1].cpu()[beyond] == 0).all()
    # What is paid for the steps of one sequence alone is no mass of threshold, gamma or match.
    for gradient in (results[0][1], *results[0][4:]):
        assert (gradient[[1, 3, 4]] == 0).all()
    assert results[0][0][[1, 3, 4]].equal(results[1][0][[1, 3, 4]])


@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance"])
def test_infinite_gap_numbers_forbid_gaps(
    implementation: ModuleType, device: torch.device, name: str
) -> None:
    sign = 1 if name == "edit_similarity" else -1
    match = normal(3, 3, seed=1).to(device).requires_grad_()
    score = getattr(implementation, name)(
        match, -sign * INF, -sign * INF, gamma=0.5, leading_gaps="paid"
    )
    torch.testing.assert_close(score, match.diagonal().sum())
    (alignment,) = gradients(score, [match])
    torch.testing.assert_close(alignment.cpu(), torch.eye(3, dtype=torch.float64))


def test_an_impossible_match_has_no_weight_whatever_the_rounding(
    compiled: ModuleType, device: torch.device
) -> None:
    match = torch.full((300, 300), -INF, device=device, requires_grad=True)
    insert = normal(1, 300, seed=1).float().to(device)
    delete = normal(300, 1, seed=2).float().to(device)
    score = compiled.edit_similarity(match, insert, delete, gamma=1.0, leading_gaps="paid")
    assert torch.autograd.grad(score, match)[0].count_nonzero().item() == 0


def test_no_distance_is_zero_and_not_minus_zero(compiled: ModuleType, device: torch.device) -> None:
    distance = compiled.edit_distance(torch.zeros(0, 0, device=device), 1.0, 1.0).item()
    assert math.copysign(1, distance) == 1

"""Scores and gradients against every path enumerated, float64, for every option."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.softdp.enumeration import edit, lcs, soft_dtw
from tests.softdp.support import (
    LEADING_GAPS,
    assert_equal_to_oracle,
    gap_shape,
    gradients,
    normal,
)

BATCH = (2, 2)
FORMS = [
    ("number", "number"),
    ("along m", "along n"),
    ("along m, each pair", "number"),
    ("pair", "along n, each pair"),
    ("cell", "cell"),
    ("along n", "along m"),
    ("along n, each pair", "cell"),
]


def lengths_of(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    *batch, n, m = shape
    return torch.full(batch, n), torch.full(batch, m)


class EveryLength(NamedTuple):
    """Pairs of every two lengths from 0 to `size`, and what lies beyond them in their tables."""

    lengths: tuple[Tensor, Tensor]
    beyond_n: Tensor
    beyond_m: Tensor


def every_length(size: int) -> EveryLength:
    n, m = torch.cartesian_prod(torch.arange(size + 1), torch.arange(size + 1)).T
    places = torch.arange(size)
    return EveryLength((n, m), places[:, None] >= n[:, None, None], places >= m[:, None, None])


def leaves(*tensors: Tensor, device: torch.device) -> list[Tensor]:
    return [tensor.to(device).requires_grad_() for tensor in tensors]


def check_edit(
    function: object,
    potentials: tuple[Tensor, Tensor, Tensor],
    gamma: Tensor,
    lengths: tuple[Tensor, Tensor] | None,
    leading_gaps: str,
    device: torch.device,
    sign: int = 1,
    expect_potentials: tuple[Tensor, Tensor, Tensor] | None = None,
) -> None:
    """Compare an edit function of match, insert, delete (each (...)) with the oracle."""
    batch = potentials[0].shape[:-2]
    upstream = normal(*batch, seed=5)
    oracle = edit(
        *(sign * potential.numpy() for potential in expect_potentials or potentials),
        gamma.expand(batch).numpy(),
        tuple(length.numpy() for length in lengths or lengths_of(potentials[0].shape)),
        leading_gaps,
        sign * upstream.numpy(),
    )
    *inputs, smoothing = leaves(*potentials, gamma, device=device)
    score = function(*inputs, gamma=smoothing, lengths=lengths, leading_gaps=leading_gaps)
    assert_equal_to_oracle(score, sign * oracle.score, "score")
    assert score.shape == batch
    received = gradients(score, [*inputs, smoothing], upstream.to(device))
    for name, gradient, wanted in zip(
        ("match", "insert", "delete"), received, oracle[1:4], strict=False
    ):
        assert_equal_to_oracle(gradient, sign * wanted, f"gradient of {name}")
    wanted_gamma = oracle.gamma if gamma.dim() else oracle.gamma.sum()
    assert_equal_to_oracle(received[3], wanted_gamma, "gradient of gamma")


@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize("gamma", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (4, 4), (0, 3), (2, 0), (0, 0)])
def test_edit_similarity_sizes(
    implementation: ModuleType,
    device: torch.device,
    size: tuple[int, int],
    gamma: float,
    leading_gaps: str,
) -> None:
    n, m = size
    potentials = (
        normal(*BATCH, n, m, seed=1),
        normal(*BATCH, 1, m, seed=2),
        normal(*BATCH, n, 1, seed=3),
    )
    check_edit(
        implementation.edit_similarity,
        potentials,
        torch.tensor(gamma, dtype=torch.float64),
        None,
        leading_gaps,
        device,
    )


@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize(("insert_form", "delete_form"), FORMS)
@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance"])
def test_gap_forms(
    implementation: ModuleType,
    device: torch.device,
    name: str,
    insert_form: str,
    delete_form: str,
    leading_gaps: str,
) -> None:
    if leading_gaps == "paid":
        # Along the other index a gap may not vary; the same gaps with that dimension of size 1.
        reduced = {"cell": "along m, each pair", "along n": "number", "along n, each pair": "pair"}
        insert_form = reduced.get(insert_form, insert_form)
        reduced = {"cell": "along n, each pair", "along m": "number", "along m, each pair": "pair"}
        delete_form = reduced.get(delete_form, delete_form)
    n, m = 3, 4
    potentials = (
        normal(*BATCH, n, m, seed=1),
        normal(*gap_shape(insert_form, BATCH, n, m), seed=2),
        normal(*gap_shape(delete_form, BATCH, n, m), seed=3),
    )
    gamma = torch.tensor([[0.3, 0.0], [1.0, 5.0]], dtype=torch.float64)
    check_edit(
        getattr(implementation, name),
        potentials,
        gamma,
        None,
        leading_gaps,
        device,
        sign=1 if name == "edit_similarity" else -1,
    )


@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_every_length_and_unread_padding(
    implementation: ModuleType, device: torch.device, gamma: float, leading_gaps: str
) -> None:
    lengths, beyond_n, beyond_m = every_length(3)
    clean = normal(16, 3, 3, seed=1), normal(16, 1, 3, seed=2), normal(16, 3, 1, seed=3)
    poisoned = tuple(
        potential.masked_fill(beyond, torch.nan)
        for potential, beyond in zip(clean, (beyond_n | beyond_m, beyond_m, beyond_n), strict=True)
    )
    check_edit(
        implementation.edit_similarity,
        poisoned,
        torch.full((16,), gamma, dtype=torch.float64),
        lengths,
        leading_gaps,
        device,
        expect_potentials=clean,
    )


@pytest.mark.parametrize("gate_width", [0.0, 0.5])
@pytest.mark.parametrize("gamma", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("per_pair", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (4, 2), (0, 2)])
def test_lcs(
    implementation: ModuleType,
    device: torch.device,
    size: tuple[int, int],
    per_pair: bool,
    gamma: float,
    gate_width: float,
) -> None:
    batch = (5,)
    shape = batch if per_pair else ()
    check_lcs(
        implementation,
        normal(*batch, *size, seed=1),
        0.4 * normal(*shape, seed=2),
        torch.full(shape, gamma, dtype=torch.float64),
        gate_width,
        None,
        device,
    )


@pytest.mark.parametrize("gate_width", [0.0, 0.5])
def test_lcs_every_length_and_unread_padding(
    implementation: ModuleType, device: torch.device, gate_width: float
) -> None:
    lengths, beyond_n, beyond_m = every_length(3)
    clean = normal(16, 3, 3, seed=1)
    check_lcs(
        implementation,
        clean.masked_fill(beyond_n | beyond_m, torch.nan),
        torch.tensor(0.1, dtype=torch.float64),
        torch.tensor(0.3, dtype=torch.float64),
        gate_width,
        lengths,
        device,
        expect_similarity=clean,
    )


def check_lcs(
    implementation: ModuleType,
    similarity: Tensor,
    threshold: Tensor,
    gamma: Tensor,
    gate_width: float,
    lengths: tuple[Tensor, Tensor] | None,
    device: torch.device,
    expect_similarity: Tensor | None = None,
) -> None:
    """Compare lcs with the oracle."""
    batch = similarity.shape[:-2]
    upstream = normal(*batch, seed=5)
    oracle = lcs(
        (similarity if expect_similarity is None else expect_similarity).numpy(),
        threshold.expand(batch).numpy(),
        gamma.expand(batch).numpy(),
        gate_width,
        tuple(length.numpy() for length in lengths or lengths_of(similarity.shape)),
        upstream.numpy(),
    )
    inputs = leaves(similarity, threshold, gamma, device=device)
    score = implementation.lcs(
        inputs[0], inputs[1], gamma=inputs[2], gate_width=gate_width, lengths=lengths
    )
    assert_equal_to_oracle(score, oracle.score, "score")
    received = gradients(score, inputs, upstream.to(device))
    for name, gradient, wanted, given in zip(
        ("similarity", "threshold", "gamma"), received, oracle[1:], inputs, strict=True
    ):
        wanted = wanted if given.dim() else np.sum(wanted)
        assert_equal_to_oracle(gradient, wanted, f"gradient of {name}")


@pytest.mark.parametrize("gamma", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (4, 4), (0, 3), (2, 0), (0, 0)])
def test_soft_dtw(
    implementation: ModuleType, device: torch.device, size: tuple[int, int], gamma: float
) -> None:
    cost = normal(*BATCH, *size, seed=1)
    smoothing = torch.full(BATCH, gamma, dtype=torch.float64)
    check_soft_dtw(implementation, cost, smoothing, None, device)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_soft_dtw_every_length_and_unread_padding(
    implementation: ModuleType, device: torch.device, gamma: float
) -> None:
    lengths, beyond_n, beyond_m = every_length(3)
    clean = normal(16, 3, 3, seed=1)
    check_soft_dtw(
        implementation,
        clean.masked_fill(beyond_n | beyond_m, torch.nan),
        torch.tensor(gamma, dtype=torch.float64),
        lengths,
        device,
        expect_cost=clean,
    )


def check_soft_dtw(
    implementation: ModuleType,
    cost: Tensor,
    gamma: Tensor,
    lengths: tuple[Tensor, Tensor] | None,
    device: torch.device,
    expect_cost: Tensor | None = None,
) -> None:
    """Compare soft_dtw with the oracle."""
    batch = cost.shape[:-2]
    upstream = normal(*batch, seed=5)
    oracle = soft_dtw(
        (cost if expect_cost is None else expect_cost).numpy(),
        gamma.expand(batch).numpy(),
        tuple(length.numpy() for length in lengths or lengths_of(cost.shape)),
        upstream.numpy(),
    )
    inputs = leaves(cost, gamma, device=device)
    distance = implementation.soft_dtw(inputs[0], gamma=inputs[1], lengths=lengths)
    assert_equal_to_oracle(distance, oracle.score, "distance")
    received = gradients(distance, inputs, upstream.to(device))
    for name, gradient, wanted, given in zip(
        ("cost", "gamma"), received, oracle[1:], inputs, strict=True
    ):
        wanted = wanted if given.dim() else np.sum(wanted)
        assert_equal_to_oracle(gradient, wanted, f"gradient of {name}")


def test_lcs_without_a_match_scores_zero(implementation: ModuleType, device: torch.device) -> None:
    similarity = torch.full((30, 30), 0.5, device=device)
    assert implementation.lcs(similarity, 0.9, gamma=0.1).item() == pytest.approx(0, abs=1e-6)


def test_lcs_never_exceeds_the_hard_one_and_tends_to_it(
    implementation: ModuleType, device: torch.device
) -> None:
    similarity = normal(8, 12, 9, seed=1).to(device)
    hard = implementation.lcs(similarity, 0.3, gamma=0.0)
    for gamma in (10.0, 0.5, 0.01):
        assert (implementation.lcs(similarity, 0.3, gamma=gamma) <= hard + 1e-12).all()
    torch.testing.assert_close(
        implementation.lcs(similarity, 0.3, gamma=1e-4), hard, rtol=0, atol=0.02
    )


def test_hard_ties_go_to_match_then_delete_then_insert(
    implementation: ModuleType, device: torch.device
) -> None:
    # With match 2 and gaps 1, all three arcs into (2, 2) bring 4.
    match = torch.full((2, 2), 2.0, device=device, requires_grad=True)
    gaps = [torch.ones(2, 2, device=device, requires_grad=True) for _ in range(2)]
    score = implementation.edit_similarity(match, *gaps, gamma=0.0, leading_gaps="free")
    d_match, d_insert, d_delete = gradients(score, [match, *gaps])
    assert score.item() == 4
    assert d_match.tolist() == [[1, 0], [0, 1]]
    assert d_insert.sum() == d_delete.sum() == 0
    # Without matches, delete and insert tie at (2, 2), where they bring 3, and at (1, 1).
    score = implementation.edit_similarity(match - 9, *gaps, gamma=0.0, leading_gaps="free")
    d_match, d_insert, d_delete = gradients(score, [match, *gaps])
    assert score.item() == 3
    assert d_match.tolist() == [[0, 0], [0, 0]]
    assert d_delete.tolist() == [[1, 0], [0, 1]]
    assert d_insert.tolist() == [[0, 1], [0, 0]]

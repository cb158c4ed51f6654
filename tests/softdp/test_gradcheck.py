"""float64 gradcheck at its default tolerances for every differentiable argument."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from tests.softdp.support import GAP_FORMS, LEADING_GAPS, gap_shape, normal

BATCH, N, M = (3,), 4, 3
LENGTHS = (torch.tensor([4, 2, 3]), torch.tensor([3, 3, 1]))


def leaves(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(device).requires_grad_() for tensor in tensors)


def smoothing(*shape: int) -> Tensor:
    """Values of gamma between 0.5 and 1.5."""
    return 0.5 + torch.sigmoid(normal(*shape, seed=9))


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance"])
def test_edit(
    implementation: ModuleType,
    device: torch.device,
    name: str,
    leading_gaps: str,
    ragged: bool,
) -> None:
    inputs = leaves(
        device,
        normal(*BATCH, N, M, seed=1),
        normal(*BATCH, 1, M, seed=2),
        normal(N, 1, seed=3),
        smoothing(*BATCH),
    )

    def score(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor) -> Tensor:
        return getattr(implementation, name)(
            match,
            insert,
            delete,
            gamma=gamma,
            lengths=LENGTHS if ragged else None,
            leading_gaps=leading_gaps,
        )

    assert gradcheck(score, inputs)


@pytest.mark.parametrize("form", GAP_FORMS)
@pytest.mark.parametrize("gap", ["insert", "delete"])
def test_each_form_of_a_gap(
    implementation: ModuleType, device: torch.device, gap: str, form: str
) -> None:
    inputs = leaves(
        device, normal(*BATCH, N, M, seed=1), normal(*gap_shape(form, BATCH, N, M), seed=2)
    )

    def score(match: Tensor, potential: Tensor) -> Tensor:
        gaps = {"insert": -0.3, "delete": -0.5} | {gap: potential}
        return implementation.edit_similarity(
            match, **gaps, gamma=0.7, lengths=LENGTHS, leading_gaps="free"
        )

    assert gradcheck(score, inputs)


@pytest.mark.parametrize("shape", [(), BATCH])
def test_gamma(implementation: ModuleType, device: torch.device, shape: tuple[int, ...]) -> None:
    match = normal(*BATCH, N, M, seed=1).to(device)

    def score(gamma: Tensor) -> Tensor:
        return implementation.edit_similarity(match, -0.3, -0.5, gamma=gamma)

    assert gradcheck(score, leaves(device, smoothing(*shape)))


def test_two_batch_dimensions(implementation: ModuleType, device: torch.device) -> None:
    inputs = leaves(
        device, normal(2, 2, 2, 3, seed=1), normal(2, 1, 1, 3, seed=2), normal(1, 2, 2, 1, seed=3)
    )

    def score(match: Tensor, insert: Tensor, delete: Tensor) -> Tensor:
        return implementation.edit_similarity(match, insert, delete, gamma=0.7, leading_gaps="free")

    assert gradcheck(score, inputs)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("shape", [(), BATCH])
def test_lcs_with_a_soft_gate(
    implementation: ModuleType, device: torch.device, shape: tuple[int, ...], ragged: bool
) -> None:
    inputs = leaves(device, normal(*BATCH, N, M, seed=1), normal(*shape, seed=2), smoothing(*shape))

    def score(similarity: Tensor, threshold: Tensor, gamma: Tensor) -> Tensor:
        return implementation.lcs(
            similarity,
            threshold,
            gamma=gamma,
            gate_width=0.8,
            lengths=LENGTHS if ragged else None,
        )

    assert gradcheck(score, inputs)


def test_lcs_with_a_step(implementation: ModuleType, device: torch.device) -> None:
    inputs = leaves(device, normal(*BATCH, N, M, seed=1), smoothing(*BATCH))

    def score(similarity: Tensor, gamma: Tensor) -> Tensor:
        return implementation.lcs(similarity, 0.05, gamma=gamma, lengths=LENGTHS)

    assert gradcheck(score, inputs)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("shape", [(), BATCH])
def test_soft_dtw(
    implementation: ModuleType, device: torch.device, shape: tuple[int, ...], ragged: bool
) -> None:
    inputs = leaves(device, normal(*BATCH, N, M, seed=1), smoothing(*shape))

    def score(cost: Tensor, gamma: Tensor) -> Tensor:
        return implementation.soft_dtw(cost, gamma=gamma, lengths=LENGTHS if ragged else None)

    assert gradcheck(score, inputs)


def test_reference_twice(device: torch.device) -> None:
    from softdp import reference

    inputs = leaves(
        device,
        normal(*BATCH, N, M, seed=1),
        normal(1, M, seed=2),
        normal(N, 1, seed=3),
        smoothing(),
    )

    def score(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor) -> Tensor:
        return reference.edit_similarity(match, insert, delete, gamma=gamma, leading_gaps="paid")

    assert gradgradcheck(score, inputs)

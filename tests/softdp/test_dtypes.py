"""Narrow floats, mixed dtypes and autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
import torch
from torch import Tensor

from softdp import reference
from tests.softdp.support import gradients, normal

NARROW = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_inputs_are_computed_in_float32(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    values = [normal(2, 5, 7, seed=1), normal(1, 7, seed=2), normal(seed=3), normal(seed=4).exp()]
    check_narrow(
        lambda *inputs: implementation.edit_similarity(
            *inputs[:3], gamma=inputs[3], leading_gaps="free"
        ),
        [value.to(device, dtype) for value in values],
    )


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("gate_width", [0.0, 0.5])
def test_narrow_lcs(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype, gate_width: float
) -> None:
    values = [normal(3, 6, 4, seed=1), normal(3, seed=2), normal(3, seed=3).exp()]
    check_narrow(
        lambda *inputs: implementation.lcs(*inputs[:2], gamma=inputs[2], gate_width=gate_width),
        [value.to(device, dtype) for value in values],
    )


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_soft_dtw(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    check_narrow(implementation.soft_dtw, [normal(3, 6, 4, seed=1).to(device, dtype)])


def check_narrow(function: Callable[..., Tensor], values: Sequence[Tensor]) -> None:
    """Compare with the same values in float32; gradients come in the dtype of the values."""
    narrow = [value.requires_grad_() for value in values]
    wide = [value.detach().float().requires_grad_() for value in values]
    scores = [function(*inputs) for inputs in (narrow, wide)]
    assert scores[0].dtype == torch.float32
    torch.testing.assert_close(*scores)
    for gradient, wanted in zip(
        gradients(scores[0], narrow), gradients(scores[1], wide), strict=True
    ):
        assert gradient.dtype == values[0].dtype
        torch.testing.assert_close(gradient, wanted.to(gradient.dtype))


@pytest.mark.parametrize("dtype", NARROW)
def test_float32_gaps_beside_narrow_matches(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    match = normal(5, 7, seed=1).to(device, dtype).requires_grad_()
    insert = normal(1, 7, seed=2, dtype=torch.float32).to(device).requires_grad_()
    score = implementation.edit_distance(match, insert, 0.3, gamma=0.2)
    wanted = implementation.edit_distance(match.float(), insert, 0.3, gamma=0.2)
    torch.testing.assert_close(score, wanted)
    received = gradients(score, [match, insert])
    assert [gradient.dtype for gradient in received] == [dtype, torch.float32]
    for gradient, expected in zip(received, gradients(wanted, [match, insert]), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_autocast_computes_in_float32_and_unifies_dtypes(
    implementation: ModuleType, device: torch.device
) -> None:
    left = normal(5, 8, seed=1, dtype=torch.float32).to(device).requires_grad_()
    right = normal(7, 8, seed=2, dtype=torch.float32).to(device).requires_grad_()
    insert = normal(1, 7, seed=3, dtype=torch.float32).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        match = left @ right.mT
        assert match.dtype == torch.bfloat16
        score = implementation.edit_similarity(
            match, insert, insert[0, 0].bfloat16(), leading_gaps="free"
        )
        gated = implementation.lcs(match, insert[0, 0])
    assert score.dtype == gated.dtype == torch.float32
    wanted = implementation.edit_similarity(
        match.float(), insert, insert[0, 0].bfloat16().float(), leading_gaps="free"
    )
    torch.testing.assert_close(score, wanted)
    for gradient in gradients(score + gated, [left, right]):
        assert gradient.dtype == torch.float32
        assert gradient.abs().sum() > 0


def test_autocast_leaves_float64_alone(implementation: ModuleType, device: torch.device) -> None:
    match = normal(5, 7, seed=1).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        score = implementation.edit_similarity(match, -0.5, -0.5)
    assert score.dtype == torch.float64
    torch.testing.assert_close(score, implementation.edit_similarity(match, -0.5, -0.5))


def test_numbers_and_tensors_say_the_same(implementation: ModuleType, device: torch.device) -> None:
    match = normal(2, 5, 7, seed=1).to(device)
    options = {"dtype": torch.float64, "device": device}
    number = implementation.edit_similarity(match, -0.25, -1, gamma=0.5, leading_gaps="free")
    tensor = implementation.edit_similarity(
        match,
        torch.full((1, 1, 7), -0.25, **options),
        torch.full((2, 5, 7), -1.0, **options),
        gamma=torch.full((2,), 0.5, **options),
        leading_gaps="free",
    )
    torch.testing.assert_close(number, tensor)
    assert not number.requires_grad


@pytest.mark.parametrize("dtype", NARROW)
def test_leading_gaps_that_pairs_share_sum_their_gradient_in_full(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    # Pair after pair adds and takes away 1; in the gaps' own dtype what is small would be lost.
    pairs = 400
    match = torch.full((pairs, 1, 1), -torch.inf, device=device, dtype=dtype)
    gaps = torch.zeros(1, 2, device=device, dtype=dtype).requires_grad_()
    upstream = torch.full((pairs,), 2.0**-9, device=device)
    upstream[0], upstream[-1] = 1, -1
    score = implementation.edit_similarity(match, -torch.inf, gaps, trailing_gaps="free", gamma=1.0)
    wanted = gaps.detach().double().requires_grad_()
    exact = reference.edit_similarity(
        match.double(), -torch.inf, wanted, trailing_gaps="free", gamma=1.0
    )
    (expected,) = torch.autograd.grad(exact, wanted, upstream.double())
    (got,) = torch.autograd.grad(score, gaps, upstream)
    torch.testing.assert_close(got, expected.to(dtype), rtol=0.01, atol=0)

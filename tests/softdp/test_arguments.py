"""What is taken in more forms than one: lengths, numbers of another dtype, of other shapes."""

from __future__ import annotations

from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests.softdp.support import gradients, normal

N, M = [5, 3], [6, 2]


@pytest.mark.parametrize(
    "lengths",
    [
        (N, M),
        [tuple(N), tuple(M)],
        (torch.tensor(N), M),
        torch.tensor([N, M]),
        (torch.tensor(N, dtype=torch.int16), torch.tensor(M, dtype=torch.uint8)),
    ],
)
def test_lengths_in_any_form(
    implementation: ModuleType, device: torch.device, lengths: Any
) -> None:
    cost = normal(2, 5, 6, seed=1).to(device)
    wanted = torch.stack([implementation.soft_dtw(cost[k, : N[k], : M[k]]) for k in range(2)])
    torch.testing.assert_close(implementation.soft_dtw(cost, lengths=lengths), wanted)


def test_none_and_a_number_are_lengths_of_all(
    implementation: ModuleType, device: torch.device
) -> None:
    cost = normal(2, 5, 6, seed=1).to(device)
    whole = implementation.soft_dtw(cost[..., :4])
    assert implementation.soft_dtw(cost, lengths=(None, 4)).equal(whole)
    assert implementation.soft_dtw(cost, lengths=(5, [4, 4])).equal(whole)


def test_lengths_broadcast_to_all_pairs(implementation: ModuleType, device: torch.device) -> None:
    cost = normal(3, 2, 5, 6, seed=1).to(device)
    rows, columns = torch.tensor([[5], [0], [2]]), torch.tensor([[6, 3]])
    got = implementation.edit_distance(cost, 0.4, 0.3, lengths=(rows, columns))
    both = rows.expand(3, 2), columns.expand(3, 2)
    assert got.equal(implementation.edit_distance(cost, 0.4, 0.3, lengths=both))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_number_of_another_dtype_is_promoted_as_torch_does(
    implementation: ModuleType, device: torch.device, dtype: torch.dtype
) -> None:
    match = normal(2, 5, 6, seed=1).to(device, dtype)
    for other in (torch.float64, torch.bfloat16, torch.int64):
        gamma, gap = (torch.tensor(x, device=device).to(other) for x in (1.0, -2.0))
        got = implementation.edit_similarity(match, gap, gap, gamma=gamma)
        assert got.equal(implementation.edit_similarity(match, -2.0, -2.0, gamma=1.0))
    gamma = torch.tensor(0.5, dtype=torch.float64, device=device, requires_grad=True)
    (gradient,) = gradients(implementation.edit_similarity(match, -2.0, -2.0, gamma=gamma), [gamma])
    assert gradient.dtype == torch.float64
    assert gradient > 0


def test_numbers_of_pairs_broadcast_to_the_batch(
    implementation: ModuleType, device: torch.device
) -> None:
    c = normal(3, 2, 5, 6, seed=1).to(device)
    gamma, threshold = normal(3, 1, seed=2).exp().to(device), normal(1, seed=3).to(device)
    gamma.requires_grad_()
    got = implementation.lcs(c, threshold, gamma=gamma, gate_width=0.3)
    wanted = implementation.lcs(c, threshold[0], gamma=gamma.expand(3, 2), gate_width=0.3)
    assert got.equal(wanted)
    torch.testing.assert_close(gradients(got, [gamma]), gradients(wanted, [gamma]))


def test_a_gap_for_each_pair_says_so_by_its_shape(
    implementation: ModuleType, device: torch.device
) -> None:
    match, gap = normal(6, 5, 6, seed=1).to(device), normal(6, seed=2).to(device)
    per_pair = implementation.edit_similarity(match, gap[:, None, None], -0.2, gamma=0.5)
    wanted = [implementation.edit_similarity(match[k], gap[k], -0.2, gamma=0.5) for k in range(6)]
    torch.testing.assert_close(per_pair, torch.stack(wanted))
    per_column = implementation.edit_similarity(match, gap[None, None], -0.2, gamma=0.5)
    wanted = [implementation.edit_similarity(each, gap, -0.2, gamma=0.5) for each in match]
    torch.testing.assert_close(per_column, torch.stack(wanted))


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (10**30, torch.float32),
        (2**64, torch.float32),
        (10**300, torch.float64),
        (Fraction(1, 3), torch.float32),
        (np.float64(0.25), torch.float32),
        (True, torch.bfloat16),
    ],
)
def test_numbers_of_any_type_that_the_dtype_holds(
    implementation: ModuleType, device: torch.device, number: Any, dtype: torch.dtype
) -> None:
    similarity = torch.ones(3, 3, dtype=dtype, device=device)
    wanted, plain = (
        implementation.edit_distance(similarity, value, value, gamma=value)
        for value in (number, float(number))
    )
    assert wanted.equal(plain)
    assert implementation.lcs(similarity, number, gamma=number, gate_width=number).equal(
        implementation.lcs(similarity, float(number), gamma=float(number), gate_width=float(number))
    )


def test_lengths_of_any_integer_dtype_and_layout(
    implementation: ModuleType, device: torch.device
) -> None:
    match = torch.arange(36, device=device).reshape(4, 3, 3) / 36
    wanted = implementation.edit_similarity(
        match, -1.0, -1.0, lengths=(torch.tensor([0, 1, 2, 3]), torch.tensor([3, 2, 1, 3]))
    )
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        strided = torch.tensor([[0, 3], [1, 2], [2, 1], [3, 3]], dtype=dtype)
        lengths = strided.unbind(1)
        assert not lengths[0].is_contiguous()
        assert implementation.edit_similarity(match, -1.0, -1.0, lengths=lengths).equal(wanted)
        elsewhere = strided.to(device).unbind(1)
        assert implementation.edit_similarity(match, -1.0, -1.0, lengths=elsewhere).equal(wanted)

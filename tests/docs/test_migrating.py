"""docs/migrating.md: calls of other libraries and those of softdp say the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import softdp


@pytest.fixture
def sequences() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 8, 4), torch.randn(3, 6, 4)


def test_pysdtw(sequences: tuple[Tensor, Tensor]) -> None:
    pysdtw = pytest.importorskip("pysdtw")
    x, y = sequences
    there = pysdtw.SoftDTW(gamma=0.5, use_cuda=False)(x, y)
    torch.testing.assert_close(softdp.soft_dtw(softdp.pairwise_cost(x, y), gamma=0.5), there)
    there = pysdtw.SoftDTW(gamma=0.5, use_cuda=False, bandwidth=3)(x, x.flip(1))
    here = softdp.soft_dtw(softdp.pairwise_cost(x, x.flip(1)), gamma=0.5, band=3)
    torch.testing.assert_close(here, there)


def _same(here: Tensor, there: Any) -> None:
    torch.testing.assert_close(here, torch.as_tensor(there, dtype=here.dtype), atol=1e-4, rtol=1e-4)


def test_tslearn_of_a_pair(sequences: tuple[Tensor, Tensor]) -> None:
    metrics = pytest.importorskip("tslearn.metrics")
    x, y = (side[0] for side in sequences)
    pair = x.numpy(), y.numpy()
    cost = softdp.pairwise_cost(x, y)
    _same(softdp.soft_dtw(cost, gamma=0.5), metrics.soft_dtw(*pair, gamma=0.5))
    expected, _ = metrics.soft_dtw_alignment(*pair, gamma=0.5)
    _same(sum(softdp.SoftDTWAlignment(cost, gamma=0.5).expected, torch.zeros(())), expected)
    _same(softdp.soft_dtw(cost, gamma=0.0).sqrt(), metrics.dtw(*pair))
    path, _ = metrics.dtw_path(*pair)
    best = softdp.SoftDTWAlignment(cost, gamma=0.0).best()
    assert best.pairs[: best.lengths].tolist() == [list(step) for step in path]
    turned = x.flip(0)
    there = metrics.dtw(
        pair[0], turned.numpy(), global_constraint="sakoe_chiba", sakoe_chiba_radius=2
    )
    here = softdp.soft_dtw(softdp.pairwise_cost(x, turned), gamma=0.0, band=2)
    _same(here.sqrt(), there)
    path, _ = metrics.dtw_subsequence_path(pair[0][2:5], pair[0])
    best = softdp.SoftDTWAlignment(
        softdp.pairwise_cost(x[2:5], x), gamma=0.0, open_begin=True, open_end=True
    ).best()
    assert best.pairs[: best.lengths].tolist() == [list(step) for step in path]
    near = (softdp.pairwise_cost(x, y, "euclidean") <= 2.0).float()
    _same(softdp.lcs(near, 0.5, gamma=0.0) / 6, metrics.lcss(*pair, eps=2.0))


def test_tslearn_of_many(sequences: tuple[Tensor, Tensor]) -> None:
    metrics = pytest.importorskip("tslearn.metrics")
    x, y = sequences
    sides = x.numpy(), y.numpy()
    every = x[:, None], y[None]
    _same(
        softdp.soft_dtw(softdp.pairwise_cost(*every), gamma=0.5),
        metrics.cdist_soft_dtw(*sides, gamma=0.5),
    )
    _same(
        softdp.dtw_divergence(*every, gamma=0.5),
        metrics.cdist_soft_dtw_normalized(*sides, gamma=0.5),
    )
    _same(
        softdp.dtw_divergence(x, y, gamma=0.5),
        metrics.SoftDTWLossPyTorch(gamma=0.5, normalize=True)(x, y),
    )


def test_monotonic_alignment_search() -> None:
    search = pytest.importorskip("monotonic_alignment_search")
    torch.manual_seed(0)
    value = torch.randn(3, 6, 20)
    tokens, frames = torch.tensor([6, 4, 5]), torch.tensor([20, 17, 12])
    mask = (torch.arange(6)[:, None] < tokens[:, None, None]).float()
    mask = mask * (torch.arange(20) < frames[:, None, None]).float()
    lengths = mask[:, :, 0].sum(1).long(), mask[:, 0].sum(1).long()
    here = softdp.monotonic_alignment(value, lengths=lengths).alignment
    assert torch.equal(here, search.maximum_path(value, mask))

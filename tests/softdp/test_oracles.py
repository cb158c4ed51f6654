"""Agreement with other people's libraries, where they are installed."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from tests.softdp.support import gradients, normal


@pytest.mark.parametrize("gamma", [1.0, 0.1])
def test_ddtw_soft_dtw(implementation: ModuleType, device: torch.device, gamma: float) -> None:
    ddtw = pytest.importorskip("ddtw", reason="ddtw, an optional oracle, is not installed")
    cost = normal(9, 12, seed=1).square()
    peer_cost = cost[None].clone().requires_grad_()
    soft_dtw = ddtw.SDTW(
        gamma=gamma, backend="torch", normalization="none", dtype_float=torch.float64
    )
    peer_value = soft_dtw(C=peer_cost)
    (peer_alignment,) = gradients(peer_value, [peer_cost])
    leaf = cost.to(device).requires_grad_()
    value = implementation.soft_dtw(leaf, gamma=gamma)
    (alignment,) = gradients(value, [leaf])
    torch.testing.assert_close(value.cpu(), peer_value)
    torch.testing.assert_close(alignment.cpu(), peer_alignment[0])


def test_tslearn_soft_dtw(implementation: ModuleType, device: torch.device) -> None:
    metrics = pytest.importorskip(
        "tslearn.metrics", reason="tslearn, an optional oracle, is not installed"
    )
    x, y = normal(9, 3, seed=1), normal(12, 3, seed=2)
    cost = torch.cdist(x, y).square().to(device)
    value = implementation.soft_dtw(cost, gamma=0.7)
    assert value.item() == pytest.approx(metrics.soft_dtw(x.numpy(), y.numpy(), gamma=0.7))


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_nwgrad_soft_needleman_wunsch(
    implementation: ModuleType, device: torch.device, temperature: float
) -> None:
    nwgrad = pytest.importorskip("nwgrad", reason="nwgrad, an optional oracle, is not installed")
    letters, first, second = "ACGT", "ACGTGATTAC", "AGGTCATC"
    matrix = normal(4, 4, seed=1)
    matrix = matrix + matrix.mT + 2 * torch.eye(4, dtype=torch.float64)
    peer_score, peer_gradient = nwgrad.nw_soft_grad_double(
        first,
        second,
        nwgrad.AlignParams(matrix.numpy(), letters, 0.0, 0.5, 0.0, 0.9),
        temperature=temperature,
    )
    rows, columns = ([letters.index(letter) for letter in text] for text in (first, second))
    options = {"dtype": torch.float64, "device": device, "requires_grad": True}
    substitution = matrix.to(device).requires_grad_()
    insert, delete = torch.tensor(-0.5, **options), torch.tensor(-0.9, **options)
    score = implementation.edit_similarity(
        substitution[rows][:, columns], insert, delete, gamma=temperature, leading_gaps="paid"
    )
    counts, inserts, deletes = gradients(score, [substitution, insert, delete])
    assert score.item() == pytest.approx(peer_score)
    np.testing.assert_allclose(counts.cpu(), peer_gradient.matrix.to_matrix(), atol=1e-9)
    assert inserts.item() == pytest.approx(-peer_gradient.gap_extend_a)
    assert deletes.item() == pytest.approx(-peer_gradient.gap_extend_b)

"""Agreement with other people's libraries, where they are installed."""

from __future__ import annotations

import random
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import softdp
from softdp.paths import MATCH
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


def test_pysdtw_pairs_of_any_length(implementation: ModuleType, device: torch.device) -> None:
    """Its test of packed sequences: in one batch as each pair alone."""
    pysdtw = pytest.importorskip("pysdtw", reason="pysdtw, an optional oracle, is not installed")
    n, m = torch.tensor([20, 34, 49, 27]), torch.tensor([30, 49, 33, 41])
    cost = normal(4, 49, 49, seed=5).square()
    leaf = cost.to(device).requires_grad_()
    score = implementation.soft_dtw(leaf, gamma=1.0, lengths=(n.to(device), m.to(device)))
    (gradient,) = gradients(score.sum(), [leaf])
    peer = pysdtw.SoftDTW(gamma=1.0, use_cuda=False).dtw_func
    for k, (rows, columns) in enumerate(zip(n.tolist(), m.tolist(), strict=True)):
        alone = cost[k : k + 1, :rows, :columns].clone().requires_grad_()
        peer_score = peer(alone, torch.tensor([[rows, columns]]), 1.0, 0.0)
        (peer_gradient,) = gradients(peer_score.sum(), [alone])
        # There values go through float32.
        assert score[k].item() == pytest.approx(peer_score.item(), rel=1e-5)
        torch.testing.assert_close(
            gradient[k, :rows, :columns].cpu(), peer_gradient[0], rtol=0, atol=1e-4
        )


DNA = "ACGTGATTAC", "AGGTCATC"


def substitutions() -> tuple[Tensor, list[int], list[int]]:
    """A matrix for ACGT, and its rows and columns of the letters of DNA."""
    matrix = normal(4, 4, seed=1)
    rows, columns = (["ACGT".index(letter) for letter in text] for text in DNA)
    return matrix + matrix.mT + 2 * torch.eye(4, dtype=torch.float64), rows, columns


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_nwgrad_soft_needleman_wunsch(
    implementation: ModuleType, device: torch.device, temperature: float
) -> None:
    nwgrad = pytest.importorskip("nwgrad", reason="nwgrad, an optional oracle, is not installed")
    matrix, rows, columns = substitutions()
    peer_score, peer_gradient = nwgrad.nw_soft_grad_double(
        *DNA,
        nwgrad.AlignParams(matrix.numpy(), "ACGT", 0.0, 0.5, 0.0, 0.9),
        temperature=temperature,
    )
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


def texts(count: int) -> list[tuple[str, str]]:
    generator = random.Random(0)
    return [
        tuple("".join(generator.choices("ACGT", k=generator.randint(1, 40))) for _ in range(2))  # type: ignore[misc]
        for _ in range(count)
    ]


def matched(pair: tuple[str, str], match: float, mismatch: float) -> Tensor:
    x, y = (torch.tensor(list(text.encode())) for text in pair)
    return torch.where(x[:, None] == y, match, mismatch).double()


# Leading and trailing gaps, for x and y: global, semi-global (y within x), overlaps either way.
REGIMES: dict[str, dict[str, Any]] = {
    "global": {"leading_gaps": "paid", "trailing_gaps": "paid"},
    "semi-global": {"leading_gaps": "free", "trailing_gaps": "free"},
    "within x": {"leading_gaps": ("free", "paid"), "trailing_gaps": ("free", "paid")},
    "within y": {"leading_gaps": ("paid", "free"), "trailing_gaps": ("paid", "free")},
    "x before y": {"leading_gaps": ("free", "paid"), "trailing_gaps": ("paid", "free")},
    "y before x": {"leading_gaps": ("paid", "free"), "trailing_gaps": ("free", "paid")},
}
# The same for parasail: which gaps before and after the query x and the database y are free.
PARASAIL = {
    "global": "nw",
    "semi-global": "sg",
    "within x": "sg_qx",
    "within y": "sg_dx",
    "x before y": "sg_qb_de",
    "y before x": "sg_qe_db",
}


def with_none(regime: str, score: float) -> float:
    """These two want an overlap to have a step; where all of x may be skipped, then all of y, 0."""
    return max(score, 0.0) if "before" in regime else score


@pytest.mark.parametrize("regime", REGIMES)
def test_biopython(implementation: ModuleType, device: torch.device, regime: str) -> None:
    align = pytest.importorskip(
        "Bio.Align", reason="Biopython, an optional oracle, is not installed"
    )
    aligner = align.PairwiseAligner(
        mode="global", match_score=2.0, mismatch_score=-1.0, gap_score=-1.5
    )
    options = REGIMES[regime]
    for place, name in (("left", "leading_gaps"), ("right", "trailing_gaps")):
        gaps = options[name]
        for gap, sort in zip(
            (gaps, gaps) if isinstance(gaps, str) else gaps, ("deletion", "insertion"), strict=True
        ):
            if gap == "free":
                setattr(aligner, f"{place}_{sort}_score", 0.0)
    for pair in texts(200):
        table = matched(pair, 2.0, -1.0).to(device)
        score = implementation.edit_similarity(table, -1.5, -1.5, gamma=0.0, **options)
        assert score.item() == with_none(regime, aligner.score(*pair)), pair


@pytest.mark.parametrize("regime", REGIMES)
def test_parasail(implementation: ModuleType, device: torch.device, regime: str) -> None:
    parasail = pytest.importorskip(
        "parasail", reason="parasail, an optional oracle, is not installed"
    )
    score_of = getattr(parasail, PARASAIL[regime])
    matrix = parasail.matrix_create("ACGT", 2, -1)
    for pair in texts(200):
        table = matched(pair, 2.0, -1.0).to(device)
        score = implementation.edit_similarity(table, -2.0, -2.0, gamma=0.0, **REGIMES[regime])
        assert score.item() == with_none(regime, score_of(*pair, 2, 2, matrix).score), pair


@pytest.mark.parametrize("radius", [1, 3, 10])
def test_tslearn_band(implementation: ModuleType, device: torch.device, radius: int) -> None:
    metrics = pytest.importorskip(
        "tslearn.metrics", reason="tslearn, an optional oracle, is not installed"
    )
    for seed in range(20):
        x, y = normal(30, 2, seed=seed), normal(30, 2, seed=100 + seed)
        cost = torch.cdist(x, y).square().to(device)
        value = implementation.soft_dtw(cost, gamma=0.0, band=radius)
        wanted = metrics.dtw(
            x.numpy(), y.numpy(), global_constraint="sakoe_chiba", sakoe_chiba_radius=radius
        )
        assert value.sqrt().item() == pytest.approx(wanted)


def test_tslearn_subsequence(implementation: ModuleType, device: torch.device) -> None:
    metrics = pytest.importorskip(
        "tslearn.metrics", reason="tslearn, an optional oracle, is not installed"
    )
    for seed in range(20):
        x, y = normal(9, 2, seed=seed), normal(40, 2, seed=100 + seed)
        cost = torch.cdist(x, y).square().to(device)
        value = implementation.soft_dtw(cost, gamma=0.0, open_begin=True, open_end=True)
        _, wanted = metrics.dtw_subsequence_path(x.numpy(), y.numpy())
        assert value.sqrt().item() == pytest.approx(wanted)


@pytest.mark.parametrize("gamma", [1.0, 0.1])
def test_ddtw_subsequence(implementation: ModuleType, device: torch.device, gamma: float) -> None:
    ddtw = pytest.importorskip("ddtw", reason="ddtw, an optional oracle, is not installed")
    peer = ddtw.subSDTW(
        gamma=gamma, backend="torch", normalization="none", dtype_float=torch.float64,
        sub_X=False, compensate_subseq=False,
    )  # fmt: skip
    for seed in range(10):
        cost = normal(6, 20, seed=seed).square()
        value = implementation.soft_dtw(
            cost.to(device), gamma=gamma, open_begin=True, open_end=True
        )
        # Its first rows and columns hold something large and finite.
        torch.testing.assert_close(value.cpu(), peer(C=cost[None]), rtol=1e-4, atol=1e-4)


def test_tslearn_paths(device: torch.device) -> None:
    metrics = pytest.importorskip(
        "tslearn.metrics", reason="tslearn, an optional oracle, is not installed"
    )
    for seed in range(20):
        x, y = normal(30, 2, seed=seed), normal(25, 2, seed=100 + seed)
        best = softdp.SoftDTWAlignment(torch.cdist(x, y).square().to(device)).best()
        wanted, length = metrics.dtw_path(x.numpy(), y.numpy())
        assert best.pairs[: best.lengths].tolist() == [list(pair) for pair in wanted]
        assert best.score.sqrt().item() == pytest.approx(length)
    for seed in range(20):
        x, y = normal(9, 2, seed=seed), normal(40, 2, seed=100 + seed)
        table = torch.cdist(x, y).square().to(device)
        best = softdp.SoftDTWAlignment(table, open_begin=True, open_end=True).best()
        wanted, length = metrics.dtw_subsequence_path(x.numpy(), y.numpy())
        assert best.pairs[: best.lengths].tolist() == [list(pair) for pair in wanted]
        assert best.score.sqrt().item() == pytest.approx(length)


def test_dtaidistance_paths(device: torch.device) -> None:
    dtw = pytest.importorskip(
        "dtaidistance.dtw", reason="dtaidistance, an optional oracle, is not installed"
    )
    for seed in range(20):
        x, y = normal(30, seed=seed), normal(25, seed=100 + seed)
        cost = (x[:, None] - y).square().to(device)
        best = softdp.SoftDTWAlignment(cost).best()
        distance, values = dtw.warping_paths(x.numpy(), y.numpy())
        wanted = dtw.best_path(values)
        assert best.pairs[: best.lengths].tolist() == [list(pair) for pair in wanted]
        assert best.score.sqrt().item() == pytest.approx(distance)


def test_parasail_paths(device: torch.device) -> None:
    parasail = pytest.importorskip(
        "parasail", reason="parasail, an optional oracle, is not installed"
    )
    generator = random.Random(1)
    letters = [chr(ord("A") + k) for k in range(26)]
    matrix = parasail.matrix_create("".join(letters), 0, 0).copy()
    for row in range(26):
        for column in range(26):  # each another, so that no two paths are worth the same
            matrix[row, column] = generator.randint(-2000, 2000)
    worth = torch.tensor(matrix.matrix[:26, :26]).double().to(device)
    for _ in range(200):
        x, y = (generator.sample(letters, generator.randint(1, 26)) for _ in range(2))
        rows, columns = ([letters.index(letter) for letter in text] for text in (x, y))
        best = softdp.best_alignment(worth[rows][:, columns], -771.0, -771.0)
        traced = parasail.nw_trace("".join(x), "".join(y), 771, 771, matrix)
        assert best.score.item() == traced.score
        # Two gaps side by side are worth the same in any order: what is matched is compared.
        wanted, i, j = [], 0, 0
        for count, letter in re.findall(r"(\d+)([=XID])", traced.cigar.decode.decode()):
            for _ in range(int(count)):
                if letter in "=X":
                    wanted.append([i, j])
                i, j = i + (letter != "D"), j + (letter != "I")
        assert best.pairs[best.arcs == MATCH].tolist() == wanted


@pytest.mark.parametrize("gamma", [1.0, 0.1])
def test_sdtw_div_second_order(
    implementation: ModuleType, device: torch.device, gamma: float
) -> None:
    """The sharp score sum(P C), P the expected alignment; its gradient is P + H C."""
    peer = pytest.importorskip(
        "sdtw_div.numba_ops", reason="sdtw_div, an optional oracle, is not installed"
    )
    for seed in range(5):
        cost = normal(9, 12, seed=seed).square()
        leaf = cost.to(device).clone().requires_grad_()
        value = implementation.soft_dtw(leaf, gamma=gamma)
        (expected,) = torch.autograd.grad(value, leaf, create_graph=True)
        sharp = (expected * leaf).sum()
        (gradient,) = gradients(sharp, [leaf])
        wanted, wanted_gradient = peer.sharp_sdtw_value_and_grad_C(cost.numpy(), gamma)
        assert sharp.item() == pytest.approx(wanted)
        np.testing.assert_allclose(gradient.cpu(), wanted_gradient, rtol=1e-7, atol=1e-9)
        entropy = softdp.SoftDTWAlignment(cost.to(device), gamma=gamma).entropy()
        assert entropy.item() == pytest.approx(peer.sdtw_entropy_C(cost.numpy(), gamma))


def test_sdtw_div_divergence(implementation: ModuleType, device: torch.device) -> None:
    peer = pytest.importorskip(
        "sdtw_div.numba_ops", reason="sdtw_div, an optional oracle, is not installed"
    )
    x, y = normal(9, 3, seed=1), normal(12, 3, seed=2)
    leaf = x.to(device).clone().requires_grad_()
    value = implementation.dtw_divergence(leaf, y.to(device), gamma=0.7)
    (gradient,) = gradients(value, [leaf])
    # Its cost is half of the squared distance.
    wanted, wanted_gradient = peer.sdtw_div_value_and_grad(x.numpy(), y.numpy(), 0.35)
    assert value.item() == pytest.approx(2 * wanted)
    np.testing.assert_allclose(gradient.cpu(), 2 * wanted_gradient, rtol=1e-7, atol=1e-9)

"""Affine gaps, the transducer and monotonic alignment beside other people's libraries."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import softdp
from tests.softdp.support import gradients, normal
from tests.softdp.test_oracles import (
    DNA,
    PARASAIL,
    REGIMES,
    matched,
    substitutions,
    texts,
    with_none,
)


@pytest.mark.parametrize("regime", REGIMES)
def test_parasail_affine(implementation: ModuleType, device: torch.device, regime: str) -> None:
    parasail = pytest.importorskip(
        "parasail", reason="parasail, an optional oracle, is not installed"
    )
    score_of = getattr(parasail, PARASAIL[regime])
    matrix = parasail.matrix_create("ACGT", 2, -1)
    for pair in texts(100):
        table = matched(pair, 2.0, -1.0).to(device)
        score = implementation.needleman_wunsch(
            table, gap_open=3.0, gap_extend=1.0, gamma=0.0, **REGIMES[regime]
        )
        # There the first step of a gap costs 4.
        assert score.item() == with_none(regime, score_of(*pair, 4, 1, matrix).score), pair


def test_biopython_affine(implementation: ModuleType, device: torch.device) -> None:
    align = pytest.importorskip(
        "Bio.Align", reason="Biopython, an optional oracle, is not installed"
    )
    blosum = align.substitution_matrices.load("BLOSUM62")
    aligner = align.PairwiseAligner(
        mode="global", substitution_matrix=blosum, open_gap_score=-11.0, extend_gap_score=-1.0
    )
    # Another cost for gaps in each sequence.
    aligner.open_insertion_score, aligner.extend_insertion_score = -7.0, -2.0
    matrix = torch.from_numpy(np.array(blosum)).double().to(device)
    for pair in texts(60):  # the four letters are residues, too
        x, y = ([blosum.alphabet.index(letter) for letter in text] for text in pair)
        score = implementation.needleman_wunsch(
            matrix[x][:, y], gap_open=(10.0, 5.0), gap_extend=(1.0, 2.0), gamma=0.0
        )
        assert score.item() == aligner.score(*pair), pair


def test_parasail_local(implementation: ModuleType, device: torch.device) -> None:
    parasail = pytest.importorskip(
        "parasail", reason="parasail, an optional oracle, is not installed"
    )
    matrix = parasail.matrix_create("ACGT", 2, -3)
    for pair in texts(100):
        table = matched(pair, 2.0, -3.0).to(device)
        score = implementation.smith_waterman(table, gap_open=1.0, gap_extend=1.0, gamma=0.0)
        # An alignment of no step is worth 0 there.
        assert score.clamp(min=0).item() == parasail.sw(*pair, 2, 1, matrix).score, pair


def test_biopython_local(implementation: ModuleType, device: torch.device) -> None:
    align = pytest.importorskip(
        "Bio.Align", reason="Biopython, an optional oracle, is not installed"
    )
    blosum = align.substitution_matrices.load("BLOSUM62")
    aligner = align.PairwiseAligner(
        mode="local", substitution_matrix=blosum, open_gap_score=-4.0, extend_gap_score=-1.0
    )
    aligner.open_insertion_score, aligner.extend_insertion_score = -3.0, -2.0
    matrix = torch.from_numpy(np.array(blosum)).double().to(device)
    for pair in texts(60):
        x, y = ([blosum.alphabet.index(letter) for letter in text] for text in pair)
        score = implementation.smith_waterman(
            matrix[x][:, y], gap_open=(3.0, 1.0), gap_extend=(1.0, 2.0), gamma=0.0
        )
        assert score.clamp(min=0).item() == aligner.score(*pair), pair


def test_nwgrad_local(implementation: ModuleType, device: torch.device) -> None:
    # Without smoothing alone: its smooth score counts alignments that begin or end with a gap, and
    # one of no step for each cell.
    nwgrad = pytest.importorskip("nwgrad", reason="nwgrad, an optional oracle, is not installed")
    matrix, rows, columns = substitutions()
    peer_score, peer_gradient = nwgrad.sw_affine_grad_double(
        *DNA, nwgrad.AlignParams(matrix.numpy(), "ACGT", 1.2, 0.5, 0.8, 0.9)
    )
    substitution = matrix.to(device).requires_grad_()
    score = implementation.smith_waterman(
        substitution[rows][:, columns], gap_open=(0.8, 1.2), gap_extend=(0.9, 0.5), gamma=0.0
    )
    (counts,) = gradients(score, [substitution])
    assert score.item() == pytest.approx(peer_score)
    np.testing.assert_allclose(counts.cpu(), peer_gradient.matrix.to_matrix(), atol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_nwgrad_affine(
    implementation: ModuleType, device: torch.device, temperature: float
) -> None:
    nwgrad = pytest.importorskip("nwgrad", reason="nwgrad, an optional oracle, is not installed")
    matrix, rows, columns = substitutions()
    peer_score, peer_gradient = nwgrad.nw_affine_soft_grad_double(
        *DNA,
        nwgrad.AlignParams(matrix.numpy(), "ACGT", 1.2, 0.5, 0.8, 0.9),
        temperature=temperature,
    )
    options = {"dtype": torch.float64, "device": device, "requires_grad": True}
    substitution = matrix.to(device).requires_grad_()
    # Their gaps in a are steps of b alone.
    in_y, in_x = (
        [torch.tensor(cost, **options) for cost in costs] for costs in ((1.2, 0.5), (0.8, 0.9))
    )
    score = implementation.needleman_wunsch(
        substitution[rows][:, columns], gap_open=(in_x[0], in_y[0]),
        gap_extend=(in_x[1], in_y[1]), gamma=temperature,
    )  # fmt: skip
    counts, *of_gaps = gradients(score, [substitution, *in_y, *in_x])
    assert score.item() == pytest.approx(peer_score)
    np.testing.assert_allclose(counts.cpu(), peer_gradient.matrix.to_matrix(), atol=1e-9)
    theirs = [
        getattr(peer_gradient, f"gap_{step}_{which}")
        for which in "ab"
        for step in ("open", "extend")
    ]
    np.testing.assert_allclose([gap.item() for gap in of_gaps], theirs, atol=1e-9)


def test_the_example_of_deepblast(implementation: ModuleType, device: torch.device) -> None:
    """Its decoder adds the similarity of a cell to all three arcs; gaps before cost nothing.

    Morton et al., Protein structural alignments from sequence, 2020; its test of decoding.
    """
    random = np.random.RandomState(0)
    shared, x, y = (random.randn(steps, 3) for steps in (3, 2, 1))
    x, y = np.concatenate([x, shared]), np.concatenate([shared, y])
    theta = 1 / (np.linalg.norm(x[:, None] - y, axis=-1) + 0.1)
    table = torch.from_numpy(theta).to(device).requires_grad_()
    gap = table + 0.1
    score = implementation.edit_similarity(table, gap, gap, gamma=1.0, leading_gaps="free")
    values = np.zeros((6, 5))
    for i, j in np.ndindex(5, 4):
        arcs = values[i, j], values[i, j + 1] + 0.1, values[i + 1, j] + 0.1
        values[i + 1, j + 1] = theta[i, j] + np.logaddexp.reduce(arcs)
    assert score.item() == pytest.approx(values[-1, -1])
    (gradient,) = gradients(score, [table])
    cell, cells = (4, 3), [(4, 3)]
    while cell != (0, 0):
        before = [(cell[0] - 1, cell[1]), (cell[0] - 1, cell[1] - 1), (cell[0], cell[1] - 1)]
        cell = max((c for c in before if min(c) >= 0), key=lambda c: gradient[c].item())
        cells.append(cell)
    assert cells[::-1] == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (4, 3)]  # as it is published


def local_by_turns(
    table: np.ndarray, opened: float, extended: float, smooth: Any, *, both: bool, least: int
) -> float:
    """Local alignments with affine gaps as others define them, in plain Python.

    The first step of a gap costs `opened`, the others `extended`. A gap in y may follow one in x
    only if `both` turns are allowed; `least` matches are needed.
    """
    n, m = table.shape
    values = np.full((n + 1, m + 1, 3), -np.inf)  # by the last step: match, gap in x, gap in y
    ends = []
    for i, j in np.ndindex(n, m):
        before = values[i, j]
        values[i + 1, j + 1, 0] = table[i, j] + smooth([0.0, *before])
        ends.append(table[i, j] + smooth([0.0, *before] if least == 1 else before))
        above, left = values[i, j + 1], values[i + 1, j]
        turned = left[1] - opened if both else -np.inf
        values[i + 1, j + 1, 1] = smooth(
            [above[0] - opened, above[1] - extended, above[2] - opened]
        )
        values[i + 1, j + 1, 2] = smooth([left[0] - opened, turned, left[2] - extended])
    return smooth(ends)


def test_the_conventions_of_dedal(implementation: ModuleType, device: torch.device) -> None:
    """Llinares-Lopez et al., Deep embedding and alignment of protein sequences, 2023.

    Its smooth score counts the alignments that turn from a gap in y to one in x but not back.
    """
    table = normal(7, 6, seed=3, device=device)
    theirs = table.cpu().numpy(), 1.1, 0.4
    given = {"gap_open": 1.1 - 0.4, "gap_extend": 0.4}
    hard = implementation.smith_waterman(table, **given, gamma=0.0)
    assert hard.item() == pytest.approx(local_by_turns(*theirs, max, both=False, least=1))
    smooth = implementation.smith_waterman(table, **given, gamma=1.0).item()
    fewer = local_by_turns(*theirs, np.logaddexp.reduce, both=False, least=1)
    assert fewer < smooth
    assert smooth == pytest.approx(
        local_by_turns(*theirs, np.logaddexp.reduce, both=True, least=1), rel=1e-12
    )


def test_the_conventions_of_smurf(implementation: ModuleType, device: torch.device) -> None:
    """Petti et al., End-to-end learning of multiple sequence alignments, 2023.

    With its turns penalised and not restricted, its numbers being minus what gaps cost. It counts
    alignments of two matches or more: those of one are the cells.
    """
    table = normal(6, 7, seed=4, device=device)
    score = implementation.smith_waterman(table, gap_open=0.9 - 0.2, gap_extend=0.2, gamma=1.0)
    theirs = local_by_turns(table.cpu().numpy(), 0.9, 0.2, np.logaddexp.reduce, both=True, least=2)
    single = table.flatten().logsumexp(0).item()
    assert score.item() == pytest.approx(np.logaddexp(theirs, single), rel=1e-12)


def test_the_example_of_fast_rnnt(device: torch.device) -> None:
    """Its sum of a language and an acoustic model's logits, termination being the last symbol.

    Kuang et al., Pruned RNN-T for fast, memory-efficient ASR training, 2022; its first test, by the
    recursion over symbols and frames that it defines.
    """
    options = {"dtype": torch.float64, "device": device}
    lm = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 0, 1], [2, 2, 0]], **options)
    am = torch.tensor([[0, 1, 2], [0, 0, 0], [0, 2, 4], [0, 3, 3]], **options)
    symbols = torch.tensor([0, 1, 0])
    logits = am[:, None] + lm
    loss = softdp.rnnt_loss(
        logits[None], symbols[None], torch.tensor([4]), torch.tensor([3]), blank=2, reduction="sum"
    )
    log_p = logits.log_softmax(-1).cpu().numpy()
    p = np.full((4, 5), -np.inf)
    p[0, 0] = 0
    for s, t in np.ndindex(4, 5):
        if s > 0 and t < 4:
            p[s, t] = np.logaddexp(p[s, t], p[s - 1, t] + log_p[t, s - 1, symbols[s - 1]])
        if t > 0:
            p[s, t] = np.logaddexp(p[s, t], p[s, t - 1] + log_p[t - 1, s, 2])
    assert loss.item() == pytest.approx(-p[-1, -1], rel=1e-12)


def lattice(seed: int, device: torch.device) -> tuple[Tensor, Any]:
    logits = normal(4, 12, 7, 9, seed=seed, device=device, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(1, 9, (4, 6), generator=generator, dtype=torch.int32)
    frames = torch.tensor([12, 9, 3, 1], dtype=torch.int32)
    labels = torch.tensor([6, 2, 5, 0], dtype=torch.int32)
    return logits, (targets, frames, labels)


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.host
def test_warprnnt_numba(reduction: str) -> None:
    peer = pytest.importorskip(
        "warprnnt_numba", reason="warprnnt_numba, an optional oracle, is not installed"
    )
    for seed in range(5):
        logits, given = lattice(seed, torch.device("cpu"))
        leaf, other = (logits.clone().requires_grad_() for _ in range(2))
        loss = softdp.rnnt_loss(leaf, *given, blank=0, reduction=reduction)
        wanted = peer.RNNTLossNumba(blank=0, reduction=reduction)(other, *given)
        torch.testing.assert_close(loss.flatten(), wanted.flatten(), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(loss.sum(), [leaf])
        (theirs,) = torch.autograd.grad(wanted.sum(), [other])
        torch.testing.assert_close(gradient, theirs, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("clamp", [-1.0, 0.05])
@pytest.mark.host
def test_torchaudio(clamp: float) -> None:
    try:
        from torchaudio.functional import rnnt_loss
    except (ImportError, OSError):  # its libraries are another torch's
        pytest.skip("torchaudio, an optional oracle, is not installed or has no rnnt_loss")
    for seed in range(5):
        logits, given = lattice(seed, torch.device("cpu"))
        leaf, other = (logits.clone().requires_grad_() for _ in range(2))
        loss = softdp.rnnt_loss(leaf, *given, 0, clamp, "mean")
        wanted = rnnt_loss(other, *given, 0, clamp, "mean")
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            torch.autograd.grad(loss, [leaf]), torch.autograd.grad(wanted, [other]),
            rtol=1e-4, atol=1e-5,
        )  # fmt: skip


def test_monotonic_alignment_search(device: torch.device) -> None:
    peer = pytest.importorskip(
        "monotonic_alignment_search",
        reason="monotonic_alignment_search, an optional oracle, is not installed",
    )
    lengths = torch.tensor([40, 22, 1, 40, 17]), torch.tensor([90, 70, 5, 40, 17])
    log_p = normal(5, 40, 90, seed=1).float()
    inside = (torch.arange(40)[:, None] < lengths[0][:, None, None]) & (
        torch.arange(90) < lengths[1][:, None, None]
    )
    wanted = peer.maximum_path(log_p, inside.float())
    found = softdp.monotonic_alignment(log_p.to(device), lengths=lengths)
    assert found.alignment.cpu().equal(wanted)

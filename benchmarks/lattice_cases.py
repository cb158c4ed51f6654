"""Affine and local gaps, Drop-DTW, transducers, monotonic alignment beside their peers.

For benchmarks.functions.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import softdp
from benchmarks.function_cases import Case, Way

_LETTERS = "ARNDCQEGHILKMFPSTWYV"
_OPEN, _EXTEND = 10.0, 1.0


@functools.cache
def _proteins(pairs: int, length: int) -> tuple[list[str], list[str]]:
    generator = random.Random(0)
    drawn = ["".join(generator.choices(_LETTERS, k=length)) for _ in range(2 * pairs)]
    return drawn[:pairs], drawn[pairs:]


@functools.cache
def _residues(pairs: int, length: int) -> tuple[Tensor, Tensor]:
    """The same as one-hot tensors, (pairs, length, 20)."""
    sides = _proteins(pairs, length)
    x, y = (torch.tensor([[_LETTERS.index(a) for a in one] for one in side]) for side in sides)
    return F.one_hot(x, 20).float(), F.one_hot(y, 20).float()


def _similarity(matrix: Tensor, pairs: int, length: int) -> Tensor:
    """Of residues, by products: their gradient is faster than an index's."""
    x, y = _residues(pairs, length)
    return (x @ matrix) @ y.mT


def _affine(
    function: Callable[..., Tensor], gamma: float, pairs: int, length: int
) -> Callable[[Tensor], Tensor]:
    def score(matrix: Tensor) -> Tensor:
        table = _similarity(matrix, pairs, length)
        return function(table, gap_open=_OPEN, gap_extend=_EXTEND, gamma=gamma)

    return score


class _Nwgrad(torch.autograd.Function):
    """Scores of all pairs by nwgrad, and of each the expected counts of substitutions."""

    @staticmethod
    def forward(ctx: Any, function: str, matrix: Tensor, pairs: int, length: int) -> Tensor:
        import nwgrad

        given = nwgrad.AlignParams(
            matrix.double().numpy(), _LETTERS, _OPEN, _EXTEND, _OPEN, _EXTEND
        )
        found = [
            getattr(nwgrad, function)(x, y, given)
            for x, y in zip(*_proteins(pairs, length), strict=True)
        ]
        counts = [torch.from_numpy(gradient.matrix.to_matrix()) for _, gradient in found]
        ctx.counts = torch.stack(counts).float()
        return torch.tensor([score for score, _ in found])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None, None]:
        return None, (upstream[:, None, None] * ctx.counts).sum(0), None, None


def _parasail(pairs: int, length: int) -> Tensor:
    import parasail

    given = parasail.matrix_create(_LETTERS, 5, -4)
    x, y = _proteins(pairs, length)
    return torch.tensor(
        [parasail.nw_striped_sat(a, b, 11, 1, given).score for a, b in zip(x, y, strict=True)]
    )


_FRAMES, _LABELS = torch.tensor([150, 140, 120, 150]), torch.tensor([40, 33, 40, 12])


def _targets(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    samples, frames, states, classes = logits.shape
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(1, classes, (samples, states - 1), generator=generator)
    lengths = _FRAMES[:samples].clamp(max=frames), _LABELS[:samples].clamp(max=states - 1)
    return targets.int(), *(length.int() for length in lengths)  # type: ignore[return-value]


def _rnnt(logits: Tensor) -> Tensor:
    return softdp.rnnt_loss(logits, *_targets(logits), blank=0, reduction="none")


def _warprnnt_numba(logits: Tensor) -> Tensor:
    from warprnnt_numba import RNNTLossNumba

    return RNNTLossNumba(blank=0, reduction="none")(logits, *_targets(logits)).flatten()


def _cython(log_p: Tensor) -> Tensor:
    from monotonic_alignment_search import maximum_path

    return maximum_path(log_p, torch.ones_like(log_p))


CASES = (
    Case(
        "affine gaps, one core",
        ((20, 20),),
        (
            Way("softdp", _affine(softdp.needleman_wunsch, 1.0, 16, 256)),
            Way("reference", _affine(softdp.reference.needleman_wunsch, 1.0, 16, 256)),
            Way(
                "nwgrad",
                lambda matrix: _Nwgrad.apply("nw_affine_soft_grad", matrix, 16, 256),
                "nwgrad",
            ),
        ),
        ratio={"nwgrad": 1 / 3, "reference": 1 / 15},
        threads=1,
    ),
    Case(
        "local alignment, one core",
        ((20, 20),),
        (
            Way("softdp", _affine(softdp.smith_waterman, 1.0, 16, 256)),
            Way("reference", _affine(softdp.reference.smith_waterman, 1.0, 16, 256)),
        ),
        ratio={"reference": 1 / 15},
        threads=1,
    ),
    Case(
        "local alignment beside another sum, one core",
        ((20, 20),),
        (
            Way("softdp", _affine(softdp.smith_waterman, 1.0, 16, 256)),
            Way(
                "nwgrad",
                lambda matrix: _Nwgrad.apply("sw_affine_soft_grad", matrix, 16, 256),
                "nwgrad",
            ),
        ),
        ratio={"nwgrad": 1 / 3},
        tolerance=float("inf"),  # theirs counts alignments that begin or end with a gap, too
        threads=1,
    ),
    Case(
        "Drop-DTW",
        ((16, 256, 256),),
        (
            Way("softdp", lambda cost: softdp.drop_dtw(cost, 0.5, 0.5)),
            Way("reference", lambda cost: softdp.reference.drop_dtw(cost, 0.5, 0.5)),
        ),
        ratio={"reference": 1 / 15},
    ),
    Case(
        "hard affine scores, one core",
        ((20, 20),),
        (
            Way("softdp", _affine(softdp.needleman_wunsch, 0.0, 16, 400)),
            Way("parasail", lambda _: _parasail(16, 400), "parasail"),
        ),
        ratio={"parasail": 5},
        backward=False,
        threads=1,
    ),
    Case(
        "transducer loss",
        ((4, 150, 41, 500),),
        (Way("softdp", _rnnt), Way("warprnnt_numba", _warprnnt_numba, "warprnnt_numba")),
        ratio={"warprnnt_numba": 1 / 5},
    ),
    Case(
        "monotonic alignment",
        ((16, 200, 1000),),
        (
            Way("softdp", lambda log_p: softdp.monotonic_alignment(log_p).alignment),
            Way("Cython", _cython, "monotonic_alignment_search"),
        ),
        ratio={"Cython": 1 / 5},
        backward=False,
    ),
    Case(
        "monotonic forward sum and posterior",
        ((16, 200, 1000),),
        (
            Way("softdp", lambda log_p: softdp.monotonic_alignment(log_p, gamma=1.0).score),
            Way("softdp, soft-DTW", lambda log_p: softdp.soft_dtw(log_p)),
        ),
        tolerance=float("inf"),  # of two different things
    ),
)

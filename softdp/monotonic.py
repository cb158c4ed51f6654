"""Monotonic alignment of a text with its speech: which token each frame belongs to."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from softdp._extension import require_kernels
from softdp.alignments import EditAlignment
from softdp.arguments import Lengths, check_gamma, check_lengths, check_table
from softdp.memory import named_when_short


class MonotonicAlignment(NamedTuple):
    """What `monotonic_alignment` returns."""

    alignment: Tensor  # (..., n, m): how probable it is that a frame belongs to a token; 0 or 1
    score: Tensor  # (...): the smooth maximum over all alignments of their summed log_p


@named_when_short
def monotonic_alignment(
    log_p: Tensor, *, gamma: Tensor | float = 0.0, lengths: Lengths | None = None
) -> MonotonicAlignment:
    """Alignment of n tokens with m frames: each frame has one token, and none is left out.

        tokens   h  █ ▒ . . . .      The first frame has the first token, the last one the last,
                 e  . ▒ █ █ ▒ .      and from frame to frame the token is the same or the next.
                 y  . . . . ▒ █      With gamma = 0 the best such path is searched for.
                    frames ──►

        V[i, j] = log_p[i, j] + smax(V[i-1, j-1], V[i, j-1])          score = V[n, m]

    gamma = 0 is the monotonic alignment search of Glow-TTS; gamma = 1 with log-probabilities the
    forward sum, whose negative score is the loss of an aligner, and its posterior.

    Source: Kim et al., Glow-TTS, NeurIPS 2020; Badlani et al., One TTS Alignment to Rule Them All,
    ICASSP 2022.

    Args:
        log_p: log-likelihood of frame j under token i, shape (..., n, m), n <= m; float16, bfloat16
            (both computed in float32), float32 or float64; any strides.
        gamma: smoothing >= 0 in the unit of `log_p`: a number, or a tensor of shape () or (...).
        lengths: (n_lengths, m_lengths), how many tokens and frames count: two integer tensors of
            shape (...). What lies beyond is not read.

    Returns:
        MonotonicAlignment(alignment, score). For a gamma that is the number 0, alignment has 0 and
        1 in the dtype of `log_p`, and no gradient; for others it is differentiable, in float32, or
        float64 for float64 input. Where there are fewer frames than tokens it is 0, and the score
        -inf.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `log_p`.

    Example:
        >>> log_p = torch.tensor([[0.9, 0.6, 0.1, 0.1], [0.1, 0.4, 0.9, 0.9]]).log()
        >>> softdp.monotonic_alignment(log_p).alignment
        tensor([[1., 1., 0., 0.],
                [0., 0., 1., 1.]])
    """
    op = "monotonic_alignment"
    log_p = check_table(op, "log_p", log_p)
    smoothing = check_gamma(op, gamma, "log_p", log_p)
    if lengths is not None:
        lengths = check_lengths(op, lengths, "log_p", log_p)
    require_kernels(op, log_p.device)
    # By the edit recurrence: a step of y alone is worth what a match is, and x has none alone.
    paths = EditAlignment._of(
        op, log_p, log_p, -math.inf, smoothing, lengths, "forbidden", "paid", None, minimise=False
    )
    if isinstance(gamma, Tensor) or gamma > 0:
        expected = paths.expected
        return MonotonicAlignment(expected.match + expected.insert, paths.score)
    best = paths.best()
    alignment = torch.zeros_like(log_p, requires_grad=False)
    n, m = log_p.shape[-2:]
    if n > 0:
        token = best.pairs[..., :m, :1].movedim(-1, -2)  # of each frame: a step of a path is one
        alignment.scatter_(-2, token.clamp(min=0), (token >= 0).to(alignment.dtype))
    return MonotonicAlignment(alignment, best.score)

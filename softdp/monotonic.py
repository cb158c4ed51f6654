"""Monotonic alignment of a text with its speech: which token each frame belongs to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from softdp.arguments import GivenLengths, Lengths, check_gamma, check_lengths, check_table
from softdp.ends import Core, Problem
from softdp.memory import named_when_short
from softdp.path_distribution import PathDistribution
from softdp.paths import Rules, held_at


class MonotonicAlignment(NamedTuple):
    """What `monotonic_alignment` returns."""

    alignment: Tensor  # (..., n, m): how probable it is that a frame belongs to a token; 0 or 1
    score: Tensor  # (...): the smooth maximum over all alignments of their summed log_p


@named_when_short
def monotonic_alignment(
    log_p: Tensor, *, gamma: Tensor | float = 0.0, lengths: GivenLengths | None = None
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
    inputs = monotonic_inputs(op, log_p, gamma, lengths)
    paths = _Paths(op, inputs)
    if isinstance(gamma, Tensor) or gamma > 0:
        return MonotonicAlignment(paths.posterior, paths.score)
    best = paths.best()
    alignment = torch.zeros_like(inputs.log_p, requires_grad=False)
    n, m = alignment.shape[-2:]
    if n > 0:
        token = best.pairs[..., :m, :1].movedim(-1, -2)  # of each frame: a step of a path is one
        alignment.scatter_(-2, token.clamp(min=0), (token >= 0).to(alignment.dtype))
    return MonotonicAlignment(alignment, best.score)


class MonotonicInputs(NamedTuple):
    """Checked arguments of `monotonic_alignment`."""

    log_p: Tensor  # (..., n, m)
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each


def monotonic_inputs(
    op: str, log_p: Tensor, gamma: Tensor | float, lengths: GivenLengths | None
) -> MonotonicInputs:
    """Check and unify the arguments of `monotonic_alignment`.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    log_p = check_table(op, "log_p", log_p)
    gamma = check_gamma(op, gamma, "log_p", log_p)
    counted = check_lengths(op, lengths, "log_p", log_p)
    return MonotonicInputs(log_p, gamma, counted)


def monotonic(core: Core, op: str, inputs: MonotonicInputs) -> Tensor:
    """The score, of checked inputs."""
    log_p, gamma, lengths = inputs
    return core(Problem(op, "monotonic", (log_p,), (), gamma, None, lengths, None, (), False))[0]


class _Paths(PathDistribution):
    _inputs: MonotonicInputs
    _arcs = "monotonic"  # whose one table is of both arcs: a frame's token, however it came there

    def __init__(self, op: str, inputs: MonotonicInputs) -> None:
        super().__init__(op, inputs, Rules(("forbidden", "forbidden")))

    @property
    def posterior(self) -> Tensor:
        return self._once("posterior", lambda: self._gradient(of_tables=True)[0])

    def _score_by(self, core: Core, gamma: Tensor) -> Tensor:
        return monotonic(core, self._op, self._inputs._replace(gamma=gamma))

    def _tables(self) -> tuple[Tensor, ...]:
        return (self._inputs.log_p,)

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, ...]:
        return (held_at(self._inputs.log_p, i, j),) * 3

    def _options(self) -> tuple[()]:
        return ()

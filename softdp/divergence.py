"""The divergence that soft-DTW makes of two sequences once it is rid of its bias."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from softdp._extension import require_kernels
from softdp.arguments import GivenLengths
from softdp.costs import Cost, cost_inputs, cost_shape, cost_table
from softdp.functional import soft_dtw
from softdp.memory import named_when_short
from softdp.modules import Recurrence
from softdp.validation import soft_dtw_inputs

_PRODUCTS = ("sqeuclidean", "cosine")


@named_when_short
def dtw_divergence(
    x: Tensor,
    y: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    cost: Cost = "sqeuclidean",
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Soft-DTW divergence of two sequences (Blondel, Mensch, Vert, AISTATS 2021).

        D(x, y) = soft_dtw(x, y) - (soft_dtw(x, x) + soft_dtw(y, y)) / 2

    of `pairwise_cost`s. Soft-DTW alone is negative, and not smallest, where x = y, and blurs what a
    model learns by it. D is 0 there, and so is its gradient; D(x, y) = D(y, x). For gamma = 0 it
    is DTW.

    For "sqeuclidean", "cosine", "euclidean" and p <= 2, which are conditionally negative definite,
    D is never negative: what rounding makes so is returned as 0, with its gradient. There is a
    proof where k / (1 + k), k = exp(-cost / gamma), is a positive definite kernel (Cuturi et al.,
    ICASSP 2007), as for the absolute difference of numbers; for the others, only that a search by
    gradient descent found nothing below 0. For p > 2 there are D < 0, which are returned.
    For "dot" there is no lower bound, and it is refused.

    Where x and y have the same shape and values, D is 0 exactly, and its gradient to within a
    rounding of its terms. Elsewhere D is a difference of numbers of the order of gamma (n + m): an
    error of 1e-4 gamma is usual at length 1000 in float32.

    Args:
        x: shape (..., n, d), dtypes as in `pairwise_cost`.
        y: shape (..., m, d) with a batch shape that broadcasts to x's. A sequence that is in many
            pairs (x[:, None], y[None]) is compared with itself once, where gamma is one number and
            there are no lengths.
        gamma: smoothing >= 0 in the unit of the cost: a number, or a tensor of shape () or (...).
        cost: "sqeuclidean", "cosine", "euclidean" or p >= 1, see `pairwise_cost`.
        lengths: (n_lengths, m_lengths) as in `soft_dtw`; steps beyond are never read and have a
            gradient of exactly 0.

    Returns:
        Divergence, shape (...), float32, or float64 for float64 input; +inf where only one of the
        two sequences is empty.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: as `soft_dtw`.

    Example:
        >>> target = torch.randn(8, 30, 4)
        >>> output = torch.randn(8, 40, 4, requires_grad=True)
        >>> softdp.dtw_divergence(output, target, gamma=0.1).mean().backward()
        >>> softdp.dtw_divergence(target, target).sum()
        tensor(0.)
    """
    x, y, cost = cost_inputs("dtw_divergence", x, y, cost, _PRODUCTS)
    table = cost_shape(x, y)
    inputs = soft_dtw_inputs("dtw_divergence", table, gamma, lengths, False, False, None)
    gamma, lengths = inputs.gamma, inputs.lengths
    require_kernels("dtw_divergence", x.device)
    if gamma.dim() > 0 or lengths is not None:
        batch = table.shape[:-2]
        x, y = (rows.expand(*batch, *rows.shape[-2:]) for rows in (x, y))
    x_length, y_length = lengths or (None, None)
    pair = soft_dtw(cost_table(x, y, cost, lengths), gamma=gamma, lengths=lengths)
    own = _to_itself(x, "x", cost, gamma, x_length) + _to_itself(y, "y", cost, gamma, y_length)
    # Without a path there is no gradient, from `own` neither.
    divergence = torch.where(pair == math.inf, pair, pair - own / 2)
    if cost in (*_PRODUCTS, 2.0) or float(cost) < 2:
        with torch.no_grad():
            divergence.relu_()
    return divergence


class DTWDivergence(Recurrence):
    """`softdp.dtw_divergence` with its options held; `gamma` may be an nn.Parameter.

    Example:
        >>> loss = softdp.DTWDivergence(gamma=0.1, cost="euclidean")
        >>> loss(torch.randn(8, 40, 4), torch.randn(8, 30, 4)).shape
        torch.Size([8])
    """

    _shown = ("gamma", "cost")

    def __init__(
        self,
        *,
        gamma: Tensor | float = 1.0,
        learn_gamma: bool = False,
        cost: Cost = "sqeuclidean",
    ) -> None:
        super().__init__(gamma, learn_gamma)
        self.cost = cost

    def forward(self, x: Tensor, y: Tensor, lengths: GivenLengths | None = None) -> Tensor:
        """Divergence, shape (...), of sequences of shapes (..., n, d) and (..., m, d)."""
        return dtw_divergence(x, y, gamma=self.gamma, cost=self.cost, lengths=lengths)


def _to_itself(rows: Tensor, role: str, cost: Cost, gamma: Tensor, length: Tensor | None) -> Tensor:
    table = _SelfCost.apply(rows, role, cost, length)
    return soft_dtw(table, gamma=gamma, lengths=None if length is None else (length, length))


class _SelfCost(torch.autograd.Function):
    """The table of a sequence with itself, for a function whose gradient is symmetric with it.

    Rows and columns then send the same gradient. Twice that of the side which the sequence has in
    the pair, its `role`, is the same numbers as the pair sends when x = y: exactly 0 remains.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, role: str, cost: Cost, length: Tensor | None) -> Tensor:
        table = _self_table(rows, rows, role, cost, length)
        # As a view: torch 2.11, compiling, gives no gradient to what was changed under no_grad.
        return table.view_as(table)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        rows, ctx.role, ctx.cost, length = inputs
        ctx.save_for_backward(rows, length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, length = ctx.saved_tensors
        pull = torch.func.vjp(
            lambda side: _self_table(side, rows, ctx.role, ctx.cost, length), rows
        )[1]
        return 2 * pull(_Symmetric.apply(gradient))[0], None, None, None


class _Symmetric(torch.autograd.Function):
    """A gradient known to be symmetric: a change of it, in second derivatives, is so too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> Tensor:
        return (change + change.mT) / 2


def _self_table(
    side: Tensor, other: Tensor, role: str, cost: Cost, length: Tensor | None
) -> Tensor:
    x, y = (side, other) if role == "x" else (other, side)
    return cost_table(x, y, cost, None if length is None else (length, length))

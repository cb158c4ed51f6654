"""Of two sequences of features: the table between them, and a divergence that is made of three."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp.arguments import GivenLengths
from softdp.costs import Cost, cost_inputs, cost_shape, until
from softdp.reference.recurrences import soft_dtw
from softdp.validation import soft_dtw_inputs


def pairwise_cost(
    x: Tensor, y: Tensor, cost: Cost = "sqeuclidean", *, lengths: GivenLengths | None = None
) -> Tensor:
    """Costs of each step of x with each of y, by their differences: see `softdp.pairwise_cost`."""
    x, y, cost = cost_inputs("pairwise_cost", x, y, cost)
    if lengths is not None:
        table = cost_shape(x, y)
        checked = soft_dtw_inputs("pairwise_cost", table, 1.0, lengths, False, False, None)
        assert checked.lengths is not None
        x, y = until(x, checked.lengths[0]), until(y, checked.lengths[1])
    x, y = x[..., :, None, :], y[..., None, :, :]
    if cost == "sqeuclidean":
        return (x - y).square().sum(-1)
    if cost == "dot":
        return -(x * y).sum(-1)
    if cost == "cosine":
        return 1 - F.cosine_similarity(x, y, dim=-1)
    differences = F.pad(x - y, (0, 1))  # the norm is 0 where d is 0
    norm: Tensor = torch.linalg.vector_norm(differences, float(cost), -1)
    return norm


def dtw_divergence(
    x: Tensor,
    y: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    cost: Cost = "sqeuclidean",
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Soft-DTW of x and y less the mean of both with themselves: see `softdp.dtw_divergence`."""
    x, y, cost = cost_inputs("dtw_divergence", x, y, cost, ("sqeuclidean", "cosine"))
    table = cost_shape(x, y)
    inputs = soft_dtw_inputs("dtw_divergence", table, gamma, lengths, False, False, None)
    x, y = (rows.expand(*table.shape[:-2], *rows.shape[-2:]) for rows in (x, y))

    def score(a: Tensor, b: Tensor, of: tuple[int, int]) -> Tensor:
        own = None if inputs.lengths is None else (inputs.lengths[of[0]], inputs.lengths[of[1]])
        return soft_dtw(pairwise_cost(a, b, cost, lengths=own), gamma=inputs.gamma, lengths=own)

    pair = score(x, y, (0, 1))
    own = score(x, x, (0, 0)) + score(y, y, (1, 1))
    divergence = torch.where(pair == math.inf, pair, pair - own / 2)
    if isinstance(cost, str) or cost <= 2:  # what rounding makes negative
        divergence = divergence + (divergence.clamp(min=0) - divergence).nan_to_num(0).detach()
    return divergence

"""What the arcs of `lcs` are worth, in plain torch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp.arguments import Lengths


def lcs_potentials(
    c: Tensor, tau: Tensor, gamma: Tensor, gate_width: float, lengths: Lengths | None
) -> tuple[Tensor, Tensor]:
    """Match and gap of `lcs`, shape (..., n, m) each."""
    n, m = c.shape[-2:]
    tau = tau[..., None, None]
    if lengths is not None:
        outside = beyond(lengths, n, m)
        c, tau = c.masked_fill(outside, 0), tau.expand(c.shape).masked_fill(outside, 0)
    # torch.where keeps the derivative with respect to gamma at 0 where gamma is 0.
    scale = torch.where(gamma > 0, gamma, 0)[..., None, None]
    gap = -math.log(2) * scale
    if gate_width == 0:
        # A NaN on either side is neither above nor below the threshold, and has to show.
        match = torch.where(c > tau, c, torch.where(c <= tau, -math.inf, math.nan))
        gap = torch.where(c > tau, -math.inf, gap)
    else:
        # log sigmoid of something finite: an arc of weight 0 brings 0 to gamma's derivative.
        largest = torch.finfo(c.dtype).max
        excess = (c - tau) / gate_width
        # Nor does one that is NaN, where no path takes it.
        undefined = excess.isnan()
        bounded = excess.clamp(-largest, largest).masked_fill(undefined, 0)
        # Without smoothing there is no gate: gamma log sigmoid(x) tends to 0 for every x.
        gated = scale > 0
        opened, closed = (
            torch.where(gated, scale * F.logsigmoid(x), 0) for x in (bounded, -bounded)
        )
        match = torch.where((excess == -math.inf) & gated, -math.inf, c + opened)
        gap = torch.where((excess == math.inf) & gated, -math.inf, gap + closed)
        match, gap = (torch.where(undefined & gated, math.nan, arc) for arc in (match, gap))
        match = torch.where(tau.isnan(), math.nan, match)
    return match, gap.expand(c.shape)


def beyond(lengths: Lengths, n: int, m: int) -> Tensor:
    """Which cells of a table lie beyond the lengths, shape (..., n, m)."""
    n_lengths, m_lengths = (length[..., None, None] for length in lengths)
    i, j = (torch.arange(1, size + 1, device=n_lengths.device) for size in (n, m))
    return (i[:, None] > n_lengths) | (j > m_lengths)

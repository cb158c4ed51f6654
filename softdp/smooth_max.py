"""The smooth maximum in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def smooth_max(arcs: Tensor, gamma: Tensor) -> Tensor:
    """Gamma * log(sum_k exp(arcs_k / gamma)) over dimension 0, its limits and their subgradients.

    Args:
        arcs: shape (arcs, ..., cells), any values.
        gamma: shape (..., 1) or (), >= 0.

    Returns:
        Shape (..., cells).
    """
    peak = arcs.detach().amax(0)
    smooth = (gamma > 0) & peak.isfinite()
    # Every branch is made finite before torch.where drops it: 0 * inf would be NaN in a gradient.
    live = smooth & (arcs > -math.inf)
    temperature = torch.where(gamma > 0, gamma, 1)
    exponents = torch.where(live, arcs - peak, 0) / temperature
    total = torch.where(live, exponents.exp(), 0).sum(0)
    softened = peak + temperature * torch.where(smooth, total, 1).log()
    # The hard maximum and the cells of infinite value: from the arcs that attain it, alike.
    largest = arcs == peak
    largest &= (largest.cumsum(0) == 1) | (gamma > 0)
    ties = largest.sum(0, dtype=arcs.dtype)
    attained = torch.where(largest, arcs, 0).sum(0) / ties + gamma * ties.log()
    return torch.where(smooth, softened, attained)

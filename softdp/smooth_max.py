"""The smooth maximum in plain torch, and what each of its arguments has in it."""

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
    peak, temperature, terms = _terms(arcs, gamma)
    smooth = (gamma > 0) & peak.isfinite()
    softened = peak + temperature * torch.where(smooth, terms.sum(0), 1).log()
    # The hard maximum and the cells of infinite value: from the arcs that attain it, alike. Of a
    # NaN there is none: it passes on, and brings nothing to gamma where nothing comes back.
    largest = _largest(arcs, peak, gamma)
    ties = largest.sum(0, dtype=arcs.dtype).clamp(min=1)
    attained = torch.where(largest, arcs, 0).sum(0) / ties + gamma * ties.log()
    return torch.where(smooth, softened, torch.where(peak.isnan(), peak, attained))


def shares(arcs: Tensor, gamma: Tensor) -> Tensor:
    """The gradient of `smooth_max`, of the shape of `arcs`: probabilities, differentiable.

    None where nothing is above -inf; NaN where something is NaN.
    """
    peak, _, terms = _terms(arcs, gamma)
    smooth = (gamma > 0) & peak.isfinite()
    softened = terms / torch.where(smooth, terms.sum(0), 1)
    largest = _largest(arcs, peak, gamma) & (peak > -math.inf)
    attained = largest.to(arcs.dtype) / largest.sum(0).clamp(min=1)
    return torch.where(peak.isnan(), math.nan, torch.where(smooth, softened, attained))


def _terms(arcs: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest arc, gamma as it is divided by, and exp((arc - largest) / gamma) of each.

    Terms are 0 where there is no smoothing, or where something is not finite.
    """
    peak = arcs.detach().amax(0)
    smooth = (gamma > 0) & peak.isfinite()
    # A gamma that is no normal number counts as the smallest that is, or 1 / gamma would overflow.
    limits = torch.finfo(arcs.dtype)
    raised = gamma + (limits.tiny - gamma).clamp(min=0).detach()
    temperature = torch.where(gamma > 0, raised, 1)
    # Every branch is made finite before torch.where drops it: 0 * inf would be NaN in a gradient,
    # and so would an exponential that is 0 beside an exponent over gamma that is infinite.
    lowest = math.log(limits.tiny) + math.log(limits.eps)
    live = smooth & (arcs.detach() - peak > lowest * temperature)
    exponents = torch.where(live, arcs - peak, 0) / temperature
    return peak, temperature, torch.where(live, exponents.exp(), 0)


def _largest(arcs: Tensor, peak: Tensor, gamma: Tensor) -> Tensor:
    """Which arcs are the largest: all of them, or without smoothing the first."""
    largest = arcs == peak
    return largest & ((largest.cumsum(0) == 1) | (gamma > 0))

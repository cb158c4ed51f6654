"""Features about zero and of one spread, for a network that expects them so."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftcl_model.data.moments import Moments


class Standardisation(nn.Module):
    """Takes a mean off features and divides them by a deviation, both as `settle` was told.

    Until then it leaves features as they are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def settle(self, moments: Moments) -> None:
        """Take over the moments of the training videos; a dimension without spread keeps its."""
        self.mean.copy_(torch.from_numpy(moments.mean))
        deviation = torch.from_numpy(moments.deviation)
        self.deviation.copy_(deviation.where(deviation > 0, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features (..., width)."""
        return (features - self.mean) / self.deviation

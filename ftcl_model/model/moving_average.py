"""An exponential moving average of a model's weights: steadier to evaluate, and a teacher."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class MovingAverage(Generic[Model]):
    """average = decay * average + (1 - decay) * weights, from the weights that it starts with.

    Buffers are not averaged but copied: they hold a state, such as the attention's scale.

    Attributes:
        model: a copy of the model with the averaged weights, in evaluation mode, without gradients.
        decay: in [0, 1); 0 follows the model at once.

    Raises:
        ValueError: the decay is outside [0, 1).
    """

    def __init__(self, model: Model, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"MovingAverage: decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.model: Model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Take in the model's weights after a training step."""
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - self.decay)
        for buffer, value in zip(self.model.buffers(), model.buffers(), strict=True):
            buffer.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and the buffers, from which `load_state_dict` goes on exactly."""
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; RuntimeError if it is of another model."""
        self.model.load_state_dict(state)

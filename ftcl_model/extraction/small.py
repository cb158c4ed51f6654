"""A small network of random weights: an encoder for demonstrations and tests, and an example."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftcl_model.extraction.encoders import DEFAULT, NONE, Encoder

SIZE = 32


class SmallNetwork(nn.Module):
    """Two convolutions over brightness and its change, and the mean and deviation of each map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(2, 16, (1, 5, 5), stride=(1, 2, 2), padding=(0, 2, 2)),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips (batch, 3, frames, height, width) to (batch, 64)."""
        brightness = clips.mean(dim=1, keepdim=True)
        change = brightness.diff(dim=2, prepend=brightness[:, :, :1])
        maps = self.layers(torch.cat([brightness, 4 * change], dim=1)).flatten(2)
        return torch.cat([maps.mean(dim=2), maps.std(dim=2, correction=0)], dim=1)


def network(weights: str) -> Encoder:
    """Make the network, as `load_encoder` asks for it.

    Raises:
        ValueError: other weights than random ones are asked for.
    """
    if weights not in (DEFAULT, NONE):
        raise ValueError(f"expected the weights {NONE}, there are no others, got {weights!r}")
    return Encoder(SmallNetwork(), size=SIZE, mean=(0.5, 0.5, 0.5))

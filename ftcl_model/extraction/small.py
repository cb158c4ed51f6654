"""A small network of random weights: an encoder for demonstrations and tests, and an example."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftcl_model.extraction.encoders import DEFAULT, NONE, Encoder

SIZE = 32


class SmallNetwork(nn.Module):
    """Two convolutions over brightness and its change; of each map its mean and how it varies.

    The deviations over time, of the map's mean and at each place, tell what blinks from what moves.
    Of all features those of some random clips are subtracted: about zero a training finds its way.
    """

    usual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(2, 16, (1, 5, 5), stride=(1, 2, 2), padding=(0, 2, 2)),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, stride=(1, 2, 2), padding=1),
            nn.ReLU(),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight)
        self.register_buffer("usual", torch.zeros(96))
        with torch.no_grad():
            self.usual.copy_(self(_random_clips()).mean(dim=0))

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips (batch, 3, frames, height, width) to (batch, 96)."""
        brightness = clips.mean(dim=1, keepdim=True)
        # Of dark and bright clips alike.
        spread = brightness.std(dim=(2, 3, 4), correction=0, keepdim=True)
        brightness = (brightness - brightness.mean(dim=(2, 3, 4), keepdim=True)) / (spread + 0.01)
        change = brightness.diff(dim=2, prepend=brightness[:, :, :1])
        maps = self.layers(torch.cat([brightness, change], dim=1)).flatten(3)
        together, apart = maps.mean(dim=3), maps.std(dim=2, correction=0)
        parts = [together.mean(dim=2), together.std(dim=2, correction=0), apart.mean(dim=2)]
        return (torch.cat(parts, dim=1) + 0.01).log() - self.usual


def _random_clips() -> Tensor:
    """Sixteen clips of grey blobs, of which every other one turns into others."""
    begin, end = torch.rand(2, 16, 1, 1, 4, 4)
    end[::2] = begin[::2]
    time = torch.linspace(0, 1, 8).reshape(8, 1, 1)
    clips = torch.lerp(begin, end, time).flatten(1, 2)
    clips = functional.interpolate(clips, size=(SIZE, SIZE), mode="bilinear")
    return (clips + 0.02 * torch.randn_like(clips))[:, None].expand(-1, 3, -1, -1, -1)


def network(weights: str) -> Encoder:
    """Make the network, as `load_encoder` asks for it.

    Raises:
        ValueError: other weights than random ones are asked for.
    """
    if weights not in (DEFAULT, NONE):
        raise ValueError(f"expected the weights {NONE}, there are no others, got {weights!r}")
    return Encoder(SmallNetwork(), size=SIZE, mean=(0.5, 0.5, 0.5))

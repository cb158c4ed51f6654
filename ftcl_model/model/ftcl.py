"""The model: the backbone and the contrast of the chosen variant."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import softdp
from ftcl_model.config.config import Config, config_from_mapping
from ftcl_model.errors import InputError
from ftcl_model.losses.backbone import backbone_losses
from ftcl_model.model.backbone import Backbone
from ftcl_model.model.standardise import Standardisation
from ftcl_model.outputs import BackboneOutput, Losses
from ftcl_model.sealed import load_sealed, save_sealed


class FTCL(nn.Module):
    """ACM-Net with FTCL's contrasts, or the supervision by expected alignments.

    Args:
        config: variant, widths and weights.
        classes: the class names, in the order of the scores.
    """

    def __init__(self, config: Config, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        feature_width = config.dataset.feature_width
        standardised = config.dataset.standardise
        self.standardise = Standardisation(feature_width) if standardised else None
        self.backbone = Backbone(feature_width, len(classes), config.backbone)
        variant = config.chosen
        width = self.backbone.embed.out_channels
        self.contrast = variant.loss(width, getattr(config, variant.section))

    def forward(self, features: Tensor, lengths: Tensor) -> BackboneOutput:
        """Score a padded batch: features (batch, snippets, feature_width), lengths (batch,).

        Under autocast the backbone computes in the lower precision; what it returns is float32.
        """
        if self.standardise is not None:
            features = self.standardise(features)
        return BackboneOutput(*map(_at_least_float32, self.backbone(features, lengths)))

    def video_losses(self, features: Tensor, lengths: Tensor, labels: Tensor) -> Losses:
        """The terms of the first stage, on single videos; labels (batch, classes)."""
        output = self(features, lengths)
        with _without_autocast(features):
            return backbone_losses(output, labels, self.config.backbone)

    def pair_losses(
        self,
        features: Tensor,
        lengths: Tensor,
        labels: Tensor,
        teacher: BackboneOutput | None = None,
    ) -> Losses:
        """The terms of the second stage, on pairs.

        Args:
            features: (2 * pairs, snippets, feature_width), the first videos, then the second ones.
            lengths: (2 * pairs,).
            labels: (2 * pairs, classes); the two videos of a pair share a class, or none. Under
                `variant: aligned` their labels are equal.
            teacher: what the moving average says of the same videos, for a variant with a teacher.
        """
        output = self(features, lengths)
        # Cosines and dynamic programs compare what lower precision would round to equal.
        with _without_autocast(features):
            floor = self.config.chosen.floor
            losses = backbone_losses(output, labels, self.config.backbone, floor=floor)
            return losses | self.contrast(output, labels, self.backbone.classify, teacher)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _without_autocast(values: Tensor) -> torch.autocast:
    return torch.autocast(values.device.type, enabled=False)


class Checkpoint(NamedTuple):
    """A model as it was saved, and the number of training steps it had."""

    model: FTCL
    iteration: int


_FORMAT = 1


def save_checkpoint(path: str | os.PathLike[str], model: FTCL, iteration: int) -> None:
    """Write weights, configuration, classes and iteration, whole or not at all, with a checksum."""
    content = {
        "format": _FORMAT,
        "config": dataclasses.asdict(model.config),
        "classes": model.classes,
        "iteration": iteration,
        "weights": {name: value.cpu() for name, value in model.state_dict().items()},
    }
    save_sealed(path, content)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what `save_checkpoint` wrote; the model is on the CPU, in evaluation mode.

    Raises:
        InputError: there is no such file, it is damaged (`load_sealed`), not such a checkpoint or
            one of another format, its weights are not exactly those of the model that its
            configuration describes, or one of them is NaN or infinite. The message is one line and
            names the file.
    """
    path = Path(path)
    content = load_sealed(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path}: not the checkpoint of a model")
    made_in = content["format"]
    if type(made_in) is not int or made_in != _FORMAT:
        raise InputError(f"{path}: expected a checkpoint of format {_FORMAT}, got {made_in!r}")
    for key in ("config", "classes", "iteration", "weights"):
        if key not in content:
            raise InputError(f"{path}: {key}: expected a value, got none")
    classes, iteration, weights = content["classes"], content["iteration"], content["weights"]
    texts = isinstance(classes, tuple | list) and all(isinstance(name, str) for name in classes)
    if not texts or len(set(classes)) < len(classes):
        raise InputError(f"{path}: classes: expected a list of different texts, got {classes!r}")
    if type(iteration) is not int or iteration < 0:
        raise InputError(f"{path}: iteration: expected a count of steps, got {iteration!r}")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) and value.is_floating_point()
        for name, value in weights.items()
    ):
        raise InputError(f"{path}: weights: expected tensors of floating-point numbers by name")
    settings = config_from_mapping(content["config"], str(path))
    try:
        model = FTCL(settings, tuple(classes))
        model.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(f"{path}: the weight {name} is NaN or infinite")
    return Checkpoint(model.eval(), iteration)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "softdp": softdp.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

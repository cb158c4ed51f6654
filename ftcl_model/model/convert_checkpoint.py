"""A checkpoint of the authors' code as one of ours, every tensor accounted for."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ftcl_model.config.config import Config
from ftcl_model.errors import InputError
from ftcl_model.files import check_output_file
from ftcl_model.losses.official import OfficialContrast
from ftcl_model.model.ftcl import FTCL, save_checkpoint


class ConvertedTensor(NamedTuple):
    """Where a tensor went: its name in the authors' state dict, in ours, and its shape there."""

    theirs: str
    ours: str
    shape: tuple[int, ...]


def convert_checkpoint(
    source: str | os.PathLike[str], target: str | os.PathLike[str], config: Config
) -> list[ConvertedTensor]:
    """Write a checkpoint of the authors' FTCLNet or ACMNet as one of `variant: official`.

    Their files hold {"model_state_dict": {name: tensor}}, and say nothing of classes and settings,
    which come from `config`. The attention layer of theirs, a convolution of width 1, becomes a
    linear layer; nothing else changes. What else a file holds is not weights, and is left out.

    Args:
        source: their file, saved by torch 1.6 or newer, whose files have checksums.
        target: ours to write, with iteration 0, for theirs does not count steps.
        config: of `variant: official`, with a class list.

    Raises:
        OSError: the target cannot be written, which is tried first.
        InputError: the configuration is of another variant, has no class list or standardises
            features; the file is
            damaged or not of this form; a tensor is missing, unknown, of another shape than the
            configuration asks for, not of floating-point numbers, NaN or infinite. The message
            names the file and the tensor.
    """
    check_output_file(target)
    if config.chosen.loss is not OfficialContrast:
        raise InputError(
            f"variant: expected official, whose weights {source} has, got {config.variant}"
        )
    if config.dataset.classes is None:
        raise InputError("dataset.classes: expected a list, got none")
    if config.dataset.standardise:
        raise InputError(
            "dataset.standardise: expected false for weights that were trained without"
        )
    source = Path(source)
    theirs = _read_state_dict(source)
    model = FTCL(config, config.dataset.classes)
    ours = model.state_dict()
    names = _names(config)
    for kind, some in (("missing", names.keys() - theirs), ("unknown", theirs.keys() - names)):
        if some:
            raise InputError(f"{source}: {kind}: {', '.join(sorted(some))}")
    converted = []
    for name, our_name in names.items():
        value, goal = theirs[name], ours[our_name]
        shape = (*goal.shape, 1) if name == "att_branch.weight" else tuple(goal.shape)
        if tuple(value.shape) != shape or not value.is_floating_point():
            raise InputError(
                f"{source}: {name}: expected floats of shape {shape}, got {value.dtype} of shape "
                f"{tuple(value.shape)}"
            )
        if not value.isfinite().all():
            raise InputError(f"{source}: {name} is NaN or infinite")
        goal.copy_(value.reshape(goal.shape))
        converted.append(ConvertedTensor(name, our_name, shape))
    save_checkpoint(target, model, 0)
    return converted


def _names(config: Config) -> dict[str, str]:
    # With dropout on the features theirs has that module before the convolution.
    convolution = f"feature_embedding.{int(config.backbone.input_dropout)}"
    layers = {
        convolution: "backbone.embed",
        "att_branch": "backbone.attend",
        "snippet_cls": "backbone.classify",
        "feature_trans": "contrast.project",
    }
    return {
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in layers.items()
        for kind in ("weight", "bias")
    }


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: the checkpoint is missing")
    try:
        # The archive has checksums, which torch.load does not look at.
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile too raises whatever broken bytes lead it to
        raise InputError(f"{path}: damaged, or not saved by torch 1.6 or newer") from error
    if broken is not None:
        raise InputError(f"{path}: damaged: the checksum of {broken} is wrong")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = dict(content["model_state_dict"])
    except Exception as error:
        kind = type(error).__name__
        raise InputError(
            f'{path}: expected a checkpoint with "model_state_dict" ({kind})'
        ) from error
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: {name}: expected a tensor, got {type(value).__name__}")
    return weights

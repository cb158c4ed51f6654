"""Networks that encode snippets: of torchvision, timm, transformers, or the user's own."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ftcl_model.errors import InputError
from ftcl_model.texts import brief, one_line

DEFAULT, NONE = "default", "none"
"""Names of weights: those that the library recommends, and random ones."""
USUAL_SIZE = 224
"""Pixels of a frame's side where an encoder does not say."""


@dataclass(frozen=True)
class Encoder:
    """A network that encodes snippets, and what it is to be given.

    model:   from (batch, 3, frames, size, size) float32 to (batch, width), in evaluation mode. RGB,
             0..1 before `mean` is subtracted and the rest divided by `std`.
    weights: their name, by which the encoder can be made again.
    size:    height and width of the frames that it was trained on.
    mean, std: of the colours.
    """

    model: nn.Module
    weights: str = NONE
    size: int = USUAL_SIZE
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class MeanOverFrames(nn.Module):
    """An encoder of images as one of snippets: the mean of its features over the frames.

    Args:
        image_model: from (batch, 3, size, size) to (batch, width).
    """

    def __init__(self, image_model: nn.Module) -> None:
        super().__init__()
        self.image_model = image_model

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips (batch, 3, frames, size, size) to (batch, width)."""
        batch, _, frames = clips.shape[:3]
        images = clips.transpose(1, 2).flatten(0, 1)
        return self.image_model(images).reshape(batch, frames, -1).mean(dim=1)


def load_encoder(name: str, weights: str = DEFAULT, seed: int = 0) -> Encoder:
    """Make an encoder.

    Args:
        name: "torchvision:s3d" or another one of `torchvision.models.video`; "timm:resnet50" or
            "transformers:facebook/dinov2-small", a model of images, whose features are averaged
            over the frames; or "package.module:function". The function is called with `weights`
            and returns an `Encoder`; it may raise a ValueError for weights that it does not have.
        weights: "default", "none" for random ones, or a name that the library knows them by. They
            come from where the library keeps them.
        seed: of random weights.

    Raises:
        InputError: there is no such encoder, no such weights of it, or its library is for another
            torch.
        ModuleNotFoundError: the library or the module is not installed.
        OSError: the weights cannot be fetched.
    """
    library, colon, which = name.partition(":")
    if not (library and colon and which):
        raise InputError(
            "expected an encoder such as torchvision:s3d, timm:resnet50, transformers:NAME or "
            f"package.module:function, got {brief(name)}"
        )
    load = _LIBRARIES.get(library)
    # Nothing else is drawn by this seed, so that what is drawn later is what it would have been.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return load(which, weights) if load else _load_own(library, which, weights)
        except InputError:
            raise
        except ValueError as error:  # a library's, or that of the user's function
            raise InputError(f"{name}: {one_line(' '.join(str(error).split()))}") from error
        except OSError as error:
            said = one_line(" ".join(str(error).split()))
            raise OSError(f"{name}: its weights cannot be fetched ({said})") from error


def weights_digest(model: nn.Module) -> str:
    """The first 16 digits of the SHA-256 of all weights and buffers with their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


@torch.inference_mode()
def feature_width(encoder: Encoder, frames: int, size: int) -> int:
    """The width of its features, found by encoding one snippet.

    Raises:
        InputError: it does not take snippets of this many frames or pixels, or what it gives is not
            (1, width).
    """
    clip = torch.zeros(1, 3, frames, size, size)
    what = f"the encoder takes no snippet of {frames} frames of {size} x {size}"
    try:
        features = encoder.model(clip)
    except Exception as error:  # a network raises whatever an odd shape leads it to
        said = one_line(str(error).strip().partition("\n")[0])
        raise InputError(f"{what} ({said or type(error).__name__})") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 1:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(f"expected features (1, width) of one snippet, got {shape}")
    return features.shape[1]


def _load_own(module: str, function: str, weights: str) -> Encoder:
    try:
        make = getattr(importlib.import_module(module), function)
    except AttributeError as error:
        raise InputError(f"{module}: has no function {function}") from error
    encoder = make(weights)
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{module}:{function}: expected an ftcl_model.extraction.encoders.Encoder, got "
            f"{type(encoder).__name__}"
        )
    encoder.model.eval()
    return encoder


def _load_torchvision(name: str, weights: str) -> Encoder:
    models = _import("torchvision.models")
    names = models.list_models(module=models.video)
    if name not in names:
        raise InputError(f"torchvision:{name}: expected one of {', '.join(names)}")
    known = models.get_model_weights(name)
    # What the weights were trained with is right for random ones, too.
    preset = known.DEFAULT
    if weights not in (DEFAULT, NONE):
        names = [member.name for member in known]
        if weights not in names:
            raise InputError(
                f"torchvision:{name}: expected the weights {DEFAULT}, {NONE} or one of "
                f"{', '.join(names)}, got {brief(weights)}"
            )
        preset = known[weights]
    model = models.get_model(name, weights=None if weights == NONE else preset)
    # The classifier: of what it is named depends on the network.
    for last in ("fc", "classifier", "head"):
        if hasattr(model, last):
            setattr(model, last, nn.Identity())
    transforms = preset.transforms()
    return Encoder(
        model.eval(), NONE if weights == NONE else preset.name, transforms.crop_size[0],
        tuple(transforms.mean), tuple(transforms.std),
    )  # fmt: skip


def _load_timm(name: str, weights: str) -> Encoder:
    timm = _import("timm")
    if weights not in (DEFAULT, NONE):
        name = f"{name.partition('.')[0]}.{weights}"
    try:
        model = timm.create_model(name, pretrained=weights != NONE, num_classes=0)
    except RuntimeError as error:
        raise InputError(f"timm:{name}: {one_line(str(error))}") from error
    data = timm.data.resolve_model_data_config(model)
    tag = model.pretrained_cfg.get("tag") or DEFAULT
    return Encoder(
        MeanOverFrames(model).eval(), NONE if weights == NONE else tag, data["input_size"][-1],
        tuple(data["mean"]), tuple(data["std"]),
    )  # fmt: skip


class _Pooled(nn.Module):
    """Features of images by a model of transformers: its pooled output, or the mean of its tokens.

    Args:
        model: of images.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (batch, 3, size, size) to (batch, width)."""
        output = self.model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        tokens = output.last_hidden_state
        return tokens.flatten(2).mean(dim=2) if tokens.ndim == 4 else tokens.mean(dim=1)


def _load_transformers(name: str, weights: str) -> Encoder:
    transformers = _import("transformers")
    revision = None if weights in (DEFAULT, NONE) else weights
    config = transformers.AutoConfig.from_pretrained(name, revision=revision)
    if weights == NONE:
        model = transformers.AutoModel.from_config(config)
    else:
        model = transformers.AutoModel.from_pretrained(name, revision=revision)
    processor = transformers.AutoImageProcessor.from_pretrained(name, revision=revision)
    return Encoder(
        MeanOverFrames(_Pooled(model)).eval(), NONE if weights == NONE else revision or DEFAULT,
        getattr(config, "image_size", USUAL_SIZE),
        tuple(processor.image_mean), tuple(processor.image_std),
    )  # fmt: skip


_LIBRARIES: dict[str, Callable[[str, str], Encoder]] = {
    "torchvision": _load_torchvision,
    "timm": _load_timm,
    "transformers": _load_transformers,
}


def _import(name: str) -> ModuleType:
    """Import a library.

    Raises:
        ModuleNotFoundError: it is not installed, or something that it needs.
        InputError: it cannot be imported, as one that was built for another torch.
    """
    library = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == library:
            raise ModuleNotFoundError(
                f"{library} is not installed: pip install {library}", name=library
            ) from error
        raise
    except Exception as error:  # one that was built for another torch raises a RuntimeError
        raise InputError(
            f"{library} cannot be imported beside torch {torch.__version__} ({one_line(str(error))}"
            "): install the one that was built for it"
        ) from error

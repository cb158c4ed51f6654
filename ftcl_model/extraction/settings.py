"""What features were made by, so that those of another encoder are refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcl_model.conversion import build
from ftcl_model.files import read_text
from ftcl_model.reading import as_mapping, expecting, member, parse_json
from ftcl_model.texts import brief

if TYPE_CHECKING:
    from ftcl_model.config import Config

DESCRIPTION = "dataset.json"
"""The file in a folder of features that says how they were made."""
FASTEST = 1000.0
"""Frames a second that a video is resampled to at most."""
MOST_FRAMES = 1024
"""Of a snippet."""
LARGEST = 2048
"""Pixels of a frame's side."""


@dataclass(frozen=True)
class ExtractionSettings:
    """How snippets are cut out of a video, and the network that encodes them.

    encoder: as `encoders.load_encoder` takes it, "torchvision:s3d".
    weights: their name; "none" are random ones.
    digest:  of the weights' names and values (`encoders.weights_digest`).
    frames:  of a snippet.
    stride:  frames from the start of a snippet to that of the next.
    rate:    frames a second, to which every video is resampled.
    size:    height and width of a frame in pixels.
    seed:    of random weights.
    """

    encoder: str
    weights: str
    digest: str
    frames: int
    stride: int
    rate: float
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (("frames", MOST_FRAMES), ("stride", 2**20), ("size", LARGEST)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 1..{most}, got {getattr(self, name)}")
        if not 0 < self.rate <= FASTEST:
            raise ValueError(f"rate must be in (0, {FASTEST:g}], got {self.rate}")

    @property
    def seconds_per_snippet(self) -> float:
        """Distance between the starts of two successive snippets."""
        return self.stride / self.rate

    def difference(self, other: ExtractionSettings) -> str:
        """The first setting in which two differ, as "size 112, not 224"; empty if none does."""
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            # Of weights that are the same it does not matter what they were drawn by.
            if ours != theirs and field.name != "seed":
                return f"{field.name} {brief(ours)}, not {brief(theirs)}"
        return ""


def read_description(data: Path) -> dict[str, Any] | None:
    """What `extract` says in a folder of the features there; None if it made none.

    Raises:
        ValueError: dataset.json is not readable, or not what `extract` writes.
    """
    path = data / DESCRIPTION
    if not path.is_file():
        return None
    with expecting(path, "a JSON object"):
        content = as_mapping(parse_json(read_text(path)))
    return dict(content) if "extraction" in content else None


def read_extraction(data: Path) -> ExtractionSettings | None:
    """How the features of a folder were made, if `extract` made them.

    Raises:
        ValueError: as `read_description`; or a setting is missing or refused.
    """
    content = read_description(data)
    if content is None:
        return None
    return build(ExtractionSettings, content["extraction"], f"{data / DESCRIPTION}: extraction")


def with_extraction(config: Config, data: Path) -> Config:
    """The configuration, which takes over how the features of a folder were made.

    Raises:
        ValueError: the configuration, which may be that of a trained model, is for features of
            another encoder, width or rate; or as `read_extraction`. The message names dataset.json.
    """
    found = read_extraction(data)
    if found is None:
        return config
    path, dataset = data / DESCRIPTION, config.dataset
    if dataset.extraction is not None and (other := dataset.extraction.difference(found)):
        raise ValueError(f"{path}: features of another encoder: expected {other}")
    with expecting(path, '"feature_width"'):
        width = member(read_description(data), "feature_width")
    for name, theirs in (
        ("feature_width", width),
        ("seconds_per_snippet", found.seconds_per_snippet),
    ):
        if getattr(dataset, name) != theirs:
            raise ValueError(
                f"{path}: features of another make: dataset.{name} is {getattr(dataset, name)!r}, "
                f"expected {theirs!r}"
            )
    return replace(config, dataset=replace(dataset, extraction=found))

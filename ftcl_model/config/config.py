"""A configuration: a small YAML file, read into frozen dataclasses with every key checked."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ftcl_model.config.conversion import build
from ftcl_model.errors import InputError
from ftcl_model.files import read_text, write_text
from ftcl_model.reading import parse_yaml
from ftcl_model.settings import (
    MOST_WEIGHTS,
    THUMOS_THRESHOLDS,
    AlignedSettings,
    BackboneSettings,
    ContrastSettings,
    DatasetSettings,
    DetectionSettings,
    TrainingSettings,
    ValidationSettings,
    require,
)
from ftcl_model.variants import VARIANTS, Variant


@dataclass(frozen=True)
class Config:
    """Everything that defines a model, its training and its evaluation.

    variant: "paper" follows the paper's equations, "official" the arithmetic of the authors' code;
        "aligned" has the expected alignment of two videos supervise their snippets instead.
    tious: tIoU thresholds of the evaluation.
    """

    dataset: DatasetSettings
    variant: str = "paper"
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    aligned: AlignedSettings = field(default_factory=AlignedSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    tious: tuple[float, ...] = THUMOS_THRESHOLDS

    @property
    def chosen(self) -> Variant:
        """What `variant` stands for; nothing else reads that text."""
        return VARIANTS[self.variant]

    def __post_init__(self) -> None:
        require(self, "variant", self.variant in VARIANTS, f"one of {', '.join(VARIANTS)}")
        self.chosen.check(self.backbone, self.contrast)
        if self.chosen.teacher:
            expected = f"positive under `variant: {self.variant}`, whose teacher it is"
            require(self.training, "moving_average", self.training.moving_average > 0, expected)
        width = self.dataset.feature_width if self.backbone.width is None else self.backbone.width
        weights = 3 * width * (self.dataset.feature_width + self.contrast.projection)
        if weights > MOST_WEIGHTS:
            raise InputError(
                f"backbone.width must keep the model below {MOST_WEIGHTS} weights, got {width}, "
                f"with dataset.feature_width {self.dataset.feature_width} and contrast.projection "
                f"{self.contrast.projection} some {weights}"
            )
        inside = len(self.tious) > 0 and all(0 < tiou <= 1 for tiou in self.tious)
        require(self, "tious", inside, "one or more thresholds in (0, 1]")


def load_config(path: str | Path) -> Config:
    """Read a YAML file, or the preset of that name (`presets`).

    Raises:
        InputError: there is no such file or preset, the file is not YAML as `parse_yaml` takes it,
            a key is unknown, missing or given twice, a value has the wrong type, is NaN, infinite
            or out of range. The message names the file, the key path, what was expected and what
            came.
    """
    if str(path) in presets() and not os.path.isfile(path):
        text = (resources.files("ftcl_model") / "configs" / f"{path}.yaml").read_text("utf-8")
    elif os.path.exists(path):
        text = read_text(path)
    else:
        raise InputError(f"{path}: neither a file nor a preset ({', '.join(presets())})")
    try:
        content = parse_yaml(text)
    except InputError as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    return config_from_mapping(content, str(path))


def save_config(path: str | Path, config: Config) -> None:
    """Write every setting as a YAML file that `load_config` reads back."""
    # JSON is YAML, and has lists for tuples.
    content = json.loads(json.dumps(dataclasses.asdict(config)))
    write_text(path, yaml.safe_dump(content, sort_keys=False))


def presets() -> tuple[str, ...]:
    """The names of the configurations that come with the package."""
    files = (resources.files("ftcl_model") / "configs").iterdir()
    return tuple(sorted(file.name[:-5] for file in files if file.name.endswith(".yaml")))


def config_from_mapping(content: Any, source: str) -> Config:
    """Check and convert nested mappings (a YAML document, `dataclasses.asdict` of a Config).

    Args:
        content: the mappings.
        source: what the error messages call them, a file's name.

    Raises:
        InputError: as `load_config`.
    """
    return build(Config, content, source)

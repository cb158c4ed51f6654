"""The folder of features that a configuration is trained or tested on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ftcl_model.config.config import Config
from ftcl_model.config.extracted import with_extraction
from ftcl_model.data.annotations import Annotations, read_annotations
from ftcl_model.data.features import FeatureSplit, open_split
from ftcl_model.errors import InputError


class Inputs(NamedTuple):
    """A split of a folder, with the annotations of all its videos.

    config: the one that it was opened by, which knows how the features were made.
    """

    config: Config
    annotations: Annotations
    split: FeatureSplit


def open_inputs(config: Config, data: Path, split: str) -> Inputs:
    """Open the split "train" or "test" of a folder, with the classes of the configuration.

    Raises:
        InputError: as `with_extraction`, `read_annotations` and `open_split`.
    """
    config = with_extraction(config, data)
    annotations = read_annotations(data / "gt.json", config.dataset.classes)
    return Inputs(config, annotations, open_split(data, split, annotations, config.dataset))


def check_apart(data: Path, train: FeatureSplit, test: FeatureSplit) -> None:
    """Refuse a folder, with InputError, whose training videos are tested on too."""
    shared = sorted(set(test.names).intersection(train.names))
    if shared:
        raise InputError(
            f"{data / 'split_test.txt'}: video {shared[0]} is in split_train.txt too "
            f"({len(shared)} in both)"
        )

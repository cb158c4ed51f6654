"""Writing a data set as the folder that `ftcl_model.features` reads, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.annotations import Annotations, Video, write_annotations
from ftcl_model.files import written_whole


class DescribedVideo(NamedTuple):
    """A video with its snippets' features, (snippets, width), before standardisation."""

    video: Video
    features: NDArray[np.float64]


def is_prepared(directory: str | os.PathLike[str], description: Mapping[str, Any]) -> bool:
    """Whether the folder is there already, made from this very description.

    Raises:
        FileExistsError: it holds something else.
    """
    directory = Path(directory)
    if not (directory.is_dir() and any(directory.iterdir())):
        return False
    present = directory / "dataset.json"
    if present.is_file() and present.read_bytes() == _text(description).encode():
        return True
    raise FileExistsError(f"{directory}: holds other files than the data set to be written")


def write_prepared(
    directory: str | os.PathLike[str],
    description: Mapping[str, Any],
    classes: Sequence[str],
    parts: Mapping[str, Sequence[DescribedVideo]],
) -> None:
    """Write train/*.npy, test/*.npy, split_train.txt, split_test.txt, gt.json and dataset.json.

    Features become float32, standardised with the training snippets' mean and deviation.

    Args:
        directory: must not exist, or be empty.
        description: what the data were made from; it goes to dataset.json.
        classes: the class names in the order of the scores.
        parts: the videos of "train" and of "test".
    """
    training = np.concatenate([video.features for video in parts["train"]])
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    videos = {}
    with written_whole(directory) as temporary:
        for subset, part in parts.items():
            (temporary / subset).mkdir(parents=True)
            for video, features in part:
                standardised = ((features - mean) / deviation).astype(np.float32)
                np.save(temporary / subset / f"{video.name}.npy", standardised)
                videos[video.name] = video
            names = "".join(f"{video.name}\n" for video, _ in part)
            (temporary / f"split_{subset}.txt").write_text(names, encoding="utf-8")
        write_annotations(temporary / "gt.json", Annotations(tuple(classes), videos))
        (temporary / "dataset.json").write_text(_text(description), encoding="utf-8")


def _text(description: Mapping[str, Any]) -> str:
    return json.dumps(description, indent=1, allow_nan=False) + "\n"

"""The videos of a split with their labels; features are checked in full before training starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations
from ftcl_model.data.feature_files import (
    PLAIN,
    FeatureForm,
    check_features,
    find_form,
    map_features,
)
from ftcl_model.errors import InputError
from ftcl_model.files import read_text
from ftcl_model.settings import DatasetSettings
from ftcl_model.texts import brief


@dataclass(frozen=True)
class FeatureSplit:
    """The videos of one split: where their features lie, and their video-level labels.

    names:   the videos, in the order of the split file.
    paths:   one .npy file each, or an .npz beside where it would be. With streams it is made of the
             files of that name in the folders of the streams beside it.
    labels:  (videos, classes) float32, 1 where the class occurs in the video.
    lengths: (videos,) int64, the number of snippets T.
    form:    of the files.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.float32]
    lengths: NDArray[np.int64]
    width: int
    seconds_per_snippet: float
    form: FeatureForm = PLAIN

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.names)

    def load(self, index: int) -> NDArray[np.float32]:
        """The features (T, width) float32 of one video; memory-mapped if in one float32 .npy."""
        parts = map_features(self.paths[index], self.form, self.width)
        if len(parts) == 1:
            return parts[0].astype(np.float32, copy=False)
        return np.concatenate(parts, axis=1, dtype=np.float32)


def open_split(
    data: str | os.PathLike[str],
    split: str,
    annotations: Annotations,
    settings: DatasetSettings,
) -> FeatureSplit:
    """Open the split of a folder `data` that holds split_<split>.txt and the features.

    The features are <split>/<name>.npy, or, where <split> has the folders rgb and flow, the join
    of <split>/rgb/<name>.npy and <split>/flow/<name>.npy along the width. Flow is often one
    snippet shorter or longer than RGB; the surplus one is left out. Where a .npy is not there, an
    .npz is read, whole every time. An axis of one before the others does not count.

    Every file is looked at before anything is returned, so that a broken one is named before
    training starts instead of in the middle of it.

    Args:
        data: the folder.
        split: "train" or "test".
        annotations: videos with their labels, which must cover the split.
        settings: the features' width, rate and form, and the videos to leave out.

    Raises:
        InputError: a file is missing, empty, unreadable, holds several arrays, is not (T, width) of
            floats, or what the settings say, or has NaN or what is infinite in float32; RGB and
            flow differ by more than a snippet; or a video has no annotation or a label outside
            `annotations.classes`. A training video must have a label. The message names the file.
    """
    data = Path(data)
    width = settings.feature_width
    names = read_split(data, split, settings.blocked_videos)
    paths = tuple(data / split / f"{name}.npy" for name in names)
    form = find_form(data / split, settings)
    labels = np.zeros((len(names), len(annotations.classes)), np.float32)
    lengths = np.zeros(len(names), np.int64)
    for index, (name, path) in enumerate(zip(names, paths, strict=True)):
        columns = _label_columns(path, name, annotations)
        if split == "train" and not columns:
            raise InputError(f"{path}: a training video needs at least one label")
        labels[index, columns] = 1
        lengths[index] = check_features(path, form, width).snippets
    return FeatureSplit(names, paths, labels, lengths, width, settings.seconds_per_snippet, form)


def read_names(path: Path) -> tuple[str, ...]:
    """The videos that a split file names, one a line; spaces around a name do not count.

    Raises:
        InputError: there is no such file, it names no video, or one twice, or a name is a path
            that leads out of the folder.
    """
    lines = (line.strip() for line in read_text(path).split("\n"))
    names = tuple(line for line in lines if line)
    if not names:
        raise InputError(f"{path}: the split file names no video")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: the split file names video {name} twice")
    for name in names:
        if not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise InputError(
                f"{path}: expected names of videos, or paths within the folder of features, got "
                f"{brief(name)}"
            )
    return names


def read_split(data: Path, split: str, blocked: Collection[str]) -> tuple[str, ...]:
    """The videos of split_<split>.txt, but for the blocked ones; InputError if there are none."""
    file = data / f"split_{split}.txt"
    names = tuple(name for name in read_names(file) if name not in blocked)
    if not names:
        raise InputError(f"{file}: every video of the split is blocked")
    return names


def _label_columns(path: Path, name: str, annotations: Annotations) -> list[int]:
    if name not in annotations.videos:
        raise InputError(f"{path}: video {name} has no annotation")
    labels, classes = annotations.videos[name].labels, annotations.classes
    for label in sorted(labels.difference(classes)):
        raise InputError(f"{path}: label {brief(label)} is not in the class list {brief(classes)}")
    return [classes.index(label) for label in labels]

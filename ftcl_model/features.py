"""Snippet features on disk in the authors' layout, checked in full before training starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftcl_model.annotations import Annotations
from ftcl_model.files import read_text


@dataclass(frozen=True)
class FeatureSplit:
    """The videos of one split: where their features lie, and their video-level labels.

    names:   the videos, in the order of the split file.
    paths:   one .npy file each, (T, width).
    labels:  (videos, classes) float32, 1 where the class occurs in the video.
    lengths: (videos,) int64, the number of snippets T.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.float32]
    lengths: NDArray[np.int64]
    width: int
    seconds_per_snippet: float

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.names)

    def load(self, index: int) -> NDArray[np.float32]:
        """The features (T, width) float32 of one video; memory-mapped if the file is float32."""
        return _map_features(self.paths[index], self.width).astype(np.float32, copy=False)


def open_split(
    data: str | os.PathLike[str],
    split: str,
    annotations: Annotations,
    *,
    seconds_per_snippet: float,
    width: int | None = None,
) -> FeatureSplit:
    """Open the split of a folder `data` that holds split_<split>.txt and <split>/<name>.npy.

    Every file is looked at before anything is returned, so that a broken one is named before
    training starts instead of in the middle of it.

    Args:
        data: the folder.
        split: "train" or "test".
        annotations: videos with their labels, which must cover the split.
        seconds_per_snippet: distance between the starts of two successive snippets.
        width: the expected feature width; None takes the first file's.

    Raises:
        ValueError: a file is missing, empty, unreadable, not (T, width) of floats, holds NaN or
            what is infinite in float32, or its video has no annotation or a label outside
            `annotations.classes`. A training video must have a label. The message names the file.
    """
    if not seconds_per_snippet > 0:
        raise ValueError(
            f"open_split: seconds_per_snippet must be positive, got {seconds_per_snippet}"
        )
    data = Path(data)
    names = _read_names(data / f"split_{split}.txt")
    paths = tuple(data / split / f"{name}.npy" for name in names)
    labels = np.zeros((len(names), len(annotations.classes)), np.float32)
    lengths = np.zeros(len(names), np.int64)
    for index, (name, path) in enumerate(zip(names, paths, strict=True)):
        columns = _label_columns(path, name, annotations)
        if split == "train" and not columns:
            raise ValueError(f"{path}: a training video needs at least one labelled segment")
        labels[index, columns] = 1
        features = _map_features(path, width)
        with np.errstate(over="ignore"):
            # What float32 cannot hold becomes infinite, and is refused as such.
            features = features.astype(np.float32, copy=False)
        if not np.isfinite(features).all():
            snippet = int(np.argmin(np.isfinite(features).all(axis=1)))
            raise ValueError(f"{path}: NaN or infinite features, first in snippet {snippet}")
        lengths[index], width = features.shape
    assert width is not None  # a split file with no names is refused
    return FeatureSplit(names, paths, labels, lengths, width, seconds_per_snippet)


def _read_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise ValueError(f"{path}: the split file is missing")
    names = tuple(read_text(path).split())
    if not names:
        raise ValueError(f"{path}: the split file names no video")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: the split file names video {twice} twice")
    return names


def _label_columns(path: Path, name: str, annotations: Annotations) -> list[int]:
    if name not in annotations.videos:
        raise ValueError(f"{path}: video {name} has no annotation")
    labels, classes = annotations.videos[name].labels, annotations.classes
    for label in sorted(labels.difference(classes)):
        raise ValueError(f"{path}: label {label!r} is not in the class list {classes}")
    return [classes.index(label) for label in labels]


def _map_features(path: Path, width: int | None) -> NDArray[np.floating]:
    if not path.is_file():
        raise ValueError(f"{path}: the feature file is missing")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the feature file is empty")
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable .npy file ({error})") from error
    expected = f"floats of shape (snippets, {'width' if width is None else width})"
    if not (isinstance(features, np.ndarray) and np.issubdtype(features.dtype, np.floating)):
        raise ValueError(
            f"{path}: expected {expected}, got {getattr(features, 'dtype', 'an .npz')}"
        )
    if features.ndim != 2 or (width is not None and features.shape[1] != width):
        raise ValueError(f"{path}: expected {expected}, got shape {features.shape}")
    if features.size == 0:
        raise ValueError(f"{path}: the feature file is empty, shape {features.shape}")
    return features

"""A video's features on disk: .npy or .npz, one file or RGB and flow, in the usual layouts."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.errors import InputError
from ftcl_model.settings import DatasetSettings
from ftcl_model.texts import examples, shortened

STREAMS = ("rgb", "flow")
"""Folders of a split whose files are joined in this order, where it has both."""
OTHER_FORMATS = (".mat", ".h5", ".hdf5", ".pt", ".pth", ".pkl", ".csv")
"""Files that features often come in, which are named where they are there instead of a .npy."""


class FeatureForm(NamedTuple):
    """How features lie in their files.

    streams: folders whose files are joined; none where each video has one file.
    channels_first: a file is (width, T) instead of (T, width).
    array: name of the array in an .npz; None where each holds one.
    """

    streams: tuple[str, ...] = ()
    channels_first: bool = False
    array: str | None = None


PLAIN = FeatureForm()
"""A file for each video, (T, width)."""


def find_form(folder: Path, settings: DatasetSettings) -> FeatureForm:
    """How the features of a split lie in its folder."""
    streams = STREAMS if all(os.path.isdir(folder / stream) for stream in STREAMS) else ()
    return FeatureForm(streams, settings.layout == "channels_first", settings.array)


class FeatureExtent(NamedTuple):
    """How many snippets a video has, how wide they are, and their largest magnitude."""

    snippets: int
    width: int
    largest: float


def check_features(path: Path, form: FeatureForm, width: int | None) -> FeatureExtent:
    """Read the features of a video in full.

    Raises:
        InputError: as `ftcl_model.data.features.open_split` does of files.
    """
    parts = map_features(path, form, width)
    largest = 0.0
    for part, file in zip(parts, _files(path, form.streams), strict=True):
        with np.errstate(over="ignore"):
            # What float32 cannot hold becomes infinite, and is refused as such.
            values = part.astype(np.float32, copy=False)
        # NaN is the least and the greatest of what it is among.
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            snippet = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise InputError(f"{file}: NaN or infinite features, first in snippet {snippet}")
        largest = max(largest, -low, high)
    return FeatureExtent(len(parts[0]), sum(part.shape[1] for part in parts), largest)


def map_features(path: Path, form: FeatureForm, width: int | None) -> list[NDArray[np.floating]]:
    """The files of a video, (T, its part of the width) each, cut to the shortest.

    They are memory-mapped, but for an .npz.

    Raises:
        InputError: as `ftcl_model.data.features.open_split` does of files, but for NaN and
            infinity.
    """
    files = _files(path, form.streams)
    parts = [_map_file(file, None if form.streams else width, form) for file in files]
    snippets, widths = [len(part) for part in parts], [part.shape[1] for part in parts]
    if max(snippets) - min(snippets) > 1:
        raise InputError(
            f"{files[0]}: expected as many snippets as in {files[1]}, give or take one, got "
            f"{snippets[0]} and {snippets[1]}"
        )
    if width is not None and sum(widths) != width:
        raise InputError(
            f"{files[0]}: expected features {width} wide when joined with {files[1]}, got "
            f"{' + '.join(map(str, widths))}{_other_layout(form, sum(snippets) == width)}"
        )
    return [part[: min(snippets)] for part in parts]


def _files(path: Path, streams: tuple[str, ...]) -> list[Path]:
    files = [path.parent / stream / path.name for stream in streams] or [path]
    return [_archive(file) if _is_archived(file) else file for file in files]


def _archive(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".npy") + ".npz")


def _is_archived(path: Path) -> bool:
    return not os.path.lexists(path) and os.path.lexists(_archive(path))


def _map_file(path: Path, width: int | None, form: FeatureForm) -> NDArray[np.floating]:
    _check_file(path)
    axes = ("snippets", "width" if width is None else str(width))
    expected = f"floats of shape ({', '.join(axes[::-1] if form.channels_first else axes)})"
    features = _load(path, form.array)
    if not np.issubdtype(features.dtype, np.floating):
        raise InputError(f"{path}: expected {expected}, got {features.dtype}")
    found = features.shape
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if form.channels_first:
        features = features.T
    if features.ndim != 2 or (width is not None and features.shape[1] != width):
        other = _other_layout(form, features.ndim == 2 and len(features) == width)
        raise InputError(f"{path}: expected {expected}, got shape {found}{other}")
    if features.size == 0:
        raise InputError(f"{path}: the feature file is empty, shape {found}")
    return features


def _other_layout(form: FeatureForm, fits: bool) -> str:
    """What to set where features fit with their axes exchanged."""
    other = "time_first" if form.channels_first else "channels_first"
    return f" (dataset.layout: {other} reads it)" if fits else ""


def _load(path: Path, name: str | None) -> NDArray[Any]:
    """The array in a .npy file, or the one that is meant in an .npz."""
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return _member(path, content, name)
    except InputError:
        raise
    except Exception as error:  # numpy raises whatever the broken bytes lead it to
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable {path.suffix} file ({reason})") from error


def _member(path: Path, arrays: Mapping[str, Any], name: str | None) -> NDArray[Any]:
    held = list(arrays)
    if name is None and len(held) != 1:
        raise InputError(
            f"{path}: expected one array, or the name of one of them in dataset.array, got "
            f"{examples(held) or 'none'}"
        )
    if name is not None and name not in held:
        raise InputError(
            f"{path}: expected the array {shortened(name)} (dataset.array), got "
            f"{examples(held) or 'none'}"
        )
    array = arrays[held[0] if name is None else name]
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: expected an array, got other bytes")
    return array


def _check_file(path: Path) -> None:
    """Refuse what is not there, or not a file with something in it; InputError names it."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        others = [path.with_name(path.stem + ending) for ending in OTHER_FORMATS]
        other = next((other for other in others if os.path.isfile(other)), None)
        raise InputError(
            f"{path}: the feature file is missing (dataset.blocked_videos leaves videos out)"
            if other is None
            else f"{path}: the feature file is missing, and {other.name} is not read: save the "
            "array in it with numpy.save"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: the feature file cannot be read ({reason})") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "device"
        raise InputError(f"{path}: expected a feature file, got a {kind}")
    if found.st_size == 0:
        raise InputError(f"{path}: the feature file is empty")

"""Writing a data set as the folder that `ftcl_model.data.features` reads, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations, Video, write_annotations
from ftcl_model.errors import InputError
from ftcl_model.files import read_text, remove_file, write_json, written_folder
from ftcl_model.reading import parse_json


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
    present = _read_description(directory)
    files = present.pop("files", {})
    if present == json.loads(json.dumps(description)) and all(
        (directory / name).exists() for name in files
    ):
        return True
    raise FileExistsError(f"{directory}: holds other files than the data set to be written")


def remove_prepared(directory: str | os.PathLike[str], source: str) -> bool:
    """Remove a data set, if it is of this source and all that is in the folder was written with it.

    Returns:
        Whether it was. A file that was changed since, and any that was added, makes it not so.
    """
    directory = Path(directory)
    present = _read_description(directory)
    written = present.get("files")
    if present.get("source") != source or not isinstance(written, dict):
        return False
    description = directory / "dataset.json"
    files, folders = [], []
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            return False
        if path.is_dir() and any(other.startswith(f"{name}/") for other in written):
            folders.append(path)
        elif path.is_file() and written.get(name) == _digest(path):
            files.append(path)
        elif path != description:
            return False
    for path in files:
        remove_file(path)
    for path in sorted(folders, reverse=True):
        os.rmdir(path)
    # The last of all: until then it tells what the rest is.
    remove_file(description)
    return True


def _read_description(directory: Path) -> dict[str, Any]:
    """What dataset.json says; nothing if it is missing or no such file."""
    try:
        content = parse_json(read_text(directory / "dataset.json"))
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        description: what the data were made from; it goes to dataset.json, with the SHA-256 of
            every file under "files", by which they are known.
        classes: the class names in the order of the scores.
        parts: the videos of "train" and of "test".
    """
    training = np.concatenate([video.features for video in parts["train"]])
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    videos = {}
    with written_folder(directory) as temporary:
        for subset, part in parts.items():
            (temporary / subset).mkdir(parents=True)
            for video, features in part:
                standardised = ((features - mean) / deviation).astype(np.float32)
                np.save(temporary / subset / f"{video.name}.npy", standardised)
                videos[video.name] = video
            names = "".join(f"{video.name}\n" for video, _ in part)
            (temporary / f"split_{subset}.txt").write_text(names, encoding="utf-8")
        write_annotations(temporary / "gt.json", Annotations(tuple(classes), videos))
        files = {
            path.relative_to(temporary).as_posix(): _digest(path)
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        write_json(temporary / "dataset.json", {**description, "files": files})

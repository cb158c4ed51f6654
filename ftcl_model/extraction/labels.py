"""Which videos have which classes: a table or a folder for each class, as what training reads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ftcl_model.data.annotations import LATEST, Annotations, Segment, Video, write_annotations
from ftcl_model.data.features import read_names
from ftcl_model.errors import InputError
from ftcl_model.extraction.decoding import find_videos, without_ending
from ftcl_model.files import read_text, written_folder
from ftcl_model.reading import as_number
from ftcl_model.texts import brief

SPLITS = ("train", "test")
COLUMNS = ("video", "labels", "split", "start", "end")
"""Of a table of labels; the first two are needed."""
KEPT = 2
"""Videos of a set of labels that training keeps when the split is drawn."""


class Labelled(NamedTuple):
    """A video as a table or a folder has it.

    labels:   its classes.
    segments: those of them of which it is said where they are.
    split:    "train", "test" or, where it is to be drawn, "".
    """

    labels: frozenset[str]
    segments: tuple[Segment, ...] = ()
    split: str = ""


def read_labels(path: Path) -> dict[str, Labelled]:
    """Read a table of labels, a CSV file; its rows about a video add up.

    Its first line names its columns, some of `COLUMNS`. A video is named by its path in the folder
    of videos, with or without its ending. Labels stand between semicolons; none is a video without
    an action, which only a test split may have. A split is train or test. A row with a start and an
    end, in seconds, has one label.

    Raises:
        InputError: the file is not such a table; the message names the file and the line.
    """
    videos: dict[str, Labelled] = {}
    rows = csv.reader(io.StringIO(read_text(path)), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        needed = set(COLUMNS[:2]) <= set(header) and set(header) <= set(COLUMNS)
        if not needed or len(set(header)) < len(header):
            raise InputError(
                f"expected the names of columns, video,labels or more of {','.join(COLUMNS)}, got "
                f"{brief(','.join(header))}"
            )
        for row in rows:
            if any(cell.strip() for cell in row):
                if len(row) != len(header):
                    raise InputError(f"expected {len(header)} cells, got {len(row)}")
                _add(videos, dict(zip(header, map(str.strip, row), strict=True)))
    except (InputError, csv.Error) as error:
        raise InputError(f"{path}: line {max(rows.line_num, 1)}: {error}") from error
    if not videos:
        raise InputError(f"{path}: expected a line for each video, got none")
    return videos


def _add(videos: dict[str, Labelled], row: Mapping[str, str]) -> None:
    name = without_ending(row["video"])
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise InputError(f"expected the name of a video, got {brief(row['video'])}")
    labels = frozenset(filter(None, map(str.strip, row["labels"].split(";"))))
    split = row.get("split", "").lower()
    if split not in ("", *SPLITS):
        raise InputError(f"expected the split train or test, got {brief(row['split'])}")
    segments: tuple[Segment, ...] = ()
    times = row.get("start", ""), row.get("end", "")
    if any(times):
        start, end = map(_seconds, times)
        if len(labels) != 1 or not start < end:
            raise InputError("expected one label and an end after the start")
        segments = (Segment(start, end, *labels),)
    before = videos.get(name, Labelled(frozenset(), (), split))
    if before.split != split:
        raise InputError(f"video {brief(name)} is in another split before")
    videos[name] = Labelled(before.labels | labels, before.segments + segments, split)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"expected a number of seconds, got {brief(text)}") from None
    return as_number(value, 0, LATEST)


def labels_of_folders(folder: Path) -> dict[str, Labelled]:
    """The videos of a folder that has a folder for each class; there they are named CLASS/VIDEO.

    Raises:
        InputError: a video is in none of them; or as `find_videos`.
    """
    videos = {}
    for name, path in find_videos([folder]).items():
        label, slash, _ = name.partition("/")
        if not slash:
            raise InputError(f"{path}: expected every video in the folder of its class")
        videos[name] = Labelled(frozenset([label]))
    return videos


def draw_split(videos: Mapping[str, Labelled], share: float, seed: int) -> dict[str, str]:
    """The split of each video; of those that have none a share goes to the test split by chance.

    It is drawn among the videos of equal labels, of which training keeps `KEPT`.

    Args:
        videos: by name.
        share: of the videos, 0..1.
        seed: of what is drawn.
    """
    splits = {name: video.split or "train" for name, video in videos.items()}
    rng = np.random.default_rng(seed)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, video in sorted(videos.items()):
        if not video.split:
            alike.setdefault(tuple(sorted(video.labels)), []).append(name)
    for labels, names in sorted(alike.items()):
        count = min(round(share * len(names)), max(len(names) - KEPT, 0))
        # Training has no use for a video without a label.
        for index in rng.permutation(len(names))[: count if labels else len(names)].tolist():
            splits[names[index]] = "test"
    return splits


class Begun(NamedTuple):
    """What a folder was begun with: the annotations, and the videos of each split."""

    annotations: Annotations
    splits: dict[str, tuple[str, ...]]


def begin(
    output: str | os.PathLike[str], videos: Mapping[str, Labelled], *, share: float, seed: int
) -> Begun:
    """Write gt.json and the split files, in a folder that is new or empty.

    A split without a video has no file.

    Args:
        output: the folder.
        videos: by name.
        share: of the videos that are drawn for the test split, see `draw_split`.
        seed: of what is drawn.

    Raises:
        InputError: a training video has no label, or training has no video.
        OSError: the folder is not empty, or cannot be written.
    """
    drawn = draw_split(videos, share, seed)
    splits = {
        split: tuple(sorted(name for name in videos if drawn[name] == split)) for split in SPLITS
    }
    for name in splits["train"]:
        if not videos[name].labels:
            raise InputError(f"video {brief(name)}: expected a label, as it is in the split train")
    if not splits["train"]:
        raise InputError("expected a video to train on, the split test has them all")
    annotated = {name: _annotated(name, videos[name], drawn[name]) for name in sorted(videos)}
    classes = sorted(frozenset().union(*(video.labels for video in videos.values())))
    annotations = Annotations(tuple(classes), annotated)
    with written_folder(output) as folder:
        for split, names in splits.items():
            if names:
                path = folder / f"split_{split}.txt"
                path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
                read_names(path)
        write_annotations(folder / "gt.json", annotations)
    return Begun(annotations, splits)


def _annotated(name: str, video: Labelled, split: str) -> Video:
    somewhere = video.labels.difference(segment.label for segment in video.segments)
    return Video(name, split, None, video.segments, somewhere)


def told(begun: Begun, output: Path) -> Iterator[str]:
    """What was begun, in some lines to read."""
    train, test = (begun.splits[split] for split in SPLITS)
    yield (
        f"{output}: {len(train)} training and {len(test)} test videos, "
        f"{len(begun.annotations.classes)} classes"
    )
    if not begun.annotations.has_segments(test):
        yield "note: no test video has a segment, so that evaluation is left out"

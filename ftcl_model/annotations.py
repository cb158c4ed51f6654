"""Ground truth of temporal action localisation: ActivityNet-style annotation files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftcl_model.files import read_text, write_json


class Segment(NamedTuple):
    """One action instance: start and end in seconds, and its class."""

    start: float
    end: float
    label: str


class Video(NamedTuple):
    """One annotated video. `duration` is in seconds, None where the file does not say."""

    name: str
    subset: str
    duration: float | None
    segments: tuple[Segment, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The video-level label set, all that weakly supervised training may see."""
        return frozenset(segment.label for segment in self.segments)


class Annotations(NamedTuple):
    """The class list (its order is the order of every score vector) and the videos by name."""

    classes: tuple[str, ...]
    videos: Mapping[str, Video]

    def names_of(self, subset: str, blocked: Collection[str] = ()) -> tuple[str, ...]:
        """The videos of a subset, but for the blocked ones; ValueError where there are none."""
        names = tuple(
            video.name
            for video in self.videos.values()
            if video.subset == subset and video.name not in blocked
        )
        if not names:
            subsets = sorted({video.subset for video in self.videos.values()})
            raise ValueError(f"expected a subset of the annotations, {subsets}, got {subset!r}")
        return names


def read_annotations(
    path: str | os.PathLike[str], classes: Iterable[str] | None = None
) -> Annotations:
    """Read an ActivityNet-style JSON file.

    The file holds {"database": {name: {"subset", "duration", "annotations": [{"segment":
    [start, end], "label"}]}}}, times in seconds; anything else in it is ignored. Segments are kept
    as they are written, also those beyond the video's duration and exact duplicates. A label
    outside `classes` is refused where its video is in a split (`open_split`).

    Args:
        path: the JSON file.
        classes: the class list in its wanted order; None takes the file's labels, sorted.

    Raises:
        ValueError: the file is not of this form, a segment does not end after its start, a duration
            is not positive and finite, or `classes` names a class twice. The message names the file
            and the video.
    """
    videos, errors = read_videos(path)
    if errors:
        raise ValueError(errors[0])
    if classes is None:
        classes = sorted(frozenset().union(*(video.labels for video in videos.values())))
    classes = tuple(classes)
    if len(set(classes)) != len(classes):
        raise ValueError(f"{path}: the class list {classes} names a class twice")
    return Annotations(classes, videos)


def read_videos(path: str | os.PathLike[str]) -> tuple[dict[str, Video], list[str]]:
    """The videos of a file as `read_annotations` takes it, and what is wrong with the others.

    Raises:
        ValueError: the file is not a JSON object with a "database".
    """
    path, text = Path(path), read_text(path)
    try:
        database = json.loads(text)["database"]
        entries = dict(database.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: expected a JSON object with a "database" of videos, got {error!r}'
        ) from error
    videos, errors = {}, []
    for name, entry in entries.items():
        try:
            videos[name] = _read_video(path, name, entry)
        except ValueError as error:
            errors.append(str(error))
    return videos, errors


def _read_video(path: Path, name: str, entry: Any) -> Video:
    try:
        duration = None if entry.get("duration") is None else float(entry["duration"])
        if duration is not None and not 0 < duration < math.inf:
            raise ValueError(f"duration {duration}")
        segments = []
        for annotation in entry["annotations"]:
            start, end = (float(time) for time in annotation["segment"])
            if not isinstance(annotation["label"], str) or not math.isfinite(start + end):
                raise ValueError(f"annotation {annotation}")
            if not start < end:
                raise ValueError(f"a segment that does not end after its start, {annotation}")
            segments.append(Segment(start, end, annotation["label"]))
        return Video(name, str(entry["subset"]), duration, tuple(segments))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: video {name}: expected "subset", "duration" and "annotations" of '
            f'{{"segment": [start, end], "label": name}}, got {error!r}'
        ) from error


def write_annotations(path: str | os.PathLike[str], annotations: Annotations) -> None:
    """Write the videos as an ActivityNet-style JSON file that `read_annotations` reads back."""
    database = {
        video.name: {
            "subset": video.subset,
            "duration": video.duration,
            "annotations": [
                {"segment": [segment.start, segment.end], "label": segment.label}
                for segment in video.segments
            ],
        }
        for video in annotations.videos.values()
    }
    write_json(path, {"version": "ftcl_model", "taxonomy": [], "database": database})

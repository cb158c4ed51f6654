"""Ground truth of temporal action localisation: ActivityNet-style annotation files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftcl_model.errors import InputError
from ftcl_model.files import read_text, write_json
from ftcl_model.reading import (
    as_list,
    as_mapping,
    as_number,
    as_text,
    expecting,
    member,
    parse_json,
)
from ftcl_model.texts import brief, one_line, shortened

LATEST = 1e9
"""Seconds, some thirty years, beyond which nothing is annotated or predicted."""
SHORTEST = 1e-3
"""Seconds that a video lasts at least."""


class Segment(NamedTuple):
    """One action instance: start and end in seconds, and its class."""

    start: float
    end: float
    label: str


def described(segment: Any, name: str) -> str:
    """A segment or a detection of the video `name`, in a few words."""
    label = shortened(segment.label)
    return f"{shortened(name)} {label} {segment.start:g}..{segment.end:g} s"


class Video(NamedTuple):
    """One annotated video.

    duration: in seconds, None where the file does not say.
    weak_labels: classes that it has, it is not said where.
    """

    name: str
    subset: str
    duration: float | None
    segments: tuple[Segment, ...]
    weak_labels: frozenset[str] = frozenset()

    @property
    def labels(self) -> frozenset[str]:
        """The video-level label set, all that weakly supervised training may see."""
        return self.weak_labels.union(segment.label for segment in self.segments)


class Annotations(NamedTuple):
    """The class list (its order is the order of every score vector) and the videos by name."""

    classes: tuple[str, ...]
    videos: Mapping[str, Video]

    def names_of(self, subset: str, blocked: Collection[str] = ()) -> tuple[str, ...]:
        """The videos of a subset, but for the blocked ones; InputError where there are none."""
        names = tuple(
            video.name
            for video in self.videos.values()
            if video.subset == subset and video.name not in blocked
        )
        if not names:
            subsets = sorted({video.subset for video in self.videos.values()})
            raise InputError(
                f"expected a subset of the annotations, {brief(subsets)}, got {brief(subset)}"
            )
        return names

    def has_segments(self, names: Iterable[str]) -> bool:
        """Whether one of these videos has a segment, so that there is something to evaluate."""
        return any(self.videos[name].segments for name in names if name in self.videos)


def read_annotations(
    path: str | os.PathLike[str], classes: Iterable[str] | None = None
) -> Annotations:
    """Read an ActivityNet-style JSON file.

    The file holds {"database": {name: {"subset", "duration", "annotations": [{"segment":
    [start, end], "label"}]}}}, times in seconds; anything else in it is ignored. A duration may be
    missing or null. A label alone, {"label"}, says that its class is somewhere in the video.
    Segments are kept as they are written, also those beyond the video's duration and exact
    duplicates. A label outside `classes` is refused where its video is in a split (`open_split`).

    Args:
        path: the JSON file.
        classes: the class list in its wanted order; None takes the file's labels, sorted.

    Raises:
        InputError: the file is not of this form, a video is there twice, a time is not a number of
            at most `LATEST`, a segment does not end after its start, a duration is shorter than
            `SHORTEST`, or `classes` names a class twice. The message names the file and the video.
    """
    videos, errors = read_videos(path)
    if errors:
        raise InputError(errors[0])
    if classes is None:
        classes = sorted(frozenset().union(*(video.labels for video in videos.values())))
    classes = tuple(classes)
    if len(set(classes)) != len(classes):
        raise InputError(f"{path}: the class list {classes} names a class twice")
    return Annotations(classes, videos)


def read_videos(path: str | os.PathLike[str]) -> tuple[dict[str, Video], list[str]]:
    """The videos of a file as `read_annotations` takes it, and what is wrong with the others.

    Raises:
        InputError: the file is not a JSON object with a "database".
    """
    path, content = Path(path), read_text(path)
    with expecting(path, 'a JSON object with a "database" of videos'):
        entries = as_mapping(member(parse_json(content), "database"))
    videos, errors = {}, []
    for name, entry in entries.items():
        try:
            with expecting(f"{path}: video {one_line(name)}", _ENTRY):
                videos[name] = _read_video(name, entry)
        except InputError as error:
            errors.append(str(error))
    return videos, errors


_ENTRY = '"subset", "duration" and "annotations" of {"segment": [start, end], "label": name}'


def _read_video(name: str, entry: Any) -> Video:
    subset, duration = as_text(member(entry, "subset")), entry.get("duration")
    if duration is not None:
        duration = as_number(duration, SHORTEST, LATEST)
    segments, weak = [], set()
    for annotation in as_list(member(entry, "annotations")):
        if as_mapping(annotation).keys() == {"label"}:
            weak.add(as_text(annotation["label"]))
            continue
        start, end = read_segment(annotation)
        if not start < end:
            raise InputError(f"a segment that does not end after its start, {brief(annotation)}")
        segments.append(Segment(start, end, as_text(member(annotation, "label"))))
    return Video(name, subset, duration, tuple(segments), frozenset(weak))


def read_segment(annotation: Any) -> tuple[float, float]:
    """The start and the end in an annotation or a prediction, in either order.

    Raises:
        InputError: it has no "segment" of two numbers, or one is beyond `LATEST`.
    """
    times = as_list(member(annotation, "segment"))
    if len(times) != 2:
        raise InputError(f"expected a segment [start, end], got {brief(times)}")
    start, end = (as_number(time, -LATEST, LATEST) for time in times)
    return start, end


def write_annotations(path: str | os.PathLike[str], annotations: Annotations) -> None:
    """Write the videos as an ActivityNet-style JSON file that `read_annotations` reads back."""
    database = {
        video.name: {
            "subset": video.subset,
            "duration": video.duration,
            "annotations": [
                *({"segment": [row.start, row.end], "label": row.label} for row in video.segments),
                *({"label": label} for label in sorted(video.weak_labels)),
            ],
        }
        for video in annotations.videos.values()
    }
    write_json(path, {"version": "ftcl_model", "taxonomy": [], "database": database})

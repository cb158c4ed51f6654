"""Predicted segments, and the files that hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ftcl_model.data.annotations import read_segment
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
from ftcl_model.texts import shortened


class Detection(NamedTuple):
    """One predicted action instance: start and end in seconds, class, score."""

    start: float
    end: float
    label: str
    score: float


def write_predictions(
    path: str | os.PathLike[str], predictions: Mapping[str, Sequence[Detection]]
) -> None:
    """Write detections by video as an ActivityNet-style results file, times in seconds."""
    results = {
        name: [
            {"label": label, "score": float(score), "segment": [float(start), float(end)]}
            for start, end, label, score in detections
        ]
        for name, detections in predictions.items()
    }
    write_json(path, {"version": "ftcl_model", "results": results, "external_data": {}})


def read_predictions(path: str | os.PathLike[str]) -> dict[str, list[Detection]]:
    """Read an ActivityNet-style results file; `write_predictions` says what it holds.

    Segments are kept as they are written, also those that end before their start.

    Raises:
        InputError: the file is not of this form, a video is there twice, a score is not finite, or
            a time is beyond `annotations.LATEST`. The message names the file.
    """
    content = read_text(path)
    predictions = {}
    with expecting(path, 'a JSON object with "results" of {name: [{"label", "score", "segment"}]}'):
        for name, rows in as_mapping(member(parse_json(content), "results")).items():
            with expecting(f"video {shortened(name)}", "a list of segments"):
                predictions[name] = [_read_detection(row) for row in as_list(rows)]
    return predictions


def _read_detection(row: Any) -> Detection:
    start, end = read_segment(row)
    return Detection(start, end, as_text(member(row, "label")), as_number(member(row, "score")))

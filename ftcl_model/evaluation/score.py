"""Score anybody's predictions against ActivityNet-style annotations, and tell the scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations, Video, described, read_annotations
from ftcl_model.data.features import read_names
from ftcl_model.detection.predictions import Detection, read_predictions
from ftcl_model.errors import InputError
from ftcl_model.evaluation.mean_average_precision import (
    AVERAGES,
    MeanAveragePrecision,
    classification_average_precision,
    mean_average_precision,
)
from ftcl_model.files import check_output_file, write_json
from ftcl_model.settings import DatasetSettings
from ftcl_model.texts import counted, examples, one_line, shortened

SLOWEST, FASTEST = 0.6, 1.6
"""Of times of predictions relative to those of the truth; beyond there is a note."""


class Evaluation(NamedTuple):
    """What is told of a set of predictions.

    detection: at the thresholds asked for.
    averages: mean average precision over the usual ranges of thresholds, by name (`AVERAGES`).
    classification: (classes,) average precision of the video-level scores, NaN without truth.
    notes: what a reader should know about the predictions, a sentence each.
    """

    detection: MeanAveragePrecision
    averages: dict[str, float]
    classification: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def video_map(self) -> float:
        """The mean of `classification` over the classes that have truth."""
        return float(np.nanmean(self.classification))


def scored_names(
    settings: DatasetSettings, annotations: Annotations, split: tuple[str, ...]
) -> tuple[str, ...]:
    """The videos of an evaluation: those of `dataset.test_subset`, without one those of the split.

    Raises:
        InputError: no video is in the subset.
    """
    if settings.test_subset is None:
        return split
    try:
        return annotations.names_of(settings.test_subset, settings.blocked_videos)
    except InputError as error:
        raise InputError(f"dataset.test_subset: {error}") from error


def evaluate_segments(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    names: Sequence[str],
    thresholds: Sequence[float],
    video_scores: Mapping[str, NDArray[np.floating]] | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Score segments, and videos.

    Args:
        predictions: by video.
        annotations: the truth and the class list.
        names: the videos that count, see `mean_average_precision`.
        thresholds: of tIoU.
        video_scores: (classes,) of each video that is to be classified; None takes every video
            in `names`, and for each class the highest score of its segments, -inf without one.
        notes: what a reader should know.

    Raises:
        InputError: as `mean_average_precision`.
    """
    every = sorted({*thresholds, *(value for values in AVERAGES.values() for value in values)})
    result = mean_average_precision(predictions, annotations, names, every)
    columns = {label: index for index, label in enumerate(annotations.classes)}
    if video_scores is None:
        video_scores = {name: _highest(predictions.get(name, ()), columns) for name in names}
    labels = np.zeros((len(video_scores), len(columns)))
    for row, name in enumerate(video_scores):
        labels[row, [columns[label] for label in annotations.videos[name].labels]] = 1
    return Evaluation(
        result.at(thresholds),
        {name: result.at(values).average for name, values in AVERAGES.items()},
        classification_average_precision(np.stack(list(video_scores.values())), labels),
        tuple(notes),
    )


def _highest(detections: Sequence[Detection], columns: Mapping[str, int]) -> NDArray[np.floating]:
    scores = np.full(len(columns), -np.inf)
    for detection in detections:
        column = columns[detection.label]
        scores[column] = max(scores[column], detection.score)
    return scores


def score_predictions(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    subset: str,
    thresholds: Sequence[float],
    blocked: Collection[str] = (),
) -> Evaluation:
    """Score predictions as ActivityNet's eval_detection does those of a results file.

    The videos that count are those of the subset, predicted or not. A predicted video of another
    subset, or of none, has no truth, so that its segments are false positives. Blocked videos are
    left out on both sides. A predicted label that nothing in the subset has counts for nothing,
    where eval_detection ends with a KeyError. A segment that does not end after its start matches
    nothing. Where scores are equal, which eval_detection sorts
    in an order of its own, the order of the predictions counts (`mean_average_precision`). A truth
    annotated twice counts twice, as there; ActionFormer's and OpenTAD's evaluators drop it first.

    Args:
        predictions: by video.
        annotations: the truth.
        subset: its videos are scored.
        thresholds: of tIoU.
        blocked: names of videos to leave out.

    Raises:
        InputError: no video is in the subset; or as `mean_average_precision`.
    """
    names = annotations.names_of(subset, blocked)
    predictions = {name: rows for name, rows in predictions.items() if name not in blocked}
    strangers = sorted(predictions.keys() - set(names))
    notes = []
    if strangers:
        count = sum(len(predictions[name]) for name in strangers)
        notes.append(
            f"{count} segments of {len(strangers)} videos outside the subset are false positives, "
            f"{shortened(strangers[0])} for one"
        )
    nowhere = [name for name in strangers if name not in annotations.videos]
    notes += counted("predicted videos are annotated nowhere", nowhere)
    missing = sorted(set(names) - predictions.keys())
    if missing:
        notes.append(f"{len(missing)} videos have no predictions, {shortened(missing[0])} for one")
    videos = {name: annotations.videos[name] for name in names}
    videos |= {name: Video(name, subset, None, ()) for name in strangers}
    truth = {label for video in videos.values() for label in video.labels}
    predicted = {one.label for rows in predictions.values() for one in rows}
    unknown = sorted(predicted - truth)
    if unknown:
        notes.append(f"labels without truth, which count for nothing: {examples(unknown)}")
    notes += _time_notes(predictions, annotations)
    classes = tuple(sorted(truth | predicted))
    return evaluate_segments(
        predictions, Annotations(classes, videos), tuple(videos), thresholds, notes=notes
    )


def score_file(
    predictions: Path,
    annotations: Path,
    subset: str,
    *,
    tious: Sequence[float],
    blocked: Path | None = None,
    output: Path | None = None,
) -> Evaluation:
    """Score a file of predictions; see `score_predictions`.

    Args:
        predictions: as `read_predictions` takes it.
        annotations: as `read_annotations` takes it.
        subset: its videos are scored.
        tious: thresholds.
        blocked: a file of names of videos to leave out, one a line.
        output: a JSON file to write the numbers to.

    Raises:
        InputError: a file is broken; or as `score_predictions`.
        OSError: the output cannot be written, which is tried first.
    """
    if output:
        check_output_file(output)
    evaluation = score_predictions(
        read_predictions(predictions),
        read_annotations(annotations),
        subset,
        tious,
        read_names(blocked) if blocked else (),
    )
    if output:
        write_json(output, evaluation_content(evaluation))
    return evaluation


def _time_notes(
    predictions: Mapping[str, Sequence[Detection]], annotations: Annotations
) -> list[str]:
    """Predicted segments that cannot be meant, and times that are not those of the truth."""
    empty, outside, ratios = [], [], []
    for name, rows in predictions.items():
        video = annotations.videos.get(name)
        truth_end = max((segment.end for segment in video.segments), default=0.0) if video else 0.0
        # Some data sets have truth beyond the duration of their videos.
        length = max(video.duration, truth_end) if video and video.duration else math.inf
        for one in rows:
            inside = min(one.end, length) - max(one.start, 0.0)
            if one.end <= one.start:
                empty.append(described(one, name))
            elif inside < (one.end - one.start) / 2:
                outside.append(f"{described(one, name)} (of {length:g} s)")
        if rows and truth_end > 0:
            ratios.append(max(one.end for one in rows) / truth_end)
    notes = [
        *counted("predicted segments do not end after their start, and match nothing", empty),
        *counted("predicted segments are mostly outside of their video", outside),
    ]
    if ratios and not SLOWEST <= np.median(ratios) <= FASTEST:
        notes.append(
            f"the last predicted segment of a video ends at {np.median(ratios):.2f} of the end of "
            f"its last annotated one (median of {len(ratios)} videos): are both in seconds?"
        )
    return notes


def evaluation_content(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON holds it; a class without truth has null."""
    result = evaluation.detection
    return {
        "tiou_thresholds": result.thresholds.tolist(),
        "classes": result.classes,
        "map": result.map.tolist(),
        "average_map": result.average,
        "average_precision": [_nulls(row) for row in result.per_class],
        "averages": evaluation.averages,
        "video_level": {
            "map": evaluation.video_map,
            "average_precision": _nulls(evaluation.classification),
        },
        "notes": evaluation.notes,
    }


def _nulls(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def evaluation_table(evaluation: Evaluation) -> str:
    """Percentages: a line a class, a column a tIoU threshold, their mean, and the video level."""
    result = evaluation.detection
    rows = [
        *zip(result.classes, result.per_class.T, evaluation.classification.tolist(), strict=True),
        ("mean", result.map, evaluation.video_map),
    ]
    width = max(len(shortened(name)) for name, _, _ in rows)
    head = "".join(f"{tiou:7g}" for tiou in result.thresholds)
    lines = [" " * width + head + "   mean  video"]
    for name, values, video in rows:
        cells = "".join(_percent(value) for value in [*values, values.mean(), video])
        lines.append(shortened(name).ljust(width) + cells)
    for name, value in evaluation.averages.items():
        lines.append(f"mean over {name}: {100 * value:.2f}")
    return "\n".join([*lines, *map(one_line, evaluation.notes)])


def _percent(value: float) -> str:
    return "      -" if value != value else f"{100 * value:7.1f}"

"""Mean average precision of temporal action localisation, as the public evaluators compute it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations
from ftcl_model.detection.detect import temporal_iou
from ftcl_model.detection.predictions import Detection
from ftcl_model.errors import InputError
from ftcl_model.settings import THUMOS_THRESHOLDS

ACTIVITYNET_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
AVERAGES = {
    "0.1:0.5": THUMOS_THRESHOLDS[:5],
    "0.3:0.7": THUMOS_THRESHOLDS[2:],
    "0.1:0.7": THUMOS_THRESHOLDS,
    "0.5:0.95": ACTIVITYNET_THRESHOLDS,
}
"""The averages over thresholds that publications report, by name."""


class MeanAveragePrecision(NamedTuple):
    """Average precision of each class at each tIoU threshold, in 0..1.

    thresholds: (K,);  classes: names;  per_class: (K, classes), NaN for a class without truth.
    """

    thresholds: NDArray[np.float64]
    classes: tuple[str, ...]
    per_class: NDArray[np.float64]

    @property
    def map(self) -> NDArray[np.float64]:
        """(K,): the mean over the classes that have truth, at each threshold."""
        return np.nanmean(self.per_class, axis=1)

    @property
    def average(self) -> float:
        """The mean of `map` over the thresholds."""
        return float(self.map.mean())

    def at(self, thresholds: Sequence[float]) -> MeanAveragePrecision:
        """The same at some of the thresholds; KeyError for one that was not computed."""
        rows = {value: row for row, value in enumerate(self.thresholds.tolist())}
        chosen = [rows[threshold] for threshold in thresholds]
        return self._replace(thresholds=self.thresholds[chosen], per_class=self.per_class[chosen])


def mean_average_precision(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    names: Iterable[str],
    thresholds: Sequence[float] | NDArray[np.float64],
) -> MeanAveragePrecision:
    """Score predicted segments against the annotations of the videos `names`.

    Per class, predictions are taken from the highest score down; each is matched to the truth of
    its class and video that has the highest tIoU among those not matched yet, if that tIoU is at or
    above the threshold, and is a false positive otherwise. Average precision is the area under the
    interpolated precision-recall curve (VOC 2011: precision at a recall is the highest precision at
    that recall or beyond, all points). This is the protocol of ActivityNet's eval_detection.

    What the protocol leaves open is settled thus:
      - equal scores keep the order given: `names` first, then each video's list;
      - of truths with equal tIoU the first annotated is matched first;
      - a truth annotated twice counts twice and needs two predictions;
      - a class without truth in `names` has AP NaN, and its predictions count for nothing;
      - a class with truth but no predictions has AP 0;
      - predictions of videos outside `names` are ignored; videos in `names` without an entry in
        `predictions` have none, and their truth counts as missed.

    Args:
        predictions: detections by video name, seconds.
        annotations: the truth, and the class list of the result.
        names: the videos to score.
        thresholds: (K,) tIoU thresholds, in (0, 1].

    Raises:
        InputError: a name without annotation, no truth at all, a label, predicted or annotated,
            that is not in the class list, a prediction with NaN or infinite times or a NaN score.
        ValueError: names given twice, or a threshold outside (0, 1].
    """
    tious = np.asarray(thresholds, np.float64)
    matched = match_predictions(predictions, annotations, names, tious)
    per_class = np.full((len(tious), len(matched)), np.nan)
    for index, (_, hit, truths) in enumerate(matched):
        if truths.any():
            per_class[:, index] = average_precision(hit, int(truths.sum()))
    return MeanAveragePrecision(tious, annotations.classes, per_class)


class Matched(NamedTuple):
    """The predictions of one class in the order of falling score.

    video: (P,) of which video each is.  hit: (K, P) whether it is a true positive.
    truths: (videos,) the number of annotated segments of the class in each video.
    """

    video: NDArray[np.int64]
    hit: NDArray[np.bool_]
    truths: NDArray[np.int64]


def match_predictions(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    names: Iterable[str],
    thresholds: Sequence[float] | NDArray[np.float64],
) -> list[Matched]:
    """What `mean_average_precision` is made of, of each class.

    Args:
        predictions: as there, as are the others.
        annotations: the truth, and the class list.
        names: the videos, by whose place they are known in the result.
        thresholds: (K,) tIoU thresholds.

    Raises:
        InputError: as `mean_average_precision`.
        ValueError: as `mean_average_precision`.
    """
    names = tuple(names)
    tious = np.asarray(thresholds, np.float64)
    _check(predictions, annotations, names, tious)
    column = {label: index for index, label in enumerate(annotations.classes)}
    truths = np.zeros((len(column), len(names)), np.int64)
    scores: list[list[NDArray[np.float64]]] = [[np.empty(0)] for _ in column]
    videos: list[list[NDArray[np.int64]]] = [[np.empty(0, np.int64)] for _ in column]
    hits: list[list[NDArray[np.bool_]]] = [[np.empty((len(tious), 0), np.bool_)] for _ in column]
    for place, name in enumerate(names):
        truth = _by_class(annotations.videos[name].segments, column)
        for index, rows in truth.items():
            truths[index, place] = len(rows)
        for index, rows in _by_class(predictions.get(name, ()), column).items():
            # A stable sort within the video here and over the videos below keeps ties in order.
            rows = rows[np.argsort(-rows[:, 2], kind="stable")]
            scores[index].append(rows[:, 2])
            videos[index].append(np.full(len(rows), place))
            hits[index].append(match_truth(rows, truth.get(index, np.empty((0, 2))), tious))
    if not truths.any():
        raise InputError("mean_average_precision: the videos have no annotated segment")
    matched = []
    for index in range(len(column)):
        order = np.argsort(-np.concatenate(scores[index]), kind="stable")
        matched.append(
            Matched(
                np.concatenate(videos[index])[order],
                np.concatenate(hits[index], axis=1)[:, order],
                truths[index],
            )
        )
    return matched


def _check(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    names: tuple[str, ...],
    thresholds: NDArray[np.float64],
) -> None:
    where = "mean_average_precision: "
    if len(set(names)) < len(names):
        raise ValueError(f"{where}names has a video twice")
    in_range = (thresholds > 0) & (thresholds <= 1)
    if thresholds.ndim != 1 or not thresholds.size or not in_range.all():
        raise ValueError(f"{where}thresholds must be a list of numbers in (0, 1], got {thresholds}")
    classes = set(annotations.classes)
    for name in names:
        if name not in annotations.videos:
            raise InputError(f"{where}video {name} has no annotation")
        for label in sorted(annotations.videos[name].labels - classes):
            raise InputError(
                f"{where}video {name} is annotated with {label!r}, which is not in the class list "
                f"{annotations.classes}"
            )
        for detection in predictions.get(name, ()):
            if detection.label not in classes:
                raise InputError(
                    f"{where}video {name} has a prediction of {detection.label!r}, which is not in "
                    f"the class list {annotations.classes}"
                )
            if not np.isfinite(detection.start + detection.end) or np.isnan(detection.score):
                raise InputError(f"{where}video {name} has a prediction that is NaN: {detection}")


def _by_class(
    segments: Iterable[tuple], column: Mapping[str, int]
) -> dict[int, NDArray[np.float64]]:
    """Numeric rows (start, end) or (start, end, score) by class index, in the order given."""
    rows: dict[int, list[tuple]] = {}
    for start, end, label, *score in segments:
        rows.setdefault(column[label], []).append((start, end, *score))
    return {index: np.array(values, np.float64) for index, values in rows.items()}


def match_truth(
    predicted: NDArray[np.float64], truth: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(K, P): which of the predictions, sorted by score, are true positives at each threshold."""
    hit = np.zeros((len(thresholds), len(predicted)), np.bool_)
    overlap = temporal_iou(predicted[:, None, :2], truth[None])
    free = np.ones((len(thresholds), len(truth)), np.bool_)
    rows = np.arange(len(thresholds))
    # Only predictions that reach the lowest threshold with some truth can match or take a truth.
    for index in np.flatnonzero((overlap >= thresholds.min()).any(axis=1)):
        candidates = np.where(free, overlap[index], -1.0)
        best = candidates.argmax(axis=1)
        hit[:, index] = candidates[rows, best] >= thresholds
        free[rows, best] &= ~hit[:, index]
    return hit


def average_precision(hit: NDArray[np.bool_], n_truths: int) -> NDArray[np.float64]:
    """(K,) interpolated average precision of (K, P) hits in the order of falling score."""
    precision = hit.cumsum(axis=1) / np.arange(1, hit.shape[1] + 1)
    interpolated = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Every hit advances the recall by 1 / n_truths; the curve has no other steps.
    return (interpolated * hit).sum(axis=1) / n_truths


def resampled_average(matched: Sequence[Matched], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean average precision had each video been there so many times.

    Args:
        matched: of each class, as `match_predictions` has them.
        counts: (resamples, videos), how often each video is in each of the resamples.

    Returns:
        (resamples,): averaged over the thresholds, and the classes that have truth in the resample;
        NaN where none has.
    """
    total, classes = np.zeros(len(counts)), np.zeros(len(counts))
    for video, hit, truths in matched:
        # Beyond the last hit nothing counts.
        found = np.flatnonzero(hit.any(axis=0))
        end = found[-1] + 1 if len(found) else 0
        ranks = counts[:, video[:end]].cumsum(axis=1)
        n_truths = counts @ truths
        precision = np.zeros(len(counts))
        for row in hit[:, :end]:
            places = np.flatnonzero(row)
            hits = counts[:, video[places]]
            # Copies of a prediction follow one another, and the last of a hit's has the highest
            # precision, which interpolation gives to them all.
            reached = hits.cumsum(axis=1) / np.maximum(ranks[:, places], 1)
            highest = np.maximum.accumulate(reached[:, ::-1], axis=1)[:, ::-1]
            precision += (highest * hits).sum(axis=1)
        total += precision / np.maximum(n_truths, 1) / len(hit)
        classes += n_truths > 0
    return np.where(classes > 0, total / np.maximum(classes, 1), np.nan)


def classification_average_precision(
    scores: NDArray[np.floating], labels: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Average precision of each class at saying which videos contain it.

    The mean, over the videos of a class, of the precision among the videos scored as high or
    higher; without interpolation, and equal scores are taken together (scikit-learn's
    `average_precision_score`).

    Args:
        scores: (videos, classes), the higher, the surer.
        labels: (videos, classes), 1 where the video has the class, else 0.

    Returns:
        (classes,) in 0..1, NaN for a class that no video has.

    Raises:
        ValueError: the shapes differ, or a score is NaN.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(
            "classification_average_precision: scores and labels must have one shape "
            f"(videos, classes), got {scores.shape} and {labels.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError("classification_average_precision: scores has NaN")
    result = np.full(scores.shape[1], np.nan)
    for index in np.flatnonzero(labels.any(axis=0)).tolist():
        every = np.sort(scores[:, index])
        own = np.sort(scores[labels[:, index] > 0, index])
        precision = _count_as_high(own, own) / _count_as_high(every, own)
        result[index] = precision.mean()
    return result


def _count_as_high(pool: NDArray[np.floating], than: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many of a sorted pool are as high as each value or higher."""
    return len(pool) - np.searchsorted(pool, than, side="left")

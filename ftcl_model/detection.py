"""From snippet scores to scored segments: thresholds, grouping, outer-inner contrast, NMS."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.files import write_json


@dataclass(frozen=True)
class DetectionSettings:
    """How segments are read off the scores of a video.

    The numbers are those of the authors' settings for THUMOS14; `detect` says how they are applied.

    class_threshold:        a class is localised when its video-level score reaches this; when none
                            does, the best one is.
    activation_thresholds:  of the class activation, normalised to 0..1 over the video.
    attention_thresholds:   of the attention.
    outer_ratio:            length of each outer flank of a segment, relative to the segment.
    video_score_weight:     weight of the video-level class score in a segment's score.
    nms_threshold:          tIoU above which the lower-scored of two segments is dropped.
    upsampling:             points per snippet between which scores are interpolated linearly.
    """

    class_threshold: float = 0.25
    activation_thresholds: tuple[float, ...] = (0.15, 0.2)
    attention_thresholds: tuple[float, ...] = tuple(i / 100 for i in range(15, 100, 5))
    outer_ratio: float = 0.25
    video_score_weight: float = 0.2
    nms_threshold: float = 0.55
    upsampling: int = 20

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name in ("activation_thresholds", "attention_thresholds"):
            if not all(0 <= threshold <= 1 for threshold in getattr(self, name)):
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not self.activation_thresholds and not self.attention_thresholds:
            raise ValueError("activation_thresholds and attention_thresholds are both empty")
        if not self.outer_ratio >= 0:
            raise ValueError(f"outer_ratio must not be negative, got {self.outer_ratio}")
        if not 0 <= self.nms_threshold <= 1:
            raise ValueError(f"nms_threshold must be in [0, 1], got {self.nms_threshold}")
        if self.upsampling < 1:
            raise ValueError(f"upsampling must be at least 1, got {self.upsampling}")


class Detection(NamedTuple):
    """One predicted action instance: start and end in seconds, class, score."""

    start: float
    end: float
    label: str
    score: float


def temporal_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of intervals (..., 2), broadcast over the leading dimensions.

    Lengths are end - start, as befits seconds. Disjoint, touching and empty intervals give 0.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    inner = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    inner = np.maximum(inner, 0.0)
    union = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=inner > 0)


def detect(
    class_scores: NDArray[np.floating],
    attention: NDArray[np.floating],
    video_scores: NDArray[np.floating],
    *,
    classes: Sequence[str],
    seconds_per_snippet: float,
    settings: DetectionSettings,
) -> list[Detection]:
    """Localise the actions of one video by the steps of ACM-Net's and FTCL's test.

    Thresholds, outer-inner contrast and NMS as there, but not the authors' arithmetic: here the
    class scores are scaled to 0..1 over each video, scores belong to the middles of snippets, and
    NMS measures seconds without adding 1. The segments have not been compared with theirs.

    Snippet t stands for the interval [t, t + 1) * seconds_per_snippet, its scores for the middle of
    it; between the middles they are interpolated linearly. Candidate segments of a picked class are
    the maximal runs of points where the class activation, or the attention, reaches one of its
    thresholds. A segment's score is the outer-inner contrast of the class activation (its mean
    inside minus its mean in the two flanks) plus `video_score_weight` times the video-level score;
    a segment without flanks, being as long as the video, has an outer mean of 0. Within each class
    greedy NMS in seconds follows.

    Args:
        class_scores: (T, classes) class activation of the snippets, logits or probabilities. Each
            picked class is scaled so that its maximum over the video becomes 1 and its minimum, or
            0 if that is higher, becomes 0.
        attention: (T,) in 0..1, how much a snippet is action.
        video_scores: (classes,) video-level scores in 0..1.
        classes: the names of the classes.
        seconds_per_snippet: distance between the starts of two successive snippets.
        settings: thresholds and weights.

    Returns:
        The detections by falling score.

    Raises:
        ValueError: shapes that do not fit together, or NaN or infinite scores.
    """
    _check(class_scores, attention, video_scores, len(classes))
    picked = np.flatnonzero(video_scores >= settings.class_threshold).tolist()
    if not picked:
        picked = [int(video_scores.argmax())]
    activation = _upsample(_normalise(class_scores[:, picked]), settings.upsampling)
    attention = _upsample(attention[:, None], settings.upsampling)[0]
    by_attention = _runs(attention >= np.array(settings.attention_thresholds)[:, None])
    thresholds = np.array(settings.activation_thresholds)[:, None]
    seconds_per_point = seconds_per_snippet / settings.upsampling

    detections = []
    for label, curve in zip(picked, activation, strict=True):
        runs = np.unique(np.concatenate([by_attention, _runs(curve >= thresholds)]), axis=0)
        scores = _outer_inner_contrast(curve, runs, settings.outer_ratio)
        scores += settings.video_score_weight * float(video_scores[label])
        segments = runs * seconds_per_point
        for index in non_maximum_suppression(segments, scores, settings.nms_threshold):
            start, end = segments[index].tolist()
            detections.append(Detection(start, end, classes[label], scores[index].item()))
    return sorted(detections, key=lambda detection: -detection.score)


def _check(
    class_scores: NDArray[np.floating],
    attention: NDArray[np.floating],
    video_scores: NDArray[np.floating],
    n_classes: int,
) -> None:
    if class_scores.ndim != 2 or class_scores.shape[1] != n_classes or not len(class_scores):
        raise ValueError(
            f"detect: class_scores must have shape (T, {n_classes}), got {class_scores.shape}"
        )
    for name, scores, shape in (
        ("class_scores", class_scores, class_scores.shape),
        ("attention", attention, class_scores.shape[:1]),
        ("video_scores", video_scores, class_scores.shape[1:]),
    ):
        if scores.shape != shape:
            raise ValueError(f"detect: {name} must have shape {shape}, got {scores.shape}")
        if not np.isfinite(scores).all():
            raise ValueError(f"detect: {name} has NaN or infinite values")


def _normalise(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale every column to 0..1; what is below zero is evidence against the class, hence 0."""
    scores = np.maximum(scores.astype(np.float64), 0.0)
    low, high = scores.min(axis=0), scores.max(axis=0)
    return (scores - low) / np.where(high > low, high - low, 1.0)


def _upsample(scores: NDArray[np.floating], factor: int) -> NDArray[np.float64]:
    """(T, C) to (C, T * factor): linear between snippet middles, constant before and after them."""
    position = (np.arange(len(scores) * factor) + 0.5) / factor - 0.5
    position = position.clip(0, len(scores) - 1)
    left = position.astype(np.int64)
    right = np.minimum(left + 1, len(scores) - 1)
    share = position - left
    return np.ascontiguousarray(scores.T[:, left] * (1 - share) + scores.T[:, right] * share)


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(R, 2): start and end (exclusive) of the maximal runs of True in each row of (K, U)."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    return np.stack([np.nonzero(edges == 1)[1], np.nonzero(edges == -1)[1]], axis=1)


def _outer_inner_contrast(
    curve: NDArray[np.float64], runs: NDArray[np.int64], outer_ratio: float
) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], curve.cumsum()])
    start, end = runs.T
    flank = np.ceil(outer_ratio * (end - start)).astype(np.int64)
    outer_start, outer_end = np.maximum(start - flank, 0), np.minimum(end + flank, len(curve))
    inner = total[end] - total[start]
    outer = total[outer_end] - total[outer_start] - inner
    n_outer = (outer_end - outer_start) - (end - start)
    return inner / (end - start) - outer / np.maximum(n_outer, 1)


def non_maximum_suppression(
    segments: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> list[int]:
    """Greedy NMS: indices of the segments kept, by falling score.

    A segment is dropped when its tIoU with a kept one of higher score is above `threshold`. Of
    equal scores the first counts as the higher.

    Args:
        segments: (N, 2) start and end.
        scores: (N,).
        threshold: tIoU, 0..1.
    """
    remaining = np.argsort(-scores, kind="stable")
    kept = []
    while len(remaining):
        best, rest = remaining[0], remaining[1:]
        kept.append(int(best))
        remaining = rest[temporal_iou(segments[best], segments[rest]) <= threshold]
    return kept


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

    Raises:
        ValueError: the file is not of this form. The message names the file.
    """
    path = Path(path)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {
            name: [
                Detection(float(start), float(end), str(row["label"]), float(row["score"]))
                for row in rows
                for start, end in [row["segment"]]
            ]
            for name, rows in results.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: expected a JSON object with "results" of {{name: [{{"label", "score", '
            f'"segment": [start, end]}}]}}, got {error!r}'
        ) from error

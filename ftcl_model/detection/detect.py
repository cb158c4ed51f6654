"""From snippet scores to scored segments: thresholds, grouping, outer-inner contrast, NMS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.detection.predictions import Detection
from ftcl_model.settings import DetectionSettings

Overlap = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


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

    Thresholds, outer-inner contrast and NMS as there, but not the authors' arithmetic, which is
    that of `official.detect_official`: here the class scores are scaled to 0..1 over each video,
    scores belong to the middles of snippets, and NMS measures seconds without adding 1.

    Snippet t stands for the interval [t, t + 1) * seconds_per_snippet, its scores for the middle of
    it; between the middles they are interpolated linearly. Candidate segments of a picked class are
    the maximal runs of points where the class activation, or the attention, reaches one of its
    thresholds. A segment's score is the outer-inner contrast of the class activation (its mean
    inside minus its mean in the two flanks) plus `video_score_weight` times the video-level score;
    a segment without flanks, being as long as the video, has an outer mean of 0. Within each class
    greedy NMS or soft-NMS in seconds follows.

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
    check_scores(class_scores, attention, video_scores, len(classes))
    picked = np.flatnonzero(video_scores >= settings.class_threshold).tolist()
    if not picked:
        picked = [int(video_scores.argmax())]
    factor, length = settings.upsampling, len(class_scores)
    # The middles of the points, in snippets after the middle of the first snippet.
    position = ((np.arange(length * factor) + 0.5) / factor - 0.5).clip(0, length - 1)
    activation = interpolate(_normalise(class_scores[:, picked]), position)
    by_attention = runs_above(
        interpolate(attention[:, None], position), settings.attention_thresholds
    )

    segments, scores = [], []
    for label, curve in zip(picked, activation, strict=True):
        by_activation = runs_above(curve, settings.activation_thresholds)
        runs = np.unique(np.concatenate([by_attention, by_activation]), axis=0)
        flank = np.ceil(settings.outer_ratio * np.diff(runs)).astype(np.int64)
        contrast = outer_inner_contrast(curve, runs, runs + flank * np.array([-1, 1]))
        scores.append(contrast + settings.video_score_weight * float(video_scores[label]))
        segments.append(runs * (seconds_per_snippet / factor))
    kept = suppress(segments, scores, settings.nms_threshold, settings.soft_nms_sigma)
    return as_detections(segments, kept, [classes[label] for label in picked])


class Suppressed(NamedTuple):
    """What suppression leaves of the segments of a class: indices and scores, by falling score."""

    indices: NDArray[np.int64]
    scores: NDArray[np.float64]


def as_detections(
    segments: Sequence[NDArray[np.float64]], kept: Sequence[Suppressed], labels: Sequence[str]
) -> list[Detection]:
    """The kept ones of the segments (N, 2) of each label, by falling score."""
    detections = [
        Detection(start, end, label, score)
        for label, rows, (indices, scores) in zip(labels, segments, kept, strict=True)
        for (start, end), score in zip(rows[indices].tolist(), scores.tolist(), strict=True)
    ]
    return sorted(detections, key=lambda detection: -detection.score)


def check_scores(
    class_scores: NDArray[np.floating],
    attention: NDArray[np.floating],
    video_scores: NDArray[np.floating],
    n_classes: int,
) -> None:
    """Refuse scores that `detect` cannot take; ValueError as it says."""
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


def interpolate(scores: NDArray[np.floating], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, C) to (C, U): linear between the snippets, and straight on beyond the last one.

    Args:
        scores: one row a snippet.
        position: (U,) in snippets, 0 being the first.
    """
    left = position.astype(np.int64).clip(0, max(len(scores) - 2, 0))
    right = np.minimum(left + 1, len(scores) - 1)
    share = position - left
    return np.ascontiguousarray(scores.T[:, left] * (1 - share) + scores.T[:, right] * share)


def runs_above(curve: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """(R, 2): start and end (exclusive) of the runs where a curve (U,) reaches a threshold."""
    mask = curve.reshape(-1) >= np.array(thresholds)[:, None]
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    return np.stack([np.nonzero(edges == 1)[1], np.nonzero(edges == -1)[1]], axis=1)


def outer_inner_contrast(
    curve: NDArray[np.float64], runs: NDArray[np.int64], outer: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(R,): the mean of a curve inside runs minus that around them.

    Args:
        curve: (U,).
        runs: (R, 2) start and end (exclusive) of the insides, in points.
        outer: (R, 2) the same of the runs with their flanks, which end with the curve. Without
            flanks the outer mean is 0.
    """
    total = np.concatenate([[0.0], curve.cumsum()])
    start, end = runs.T
    outer_start, outer_end = outer.clip(0, len(curve)).T
    inside = total[end] - total[start]
    outside = total[outer_end] - total[outer_start] - inside
    n_outside = (outer_end - outer_start) - (end - start)
    return inside / (end - start) - outside / np.maximum(n_outside, 1)


def suppress(
    segments: Sequence[NDArray[np.float64]],
    scores: Sequence[NDArray[np.float64]],
    threshold: float,
    sigma: float | None = None,
    overlap: Overlap = temporal_iou,
) -> list[Suppressed]:
    """Greedy NMS or soft-NMS within each of several classes, all classes in step.

    The highest score of a class is settled first. NMS drops the segments that overlap it by more
    than the threshold; soft-NMS (Bodla et al., ICCV 2017, with Gaussian decay) drops none, and
    multiplies the scores above 0 by exp(-overlap^2 / sigma). Then the highest that is left is
    settled, and so on. Of equal scores the first counts as the higher.

    Args:
        segments: (N, 2) start and end for each class.
        scores: (N,) for each class, finite.
        threshold: of NMS, 0..1.
        sigma: of soft-NMS, positive, the smaller, the harder; None asks for NMS.
        overlap: of segments (..., 2), broadcast.
    """
    # Classes are rows, padded with segments that are settled already: their score is -inf.
    longest = max(map(len, scores), default=0)
    every = np.zeros((len(scores), longest, 2))
    left = np.full((len(scores), longest), -np.inf)
    for row, (own, values) in enumerate(zip(segments, scores, strict=True)):
        every[row, : len(own)], left[row, : len(own)] = own, values
    rows = np.arange(len(left))
    order, settled = [np.empty((0, len(left)), np.int64)], [np.empty((0, len(left)))]
    while left.max(initial=-np.inf) > (-np.inf if sigma is None else 0.0):
        best = left.argmax(axis=1)
        order.append(best[None])
        settled.append(left[None, rows, best])
        left[rows, best] = -np.inf
        shared = overlap(every[rows, best][:, None], every)
        if sigma is None:
            left[shared > threshold] = -np.inf
        else:
            left *= np.where(left > 0, np.exp(-(shared**2) / sigma), 1.0)
    # No score above 0 is left to decay: the rest is settled as it is.
    rest = np.argsort(-left, axis=1, kind="stable")
    indices = np.concatenate([np.concatenate(order).T, rest], axis=1)
    values = np.concatenate([np.concatenate(settled).T, np.take_along_axis(left, rest, 1)], axis=1)
    real = values > -np.inf
    return [Suppressed(indices[row, real[row]], values[row, real[row]]) for row in rows.tolist()]

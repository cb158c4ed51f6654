"""The authors' way from a video to its segments, to the rounding: `variant: official`.

`docs/official.md` says what of their code is reproduced and what is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ftcl_model.detection import (
    Detection,
    DetectionSettings,
    as_detections,
    check_scores,
    interpolate,
    non_maximum_suppression,
    outer_inner_contrast,
    runs_above,
    soft_non_maximum_suppression,
)


def sample_evenly(length: int, count: int) -> NDArray[np.int64]:
    """The snippets that are scored: at most `count` of `length`, evenly spread, at least two.

    The single snippet of a video of one is taken twice, for the interpolation needs two.
    """
    if length == 1:
        return np.zeros(2, np.int64)
    if length <= count:
        return np.arange(length)
    # In floating point, whose rounding now and then gives the snippet before.
    return np.floor(np.arange(count) * (length / count)).astype(np.int64)


def detect_official(
    class_scores: NDArray[np.floating],
    attention: NDArray[np.floating],
    video_scores: NDArray[np.floating],
    *,
    classes: Sequence[str],
    seconds_per_snippet: float,
    settings: DetectionSettings,
) -> list[Detection]:
    """Localise the actions of one video with the arithmetic of the authors' test script.

    It differs from `ftcl_model.detection.detect` thus:
      - a class is picked above its threshold, not at it;
      - class scores are not scaled, and points begin with the snippets: point u has the scores at
        u / upsampling snippets, those after the last snippet continue its slope;
      - a run of one point is no candidate; the same run under several thresholds is several;
      - flanks end at what int() makes of their length in points;
      - a candidate of the class activation is scored on a curve that is 0 below its threshold, so
        that its flanks count only where they belong to another run;
      - NMS adds 1 s to every length and intersection, and drops at its threshold too: disjoint
        segments up to a second apart may drop each other.

    Arguments, result and errors are those of `detect`; there are at least two snippets.
    """
    check_scores(class_scores, attention, video_scores, len(classes))
    picked = np.flatnonzero(video_scores > settings.class_threshold).tolist()
    if not picked:
        picked = [int(video_scores.argmax())]
    factor = settings.upsampling
    position = np.arange(0, len(class_scores), 1 / factor)
    activation = interpolate(class_scores[:, picked], position)
    attended = interpolate(attention[:, None], position)[0]
    by_attention = _candidates(attended, settings.attention_thresholds)

    detections = []
    for label, curve in zip(picked, activation, strict=True):
        runs, scores = [by_attention], [_contrast(curve, by_attention, settings.outer_ratio)]
        for threshold in settings.activation_thresholds:
            runs.append(_candidates(curve, [threshold]))
            cut = np.where(curve < threshold, 0.0, curve)
            scores.append(_contrast(cut, runs[-1], settings.outer_ratio))
        score = np.concatenate(scores) + settings.video_score_weight * float(video_scores[label])
        segments = np.concatenate(runs).astype(np.float64) * (seconds_per_snippet / factor)
        if settings.soft_nms_sigma is not None:
            kept, score = soft_non_maximum_suppression(segments, score, settings.soft_nms_sigma)
        else:
            kept = _suppress(segments, score, settings.nms_threshold)
            score = score[kept]
        detections += as_detections(segments[kept], classes[label], score)
    return sorted(detections, key=lambda detection: -detection.score)


def _candidates(curve: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    runs = runs_above(curve, thresholds)
    return runs[runs[:, 1] - runs[:, 0] > 1]


def _contrast(
    curve: NDArray[np.float64], runs: NDArray[np.int64], outer_ratio: float
) -> NDArray[np.float64]:
    start, end = runs.T
    flank = outer_ratio * (end - start)
    outer = np.stack([np.trunc(start - flank), np.trunc(end - 1 + flank) + 1], axis=1)
    return outer_inner_contrast(curve, runs, outer.astype(np.int64))


def _suppress(
    segments: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> NDArray[np.int64]:
    """NMS at and above the threshold; of equal scores the last counts as the highest."""
    last = len(scores) - 1
    kept = non_maximum_suppression(
        segments[::-1], scores[::-1], float(np.nextafter(threshold, -1)), _overlap_of_pixels
    )
    return last - np.array(kept, np.int64)


def _overlap_of_pixels(
    segment: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intersection over union of (2,) with (N, 2) as of pixels, whose ends both belong to them."""
    inner = np.minimum(segment[1], others[:, 1]) - np.maximum(segment[0], others[:, 0]) + 1
    inner = np.maximum(inner, 0.0)
    union = (segment[1] - segment[0] + 1) + (others[:, 1] - others[:, 0] + 1) - inner
    return inner / union

"""The authors' way from a video to its segments, to the rounding: `variant: official`.

`docs/official.md` says what of their code is reproduced and what is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ftcl_model.detection.detect import (
    as_detections,
    check_scores,
    interpolate,
    outer_inner_contrast,
    runs_above,
    suppress,
)
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import SnippetScores
from ftcl_model.outputs import INSTANCE, BackboneOutput
from ftcl_model.settings import DetectionSettings


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


def official_scores(output: BackboneOutput) -> SnippetScores:
    """The softmax of logits times attention, and the attention of the instance branch.

    On the background the class scores are the same for every class.
    """
    return SnippetScores(output.instance_scores, output.attention[..., INSTANCE])


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

    It differs from `ftcl_model.detection.detect.detect` thus:
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

    segments: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    for label, curve in zip(picked, activation, strict=True):
        runs, contrasts = [], []
        for threshold in settings.activation_thresholds:
            runs.append(_candidates(curve, [threshold]))
            cut = np.where(curve < threshold, 0.0, curve)
            contrasts.append(_contrast(cut, runs[-1], settings.outer_ratio))
        runs.append(by_attention)
        contrasts.append(_contrast(curve, by_attention, settings.outer_ratio))
        bonus = settings.video_score_weight * float(video_scores[label])
        # Of equal scores theirs takes the last one first.
        scores.append(np.concatenate(contrasts)[::-1] + bonus)
        points = np.concatenate(runs)[::-1].astype(np.float64)
        segments.append(points * (seconds_per_snippet / factor))
    if settings.soft_nms_sigma is None:
        below = float(np.nextafter(settings.nms_threshold, -1))  # theirs drops at its threshold too
        kept = suppress(segments, scores, below, overlap=_overlap_of_pixels)
    else:
        kept = suppress(segments, scores, settings.nms_threshold, settings.soft_nms_sigma)
    return as_detections(segments, kept, [classes[label] for label in picked])


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


def _overlap_of_pixels(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intersection over union (..., 2) as of pixels, of which both ends belong to a segment."""
    inner = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    inner = np.maximum(inner + 1, 0.0)
    lengths = (first[..., 1] - first[..., 0] + 1) + (second[..., 1] - second[..., 0] + 1)
    return inner / (lengths - inner)

"""What the pictures of a scored split show: timelines, and alignments of chosen pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.pairs import find_pairs
from ftcl_model.detection.detect import Detection
from ftcl_model.detection.scores import VideoScores
from ftcl_model.report.alignment import align
from ftcl_model.report.figures import AlignmentPicture, Timeline

DRAWN_SCORE = 0.3
"""Predictions that score less than this share of the best one are left out of the timelines."""


def make_timeline(
    name: str, scores: VideoScores, predictions: Sequence[Detection], annotations: Annotations
) -> Timeline:
    """The timeline of a scored video, with the predictions that are not far below its best one."""
    best = predictions[0].score if predictions else 0.0
    predictions = [one for one in predictions if one.score >= DRAWN_SCORE * best]
    video = annotations.videos[name]
    duration = video.duration or len(scores.attention) * scores.seconds_per_snippet
    return Timeline(
        name, scores.seconds_per_snippet, duration, video.segments,
        scores.attention, scores.class_scores, annotations.classes, predictions,
    )  # fmt: skip


def example_alignments(
    split: FeatureSplit, scores: Mapping[str, VideoScores], annotations: Annotations
) -> list[AlignmentPicture]:
    """A pair of videos with equal label sets and one with no class in common, if there are any."""
    pairs = find_pairs(split.labels)
    chosen = (("same classes", pairs.positive), ("no class in common", pairs.negative))
    return [
        _alignment(title, [split.names[video] for video in _pick(kind, split)], scores, annotations)
        for title, kind in chosen
        if len(kind)
    ]


def _pick(pairs: NDArray[np.int64], split: FeatureSplit) -> NDArray[np.int64]:
    """Of the pairs with most classes the shortest, in which the alignment is easiest to see."""
    classes, snippets = split.labels[pairs].sum(axis=(1, 2)), split.lengths[pairs].sum(axis=1)
    return pairs[np.lexsort([snippets, -classes])[0]]


def _alignment(
    title: str,
    names: Sequence[str],
    scores: Mapping[str, VideoScores],
    annotations: Annotations,
) -> AlignmentPicture:
    first, second = names
    alignment = align(scores[first], scores[second])
    return AlignmentPicture(
        title=f"{first} and {second}: {title}",
        similarity=alignment.similarity,
        expected_alignment=alignment.expected,
        path=alignment.path,
        names=(first, second),
        seconds=(scores[first].seconds_per_snippet, scores[second].seconds_per_snippet),
        score=alignment.score,
        labels=(
            _snippet_labels(first, scores[first], annotations),
            _snippet_labels(second, scores[second], annotations),
        ),
        classes=annotations.classes,
    )


def _snippet_labels(name: str, scores: VideoScores, annotations: Annotations) -> list[str]:
    middles = (np.arange(len(scores.attention)) + 0.5) * scores.seconds_per_snippet
    labels = [""] * len(middles)
    for segment in annotations.videos[name].segments:
        for index in np.flatnonzero((segment.start <= middles) & (middles < segment.end)):
            labels[index] = segment.label
    return labels

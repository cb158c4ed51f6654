"""What is known and found about videos, drawn over time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations, Segment
from ftcl_model.detection.exports import DRAWN_SCORE
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import VideoScores
from ftcl_model.report.sheet import FRAME, INK, MUTED, NARROW, Sheet, colour_of, plain_text
from ftcl_model.texts import shortened


class Timeline(NamedTuple):
    """What is known and found about one video.

    truth and predictions are in seconds; attention is (T,), class_scores (T, classes), for
    snippets of `seconds_per_snippet` each; classes names the columns.
    """

    name: str
    seconds_per_snippet: float
    duration: float
    truth: Sequence[Segment]
    attention: NDArray[np.floating]
    class_scores: NDArray[np.floating]
    classes: Sequence[str]
    predictions: Sequence[Detection]


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


@plain_text()
def draw_timelines(
    path: str | os.PathLike[str], timelines: Sequence[Timeline], *, width: float = 11.0
) -> None:
    """Draw one block a video into a PNG: truth, predictions, attention and class scores over time.

    Each class that is annotated or predicted in a video has a lane. The height of a predicted
    segment is its score relative to the highest in the video, as is its opacity; pale bands repeat
    the truth. The picture is `width` inches wide, 4.5 at least.
    """
    if not timelines:
        raise ValueError("draw_timelines: no timeline given")
    sheet = Sheet(width, left=1.3, right=0.3 if width > NARROW else 0.15)
    shown = {label for timeline in timelines for label in _shown_classes(timeline)}
    sheet.legend(shown, [timeline.classes for timeline in timelines])
    for timeline in timelines:
        _draw_timeline(sheet, timeline)
    sheet.save(path)


def _shown_classes(timeline: Timeline) -> list[str]:
    present = {segment.label for segment in timeline.truth}
    present |= {detection.label for detection in timeline.predictions}
    return [label for label in timeline.classes if label in present]


def _draw_timeline(sheet: Sheet, timeline: Timeline) -> None:
    lanes = {label: lane for lane, label in enumerate(reversed(_shown_classes(timeline)))}
    middles = (np.arange(len(timeline.attention)) + 0.5) * timeline.seconds_per_snippet
    labels = sorted({segment.label for segment in timeline.truth})
    heading = ", ".join(map(shortened, labels)) or "no action"
    sheet.heading(timeline.name, heading)

    truth = sheet.strip("truth", 0.17 * max(len(lanes), 1))
    _draw_bars(truth, [(*segment[:3], 1.0) for segment in timeline.truth], lanes, timeline)
    predictions = sheet.strip("predictions", 0.23 * max(len(lanes), 1))
    highest = max((detection.score for detection in timeline.predictions), default=1.0)
    bars = [
        (start, end, label, max(score / highest, 0.04) if highest > 0 else 1.0)
        for start, end, label, score in sorted(timeline.predictions, key=lambda one: -one.score)
    ]
    _draw_bars(predictions, bars, lanes, timeline)

    attention = sheet.strip("attention", 0.45)
    attention.fill_between(middles, timeline.attention, color=MUTED, alpha=0.35, linewidth=0)
    attention.plot(middles, timeline.attention, color=INK, linewidth=1.0)
    _show_unit_interval(attention)

    scores = sheet.strip("class scores", 0.75)
    for column, label in enumerate(timeline.classes):
        shown = label in lanes
        colour = colour_of(label, timeline.classes) if shown else FRAME
        line = timeline.class_scores[:, column]
        scores.plot(middles, line, color=colour, linewidth=1.3 if shown else 0.6, zorder=2 + shown)
    low, high = timeline.class_scores.min(), timeline.class_scores.max()
    if low >= 0 and high <= 1:
        _show_unit_interval(scores)
    scores.tick_params(axis="x", labelbottom=True, length=2.5)
    scores.set_xlabel("seconds", fontsize=8, color=MUTED, labelpad=1)

    for axes in (truth, predictions, attention, scores):
        axes.set_xlim(0, timeline.duration)
    for axes in (predictions, attention, scores):
        for segment in timeline.truth:
            colour = colour_of(segment.label, timeline.classes)
            axes.axvspan(segment.start, segment.end, color=colour, alpha=0.11, linewidth=0)
    sheet.gap(0.5)


def _show_unit_interval(axes: Axes) -> None:
    axes.set_ylim(0, 1.04)
    axes.set_yticks([0, 1])
    # Inside the height of the axes, clear of the labels above and below.
    zero, one = axes.get_yticklabels()
    zero.set_verticalalignment("bottom")
    one.set_verticalalignment("top")


def _draw_bars(
    axes: Axes,
    bars: Sequence[tuple[float, float, str, float]],
    lanes: dict[str, int],
    timeline: Timeline,
) -> None:
    axes.set_yticks([])
    axes.set_ylim(0, max(len(lanes), 1))
    axes.hlines(range(1, len(lanes)), 0, timeline.duration, color="white", linewidth=1.5, zorder=1)
    rectangles = [
        Rectangle((start, lanes[label] + 0.08), end - start, 0.84 * height)
        for start, end, label, height in bars
    ]
    colours = [
        to_rgba(colour_of(label, timeline.classes), 0.3 + 0.7 * height)
        for _, _, label, height in bars
    ]
    axes.add_collection(
        PatchCollection(rectangles, facecolor=colours, edgecolor="white", linewidth=0.4, zorder=3)
    )

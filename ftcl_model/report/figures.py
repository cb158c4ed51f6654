"""Pictures of localisation: timelines of videos, and alignments of pairs of videos."""

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

from ftcl_model.data.annotations import Segment
from ftcl_model.detection.detect import Detection
from ftcl_model.report.sheet import FRAME, INK, MUTED, NARROW, PALETTE, Sheet, colour_of, plain_text
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


class AlignmentPicture(NamedTuple):
    """How two videos align: rows are snippets of the first, columns of the second.

    similarity and expected_alignment are (n, m), their colours those of 0 to 1; path is the matches
    [(row, column), ...]; names are those of the two videos, seconds how far apart their snippets
    are. `labels`, if given, holds the class of each of the n rows and of each of the m columns (""
    for background), drawn as strips along the axes in the colours that `classes` has in timelines.
    """

    title: str
    similarity: NDArray[np.floating]
    expected_alignment: NDArray[np.floating]
    path: Sequence[tuple[int, int]]
    names: tuple[str, str]
    seconds: tuple[float, float]
    score: float
    labels: tuple[Sequence[str], Sequence[str]] | None = None
    classes: Sequence[str] = ()


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


@plain_text()
def draw_alignments(
    path: str | os.PathLike[str], pictures: Sequence[AlignmentPicture], *, width: float = 11.0
) -> None:
    """Draw one row a pair into a PNG: the similarity, and the expected alignment with its path.

    The picture is `width` inches wide, 4.5 at least; a narrow one has the alignment below.
    """
    if not pictures:
        raise ValueError("draw_alignments: no picture given")
    sheet = Sheet(width, left=0.9, right=0.3)
    strips = [strip for picture in pictures for strip in picture.labels or ()]
    if strips:
        shown = {label for strip in strips for label in strip}
        sheet.legend(shown, [picture.classes for picture in pictures])
    for picture in pictures:
        _draw_alignment(sheet, picture)
    sheet.save(path)


def _draw_alignment(sheet: Sheet, picture: AlignmentPicture) -> None:
    n, m = picture.similarity.shape
    narrow = sheet.width <= NARROW
    width = sheet.width - sheet.left - sheet.right - 0.7 if narrow else 3.8
    height = width * float(np.clip(n / m, 0.45, 1.3))
    count = float(np.sum(picture.expected_alignment))
    sheet.heading(picture.title, f"score {picture.score:.2f}, expected matches {count:.1f}")
    sheet.gap(0.22)
    top = sheet.take(height)
    sheet.gap(0.75)
    _draw_table(sheet, picture, "similarity", (sheet.left, top, width, height))
    left = sheet.left if narrow else sheet.width - sheet.right - width - 0.6
    if narrow:
        sheet.gap(0.2)
        top = sheet.take(height)
        sheet.gap(0.75)
    panel = _draw_table(sheet, picture, "expected alignment", (left, top, width, height))
    if len(picture.path):
        rows, columns = (np.asarray(picture.path) + 0.5).T * np.array(picture.seconds)[:, None]
        panel.plot(
            columns, rows, color=PALETTE[1], linewidth=1, marker="o", markersize=2.5,
            label="most likely matches",
        )  # fmt: skip
        panel.legend(loc="lower left", fontsize=8, framealpha=0.9, edgecolor=FRAME)
    else:
        panel.text(
            0.5, 0.5, "no match", transform=panel.transAxes, ha="center", va="center",
            fontsize=9, color=MUTED,
        )  # fmt: skip


def _draw_table(
    sheet: Sheet,
    picture: AlignmentPicture,
    title: str,
    box: tuple[float, float, float, float],
) -> Axes:
    """A heat map with its colour scale, and strips of classes along its axes if there are any."""
    left, top, width, height = box
    is_alignment = title == "expected alignment"
    panel = sheet.axes(*box)
    panel.set_title(title, fontsize=9, color=INK, pad=5)
    panel.set_facecolor(FRAME)  # where there is no number
    length, breadth = np.multiply(picture.similarity.shape, picture.seconds)
    image = panel.imshow(
        picture.expected_alignment if is_alignment else picture.similarity,
        cmap="Blues" if is_alignment else "viridis",
        vmin=0,
        vmax=1,
        extent=(0, breadth, length, 0),
        aspect="auto",
        interpolation="nearest",
    )
    scale = sheet.figure.colorbar(image, cax=sheet.axes(left + width + 0.1, top, 0.11, height))
    scale.outline.set_edgecolor(FRAME)

    below = beside = panel
    if picture.labels:
        panel.tick_params(labelbottom=False, labelleft=False, length=0)
        rows, columns = (
            [to_rgba(colour_of(label, picture.classes)) for label in labels]
            for labels in picture.labels
        )
        below = sheet.axes(left, top + height + 0.05, width, 0.12)
        below.imshow([columns], extent=(0, breadth, 1, 0), aspect="auto", interpolation="nearest")
        below.set_yticks([])
        beside = sheet.axes(left - 0.17, top, 0.12, height)
        beside.imshow(
            [[colour] for colour in rows], extent=(0, 1, length, 0), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        beside.set_xticks([])
    first, second = (
        f"seconds of {sheet.fitted(name, inches - 0.7, 9)}"
        for name, inches in zip(picture.names, (height + 0.4, width), strict=True)
    )
    below.set_xlabel(second, fontsize=9, color=INK)
    beside.set_ylabel(first, fontsize=9, color=INK)
    return panel

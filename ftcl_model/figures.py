"""Pictures of localisation: timelines of videos, and alignments of pairs of videos."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from ftcl_model.annotations import Segment
from ftcl_model.detection import Detection
from ftcl_model.files import written_whole

# The first ten are told apart well also by colour-blind readers; more classes start to repeat hues.
PALETTE = (
    *("#2f6fb0", "#e68a00", "#2e9e6b", "#c6443f", "#8a63b8", "#8b6b4e", "#d573a8", "#6f7780"),
    *("#a8a12c", "#31a9bd", "#9cc3ea", "#ffc680", "#9fdcbf", "#f0a5a1", "#cdb8e6", "#cbb5a0"),
    *("#f2bfdb", "#bcc2c7", "#dcd98c", "#a3dde6"),
)
INK, MUTED, FRAME, FLOOR = "#22262b", "#6b7178", "#c9cdd2", "#f3f4f6"
DOTS_PER_INCH = 150
_NARROW = 7.0
"""Inches up to which a picture puts below what a wider one puts beside."""


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
    page = _Page(width, left=1.3, right=0.3 if width > _NARROW else 0.15)
    shown = {label for timeline in timelines for label in _shown_classes(timeline)}
    page.legend(shown, [timeline.classes for timeline in timelines])
    for timeline in timelines:
        _draw_timeline(page, timeline)
    page.save(path)


def _shown_classes(timeline: Timeline) -> list[str]:
    present = {segment.label for segment in timeline.truth}
    present |= {detection.label for detection in timeline.predictions}
    return [label for label in timeline.classes if label in present]


def _draw_timeline(page: _Page, timeline: Timeline) -> None:
    lanes = {label: lane for lane, label in enumerate(reversed(_shown_classes(timeline)))}
    middles = (np.arange(len(timeline.attention)) + 0.5) * timeline.seconds_per_snippet
    heading = ", ".join(sorted({segment.label for segment in timeline.truth})) or "no action"
    page.heading(timeline.name, heading)

    truth = page.strip("truth", 0.17 * max(len(lanes), 1))
    _draw_bars(truth, [(*segment[:3], 1.0) for segment in timeline.truth], lanes, timeline)
    predictions = page.strip("predictions", 0.23 * max(len(lanes), 1))
    highest = max((detection.score for detection in timeline.predictions), default=1.0)
    bars = [
        (start, end, label, max(score / highest, 0.04) if highest > 0 else 1.0)
        for start, end, label, score in sorted(timeline.predictions, key=lambda one: -one.score)
    ]
    _draw_bars(predictions, bars, lanes, timeline)

    attention = page.strip("attention", 0.45)
    attention.fill_between(middles, timeline.attention, color=MUTED, alpha=0.35, linewidth=0)
    attention.plot(middles, timeline.attention, color=INK, linewidth=1.0)
    _show_unit_interval(attention)

    scores = page.strip("class scores", 0.75)
    for column, label in enumerate(timeline.classes):
        shown = label in lanes
        colour = _colour(label, timeline.classes) if shown else FRAME
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
            colour = _colour(segment.label, timeline.classes)
            axes.axvspan(segment.start, segment.end, color=colour, alpha=0.11, linewidth=0)
    page.gap(0.5)


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
        to_rgba(_colour(label, timeline.classes), 0.3 + 0.7 * height)
        for _, _, label, height in bars
    ]
    axes.add_collection(
        PatchCollection(rectangles, facecolor=colours, edgecolor="white", linewidth=0.4, zorder=3)
    )


def draw_alignments(
    path: str | os.PathLike[str], pictures: Sequence[AlignmentPicture], *, width: float = 11.0
) -> None:
    """Draw one row a pair into a PNG: the similarity, and the expected alignment with its path.

    The picture is `width` inches wide, 4.5 at least; a narrow one has the alignment below.
    """
    if not pictures:
        raise ValueError("draw_alignments: no picture given")
    page = _Page(width, left=0.9, right=0.3)
    strips = [strip for picture in pictures for strip in picture.labels or ()]
    if strips:
        shown = {label for strip in strips for label in strip}
        page.legend(shown, [picture.classes for picture in pictures])
    for picture in pictures:
        _draw_alignment(page, picture)
    page.save(path)


def _draw_alignment(page: _Page, picture: AlignmentPicture) -> None:
    n, m = picture.similarity.shape
    narrow = page.width <= _NARROW
    width = page.width - page.left - page.right - 0.7 if narrow else 3.8
    height = width * float(np.clip(n / m, 0.45, 1.3))
    count = float(np.sum(picture.expected_alignment))
    page.heading(picture.title, f"score {picture.score:.2f}, expected matches {count:.1f}")
    page.gap(0.22)
    top = page.take(height)
    page.gap(0.75)
    _draw_table(page, picture, "similarity", (page.left, top, width, height))
    left = page.left if narrow else page.width - page.right - width - 0.6
    if narrow:
        page.gap(0.2)
        top = page.take(height)
        page.gap(0.75)
    panel = _draw_table(page, picture, "expected alignment", (left, top, width, height))
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
    page: _Page,
    picture: AlignmentPicture,
    title: str,
    box: tuple[float, float, float, float],
) -> Axes:
    """A heat map with its colour scale, and strips of classes along its axes if there are any."""
    left, top, width, height = box
    is_alignment = title == "expected alignment"
    panel = page.axes(*box)
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
    scale = page.figure.colorbar(image, cax=page.axes(left + width + 0.1, top, 0.11, height))
    scale.outline.set_edgecolor(FRAME)

    below = beside = panel
    if picture.labels:
        panel.tick_params(labelbottom=False, labelleft=False, length=0)
        rows, columns = (
            [to_rgba(_colour(label, picture.classes)) for label in labels]
            for labels in picture.labels
        )
        below = page.axes(left, top + height + 0.05, width, 0.12)
        below.imshow([columns], extent=(0, breadth, 1, 0), aspect="auto", interpolation="nearest")
        below.set_yticks([])
        beside = page.axes(left - 0.17, top, 0.12, height)
        beside.imshow(
            [[colour] for colour in rows], extent=(0, 1, length, 0), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        beside.set_xticks([])
    below.set_xlabel(f"seconds of {picture.names[1]}", fontsize=9, color=INK)
    beside.set_ylabel(f"seconds of {picture.names[0]}", fontsize=9, color=INK)
    return panel


def _colour(label: str, classes: Sequence[str]) -> str:
    return PALETTE[classes.index(label) % len(PALETTE)] if label else FRAME


def _style(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=MUTED, labelcolor=MUTED, length=2.5, pad=2)
    for spine in axes.spines.values():
        spine.set_color(FRAME)


class _Page:
    """A figure that grows downwards; every length is in inches, so that nothing can overlap.

    Axes are put down in inches from the top-left corner and get their place when saved, when the
    height is known.
    """

    def __init__(self, width: float, left: float, right: float) -> None:
        self.figure = Figure(figsize=(width, 1.0), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.width, self.left, self.right = width, left, right
        self.bottom = 0.15
        self.placed: list[tuple[Axes, float, float, float, float]] = []

    def take(self, height: float) -> float:
        """Reserve the next `height` inches; returns where they begin."""
        top, self.bottom = self.bottom, self.bottom + height
        return top

    def gap(self, height: float) -> None:
        self.take(height)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        axes = self.figure.add_axes((0, 0, 1, 1), label=str(len(self.placed)))
        self.placed.append((axes, left, top, width, height))
        _style(axes)
        return axes

    def strip(self, label: str, height: float) -> Axes:
        """Axes across the page with a label at the left."""
        width = self.width - self.left - self.right
        axes = self.axes(self.left, self.take(height), width, height)
        self.gap(0.09)
        axes.set_facecolor(FLOOR)
        axes.tick_params(axis="x", labelbottom=False, length=0)
        axes.text(
            -0.32 / width, 0.5, label, transform=axes.transAxes, ha="right", va="center",
            fontsize=8.5, color=INK,
        )  # fmt: skip
        return axes

    def heading(self, text: str, detail: str) -> None:
        width = self.width - self.left - self.right
        axes = self.axes(self.left, self.take(0.3), width, 0.3)
        axes.set_axis_off()
        axes.text(0, 0.5, text, fontsize=11, fontweight="bold", va="center", color=INK)
        if self.width <= _NARROW:
            lines = textwrap.wrap(detail, 40) or [""]
            detail, height = "\n".join(lines), 0.2 * len(lines)
            axes = self.axes(self.left, self.take(height), width, height)
            axes.set_axis_off()
        axes.text(1, 0.5, detail, fontsize=9, ha="right", va="center", color=INK)

    def legend(self, shown: set[str], class_lists: Iterable[Sequence[str]]) -> None:
        """The colours of the labels `shown`, in the order of the class lists; "" is background."""
        colours = {
            label: _colour(label, classes)
            for classes in class_lists
            for label in classes
            if label in shown
        }
        if "" in shown:
            colours["background"] = _colour("", ())
        columns = max(min(len(colours), 6 if self.width > _NARROW else 2), 1)
        height = 0.24 * max(-(-len(colours) // columns), 1) + 0.12
        axes = self.axes(self.left, self.take(height), self.width - self.left - self.right, height)
        axes.set_axis_off()
        handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
        axes.legend(
            handles=handles, ncols=columns, loc="center left", frameon=False, fontsize=9,
            borderaxespad=0, borderpad=0, handlelength=1.1, handleheight=1.0, columnspacing=1.6,
            labelcolor=INK,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        height = self.bottom
        self.figure.set_size_inches(self.width, height)
        for axes, left, top, width, tall in self.placed:
            box = (left / self.width, 1 - (top + tall) / height, width / self.width, tall / height)
            axes.set_position(box)
        with written_whole(path) as file:
            self.figure.savefig(file, format="png")

"""How pairs of videos align, as their scores have it, and pictures of that."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

import softdp
from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.pairs import find_pairs
from ftcl_model.detection.scores import VideoScores
from ftcl_model.losses.proposals import cosines
from ftcl_model.report.sheet import FRAME, INK, MUTED, NARROW, PALETTE, Sheet, colour_of, plain_text

ALIGNMENT_THRESHOLD = 0.4
"""Similarity above which a match gains."""
LIKELY = 0.1
"""How likely a match has to be to lie on the path."""


class Alignment(NamedTuple):
    """Alignment of a video of n snippets with one of m.

    similarity: (n, m), cosine of the embeddings times the geometric mean of the attentions.
    expected: (n, m), how likely two snippets are matched: the gradient of the smoothed score.
    path: the matches (i, j), none less likely than LIKELY, of the alignment that has most of what
        is expected.
    score: the smoothed score, what the matches have above the threshold; 0 where nothing matches.
    """

    similarity: NDArray[np.float32]
    expected: NDArray[np.float32]
    path: list[tuple[int, int]]
    score: float


def align(
    first: VideoScores,
    second: VideoScores,
    *,
    threshold: float = ALIGNMENT_THRESHOLD,
    gamma: float = 0.02,
) -> Alignment:
    """Align all snippets of two videos.

    A match gains what its similarity has above the threshold. Leaving out a snippet is free, but
    for -gamma log 2, which keeps the number of ways to leave out snippets from gaining anything.
    Gamma is small beside the gains: the larger it is, the more an alignment has to gain to lie far
    from the diagonal, where there are few ways to leave out snippets.
    """
    similarity = cosines(torch.from_numpy(first.embedding), torch.from_numpy(second.embedding))
    attention = np.sqrt(np.outer(first.attention, second.attention))
    similarity = similarity * torch.from_numpy(attention)
    gap = -gamma * math.log(2)
    alignment = softdp.EditAlignment(
        similarity - threshold, gap, gap, gamma=gamma, leading_gaps="free"
    )
    expected = alignment.expected.match
    best = softdp.best_alignment(expected - LIKELY, 0.0, 0.0, leading_gaps="free")
    return Alignment(
        similarity.numpy(),
        expected.numpy(),
        [(i, j) for i, j in best.pairs[best.arcs == 0].tolist()],
        alignment.score.item(),
    )


class AlignmentFigure(NamedTuple):
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


def example_alignments(
    split: FeatureSplit, scores: Mapping[str, VideoScores], annotations: Annotations
) -> list[AlignmentFigure]:
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
) -> AlignmentFigure:
    first, second = names
    alignment = align(scores[first], scores[second])
    return AlignmentFigure(
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


@plain_text()
def draw_alignments(
    path: str | os.PathLike[str], pictures: Sequence[AlignmentFigure], *, width: float = 11.0
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


def _draw_alignment(sheet: Sheet, picture: AlignmentFigure) -> None:
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
    picture: AlignmentFigure,
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

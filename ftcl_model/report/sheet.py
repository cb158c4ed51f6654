"""What pictures are drawn on: a figure that grows downwards, its colours and its texts."""

from __future__ import annotations

import functools
import os
import textwrap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch

from ftcl_model.files import written_whole
from ftcl_model.texts import one_line, shortened

# The first ten are told apart well also by colour-blind readers; more classes start to repeat hues.
PALETTE = (
    *("#2f6fb0", "#e68a00", "#2e9e6b", "#c6443f", "#8a63b8", "#8b6b4e", "#d573a8", "#6f7780"),
    *("#a8a12c", "#31a9bd", "#9cc3ea", "#ffc680", "#9fdcbf", "#f0a5a1", "#cdb8e6", "#cbb5a0"),
    *("#f2bfdb", "#bcc2c7", "#dcd98c", "#a3dde6"),
)
INK, MUTED, FRAME, FLOOR = "#22262b", "#6b7178", "#c9cdd2", "#f3f4f6"
DOTS_PER_INCH = 150
NARROW = 7.0
"""Inches up to which a picture puts below what a wider one puts beside."""


@contextmanager
def plain_text() -> Iterator[None]:
    """In it, what is drawn is drawn as it is written: a dollar begins no formula."""
    with rc_context(
        {"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False}
    ):
        yield


def drawable(text: str) -> str:
    """The text on one line, with escapes for the characters that no font at hand has."""
    text = one_line(text)
    if text.isascii():
        return text
    known = _characters(tuple(rcParams["font.family"]))
    return "".join(
        character if ord(character) in known else character.encode("unicode_escape").decode()
        for character in text
    )


@functools.cache
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """What the fonts of these families have, of which matplotlib takes the first that has it."""
    known: set[int] = set()
    for family in families:
        try:
            normal, bold = (
                get_font(findfont(FontProperties(family=family, weight=weight),
                                  fallback_to_default=False)).get_charmap()
                for weight in ("normal", "bold")
            )  # fmt: skip
        except ValueError:
            continue  # not installed
        known |= normal.keys() & bold.keys()
    return frozenset(known)


def colour_of(label: str, classes: Sequence[str]) -> str:
    """The colour of a label by its place among the classes; "" is background."""
    return PALETTE[classes.index(label) % len(PALETTE)] if label else FRAME


def _style(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=MUTED, labelcolor=MUTED, length=2.5, pad=2)
    for spine in axes.spines.values():
        spine.set_color(FRAME)


class Sheet:
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
        """Leave so many inches free."""
        self.take(height)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes in a box, in inches from the top-left corner."""
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

    def fitted(self, text: str, inches: float, size: float, weight: str = "normal") -> str:
        """A text as it is drawn, cut in its middle to what fits into a width."""
        text, font = shortened(drawable(text), 200), FontProperties(size=size, weight=weight)
        if self._width(text, font) <= inches:
            return text
        lengths = range(4, len(text))
        too_long = bisect_right(
            lengths, inches, key=lambda length: self._width(shortened(text, length), font)
        )
        return shortened(text, lengths[max(too_long - 1, 0)])

    def _width(self, text: str, font: FontProperties) -> float:
        """Of a line, in inches."""
        renderer = self.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        return renderer.get_text_width_height_descent(text, font, False)[0] / self.figure.dpi

    def heading(self, text: str, detail: str) -> None:
        """A line with a text at its left and a detail at its right, or below if narrow."""
        width = self.width - self.left - self.right
        axes = self.axes(self.left, self.take(0.3), width, 0.3)
        axes.set_axis_off()
        room, lines = width, []
        if self.width <= NARROW:
            lines = textwrap.wrap(drawable(detail), 40, max_lines=4, placeholder=" …") or [""]
        else:
            detail = self.fitted(detail, 0.55 * width, 9)
            room -= self._width(detail, FontProperties(size=9)) + 0.2
        text = self.fitted(text, room, 11, "bold")
        axes.text(0, 0.5, text, fontsize=11, fontweight="bold", va="center", color=INK)
        if lines:
            detail, height = (
                "\n".join(self.fitted(line, width, 9) for line in lines),
                0.2 * len(lines),
            )
            axes = self.axes(self.left, self.take(height), width, height)
            axes.set_axis_off()
        axes.text(1, 0.5, detail, fontsize=9, ha="right", va="center", color=INK)

    def legend(self, shown: set[str], class_lists: Iterable[Sequence[str]]) -> None:
        """The colours of the labels `shown`, in the order of the class lists; "" is background."""
        colours = {
            label: colour_of(label, classes)
            for classes in class_lists
            for label in classes
            if label in shown
        }
        entries = [*colours.items(), *([("background", colour_of("", ()))] if "" in shown else [])]
        columns = max(min(len(entries), 6 if self.width > NARROW else 2), 1)
        height = 0.24 * max(-(-len(entries) // columns), 1) + 0.12
        width = self.width - self.left - self.right
        axes = self.axes(self.left, self.take(height), width, height)
        axes.set_axis_off()
        legend = axes.legend(
            handles=[Patch(color=colour, label="-") for _, colour in entries],
            ncols=columns, loc="center left", frameon=False, fontsize=9, borderaxespad=0,
            borderpad=0, handlelength=1.1, handleheight=1.0, columnspacing=1.6,
            labelcolor=INK,
        )  # fmt: skip
        # Only now: what is passed to it and begins with an underscore would be left out.
        for line, (label, _) in zip(legend.get_texts(), entries, strict=True):
            line.set_text(self.fitted(label, width / columns - 0.45, 9))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG, whole or not at all."""
        height = self.bottom
        self.figure.set_size_inches(self.width, height)
        for axes, left, top, width, tall in self.placed:
            box = (left / self.width, 1 - (top + tall) / height, width / self.width, tall / height)
            axes.set_position(box)
        with written_whole(path) as file:
            self.figure.savefig(file, format="png")

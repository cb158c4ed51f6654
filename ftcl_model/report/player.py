"""Videos on a page: a player each, and under it a timeline on which a click goes to a segment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from ftcl_model.data.annotations import Annotations, Segment
from ftcl_model.detection.detect import temporal_iou
from ftcl_model.detection.exports import shown
from ftcl_model.detection.predictions import Detection
from ftcl_model.errors import InputError
from ftcl_model.report import html
from ftcl_model.report.sheet import FLOOR, INK, colour_of
from ftcl_model.texts import shortened

RIGHT = 0.5
"""tIoU with a truth of its class from which a prediction is right."""

_STYLE = f"""
.hide label {{ display: inline-block; margin-right: 1.2rem; }}
.player video {{ display: block; width: 100%; max-height: 24rem; background: #000; }}
.rows {{ display: grid; grid-template-columns: 8rem 1fr; gap: .2rem .6rem; font-size: .85rem;
  align-items: center; margin-top: .5rem; }}
.lane {{ position: relative; height: 1.5rem; background: {FLOOR}; }}
.lane button {{ position: absolute; top: 0; height: 100%; min-width: 3px; padding: 0;
  border: 0; cursor: pointer; }}
.lane button.wrong {{ border: 2px dashed {INK}; }}
.lane button:focus-visible {{ outline: 3px solid {INK}; }}
.lane i {{ position: absolute; top: 0; left: 0; width: 2px; height: 100%; background: {INK};
  pointer-events: none; }}
.rows [hidden] {{ display: none; }}
@media (max-width: 40rem) {{ .rows {{ grid-template-columns: 1fr; }} }}
"""

_SCRIPT = """
for (const player of document.querySelectorAll(".player")) {
  const video = player.querySelector("video"), seconds = Number(player.dataset.seconds);
  for (const button of player.querySelectorAll("button"))
    button.addEventListener("click", () => {
      video.currentTime = Number(button.dataset.start);
      video.play().catch(() => {});
    });
  video.addEventListener("timeupdate", () => {
    for (const line of player.querySelectorAll("i"))
      line.style.left = Math.min(100, 100 * video.currentTime / seconds) + "%";
  });
}
for (const box of document.querySelectorAll(".hide input"))
  box.addEventListener("change", () => {
    for (const part of document.querySelectorAll(`.rows [data-class="${box.value}"]`))
      part.hidden = !box.checked;
  });
"""


class Mistakes(NamedTuple):
    """What is wrong with the predictions of a video: (predictions,) whether each is, and a count.

    wrong: predictions that overlap no truth of their class by `RIGHT`, or one that a better has.
    missed: truths that no prediction has.
    """

    wrong: tuple[bool, ...]
    missed: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.wrong) + self.missed


def mistakes(predictions: Sequence[Detection], truth: Sequence[Segment]) -> Mistakes:
    """Match predictions, best score first, with truths of their classes."""
    free = set(range(len(truth)))
    wrong = [True] * len(predictions)
    for index in sorted(range(len(predictions)), key=lambda index: -predictions[index].score):
        one = predictions[index]
        for place in sorted(free):
            overlap = temporal_iou(np.array(one[:2]), np.array(truth[place][:2]))
            if truth[place].label == one.label and overlap >= RIGHT:
                free.remove(place)
                wrong[index] = False
                break
    return Mistakes(tuple(wrong), len(free))


def player_section(
    videos: Mapping[str, Path],
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    seconds: Mapping[str, float],
    folder: Path,
) -> str:
    """A section of a page that plays videos, those with most mistakes first.

    The videos are not in the page: it refers to them by their paths from its folder.

    Args:
        videos: files by name; those of the test split are played.
        predictions: by video; those are on the timeline that `exports.shown` chooses.
        annotations: the truth and the class list. Without a segment nothing is called a mistake.
        seconds: length of each video of the test split.
        folder: of the page.

    Raises:
        InputError: none of the videos is in the test split.
    """
    known = {name: videos[name] for name in seconds if name in videos}
    if not known:
        some = shortened(next(iter(videos)))
        raise InputError(f"expected videos of the test split, got {some} and no video of it")
    videos = known
    judged = annotations.has_segments(videos)
    drawn = {name: shown(predictions[name]) for name in videos}
    found = {name: mistakes(drawn[name], annotations.videos[name].segments) for name in videos}
    order = sorted(videos, key=lambda name: -found[name].total) if judged else list(videos)
    classes = annotations.classes
    boxes = "".join(
        f'<label><input type="checkbox" value="{column}" checked> '
        f'<span class="swatch" style="background:{colour_of(label, classes)}"></span>'
        f"{html.escaped(shortened(label))}</label>"
        for column, label in enumerate(classes)
    )
    text = "A click on a segment goes there."
    if judged:
        text += (
            " Videos with most mistakes come first; a dashed border marks predictions without a "
            f"truth of their class at tIoU {RIGHT:g}."
        )
    parts = [
        f"<style>{_STYLE}</style>",
        html.paragraph(text, "muted"),
        f'<p class="hide">{boxes}</p>',
    ]
    for name in order:
        source = quote(Path(os.path.relpath(videos[name].absolute(), folder.absolute())).as_posix())
        caption = f"{name}: mistakes {found[name].total}" if judged else name
        lanes = "".join(
            _lanes(column, label, name, drawn, found, annotations, seconds[name])
            for column, label in enumerate(classes)
        )
        parts.append(
            f'<figure class="player" data-seconds="{seconds[name]:.3f}">\n'
            f'<video controls preload="metadata" src="{html.escaped(source)}"></video>\n'
            f'<div class="rows">{lanes}</div>\n'
            f"<figcaption>{html.escaped(caption)}</figcaption>\n</figure>"
        )
    return html.section("Videos", *parts, f"<script>{_SCRIPT}</script>")


def _lanes(
    column: int,
    label: str,
    name: str,
    drawn: Mapping[str, Sequence[Detection]],
    found: Mapping[str, Mistakes],
    annotations: Annotations,
    seconds: float,
) -> str:
    """The truth and the predictions of a class, a row each; nothing where there are none."""
    colour = colour_of(label, annotations.classes)
    truth = [
        _button(row, seconds, colour, "truth")
        for row in annotations.videos[name].segments
        if row.label == label
    ]
    judged = annotations.has_segments(drawn)
    predicted = [
        _button(row, seconds, colour, f"score {row.score:.2f}", wrong=wrong and judged)
        for row, wrong in zip(drawn[name], found[name].wrong, strict=True)
        if row.label == label
    ]
    return "".join(
        f'<span data-class="{column}">{html.escaped(f"{shortened(label, 20)}, {kind}")}</span>'
        f'<div class="lane" data-class="{column}">{"".join(buttons)}<i></i></div>'
        for kind, buttons in (("truth", truth), ("predicted", predicted))
        if buttons
    )


def _button(
    row: Segment | Detection, seconds: float, colour: str, said: str, *, wrong: bool = False
) -> str:
    start, end = (min(max(time / seconds, 0.0), 1.0) for time in (row.start, row.end))
    text = html.escaped(f"{row.label} {row.start:.1f} to {row.end:.1f} s, {said}")
    return (
        f'<button class="{"wrong" if wrong else "right"}" title="{text}" '
        f'aria-label="{text}" data-start="{max(row.start, 0.0):.3f}" '
        f'style="left:{100 * start:.3f}%;width:{100 * (end - start):.3f}%;background:{colour}">'
        "</button>"
    )

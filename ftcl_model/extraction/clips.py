"""Short clips whose truth is known: a shape that moves, turns and blinks, and idles between."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Segment
from ftcl_model.extraction.decoding import import_av
from ftcl_model.files import written_whole

CLASSES = ("blinking", "moving", "turning")
RATE = 25
"""Frames a second."""
SIDE = 96
"""Pixels."""
IDLE, ACTION = (1.5, 3.5), (2.5, 4.5)
"""Shortest and longest seconds of what a clip is made of."""


class Clip(NamedTuple):
    """A clip to draw: what happens when, and its length in seconds."""

    segments: tuple[Segment, ...]
    seconds: float


def plan_clip(labels: Sequence[str], rng: np.random.Generator) -> Clip:
    """A clip in which these happen one after the other, with idle times around them."""
    time = rng.uniform(*IDLE)
    segments = []
    for label in labels:
        end = time + rng.uniform(*ACTION)
        segments.append(Segment(round(time, 2), round(end, 2), label))
        time = end + rng.uniform(*IDLE)
    return Clip(tuple(segments), round(time, 2))


def plan_clips(n_train: int, n_test: int) -> tuple[dict[str, Clip], dict[str, Clip]]:
    """Training and test clips by name; the same every time."""
    contents = [*((one, one) for one in CLASSES), *combinations(CLASSES, 2)]
    parts = []
    for split, count in (("train", n_train), ("test", n_test)):
        rng = np.random.default_rng([count, len(split)])
        # The last ones first: they have two classes.
        chosen = [contents[::-1][index % len(contents)] for index in range(count)]
        parts.append(
            {
                f"{split}_{index:02}": plan_clip(rng.permutation(labels).tolist(), rng)
                for index, labels in enumerate(chosen, start=1)
            }
        )
    return parts[0], parts[1]


def draw_clip(clip: Clip, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a clip, (SIDE, SIDE, 3)."""
    colour, ground = rng.uniform(150, 255, 3), rng.uniform(20, 80, 3)
    centre, angle = rng.uniform(0.35, 0.65, 2) * SIDE, rng.uniform(0, np.pi)
    half = np.array([rng.uniform(0.16, 0.22), rng.uniform(0.06, 0.09)]) * SIDE
    heading = rng.uniform(0, 2 * np.pi)
    pixels = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1) + 0.5
    for index in range(round(clip.seconds * RATE)):
        time = index / RATE
        shift, turn, light = 0.0, 0.0, 1.0
        for segment in clip.segments:
            if segment.start <= time < segment.end:
                since = time - segment.start
                if segment.label == "moving":
                    shift = 0.22 * SIDE * np.sin(2 * np.pi * 0.9 * since)
                elif segment.label == "turning":
                    turn = 2 * np.pi * 0.7 * since
                else:
                    light = float(since % 0.4 < 0.2)
        way = shift * np.array([np.sin(heading), np.cos(heading)])
        sine, cosine = np.sin(angle + turn), np.cos(angle + turn)
        along = (pixels - centre - way) @ np.array([[sine, cosine], [cosine, -sine]])
        # Inside the shape 1, outside 0, and a soft edge of a pixel.
        inside = np.clip(half - np.abs(along) + 0.5, 0, 1).prod(axis=-1)[..., None] * light
        picture = ground + inside * (colour - ground) + rng.normal(0, 4, (SIDE, SIDE, 1))
        yield picture.clip(0, 255).astype(np.uint8)


def write_clip(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    """Write pictures as an MP4 file, whole or not at all.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        OSError: see `files.write_bytes`.
    """
    av = import_av()
    with written_whole(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)  # what browsers play
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def table_of(train: dict[str, Clip], test: dict[str, Clip]) -> str:
    """Clips as a table that `init` reads: of training clips the labels, of test clips all."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video", "labels", "split", "start", "end"])
    for name, clip in train.items():
        labels = sorted({segment.label for segment in clip.segments})
        table.writerow([name, ";".join(labels), "train", "", ""])
    for name, clip in test.items():
        for start, end, label in clip.segments:
            table.writerow([name, label, "test", start, end])
    return text.getvalue()

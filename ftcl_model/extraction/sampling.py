"""Frames at an even rate from frames at any times, and snippets from frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ftcl_model.errors import InputError

_Item = TypeVar("_Item")

TOLERANCE = Fraction(1, 8)
"""Of a period, by which a frame may come late: containers round the times of frames."""
LONGEST_GAP = 3600
"""Seconds for which a frame may stand still; beyond, the times are taken for broken."""


class TimedFrame(NamedTuple):
    """What is shown from `start` on for `duration` (seconds)."""

    start: Fraction
    duration: Fraction
    picture: Any


def resample(frames: Iterable[TimedFrame], rate: float) -> Iterator[Any]:
    """The pictures that are shown at the times 0, 1 / rate, 2 / rate, ...

    That of time t is the last one that starts by t, or `TOLERANCE` of a period later; before the
    first one starts, the first one. The last one is shown for its duration. A picture may come
    several times, or not at all.

    Args:
        frames: by rising start; one that does not start after the one before replaces it.
        rate: pictures a second.

    Raises:
        InputError: a picture stands still for longer than `LONGEST_GAP`.
    """
    period = 1 / Fraction(rate)
    late, index = TOLERANCE * period, 0
    shown: TimedFrame | None = None
    for frame in frames:
        before = frame if shown is None else shown
        since = Fraction(0) if shown is None else before.start
        if frame.start - since > LONGEST_GAP:
            raise InputError(f"its times jump from {float(since):g} to {float(frame.start):g} s")
        while index * period + late < frame.start:
            yield before.picture
            index += 1
        shown = (
            frame
            if shown is None or frame.start > shown.start
            else shown._replace(picture=frame.picture)
        )
    if shown is None:
        return
    end = shown.start + min(shown.duration, Fraction(LONGEST_GAP))
    while index == 0 or index * period + late < end:
        yield shown.picture
        index += 1


def snippets(
    pictures: Iterable[NDArray[np.uint8]], frames: int, stride: int
) -> Iterator[NDArray[np.uint8]]:
    """Cut pictures into snippets (frames, ...), of which snippet i stands for `stride` pictures.

    These are the pictures i * stride to (i + 1) * stride - 1; a snippet of more or fewer frames
    lies with its middle on theirs. What it lacks at the beginning or the end is the first or the
    last picture again. A last snippet stands for at least half a stride; there is always one if
    there is a picture.
    """
    offset = (stride - frames) // 2
    # Pictures that a snippet may still need, the oldest being number `first`.
    held: deque[NDArray[np.uint8]] = deque()
    first, count, index = 0, 0, 0

    def cut() -> NDArray[np.uint8]:
        start = index * stride + offset
        rows = (min(max(start + row, 0), count - 1) - first for row in range(frames))
        return np.stack([held[row] for row in rows])

    for picture in pictures:
        held.append(picture)
        count += 1
        while count >= index * stride + offset + frames:
            yield cut()
            index += 1
        while first < min(index * stride + offset, count - 1):
            held.popleft()
            first += 1
    while count and (index == 0 or 2 * (count - index * stride) >= stride):
        yield cut()
        index += 1


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` items; the last one may be shorter."""
    batch: list[_Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

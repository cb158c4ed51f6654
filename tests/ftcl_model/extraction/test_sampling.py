from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from ftcl_model.extraction.sampling import TimedFrame, batches, resample, snippets


def shown(times: list[float], rate: float, last: float = 0.03) -> str:
    """The letters of frames at these times, as they are shown at an even rate."""
    starts = [Fraction(time).limit_denominator(100_000) for time in times]
    durations = [b - a for a, b in pairwise(starts)]
    durations += [Fraction(last).limit_denominator(100_000)] if times else []
    frames = [
        TimedFrame(start, duration, chr(ord("a") + index))
        for index, (start, duration) in enumerate(zip(starts, durations, strict=True))
    ]
    return "".join(resample(frames, rate))


@pytest.mark.parametrize(
    ("times", "rate", "expected"),
    [
        ([0, 0.04, 0.08, 0.12], 25, "abcd"),
        ([0, 0.04, 0.08, 0.12], 12.5, "ac"),
        ([0, 0.04, 0.08, 0.12], 50, "aabbccdd"),
        ([0.033 * i for i in range(4)], 30, "abcd"),  # rounded down to milliseconds
        ([0, 0.034, 0.067, 0.1], 30, "abcd"),  # and up
        ([0, 1.0, 1.04], 25, "a" * 25 + "bc"),  # stands still for a second
        ([0, 0.01, 0.02, 0.04], 25, "ad"),  # comes in a burst
        ([0.08, 0.12], 25, "aaab"),  # begins late: the first one is shown
        ([-0.04, 0.0, 0.04], 25, "bc"),
        ([0, 0.08, 0.04, 0.12], 25, "aacd"),  # one comes too late, and takes the place of another
        ([0], 25, "a"),
        ([], 25, ""),
    ],
)
def test_the_picture_that_is_shown_at_each_time(
    times: list[float], rate: float, expected: str
) -> None:
    assert shown(times, rate) == expected


def test_a_last_picture_lasts_as_long_as_it_says() -> None:
    assert shown([0, 0.04], 25, last=0.4) == "a" + 10 * "b"
    assert shown([0], 25, last=0.0) == "a"  # one there is always


def test_times_that_jump_are_refused() -> None:
    with pytest.raises(ValueError, match=r"its times jump from 0.04 to 95443 s"):
        shown([0, 0.04, 95443.0], 25)


@pytest.mark.parametrize(
    ("count", "frames", "stride", "expected"),
    [
        (8, 4, 4, ["0123", "4567"]),
        (10, 4, 4, ["0123", "4567", "8999"]),  # half a stride is one more
        (9, 4, 4, ["0123", "4567"]),  # less is left out
        (1, 4, 4, ["0000"]),
        (6, 4, 2, ["0012", "1234", "3455"]),  # overlapping, each about its own two
        (9, 1, 3, ["1", "4", "7"]),
        (8, 2, 4, ["12", "56"]),
        (3, 6, 2, ["000122", "012222"]),
        (0, 4, 4, []),
    ],
)
def test_snippets(count: int, frames: int, stride: int, expected: list[str]) -> None:
    pictures = (np.array(index, np.uint8) for index in range(count))
    cut = ["".join(map(str, snippet)) for snippet in snippets(pictures, frames, stride)]
    assert cut == expected


@pytest.mark.parametrize("frames", [1, 3, 16, 40])
@pytest.mark.parametrize("stride", [1, 4, 16])
def test_snippets_are_those_of_all_pictures_at_once(frames: int, stride: int) -> None:
    count = 53
    offset = (stride - frames) // 2
    cut = list(snippets((np.array(i, np.uint8) for i in range(count)), frames, stride))
    assert len(cut) == (count + stride // 2) // stride
    for index, snippet in enumerate(cut):
        rows = index * stride + offset + np.arange(frames)
        np.testing.assert_array_equal(snippet, rows.clip(0, count - 1))


def test_batches() -> None:
    assert list(batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]

"""Videos of any container and codec, decoded by PyAV: small square frames at an even rate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.errors import InputError
from ftcl_model.extraction.sampling import TimedFrame, resample

MARGIN = 8 / 7
"""Short side of a frame relative to the square that is cut out of its middle."""
_ENDING = re.compile(
    r"\.(3g[2p]|asf|avi|divx|dv|f4v|flv|gif|m2ts?|m[24]v|mjpe?g|mkv|mov|mp4|mpe?g|mts|mxf|ogv|ts|vob"
    r"|webm|wmv|y4m)",
    re.IGNORECASE,
)
"""Of the files in a folder that are taken for videos."""


class Frame(NamedTuple):
    """A picture of a video.

    picture: (size, size, 3) RGB uint8.
    time:    in seconds from the video's beginning.
    share:   of the video, 0..1, that has been read; 0 where it does not say how long it is.
    """

    picture: NDArray[np.uint8]
    time: float
    share: float


def import_av() -> Any:
    """PyAV; ModuleNotFoundError says how to get it."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "videos are decoded by PyAV, which is not installed: pip install av"
        ) from error
    av.logging.set_level(None)  # what it finds is said by exceptions
    return av


def find_videos(paths: list[Path]) -> dict[str, Path]:
    """The videos of files and folders by name: the path without its ending.

    Of a folder these are all files in it and below that end as videos do (.mp4, .mkv, .avi, ...),
    named by their path in it; a file is a video whatever its ending.

    Raises:
        InputError: there is no such path or no video, two have the same name, or a name cannot
            stand on a line of a split file. The message names the path.
    """
    videos: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found = [
                (file.relative_to(path).with_suffix("").as_posix(), file)
                for file in _files_below(path)
            ]
            if not found:
                raise InputError(f"{path}: expected a folder with videos, found none in it")
        elif path.exists():
            found = [(path.stem, path)]
        else:
            raise InputError(f"{path}: expected a video or a folder of videos, there is none")
        for name, file in found:
            if name in videos:
                raise InputError(f"{file}: has the name of {videos[name]}, expected another")
            if name != name.strip() or len(name.splitlines()) != 1:
                raise InputError(
                    f"{file}: expected a name on one line without spaces around it, got {name!r}"
                )
            videos[name] = file
    return dict(sorted(videos.items()))


def without_ending(name: str) -> str:
    """The name of a video, from its path in the folder with or without its ending."""
    stem, ending = os.path.splitext(name)
    return stem if _ENDING.fullmatch(ending) else name


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        Path(place) / file
        for place, folders, files in os.walk(folder)
        for file in files
        if not file.startswith(".") and _ENDING.fullmatch(os.path.splitext(file)[1])
    )


def read_frames(path: Path, *, rate: float, size: int, threads: int = 1) -> Iterator[Frame]:
    """Decode a video to pictures at an even rate.

    Times count from the beginning of the container, as players show them. Pictures are turned as
    the file says, stretched to square pixels and scaled, so that the short side has `MARGIN` times
    `size`; of the middle `size` x `size` are kept. Sound is not looked at.

    Args:
        path: the video.
        rate: pictures a second, see `sampling.resample`.
        size: height and width of a picture.
        threads: of the decoder.

    Raises:
        InputError: it is no video, has no pictures, ends before its end or is otherwise damaged;
            the message names the file. Pictures before the damage have been given by then.
        OSError: the file cannot be read.
    """
    av = import_av()
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the video is empty")
    last, picture = None, np.empty(0, np.uint8)
    index = 0
    try:
        with av.open(os.fspath(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError("has no pictures")
            frames = _timed(av, container, threads)
            # How much wider than high a pixel is.
            ratio = container.streams.video[0].sample_aspect_ratio or Fraction(1)
            length = (container.duration or 0) / av.time_base
            for frame in resample(frames, rate):
                if frame is not last:
                    last, picture = frame, _square(frame, size, ratio)
                time = index / rate
                yield Frame(picture, time, min(time / length, 1.0) if length > 0 else 0.0)
                index += 1
    except av.error.FFmpegError as error:
        said = "damaged" if index else "not a video that can be decoded"
        raise InputError(f"{path}: {said} ({error.strerror or error})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not index:
        raise InputError(f"{path}: the video has no pictures")


def _timed(av: Any, container: Any, threads: int) -> Iterator[TimedFrame]:
    """The frames of the first video stream with their times; InputError if some are missing."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = threads
    stream.thread_type = "AUTO"
    base: Fraction = stream.time_base
    beginning = Fraction(container.start_time or 0, av.time_base)
    usual = 1 / Fraction(stream.average_rate) if stream.average_rate else Fraction(0)
    end, step = Fraction(0), usual
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise av.error.InvalidDataError(0, "a frame of it is not whole")
        start = end if frame.pts is None else frame.pts * base - beginning
        duration = frame.duration * base if frame.duration else step
        yield TimedFrame(start, duration, frame)
        step = duration
        end = start + duration
    expected = _expected_end(stream, beginning)
    if expected is not None and expected - end > max(Fraction(1), expected / 20):
        raise InputError(f"damaged (ends after {float(end):.1f} of {float(expected):.1f} s)")


def _expected_end(stream: Any, beginning: Fraction) -> Fraction | None:
    """When the last frame should end, in seconds, where the container says so."""
    if stream.duration is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base - beginning
    # Matroska has it in a tag.
    match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return match and 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3])


def _square(frame: Any, size: int, ratio: Fraction) -> NDArray[np.uint8]:
    """The middle of a frame, turned as it is to be shown, (size, size, 3)."""
    quarters = round((frame.rotation or 0) / 90) % 4
    height, width = float(frame.height), float(frame.width * ratio)
    scale = size * MARGIN / min(height, width)
    small = frame.reformat(
        width=max(size, round(width * scale)),
        height=max(size, round(height * scale)),
        format="rgb24",
        interpolation="AREA" if scale < 1 else "BILINEAR",
    ).to_ndarray()
    top, left = (small.shape[0] - size) // 2, (small.shape[1] - size) // 2
    cut = small[top : top + size, left : left + size]
    # A square has its middle where it had it before it is turned.
    return np.ascontiguousarray(np.rot90(cut, quarters))

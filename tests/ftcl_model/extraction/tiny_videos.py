"""Short videos whose pictures say which they are, written by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

av = pytest.importorskip("av", reason="PyAV, which reads and writes videos, is not installed")

SMALL = "ftcl_model.extraction.small:network"


def write_video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    times: Sequence[float] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    rotation: int = 0,
    sound: bool = False,
    pixel: Fraction | None = None,
) -> Path:
    """Write pictures (height, width, 3); `times` in seconds are milliseconds in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        if rotation:
            stream.set_display_rotation(rotation)
        base = Fraction(1, rate) if times is None else Fraction(1, 1000)
        stream.codec_context.time_base = base
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index if times is None else round(1000 * times[index])
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            count = 16000 * len(pictures) // rate
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, count), np.float32), format="fltp", layout="mono"
            )
            samples.sample_rate = 16000
            container.mux(voice.encode(samples))
            container.mux(voice.encode())
    return path


def grey(levels: Sequence[int], height: int = 48, width: int = 64) -> list[NDArray[np.uint8]]:
    """A plain picture for each level of grey."""
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


def noise(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures that no codec makes small."""
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, 48, 64, 3), np.uint8))

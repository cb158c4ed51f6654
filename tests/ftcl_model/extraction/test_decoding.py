from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.extraction.decoding import find_videos, read_frames
from tests.ftcl_model.extraction.tiny_videos import grey, noise, write_video


def levels(path: Path, rate: float = 25, size: int = 16) -> list[int]:
    """The grey of each frame, to the nearest ten."""
    frames = list(read_frames(path, rate=rate, size=size))
    assert all(frame.picture.shape == (size, size, 3) for frame in frames)
    assert [frame.time for frame in frames] == [index / rate for index in range(len(frames))]
    return [10 * round(frame.picture.mean() / 10) for frame in frames]


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx"),
     ("mov", "mjpeg"), ("ts", "libx264"), ("mpg", "mpeg2video")],
)  # fmt: skip
@pytest.mark.parametrize("sound", [False, True])
def test_any_container(tmp_path: Path, ending: str, codec: str, sound: bool) -> None:
    steps = list(range(50, 210, 10))
    heard = sound and ending not in ("webm", "mpg")  # these do not hold this kind of sound
    path = write_video(tmp_path / f"a.{ending}", grey(steps), codec=codec, sound=heard)
    found = levels(path)
    # In a transport stream the pictures may begin after the sound.
    assert found[-len(steps) :] == steps if ending == "ts" else found == steps


def test_a_variable_frame_rate_is_resampled_by_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.50, 0.52, 0.54, 0.56, 1.0]
    steps = [50, 60, 70, 80, 90, 100, 110, 120]
    path = write_video(tmp_path / "a.mkv", grey(steps), times=times)
    found = levels(path, rate=10)
    assert found[:10] == [50, 70, 70, 70, 70, 80, 110, 110, 110, 110]
    assert set(found[10:]) == {120}
    other = write_video(tmp_path / "b.mp4", grey(steps), times=times)
    assert levels(other, rate=10)[:10] == found[:10]


def test_another_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey([50, 60, 70, 80, 90, 100]), rate=30)
    assert levels(path, rate=15) == [50, 70, 90]
    assert levels(path, rate=60) == [50, 50, 60, 60, 70, 70, 80, 80, 90, 90, 100, 100]


def test_it_is_told_how_much_was_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey([90] * 10))
    shares = [frame.share for frame in read_frames(path, rate=25, size=16)]
    assert shares == pytest.approx([index / 10 for index in range(10)])


def test_one_frame(tmp_path: Path) -> None:
    assert levels(write_video(tmp_path / "a.mp4", grey([90]))) == [90]
    assert levels(write_video(tmp_path / "a.mkv", grey([90]))) == [90]


@pytest.mark.parametrize("turned", [0, 90, 180, 270, -90])
def test_pictures_are_turned_as_the_file_says(tmp_path: Path, turned: int) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32] = 240  # the upper left is bright
    path = write_video(tmp_path / "a.mp4", [picture], rotation=turned)
    (frame,) = read_frames(path, rate=25, size=16)
    bright = [
        [frame.picture[row : row + 8, column : column + 8].mean() > 120 for column in (0, 8)]
        for row in (0, 8)
    ]
    # Counter-clockwise, as a display matrix has it.
    assert bright == np.rot90([[True, False], [False, False]], turned // 90).tolist()


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    """Its matrix, x' = h - y and y' = x, brings the upper left to the upper right."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32] = 240
    path = write_video(tmp_path / "a.mp4", [picture])
    content = path.read_bytes()
    place = content.index(b"tkhd") + 44
    one, none = 1 << 16, 0
    assert content[place : place + 4] == struct.pack(">i", one)
    upright = struct.pack(">9i", none, one, none, -one, none, none, 64 * one, none, 1 << 30)
    path.write_bytes(content[:place] + upright + content[place + 36 :])
    (frame,) = read_frames(path, rate=25, size=16)
    assert frame.picture[:8, 8:].mean() > 120
    assert frame.picture[:8, :8].mean() < 120
    assert frame.picture[8:].mean() < 120


def test_the_middle_is_kept(tmp_path: Path) -> None:
    picture = np.zeros((64, 192, 3), np.uint8)
    picture[:, 64:128] = 200
    (frame,) = read_frames(write_video(tmp_path / "a.mp4", [picture]), rate=25, size=16)
    assert frame.picture.mean() == pytest.approx(200, abs=4)
    assert frame.picture.std() < 8


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    """A band of 32 x 64 pixels that are twice as wide as high fills the square."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 32:64] = 200
    path = write_video(tmp_path / "a.mp4", [picture], pixel=Fraction(2))
    (frame,) = read_frames(path, rate=25, size=16)
    assert frame.picture.mean() == pytest.approx(200, abs=4)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[..., 0] = 255
    (frame,) = read_frames(write_video(tmp_path / "a.mp4", [picture]), rate=25, size=16)
    red, green, blue = frame.picture.mean(axis=(0, 1))
    assert red > 200
    assert max(green, blue) < 60


def test_small_pictures_are_made_larger(tmp_path: Path) -> None:
    assert levels(write_video(tmp_path / "a.mp4", grey([90], 16, 18)), size=100) == [90]


def damaged(path: Path) -> str:
    with pytest.raises(ValueError, match=r".") as refusal:
        list(read_frames(path, rate=25, size=16))
    said = str(refusal.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
def test_a_truncated_video_is_refused(tmp_path: Path, ending: str) -> None:
    codec = "mpeg4" if ending == "avi" else "libx264"
    path = write_video(tmp_path / f"a.{ending}", noise(100), codec=codec)
    assert len(list(read_frames(path, rate=25, size=16))) in (100, 101)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in (said := damaged(path)) or "not a video that can be decoded" in said


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"")
    assert damaged(path) == f"{path}: the video is empty"
    path.write_bytes(b"a thesis " * 100)
    assert damaged(path) == (
        f"{path}: not a video that can be decoded (Invalid data found when processing input)"
    )


def test_a_sound_alone_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        samples.sample_rate = 16000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    assert damaged(path) == f"{path}: has no pictures"


def test_videos_are_named_by_their_paths_in_the_folder(tmp_path: Path) -> None:
    for name in ("b.mp4", "Run/a.MKV", "Run/x.y.avi", "notes.txt", ".hidden.mp4"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    other = tmp_path / "notes.txt"
    assert find_videos([tmp_path, other]) == {
        "Run/a": tmp_path / "Run" / "a.MKV",
        "Run/x.y": tmp_path / "Run" / "x.y.avi",
        "b": tmp_path / "b.mp4",
        "notes": other,
    }


def test_names_that_cannot_be_kept_apart_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"none: expected a video or a folder of videos"):
        find_videos([tmp_path / "none"])
    with pytest.raises(ValueError, match=r"empty: expected a folder with videos, found none"):
        find_videos([tmp_path / "empty"])
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.avi").touch()
    with pytest.raises(ValueError, match=r"a.mp4: has the name of .*a.avi, expected another"):
        find_videos([tmp_path])
    (tmp_path / "a.avi").rename(tmp_path / "b\n.avi")
    with pytest.raises(ValueError, match=r"expected a name on one line .* got 'b\\n'"):
        find_videos([tmp_path])

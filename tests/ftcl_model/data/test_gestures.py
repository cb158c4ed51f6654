from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations, Segment, read_annotations
from ftcl_model.data.datasets import gestures
from ftcl_model.data.datasets.gestures import (
    CLASSES,
    Recording,
    cut_windows,
    load_recordings,
    prepare,
    shuffled,
    snippet_features,
)
from ftcl_model.data.features import FeatureSplit, open_split
from ftcl_model.settings import DatasetSettings

WINDOW = 12 * 32


def labels_of(*pieces: tuple[int, int]) -> NDArray[np.int64]:
    """Labels from (label, samples) pieces."""
    return np.concatenate([np.full(samples, label) for label, samples in pieces])


def made_up(windows: int, seed: int) -> Recording:
    """Gestures of 3 s with 3 s between them, in a script; the signal's first channel tells them."""
    labels = np.ones(windows * WINDOW, np.int64)
    for number, start in enumerate(range(48, len(labels) - 96, 192)):
        labels[start : start + 96] = 2 + number % len(CLASSES)
    signal = np.random.default_rng(seed).normal(size=(len(labels), 15))
    signal[:, 0] = 100 * labels
    return Recording(signal, labels)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A stand-in for the file of recordings: 20 and 12 windows."""
    first, second = made_up(20, 0), made_up(12, 1)
    path = tmp_path / "recordings.npz"
    np.savez(path, s1_x=first.signal, s1_y=first.labels, s2_x=second.signal, s2_y=second.labels)
    return path


def opened(folder: Path) -> tuple[Annotations, FeatureSplit, FeatureSplit]:
    annotations = read_annotations(folder / "gt.json", CLASSES)
    train, test = (
        open_split(folder, split, annotations, DatasetSettings(135, 0.25))
        for split in ("train", "test")
    )
    return annotations, train, test


def test_the_real_recordings_make_the_task_of_the_data_description(tmp_path: Path) -> None:
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(os.environ.get("SOFTDP_SHARED_DATA", beside)) / "gestures"
    if not (folder / "gestures.npz").is_file():
        pytest.skip("the gestures are not at hand (SOFTDP_SHARED_DATA names their folder)")
    prepare(tmp_path / "data", folder / "gestures.npz")
    annotations, train, test = opened(tmp_path / "data")
    assert (len(train), len(test)) == (210, 74)
    assert set(train.lengths) == set(test.lengths) == {47}
    for split, count in ((train, 527), (test, 200)):
        assert sum(len(annotations.videos[name].segments) for name in split.names) == count
    common = train.labels @ train.labels.T
    size = train.labels.sum(axis=1)
    upper = np.triu(np.ones(common.shape, np.bool_), k=1)
    equal = (common == size[:, None]) & (common == size[None])
    assert ((equal & upper).sum(), ((common == 0) & upper).sum()) == (1031, 13928)
    training = np.concatenate([train.load(index) for index in range(len(train))])
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(training.std(axis=0), 1, atol=1e-4)


def test_windows_are_cut_blind_to_the_labels() -> None:
    labels = labels_of(
        *((1, 100), (2, 64), (1, 100), (5, 120 + 200), (1, 184)),  # a gesture across the border
        (1, WINDOW),  # a window without a gesture
        *((3, 15), (1, 100), (4, 16), (1, 253)),  # a gesture too short to count
        (6, 100),  # no whole window
    )
    signal = np.random.default_rng(0).normal(size=(len(labels), 15))
    videos = cut_windows(Recording(signal, labels), "mine", "train")
    assert [video.video.name for video in videos] == ["mine_000000", "mine_000384", "mine_001152"]
    # The video begins 4 samples, an eighth of a second, after its window, and ends as much before.
    assert [video.video.segments for video in videos] == [
        (
            Segment(96 / 32, 160 / 32, "open window"),
            Segment(260 / 32, 376 / 32, "close window"),
        ),
        (Segment(0.0, 196 / 32, "close window"),),
        (Segment(111 / 32, 127 / 32, "water plant"),),
    ]
    for video in videos:
        assert (video.video.duration, video.video.subset) == (11.75, "train")
        assert video.features.shape == (47, 135)
    np.testing.assert_array_equal(videos[1].features, snippet_features(signal[WINDOW : 2 * WINDOW]))


def test_snippets_are_described_by_their_half_second() -> None:
    signal = np.random.default_rng(0).normal(size=(40, 15)) * 100
    signal[:, 1] = 50 * np.cos(2 * np.pi * 6 * np.arange(40) / 32)  # 6 Hz
    features = snippet_features(signal).reshape(4, 9, 15)
    for snippet in range(4):
        piece = signal[8 * snippet : 8 * snippet + 16]
        mean, deviation, spread, differences, slope, *bands = features[snippet]
        np.testing.assert_allclose(mean, piece.mean(axis=0))
        np.testing.assert_allclose(deviation, piece.std(axis=0))
        np.testing.assert_allclose(spread, piece.max(axis=0) - piece.min(axis=0))
        np.testing.assert_allclose(differences, np.diff(piece, axis=0).std(axis=0))
        np.testing.assert_allclose(slope, piece[-1] - piece[0])
        strength = [band[1] for band in bands]
        # All of a 6 Hz wave is in the band of 6 to 8 Hz: (16 * 50 / 2)^2.
        assert strength[2] == pytest.approx(np.log(400.0**2 + 100))
        assert max(strength[0], strength[1], strength[3]) == pytest.approx(np.log(100.0))


def test_the_first_part_trains_and_the_rest_tests(tmp_path: Path, source: Path) -> None:
    prepare(tmp_path / "data", source)
    _, train, test = opened(tmp_path / "data")
    # 70 % of 20 and 12 windows are 14 and 8.4; the window that the cut falls into trains.
    assert [f"person{person}_train_{384 * n:06d}" for person, count in ((1, 14), (2, 9))
            for n in range(count)] == list(train.names)  # fmt: skip
    assert [f"person{person}_test_{384 * n:06d}" for person, count in ((1, 6), (2, 3))
            for n in range(count)] == list(test.names)  # fmt: skip


def test_the_validation_blocks_share_out_the_training_windows(tmp_path: Path, source: Path) -> None:
    prepare(tmp_path / "data", source)
    everything = set(opened(tmp_path / "data")[1].names)
    seen: list[str] = []
    for block in range(4):
        prepare(tmp_path / str(block), source, validation=block)
        annotations, train, test = opened(tmp_path / str(block))
        assert set(train.names).isdisjoint(test.names)
        assert set(train.names).union(test.names) == everything
        assert all(annotations.videos[name].subset == "test" for name in test.names)
        seen += test.names
    assert sorted(seen) == sorted(everything)


@pytest.mark.parametrize("person", [1, 2])
def test_a_person_can_be_held_out(tmp_path: Path, source: Path, person: int) -> None:
    prepare(tmp_path / "data", source, hold_out=person)
    _, train, test = opened(tmp_path / "data")
    counts = {1: 20, 2: 12}
    assert {name[:7] for name in test.names} == {f"person{person}"}
    assert len(test) == counts[person]
    assert {name[:7] for name in train.names} == {f"person{3 - person}"}
    assert len(train) == counts[3 - person]


def test_shuffling_moves_whole_gestures() -> None:
    recording = made_up(20, 0)
    other = shuffled(recording, np.random.default_rng(0))
    before, after = (gestures.gestures(labels) for labels in (recording.labels, other.labels))
    assert [k for *_, k in before] != [k for *_, k in after]
    assert sorted(k for *_, k in before) == sorted(k for *_, k in after)
    assert {end - first for first, end, _ in after} == {96}
    np.testing.assert_array_equal(other.signal[:, 0], 100 * other.labels)
    # Every sample is still there, once.
    np.testing.assert_array_equal(np.sort(other.signal[:, 1]), np.sort(recording.signal[:, 1]))


def test_shuffled_windows_follow_the_seed_and_keep_the_parts_apart(
    tmp_path: Path, source: Path
) -> None:
    scripts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4), ("script", None)):
        prepare(tmp_path / name, source, shuffle=seed)
        annotations, train, test = opened(tmp_path / name)
        assert (len(train), len(test)) == (23, 9)
        scripts.append([video.segments for video in annotations.videos.values()])
    assert scripts[0] == scripts[1]
    assert scripts[0] != scripts[2]
    assert scripts[0] != scripts[3]


def test_the_original_files_are_read(tmp_path: Path, source: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io", reason="scipy, which reads .mat, is not installed")
    recordings = load_recordings(source)
    for person, (signal, labels) in enumerate(recordings, start=1):
        folder = tmp_path / "Data" / f"subject{person}_gesture"
        folder.mkdir(parents=True)
        scipy_io.savemat(folder / "data.mat", {"data": signal, "labels": labels[:, None]})
    for one, other in zip(load_recordings(tmp_path / "Data"), recordings, strict=True):
        np.testing.assert_array_equal(one.signal, other.signal)
        np.testing.assert_array_equal(one.labels, other.labels)
    with pytest.raises(ValueError, match=r"subject1_gesture/data\.mat: the recordings are missing"):
        load_recordings(tmp_path)


def test_a_prepared_folder_is_left_alone_and_others_are_refused(
    tmp_path: Path, source: Path
) -> None:
    prepare(tmp_path / "data", source)
    (tmp_path / "data" / "gt.json").write_text("mine")
    prepare(tmp_path / "data", source)
    assert (tmp_path / "data" / "gt.json").read_text() == "mine"
    with pytest.raises(FileExistsError, match="data: holds other files"):
        prepare(tmp_path / "data", source, shuffle=1)
    other = load_recordings(source)[0]
    arrays = dict(np.load(source)) | {"s1_x": other.signal + 1}
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(FileExistsError, match="data: holds other files"):
        prepare(tmp_path / "data", tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s2_y": None}, "expected the arrays s2_x and s2_y, s2_y is missing"),
        ({"s1_x": np.zeros((384, 14))}, r"expected a signal of shape \(7680, 15\), one row a lab"),
        ({"s1_x": np.full((7680, 15), np.nan)}, "the signal is NaN or infinite"),
        ({"s1_y": np.full(7680, 13)}, r"expected labels in 1\.\.12, got \[13\]"),
        ({"s1_y": np.ones(7680), "s2_y": np.ones(4608)}, "there is no window with a gesture to tr"),
        ({"s1_y": np.full(7680, 2.5)}, r"expected labels in 1\.\.12, got \[2\.5\]"),
        ({"s1_y": np.full(7680, np.nan)}, r"expected labels in 1\.\.12, got \[nan\]"),
        ({"s2_x": np.full((4608, 15), "a")}, "s2_x: expected numbers, got <U1"),
        ({"s2_x": np.full((4608, 15), None)}, r"not readable as recordings \(Object arrays cannot"),
    ],
)
def test_broken_recordings_are_named(
    tmp_path: Path, source: Path, changes: dict[str, NDArray | None], message: str
) -> None:
    arrays = dict(np.load(source)) | changes
    path = tmp_path / "broken.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=rf"broken\.npz: .*{message}"):
        prepare(tmp_path / "data", path)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(100), b"text"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.npz: not readable as recordings \(.+\)$"):
        prepare(tmp_path / "data", tmp_path / "broken.npz")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"hold_out": 3}, r"hold_out must be one of \(None, 1, 2\), got 3"),
        ({"validation": 4}, r"validation must be one of \(None, 0, 1, 2, 3\), got 4"),
    ],
)
def test_options_are_checked(
    tmp_path: Path, source: Path, option: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=f"prepare: {message}"):
        prepare(tmp_path / "data", source, **option)

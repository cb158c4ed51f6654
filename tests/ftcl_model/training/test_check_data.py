from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftcl_model.config.config import Config, load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.settings import (
    BackboneSettings,
    ContrastSettings,
    DatasetSettings,
    TrainingSettings,
    ValidationSettings,
)
from ftcl_model.training.check_data import DataCheck, check_data, check_lines, count_pairs
from tests.ftcl_model.tiny_folder import CLASSES, SECONDS, WIDTH, write_tiny_folder

SETTINGS = DatasetSettings(WIDTH, SECONDS, classes=CLASSES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "data")


def check(data: Path, settings: DatasetSettings = SETTINGS, **others: Any) -> DataCheck:
    return check_data(data, Config(settings, **others), progress=False)


def edit(data: Path, change: Callable[[dict], None]) -> None:
    content = json.loads((data / "gt.json").read_text())
    change(content["database"])
    (data / "gt.json").write_text(json.dumps(content))


def test_a_sound_folder(data: Path) -> None:
    report = check(data)
    assert report.errors == []
    assert report.notes == []
    train, test = report.lengths["train"], report.lengths["test"]
    assert (len(train), len(test)) == (12, 6)
    assert train["train_3"] == len(np.load(data / "train" / "train_3.npy"))
    # Video i has class i mod 3, and the even ones the next class too.
    assert report.videos["train"] == {"Jump": 6, "Run": 6, "Turn": 6}
    assert report.segments["test"] == {"Jump": 3, "Run": 3, "Turn": 3}
    # Two videos of each of six label sets; two sets without a common class are complements.
    assert report.pairs == (6, 2 * 2 * 6, 66 - 6 - 24)
    lines = check_lines(report)
    assert lines[0].startswith("train: 12 videos with features, ")
    assert lines[2] == "Jump  train    6 videos     6 segments  test    3 videos     3 segments"
    assert lines[-1] == "0 errors, 0 notes"


def test_broken_features_are_all_listed(data: Path) -> None:
    (data / "train" / "train_1.npy").unlink()
    (data / "train" / "train_4.npy").write_bytes(b"")
    (data / "test" / "test_0.npy").write_bytes(b"text")
    np.save(data / "test" / "test_2.npy", np.zeros((9, WIDTH - 1), np.float32))
    np.save(data / "test" / "test_5.npy", np.full((9, WIDTH), np.nan))
    report = check(data)
    expected = (
        ("train_1.npy", "is missing"),
        ("train_4.npy", "is empty"),
        ("test_0.npy", "not a readable .npy file"),
        ("test_2.npy", "expected floats of shape (snippets, 12), got shape (9, 11)"),
        ("test_5.npy", "NaN or infinite features, first in snippet 0"),
    )
    assert len(report.errors) == len(expected)
    for error, (file, message) in zip(report.errors, expected, strict=True):
        assert file in error
        assert message in error
    assert len(report.lengths["train"]) == 10


def test_videos_without_annotation_and_with_foreign_labels(data: Path) -> None:
    def change(database: dict) -> None:
        del database["train_2"], database["test_1"]
        database["train_5"]["annotations"] = []
        database["test_3"]["annotations"] = []
        database["test_4"]["annotations"][0]["label"] = "Fly"
        database["train_7"]["annotations"][0]["segment"] = [5, 4]

    edit(data, change)
    report = check(data)
    assert "gt.json: video train_7: expected" in report.errors[0]
    assert report.errors[1:] == [
        "train_2: in split_train.txt, but not annotated",
        "train_5: a training video without a label",
        "train_7: in split_train.txt, but not annotated",
        "test_1: in split_test.txt, but not annotated",
        "test_4: label 'Fly' is not in the class list",
    ]
    assert report.notes == ["1 test videos without a segment: test_3"]


def test_segments_outside_their_video_and_duplicates(data: Path) -> None:
    def change(database: dict) -> None:
        video = database["test_0"]
        video["annotations"] = [
            {"segment": [-1, 2], "label": "Jump"},
            {"segment": [3, video["duration"] + 0.5], "label": "Run"},
            {"segment": [3, 4], "label": "Jump"},
            {"segment": [3, 4], "label": "Jump"},
            {"segment": [3, 4], "label": "Run"},
        ]
        database["test_1"]["duration"] = None

    edit(data, change)
    report = check(data)
    assert report.errors == []
    outside, repeated = report.notes
    assert outside.startswith("2 segments that leave their video: test_0 Jump -1..2 s (of ")
    assert ", test_0 Run 3.." in outside
    assert repeated == "1 segments annotated more than once: test_0 Jump 3..4 s (2 times)"


def test_split_mismatches(data: Path) -> None:
    with (data / "split_test.txt").open("a") as file:
        file.write("train_3\n")
    (data / "split_train.txt").write_text("\n".join(f"train_{index}" for index in range(11)))
    np.save(data / "test" / "train_3.npy", np.load(data / "train" / "train_3.npy"))
    np.save(data / "test" / "other.npy", np.load(data / "train" / "train_3.npy"))
    report = check(data)
    assert report.errors == ["train_3: in split_train.txt and in split_test.txt"]
    assert report.notes == [
        f"1 files in {data / 'train'} that the split does not name: train_11",
        f"1 files in {data / 'test'} that the split does not name: other",
        "1 videos of the subset 'train' in no split: train_11",
        "1 videos in split_test.txt, the others of 'test': train_3 of 'train'",
    ]
    blocked = replace(SETTINGS, blocked_videos=("train_3", "train_11", "v_train_3"))
    assert check(data, blocked).errors == []
    assert check(data, blocked).notes == [
        "1 videos in dataset.blocked_videos without annotation: v_train_3",
        f"2 files in {data / 'train'} that the split does not name: train_11, train_3",
        f"2 files in {data / 'test'} that the split does not name: other, train_3",
    ]


def test_of_many_notes_of_a_kind_some_are_shown(data: Path) -> None:
    (data / "split_train.txt").write_text("\n".join(f"train_{index}" for index in range(4)))
    shown = "train_4, train_5, train_6, train_7, train_8, and 3 more"
    assert f"8 videos of the subset 'train' in no split: {shown}" in check(data).notes


def test_a_wrong_rate_and_a_class_without_training_videos(data: Path) -> None:
    settings = replace(SETTINGS, seconds_per_snippet=0.25, classes=(*CLASSES, "Fly"))
    report = check(data, settings)
    assert report.errors == []
    assert report.notes == [
        "the snippets of a video cover 0.50 of its duration (median of 18 videos), at "
        "dataset.seconds_per_snippet 0.25",
        "1 classes without a training video: Fly",
    ]


def test_without_pairs(data: Path) -> None:
    (data / "split_train.txt").write_text("train_0\ntrain_1\n")  # Jump and Run; Run
    errors = check(data).errors
    message = "split_train.txt: no {} pair of videos to contrast"
    assert errors == [message.format("positive"), message.format("negative")]


NEGATIVE = "split_train.txt: no negative pair of videos to contrast"
POSITIVE = "split_train.txt: no positive pair of videos to contrast"


@pytest.mark.parametrize(
    ("names", "others", "errors"),
    [
        ((0, 1), {"training": TrainingSettings(contrast_epochs=0)}, []),
        ((1, 7), {}, [NEGATIVE]),
        ((1, 7), {"contrast": ContrastSettings(lcs_weight=0)}, []),
        ((1, 7), {"variant": "aligned", "training": TrainingSettings(moving_average=0.9)}, []),
        (
            (1, 7),
            {
                "variant": "official", "backbone": BackboneSettings(attention_warmup=0),
                "contrast": ContrastSettings(lcs_weight=0),
            },
            [NEGATIVE],
        ),
        ((1, 3), {"contrast": ContrastSettings(lcs_weight=0)}, [POSITIVE]),
    ],
    ids=["no contrast", "paper", "paper without LCS", "aligned", "official", "paper, no positive"],
)  # fmt: skip
def test_the_pairs_that_the_configuration_needs(
    data: Path, names: tuple[int, ...], others: dict[str, Any], errors: list[str]
) -> None:
    # Videos 1 and 7 are of class 1, 3 of class 0.
    (data / "split_train.txt").write_text("\n".join(f"train_{index}" for index in names))
    assert check(data, **others).errors == errors


def test_what_else_would_stop_a_training(data: Path) -> None:
    late = replace(Config(SETTINGS).backbone, attention_warmup=400)
    # 500 epochs and 25, both of one batch.
    brief = TrainingSettings(backbone_epochs=500, contrast_epochs=25)
    assert check(data, backbone=late, training=brief).errors == [
        "backbone.attention_warmup must be at most half of the training's 525 steps, so that the "
        "attention is faded in when it ends, got 400"
    ]
    apart = check(data, validation=ValidationSettings(share=0.01)).errors
    assert len(apart) == 1
    assert apart[0].startswith("validation.share: 0.01 of 12 training videos sets none apart")
    weak = {"annotations": [{"label": "Jump"}]}
    edit(data, lambda database: database.update(train_2=database["train_2"] | weak))
    choosing = {"validation": ValidationSettings(share=0.09, choose="localisation")}
    assert not check(data, **choosing).errors
    names = [f"train_{index}" for index in range(12)]
    edit(data, lambda database: database.update({n: database[n] | weak for n in names}))
    refused = check(data, backbone=BackboneSettings(attention_warmup=0), variant="aligned",
                    training=TrainingSettings(moving_average=0.9), **choosing).errors  # fmt: skip
    assert refused == ["validation: chooses by segments, which no video that is set apart has"]
    every = tuple(names)
    blocked = check(data, replace(SETTINGS, blocked_videos=every)).errors
    assert blocked == [f"{data / 'split_train.txt'}: every video of the split is blocked"]


def test_what_would_stop_the_evaluation(data: Path) -> None:
    subset = replace(SETTINGS, test_subset="tset")
    unknown = [
        "dataset.test_subset: expected a subset of the annotations, ['test', 'train'], got 'tset'"
    ]
    assert check(data, subset).errors == unknown
    original = (data / "gt.json").read_text()
    weak = {"annotations": [{"label": "Jump"}]}
    edit(data, lambda database: database.update({name: database[name] | weak for name in database}))
    assert unknown[0] in check(data, subset).errors
    (data / "gt.json").write_text(original)
    (data / "split_test.txt").write_text("test_0\ntest_1\n")

    def change(database: dict) -> None:
        database["test_5"]["annotations"][0]["label"] = "Fly"

    edit(data, change)
    assert check(data).errors == []
    subset = replace(SETTINGS, test_subset="test")
    assert check(data, subset).errors == ["test_5: label 'Fly' is not in the class list"]

    def clear(database: dict) -> None:
        for name in ("test_0", "test_1"):
            database[name]["annotations"] = []

    edit(data, clear)
    message = "split_test.txt: no video has an annotated segment to evaluate against"
    assert check(data).errors == [message]


def test_features_of_other_formats_and_magnitudes(data: Path) -> None:
    (data / "train" / "train_1.npy").rename(data / "train" / "train_1.mat")
    np.savez(data / "train" / "train_2.npz", np.load(data / "train" / "train_2.npy"))
    np.savez(data / "train" / "other.npz", np.load(data / "train" / "train_2.npy"))
    (data / "train" / "train_2.npy").unlink()
    features = np.load(data / "test" / "test_2.npy")
    features[3, 1] = -2.5e6
    np.save(data / "test" / "test_2.npy", features)
    report = check(data)
    (error,) = report.errors
    assert error.endswith("and train_1.mat is not read: save the array in it with numpy.save")
    assert report.notes == [
        f"1 files in {data / 'train'} that the split does not name: other",
        f"1 videos in {data / 'test'} with features beyond 10000: test_2 (2.5e+06)",
    ]


@pytest.mark.parametrize("offset", [-10, 0, 10, 1000])
def test_features_that_hardly_differ_beside_their_mean_are_noted(data: Path, offset: int) -> None:
    for path in (data / "train").iterdir():
        np.save(path, np.load(path) + np.float32(offset))
    notes = check(data).notes
    if offset == 0:
        assert notes == []
    else:
        (note,) = notes
        times = float(note.removeprefix("the features' mean is ").partition(" ")[0])
        assert times == pytest.approx(abs(offset) / 0.46, rel=0.1)
        assert note.endswith("dataset.standardise: true takes it off")
    assert check(data, replace(SETTINGS, standardise=True)).notes == []


@pytest.mark.parametrize("value", [0, 3.3])
def test_features_that_are_all_the_same_are_noted(data: Path, value: float) -> None:
    for path in (data / "train").iterdir():
        np.save(path, np.full_like(np.load(path), value))
    assert check(data).notes == ["all training snippets have the same features"]


def test_segments_after_the_features_are_noted(data: Path) -> None:
    def change(database: dict) -> None:
        for video in database.values():
            video["duration"] = None
        database["test_0"]["annotations"][0]["segment"] = [600, 700]

    edit(data, change)
    (note,) = check(data).notes
    assert note.startswith(
        "1 segments that begin after the last snippet of their video: test_0 Jump 600..700 s (of "
    )


def test_a_report_of_any_names_has_a_line_for_each(data: Path) -> None:
    label = "$_$|\x1b[31m\n" + 5000 * "n"

    def change(database: dict) -> None:
        for video in database.values():
            for segment in video["annotations"]:
                segment["label"] = segment["label"].replace("Jump", label)
        database["a\nb"] = database["test_0"] | {"subset": "x\ny"}

    edit(data, change)
    with (data / "split_test.txt").open("a") as file:
        file.write("a\0b\n")
    report = check(data, replace(SETTINGS, classes=(label, "Run", "Turn")))
    lines = check_lines(report)
    assert all(line.isprintable() for line in lines)
    assert lines[2].startswith(r"$_$|\x1b[31m\nnnnn")
    assert len(lines[2]) < 150
    assert r"a\x00b: in split_test.txt, but not annotated" in "\n".join(lines)


def test_pairs_are_counted_by_their_label_sets() -> None:
    labels = np.random.default_rng(0).random((40, 4)) < 0.35
    kinds = Counter(
        "positive" if (a == b).all() else "partial" if (a & b).any() else "negative"
        for a, b in combinations(labels[labels.any(axis=1)], 2)
    )
    counts = count_pairs(labels[labels.any(axis=1)].astype(np.int64))
    assert counts._asdict() == kinds
    assert min(kinds.values()) > 20


def test_the_real_thumos14(thumos14: Path, tmp_path: Path) -> None:
    """What is known of the published annotations and splits, with features as long as the videos.

    They are zeros in sparse files, which take no space on the disk.
    """
    settings = load_config("thumos14_official").dataset
    durations = {
        name: video.duration
        for name, video in read_annotations(thumos14 / "gt.json").videos.items()
    }
    for file in ("gt.json", "split_train.txt", "split_test.txt"):
        (tmp_path / file).symlink_to(thumos14 / file)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for name in (thumos14 / f"split_{split}.txt").read_text().split():
            length = round((durations[name] or 0) / settings.seconds_per_snippet)
            np.lib.format.open_memmap(
                tmp_path / split / f"{name}.npy", "w+", np.float32, (length, settings.feature_width)
            )
    report = check(tmp_path, settings)
    assert report.errors == []
    assert not any("dataset.seconds_per_snippet" in note for note in report.notes)
    assert max(report.lengths["test"].values()) > settings.snippets
    names = "video_test_0001496, video_test_0000270"
    assert f"2 videos of the subset 'test' in no split: {names}" in report.notes
    assert any(n.startswith("92 segments that leave their video: video_") for n in report.notes)
    assert sum(report.segments["test"].values()) == 3311
    assert report.segments["test"]["CliffDiving"] == 217
    assert (report.videos["train"]["Diving"], len(report.videos["train"])) == (20, 20)
    assert report.pairs == (861, 18772, 267)

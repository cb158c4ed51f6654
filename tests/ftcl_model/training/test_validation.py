from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.config.config import Config
from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection.scores import VideoScores
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.model.ftcl import FTCL
from ftcl_model.settings import DatasetSettings, DetectionSettings, ValidationSettings
from ftcl_model.training.stages import new_model
from ftcl_model.training.validation import (
    choose_detection,
    classification,
    localisation,
    set_apart,
    validate,
)
from tests.ftcl_model.model.test_ftcl import VARIANTS
from tests.ftcl_model.tiny_folder import CLASSES, open_tiny_split, write_tiny_folder
from tests.ftcl_model.whole_stages import train_backbone


def split_of(labels: np.ndarray) -> FeatureSplit:
    names = tuple(f"v{index}" for index in range(len(labels)))
    paths = tuple(Path(f"{name}.npy") for name in names)
    return FeatureSplit(names, paths, labels, np.arange(len(labels)) + 10, 4, 1.0)


def test_what_is_set_apart_follows_from_the_seed_and_leaves_two_of_each_class() -> None:
    labels = np.eye(3, dtype=np.float32)[[0] * 20 + [1] * 17 + [2] * 3]
    split = split_of(labels)
    parts = [set_apart(split, 0.25, seed) for seed in (0, 0, 1)]
    assert parts[0].validation.names == parts[1].validation.names != parts[2].validation.names
    for training, validation in parts:
        assert len(validation) == 10
        assert sorted(training.names + validation.names) == sorted(split.names)
        assert (training.labels.sum(axis=0) >= 2).all()
        for part in (training, validation):
            places = [split.names.index(name) for name in part.names]
            assert places == sorted(places)
            assert (part.labels == labels[places]).all()
            assert part.lengths.tolist() == split.lengths[places].tolist()
            assert part.paths == tuple(split.paths[place] for place in places)
    most = set_apart(split, 0.99, 0)  # as many as leave two of each class
    assert most.training.labels.sum(axis=0).tolist() == [2, 2, 2]


@pytest.mark.parametrize(("share", "copies"), [(0.01, 20), (0.5, 2)])
def test_a_share_that_sets_nothing_apart_is_refused(share: float, copies: int) -> None:
    labels = np.repeat(np.eye(2, dtype=np.float32), copies, axis=0)
    with pytest.raises(ValueError, match=r"validation\.share: 0\.\d+ of \d+ training videos sets"):
        set_apart(split_of(labels), share, 0)


def test_classification_is_by_video_level_scores_alone() -> None:
    split = split_of(np.eye(2, dtype=np.float32)[[0, 0, 1]])
    videos = {
        name: VideoScores(np.zeros((3, 2)), np.zeros(3), np.array(row), np.zeros((3, 4)), 1.0)
        for name, row in zip(split.names, [[0.9, 0.3], [0.1, 0.2], [0.5, 0.1]], strict=True)
    }
    # Class 0: ranks 1 and 3 of its two videos; class 1: the last of three.
    assert classification(videos, split) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)


def test_segments_are_looked_at_only_if_localisation_is_asked_for(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    model = new_model(VARIANTS["paper"], CLASSES, seed=0).eval()
    assert validate(model, split, Annotations(CLASSES, {})).keys() == {"classification"}


def test_the_best_detection_settings_are_chosen_one_after_the_other(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    config = VARIANTS["paper"]
    choices = ValidationSettings(0.2, class_threshold=(0.9, 0.05), nms_threshold=(0.3, 0.1))
    config = replace(config, validation=choices, tious=(0.3, 0.5))
    config = replace(config, training=replace(config.training, backbone_epochs=8))
    model = new_model(config, CLASSES, seed=0)
    train_backbone(model, split, seed=0)
    # Truth that the model's own segments under one choice agree with.
    scores = score_split(model, split, progress=False)
    wanted = replace(config.detection, class_threshold=0.05, nms_threshold=0.1)
    annotations = agreeing(model, scores, wanted)
    chosen = choose_detection(model, split, annotations)
    assert model.config == config
    model.config = replace(config, detection=chosen)
    best = localisation(scores, split, model, annotations)
    for threshold in (0.25, 0.9, 0.05):
        model.config = replace(config, detection=replace(chosen, class_threshold=threshold))
        assert localisation(scores, split, model, annotations) <= best
    assert chosen.class_threshold == 0.05


def agreeing(
    model: FTCL, scores: dict[str, VideoScores], settings: DetectionSettings
) -> Annotations:
    """Annotations of what the model detects under the settings."""
    config, model.config = model.config, replace(model.config, detection=settings)
    found = detect_all(model, scores)
    model.config = config
    videos = {
        name: Video(name, "train", None, tuple(Segment(*one[:3]) for one in some))
        for name, some in found.items()
    }
    return Annotations(CLASSES, videos)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 1.0}, r"share must be in \[0, 1\), got 1\.0"),
        ({"choose": "classification"}, "choose must be last where no videos are set apart"),
        ({"nms_threshold": (0.3,)}, "nms_threshold must be empty where no videos are set apart"),
        ({"share": 0.1, "nms_threshold": (1.3,)}, r"nms_threshold must be in \[0, 1\], got 1\.3"),
        ({"share": 0.1, "every": 0}, "every must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(DatasetSettings(4, 1.0), validation=ValidationSettings(**settings))

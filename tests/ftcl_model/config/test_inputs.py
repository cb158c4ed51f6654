from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftcl_model.config.config import load_config
from ftcl_model.config.inputs import check_apart, open_inputs
from ftcl_model.errors import InputError
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, write_tiny_folder


def test_a_folder_is_opened_as_the_configuration_says(tmp_path: Path) -> None:
    data = write_tiny_folder(tmp_path / "data")
    (tmp_path / "model.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "model.yaml")
    _, annotations, split = open_inputs(config, data, "train")
    assert annotations.classes == CLASSES
    assert (len(split), split.width, split.seconds_per_snippet) == (12, 12, 0.5)
    blocked = replace(config.dataset, blocked_videos=("train_0",))
    split = open_inputs(replace(config, dataset=blocked), data, "train").split
    assert split.names == tuple(f"train_{index}" for index in range(1, 12))


def test_what_is_trained_on_is_not_tested_on(tmp_path: Path) -> None:
    data = write_tiny_folder(tmp_path / "data")
    (tmp_path / "model.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "model.yaml")
    train, test = (open_inputs(config, data, split).split for split in ("train", "test"))
    check_apart(data, train, test)
    names = ("test_0", "train_3", *test.names[1:])
    message = r"split_test\.txt: video train_3 is in split_train\.txt too \(1 in both\)"
    with pytest.raises(InputError, match=message):
        check_apart(data, train, replace(test, names=names))

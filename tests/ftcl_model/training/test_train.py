"""The command as a function: what `cli` prints of it is tested there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ftcl_model.config.config import Config, load_config
from ftcl_model.errors import InputError
from ftcl_model.model.ftcl import load_checkpoint
from ftcl_model.training.run import RunOptions
from ftcl_model.training.train import open_test, train
from tests.ftcl_model.tiny_folder import CONFIG, open_tiny_split, write_tiny_folder

CPU, QUIET = torch.device("cpu"), RunOptions(progress=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "data")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 6")
    (tmp_path / "model.yaml").write_text(text)
    return load_config(tmp_path / "model.yaml")


def test_it_says_where_the_model_is_and_goes_on(
    data: Path, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    with pytest.raises(InputError, match="no training was begun there that could go on"):
        train(config, data, output, seed=0, device=CPU, options=QUIET, must_go_on=True)
    train(config, data, output, seed=0, device=CPU, options=QUIET)
    assert capsys.readouterr().out.endswith(f"{output / 'model.pt'}: trained for 22 steps\n")
    assert load_checkpoint(output / "model.pt").iteration == 22
    train(config, data, output, seed=0, device=CPU, options=QUIET, must_go_on=True)
    with pytest.raises(InputError, match="holds another run, seed was 0 and is 1"):
        train(config, data, output, seed=1, device=CPU, options=QUIET)


def test_a_test_split_that_could_not_be_evaluated_is_refused_first(
    data: Path, config: Config, tmp_path: Path
) -> None:
    split = open_tiny_split(data, "train")
    assert open_test(config, data, split).names == tuple(f"test_{index}" for index in range(6))
    (data / "test" / "test_2.npy").unlink()
    with pytest.raises(InputError, match=r"test_2\.npy: the feature file is missing"):
        train(config, data, tmp_path / "run", seed=0, device=CPU)
    assert not (tmp_path / "run").exists()


def test_a_training_needs_no_test_split(data: Path, config: Config, tmp_path: Path) -> None:
    (data / "split_test.txt").unlink()
    train(config, data, tmp_path / "run", seed=0, device=CPU, options=QUIET)
    assert (tmp_path / "run" / "model.pt").is_file()

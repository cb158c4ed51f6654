from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ftcl_model.config.config import config_from_mapping
from ftcl_model.model.convert_checkpoint import convert_checkpoint
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model import authors
from tests.ftcl_model.detection.test_official import PROJECTION, settings
from tests.ftcl_model.tiny_folder import CLASSES, WIDTH


def official(**changes: object):
    content = settings()
    content["backbone"] |= changes
    return config_from_mapping(content, "here")


def state_dict() -> dict[str, torch.Tensor]:
    weights = authors.random_weights(WIDTH, len(CLASSES), PROJECTION, seed=0, scale=1.0)
    return {name: torch.from_numpy(value) for name, value in weights.items()}


def save(directory: Path, state: object) -> Path:
    path = directory / "theirs.pth"
    torch.save({"epoch": 7, "model_state_dict": state}, path)
    return path


def test_every_tensor_is_accounted_for(tmp_path: Path) -> None:
    theirs = state_dict()
    converted = convert_checkpoint(save(tmp_path, theirs), tmp_path / "ours.pt", official())
    checkpoint = load_checkpoint(tmp_path / "ours.pt")
    ours = checkpoint.model.state_dict()
    assert {one.theirs for one in converted} == theirs.keys()
    # What is not theirs is the scale of the attention, which is in full force.
    assert {one.ours for one in converted} == ours.keys() - {"backbone.attention_scale"}
    assert ours["backbone.attention_scale"] == 1
    for name, our_name, shape in converted:
        assert shape == tuple(theirs[name].shape)
        assert torch.equal(ours[our_name].flatten(), theirs[name].flatten())
    assert checkpoint.model.classes == CLASSES
    assert checkpoint.iteration == 0


def test_with_dropout_on_the_features_their_convolution_is_the_second_module(
    tmp_path: Path,
) -> None:
    theirs = state_dict()
    path = save(tmp_path, theirs)
    with pytest.raises(ValueError, match=r"theirs\.pth: missing: feature_embedding\.1\.bias"):
        convert_checkpoint(path, tmp_path / "ours.pt", official(input_dropout=True))
    renamed = {name.replace("embedding.0", "embedding.1"): theirs[name] for name in theirs}
    convert_checkpoint(save(tmp_path, renamed), tmp_path / "ours.pt", official(input_dropout=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_trans.weight": None}, r"theirs\.pth: missing: feature_trans\.weight"),
        ({"extra.weight": torch.ones(1)}, r"theirs\.pth: unknown: extra\.weight"),
        (
            {"snippet_cls.bias": torch.ones(21)},
            r"theirs\.pth: snippet_cls\.bias: expected floats of shape \(4,\), got .* \(21,\)",
        ),
        (
            {"att_branch.weight": torch.ones(3, WIDTH)},
            r"att_branch\.weight: expected floats of shape \(3, 12, 1\), got .* \(3, 12\)",
        ),
        ({"snippet_cls.bias": torch.ones(4, dtype=torch.int64)}, "expected floats .* torch.int64"),
        ({"snippet_cls.bias": torch.full((4,), torch.nan)}, r"snippet_cls\.bias is NaN"),
        ({"snippet_cls.bias": 3}, r"snippet_cls\.bias: expected a tensor, got int"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    state = {name: value for name, value in (state_dict() | changes).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(save(tmp_path, state), tmp_path / "ours.pt", official())
    assert not (tmp_path / "ours.pt").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pth: the checkpoint is missing"):
        convert_checkpoint(tmp_path / "none.pth", tmp_path / "ours.pt", official())
    torch.save(state_dict(), tmp_path / "bare.pth")
    with pytest.raises(ValueError, match=r'bare\.pth: expected a checkpoint with "model_state'):
        convert_checkpoint(tmp_path / "bare.pth", tmp_path / "ours.pt", official())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variant", "paper", "variant: expected official, whose weights"),
        ("dataset", {"classes": None}, "dataset.classes: expected a list, got none"),
        ("dataset", {"standardise": True}, "dataset.standardise: expected false for weights that"),
    ],
)
def test_the_configuration_must_fit(tmp_path: Path, key: str, value: object, message: str) -> None:
    content = settings()
    content[key] = content[key] | value if isinstance(value, dict) else value
    config = config_from_mapping(content, "here")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(save(tmp_path, state_dict()), tmp_path / "ours.pt", config)

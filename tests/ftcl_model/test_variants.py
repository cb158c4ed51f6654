"""A variant is one record; a new loss is one file and one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ftcl_model.config.config import Config, load_config
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.outputs import BackboneOutput, Losses
from ftcl_model.training.stages import new_average, new_model
from ftcl_model.variants import VARIANTS, Variant
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, open_tiny_split, write_tiny_folder
from tests.ftcl_model.whole_stages import train_contrast


def example() -> type[nn.Module]:
    """The loss that CONTRIBUTING.md adds, as it stands there."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    code = text.partition("### Adding a loss")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["FeatureDistance"]


FeatureDistance = example()


def test_a_variant_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        VARIANTS["paper"].floor = 1.0  # type: ignore[misc]


def written(folder: Path, variant: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(f"{CONFIG}variant: {variant}\n")
    return path


def test_a_new_loss_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="variant must be one of paper, official, aligned, got"):
        load_config(written(tmp_path, "distance"))
    monkeypatch.setitem(VARIANTS, "distance", Variant(FeatureDistance))
    config = load_config(written(tmp_path, "distance"))
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    model = new_model(config, CLASSES, seed=0)
    before = model.contrast.project.weight.clone()
    history = train_contrast(model, split, seed=0, iteration=0)
    assert all(epoch["distance"] > 0 for epoch in history.epochs)
    assert not torch.equal(model.contrast.project.weight, before)
    found = detect_all(model, score_split(model, split, progress=False))
    assert found.keys() == set(split.names)


def test_a_variant_with_a_teacher_is_told_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listening(FeatureDistance):  # type: ignore[misc, valid-type]
        def forward(
            self,
            output: BackboneOutput,
            labels: Tensor,
            classify: Callable[[Tensor], Tensor],
            teacher: BackboneOutput | None,
        ) -> Losses:
            assert teacher is not None
            assert teacher.embedding.shape == output.embedding.shape
            assert classify(output.embedding).shape == output.class_logits.shape
            return super().forward(output, labels, classify, teacher)

    monkeypatch.setitem(VARIANTS, "listening", Variant(Listening, teacher=True))
    path = written(tmp_path, "listening")
    with pytest.raises(ValueError, match="moving_average must be positive under `variant: listen"):
        load_config(path)
    path.write_text(
        path.read_text().replace("batch_size: 4", "batch_size: 4\n  moving_average: 0.9")
    )
    config = load_config(path)
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    model = new_model(config, CLASSES, seed=0)
    with pytest.raises(AssertionError, match="moving average"):
        train_contrast(model, split, seed=0, iteration=0)
    average = new_average(model)
    train_contrast(model, split, seed=0, iteration=0, average=average)


def test_the_settings_of_a_loss_are_those_of_its_section() -> None:
    names = {field.name for field in dataclasses.fields(Config)}
    assert {variant.section for variant in VARIANTS.values()} <= names

"""The commands as functions: what `cli` prints of them is tested there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ftcl_model.config.config import load_config
from ftcl_model.detection.predictions import read_predictions
from ftcl_model.errors import InputError
from ftcl_model.evaluation.evaluate import evaluate, open_model, predict
from ftcl_model.evaluation.score import evaluation_content, score_file
from ftcl_model.model.ftcl import save_checkpoint
from ftcl_model.training.stages import new_model
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, write_tiny_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny folder, and an untrained model beside it."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_tiny_folder(folder / "data")
    (folder / "model.yaml").write_text(CONFIG)
    model = new_model(load_config(folder / "model.yaml"), CLASSES, seed=0)
    save_checkpoint(folder / "model.pt", model, 1)
    return folder


def test_what_is_returned_is_written(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.json"
    evaluation = evaluate(folder / "model.pt", folder / "data", device=CPU, output=output)
    written = json.loads(output.read_text())
    assert written.pop("versions").keys() == {"softdp", "torch", "numpy", "python"}
    assert written == json.loads(json.dumps(evaluation_content(evaluation)))


def test_predictions_score_as_the_model_does(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.json"
    count = predict(folder / "model.pt", folder / "data", output, device=CPU)
    found = read_predictions(output)
    assert count == sum(map(len, found.values())) > 0
    ours = evaluate(folder / "model.pt", folder / "data", device=CPU)
    tious = ours.detection.thresholds.tolist()
    theirs = score_file(output, folder / "data" / "gt.json", "test", tious=tious)
    assert theirs.detection.average == pytest.approx(ours.detection.average)


def test_another_configuration_changes_what_reads_the_scores_alone(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(f"{CONFIG}detection:\n  nms_threshold: 0.25\ntious: [0.5]\n")
    model, _, test = open_model(folder / "model.pt", folder / "data", config=str(path), device=CPU)
    assert model.config.detection.nms_threshold == 0.25
    assert model.config.tious == (0.5,)
    assert len(test) == 6
    path.write_text(CONFIG.replace("width: 16", "width: 8"))
    message = r"model\.pt: was trained with backbone\.width 16, but .*other\.yaml and .*data say 8"
    with pytest.raises(InputError, match=message):
        open_model(folder / "model.pt", folder / "data", config=str(path), device=CPU)

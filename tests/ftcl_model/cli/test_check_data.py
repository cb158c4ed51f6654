"""The command check-data: what it prints and ends with, beside what train does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ftcl_model.cli.main import main
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model.tiny_folder import CONFIG, write_tiny_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "data")


@pytest.fixture
def few(tmp_path: Path) -> tuple[str, ...]:
    """The arguments of a command on eight short videos, which make 16 steps."""
    data = write_tiny_folder(tmp_path / "data")
    (data / "split_train.txt").write_text("\n".join(f"train_{index}" for index in range(8)))
    text = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 6")
    text = text.replace("  attention_warmup: 10\n", "")
    (tmp_path / "model.yaml").write_text(text)
    return "--config", str(tmp_path / "model.yaml"), "--data", str(data)


def test_a_short_training_is_adapted_to(
    tmp_path: Path, few: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    adapted = "backbone.attention_warmup is 8 instead of 80, half of the training's 16 steps"
    main(["check-data", *few])
    assert f"note: {adapted}\n" in capsys.readouterr().out
    main(["train", *few, "--output", str(tmp_path / "run"), "--no-progress"])
    said = capsys.readouterr().out
    assert said.startswith(f"ftcl_model: {adapted}\n")
    model, iteration = load_checkpoint(tmp_path / "run" / "model.pt")
    assert iteration == 16
    assert model.config.backbone.attention_warmup == 8
    assert model.backbone.attention_scale == 1  # faded in


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[Jump, Run, Turn]", "[]", "dataset: classes must be one or more names, got ()"),
        ("[Jump, Run, Turn]", "[Run, Run]", "dataset: classes must be different names, 'Run' is"),
        ("width: 16", "width: 10000000000", "backbone.width: expected less than 2**31, got 1000"),
    ],
)
def test_check_data_refuses_the_configurations_that_train_refuses(
    tmp_path: Path, data: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "model.yaml").write_text(CONFIG.replace(old, new))
    inputs = ("--config", str(tmp_path / "model.yaml"), "--data", str(data))
    for command in (["check-data"], ["train", "--output", str(tmp_path / "run")]):
        with pytest.raises(SystemExit) as refusal:
            main([*command, *inputs])
        assert str(refusal.value).startswith(f"ftcl_model: {tmp_path / 'model.yaml'}: {message}")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "validation: {share: 0.3, choose: localisation}",
            "validation: chooses by segments, which no video that is set apart has",
        ),
        (
            "validation: {share: 0.3, nms_threshold: [0.4, 0.5]}",
            "validation: chooses by segments, which no video that is set apart has",
        ),
        ("test_subset: tset", "dataset.test_subset: expected a subset of the annotations, "),
    ],
)
def test_labels_without_times_do_not_hide_what_train_refuses(
    tmp_path: Path, data: Path, more: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((data / "gt.json").read_text())
    for video in content["database"].values():
        labels = sorted({row["label"] for row in video["annotations"]})
        video["annotations"] = [{"label": label} for label in labels]
    (data / "gt.json").write_text(json.dumps(content))
    text = CONFIG + more if more[0] == "v" else CONFIG.replace("snippets:", f"{more}\n  snippets:")
    (tmp_path / "model.yaml").write_text(text)
    inputs = ("--config", str(tmp_path / "model.yaml"), "--data", str(data))
    with pytest.raises(SystemExit) as end:
        main(["check-data", *inputs])
    assert end.value.code == 1
    assert f"error: {message}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["train", *inputs, "--output", str(tmp_path / "run")])
    assert str(end.value).startswith(f"ftcl_model: {message}")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_is_told(
    tmp_path: Path, data: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.yaml").write_text(CONFIG)
    with (data / "split_test.txt").open("a") as file:
        file.write("跑步\n")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", stdout)
    with pytest.raises(SystemExit) as end:
        main(["check-data", "--config", str(tmp_path / "model.yaml"), "--data", str(data)])
    assert end.value.code == 1
    stdout.flush()
    name = "跑步" if encoding == "utf-8" else r"\u8dd1\u6b65"
    said = stdout.buffer.getvalue().decode(encoding)
    assert f"error: {name}: in split_test.txt, but not annotated" in said


def test_a_video_annotated_twice_is_an_error(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.yaml").write_text(CONFIG)
    text = (data / "gt.json").read_text()
    (data / "gt.json").write_text(text.replace('"train_1"', '"train_0"'))
    inputs = ("--config", str(tmp_path / "model.yaml"), "--data", str(data))
    with pytest.raises(SystemExit) as end:
        main(["check-data", *inputs])
    assert end.value.code == 1
    assert "gt.json: expected a JSON object" in (said := capsys.readouterr().out)
    assert "the key 'train_0' is given twice" in said
    with pytest.raises(SystemExit, match="the key 'train_0' is given twice"):
        main(["train", *inputs, "--output", str(tmp_path / "run")])


@pytest.mark.parametrize("damage", ["gt.json", "split_train.txt", "split_test.txt"])
def test_the_command_ends_with_1_and_names_what_is_missing(
    tmp_path: Path, data: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.yaml").write_text(CONFIG)
    command = ["check-data", "--config", str(tmp_path / "model.yaml"), "--data", str(data)]
    main(command)  # does not raise
    assert capsys.readouterr().out.endswith("0 errors, 0 notes\n")
    (data / damage).unlink()
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert damage in errors[0]

"""What a training does to its folder, and what it goes on with, when something is not as it was."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.cli.main import main
from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.errors import InputError
from ftcl_model.model.ftcl import load_checkpoint
from ftcl_model.sealed import load_sealed, save_sealed
from ftcl_model.training.run import Run
from ftcl_model.training.stages import StageTraining
from tests.ftcl_model.faults import Faults, How, number_of_calls, refusal
from tests.ftcl_model.test_broken_off import LIKE_OWN, contents, left_behind, theirs
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, open_tiny_split, write_tiny_folder

# Three epochs of three steps, then one of two; with videos set apart the epochs have two.
BRIEF = (
    CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 3")
    .replace("contrast_epochs: 2", "contrast_epochs: 1")
    .replace("attention_warmup: 10", "attention_warmup: 3")
)
ONE_STAGE = BRIEF.replace("contrast_epochs: 1", "contrast_epochs: 0")
CHOOSING = ONE_STAGE + "validation: {share: 0.3, every: 1, choose: localisation}\n"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A second one would mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "data")


def train(data: Path, output: Path, *more: object, text: str = BRIEF) -> None:
    config = data.parent / "model.yaml"
    config.write_text(text)
    words = ("train", "--config", config, "--data", data, "--output", output, "--no-progress")
    main([str(word) for word in (*words, "--save-every", 0, *more)])


def refused(*arguments: object, **options: str) -> str:
    with pytest.raises(SystemExit) as end:
        train(*arguments, **options)  # type: ignore[arg-type]
    said = str(end.value)
    assert said.startswith("ftcl_model: ")
    assert "\n" not in said
    return said


def stopped(data: Path, output: Path, steps: int, text: str = BRIEF) -> None:
    """A training that is broken off after some steps."""
    after_step = Run._after_step

    def step(self: Run, training: StageTraining, values: dict[str, float]) -> None:
        after_step(self, training, values)
        if training.iteration == steps:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_after_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(data, output, text=text)


def result(output: Path) -> tuple[str, dict[str, torch.Tensor]]:
    return (output / "history.json").read_text(), load_checkpoint(
        output / "model.pt"
    ).model.state_dict()


def same(one: Path, other: Path) -> bool:
    (history, weights), (others, values) = result(one), result(other)
    return history == others and all(torch.equal(values[name], weights[name]) for name in weights)


# Of each kind of fault every third call, in a first, a second and a third test: every call once.
@pytest.mark.slow
@pytest.mark.parametrize(("first", "how"), [(0, "fails"), (1, "killed"), (2, "power")])
def test_whatever_goes_wrong_the_training_goes_on_to_the_same_end(
    tmp_path: Path, data: Path, first: int, how: How
) -> None:
    with Faults(tmp_path / "whole") as counted:
        train(data, tmp_path / "whole")
    for at in range(first, number_of_calls(counted), 3):
        output = tmp_path / f"at {at}"
        output.mkdir()
        precious = theirs(output)
        said = ""
        with Faults(output, at, how):
            said = refusal(lambda output=output: train(data, output))
        if how == "fails":
            assert said.startswith(f"ftcl_model: {output}"), at
            assert "No space left on device" in said, at
        train(data, output)
        assert same(output, tmp_path / "whole"), at
        assert {
            name: text for name, text in contents(output).items() if ".partial" in name.lower()
        } == precious, at


def test_a_folder_with_hidden_names_of_somebody_else_keeps_them(tmp_path: Path, data: Path) -> None:
    output = tmp_path / "run"
    for name in (".video.partial", LIKE_OWN, ".git"):
        (output / name).mkdir(parents=True)
        (output / name / "precious").write_text("precious")
    (output / ".lock").write_text("precious")
    left = left_behind(output)
    before = {name: text for name, text in contents(output).items() if name != left.name}
    assert len(before) == 4
    train(data, output)
    assert contents(output).items() >= before.items()
    assert not left.exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "", "3", '{"run": {}}', "[" * 100_000, '{"id": 1, "run": 2}', "\x00"]
)
def test_a_broken_run_json_is_named(tmp_path: Path, data: Path, text: str) -> None:
    stopped(data, tmp_path / "run", 5)
    (tmp_path / "run" / "run.json").write_text(text)
    before = contents(tmp_path / "run")
    assert "run/run.json: expected what a training begins with" in refused(data, tmp_path / "run")
    assert contents(tmp_path / "run") == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_a_damaged_model_is_named_and_made_again(
    tmp_path: Path, data: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    train(data, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    model = tmp_path / "run" / "model.pt"
    damage(model)
    for command in ("evaluate", "predict"):
        words = (command, "--data", data, "--checkpoint", model, "--output", tmp_path / "out")
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        assert str(end.value).startswith(f"ftcl_model: {model}: damaged")
        assert "\n" not in str(end.value)
        assert not (tmp_path / "out").exists()
    capsys.readouterr()
    train(data, tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert re.fullmatch(rf"ftcl_model: {model}: damaged.*, passed over", said[0])
    assert same(tmp_path / "run", tmp_path / "whole")


def test_damaged_weights_that_were_chosen_stop_the_training_before_it_goes_on(
    tmp_path: Path, data: Path
) -> None:
    stopped(data, tmp_path / "run", 5, CHOOSING)
    flip(tmp_path / "run" / "best.pt")
    said = refused(data, tmp_path / "run", text=CHOOSING)
    assert "run/best.pt: damaged: its checksum is wrong; it cannot go on" in said
    assert not (tmp_path / "run" / "model.pt").exists()


def test_a_state_of_other_content_is_named(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(data, tmp_path / "whole")
    stopped(data, tmp_path / "run", 10)
    states = tmp_path / "run" / "checkpoints"
    save_sealed(states / "step_00000090.pt", {"iteration": 90})
    shutil.copy(tmp_path / "whole" / "model.pt", states / "step_00000091.pt")
    of_another = tmp_path / "whole" / "checkpoints" / "step_00000011.pt"
    shutil.copy(of_another, states / "step_00000092.pt")
    capsys.readouterr()
    train(data, tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1:] for line in said] == [
        [f"{states}/step_000000{step}.pt", "no state of this training, passed over"]
        for step in (90, 91, 92)
    ]
    assert same(tmp_path / "run", tmp_path / "whole")
    assert load_sealed(states / "step_00000090.pt") == {"iteration": 90}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("checkpoints", "run/checkpoints: the output is a file, expected a folder"),
        ("tensorboard", "run/tensorboard: the output is a file, expected a folder"),
        ("model.pt", "run/model.pt: the output is a folder, expected the name of a file"),
        ("history.json", "run/history.json: the output is a FIFO, expected the name of a file"),
        ("config.yaml", "run/config.yaml: the output is a device, expected the name of a file"),
        ("best.pt", "run/best.pt: File name too long"),
    ],
)
def test_an_output_that_cannot_be_is_found_before_the_training_goes_on(
    tmp_path: Path, data: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(data, tmp_path / "run", 2)
    path = tmp_path / "run" / name
    if name == "model.pt":
        path.mkdir()
    elif name == "history.json":
        os.mkfifo(path)
    elif name == "config.yaml":
        path.symlink_to(os.devnull)
    elif name == "best.pt":
        path.symlink_to("n" * 300)
    else:
        if path.is_dir():
            path.rmdir()
        path.write_text("theirs")
    monkeypatch.setattr(StageTraining, "train_epoch", lambda *_: pytest.fail("it has trained"))
    assert message in refused(data, tmp_path / "run")
    assert path.is_symlink() or path.exists()


def test_an_output_folder_that_cannot_be_is_refused(tmp_path: Path, data: Path) -> None:
    assert "File name too long" in refused(data, tmp_path / ("n" * 300))
    (tmp_path / "file").write_text("theirs")
    assert "file/run" in (said := refused(data, tmp_path / "file" / "run"))
    assert "Not a directory" in said
    (tmp_path / "null").symlink_to(os.devnull)
    assert "null: the output is a file, expected a folder" in refused(data, tmp_path / "null")


def test_another_run_begun_before_the_lock_was_had_is_not_gone_on_with(
    tmp_path: Path, data: Path
) -> None:
    (tmp_path / "model.yaml").write_text(BRIEF)
    ours = Run(
        load_config(tmp_path / "model.yaml"), read_annotations(data / "gt.json", CLASSES),
        open_tiny_split(data, "train"), tmp_path / "run", seed=1, device=torch.device("cpu"),
    )  # fmt: skip
    stopped(data, tmp_path / "run", 10)  # of seed 0
    before = contents(tmp_path / "run")
    with pytest.raises(InputError, match="run: holds another run, seed was 0 and is 1"):
        ours.train()
    assert contents(tmp_path / "run") == before
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("theirs")
    with pytest.raises(InputError, match="run: the output folder is not empty"):
        ours.train()


def changed_annotations(data: Path, change: Callable[[dict[str, dict]], None]) -> None:
    content = json.loads((data / "gt.json").read_text())
    change(content["database"])
    (data / "gt.json").write_text(json.dumps(content))


def one_value(data: Path) -> None:
    path = data / "train" / "train_3.npy"
    features = np.load(path)
    features[7, 5] = np.nextafter(features[7, 5], np.inf)
    np.save(path, features)


def a_snippet_less(data: Path) -> None:
    path = data / "train" / "train_3.npy"
    np.save(path, np.load(path)[:-1])


def another_label(data: Path) -> None:
    def change(videos: dict[str, dict]) -> None:
        videos["train_1"]["annotations"][0]["label"] = "Jump"

    changed_annotations(data, change)


def a_video_less(data: Path) -> None:
    names = (data / "split_train.txt").read_text().split()
    (data / "split_train.txt").write_text("\n".join(names[:-1]))


def another_order(data: Path) -> None:
    names = (data / "split_train.txt").read_text().split()
    (data / "split_train.txt").write_text("\n".join(names[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_value, r"features\.train_3 was '(\d+) x 12, CRC-32 \w+' and is '\1 x 12, CRC-32 \w+'"),
        (a_snippet_less, r"features\.train_3 was '\d+ x 12, CRC-32 \w+' and is '\d+ x 12, C"),
        (another_label, r"labels\.train_1\.0 was 'Run' and is 'Jump'"),
        (a_video_less, r"labels\.train_11 was \['Turn'\] and is None"),
        (another_order, r"videos\.0 was 'train_0' and is 'train_11'"),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_training_does_not_go_on_with_other_data(
    tmp_path: Path, data: Path, change: Callable[[Path], None], message: str, ended: bool
) -> None:
    if ended:
        train(data, tmp_path / "run")
    else:
        stopped(data, tmp_path / "run", 10)
    before = contents(tmp_path / "run")
    kept = shutil.copytree(data, tmp_path / "kept")
    change(data)
    said = refused(data, tmp_path / "run")
    assert re.search(rf"run: was begun with other data, {message}", said), said
    assert contents(tmp_path / "run") == before
    # The same data elsewhere, and written at another time, are the same.
    for path in kept.rglob("*"):
        os.utime(path, (1, 1))
    train(kept, tmp_path / "run")
    assert (tmp_path / "run" / "model.pt").is_file()


def test_segments_count_where_they_are_looked_at(tmp_path: Path, data: Path) -> None:
    def move(videos: dict[str, dict]) -> None:
        for video in videos.values():
            for one in video["annotations"]:
                one["segment"][0] += 0.25

    stopped(data, tmp_path / "blind", 10)
    stopped(data, tmp_path / "choosing", 5, CHOOSING)
    changed_annotations(data, move)
    train(data, tmp_path / "blind")
    said = refused(data, tmp_path / "choosing", text=CHOOSING)
    assert re.search(r"other data, segments\.train_\d+\.0\.0 was 1\.5 and is 1\.75$", said), said


def test_a_loss_that_diverges_is_one_line(tmp_path: Path, data: Path) -> None:
    said = refused(data, tmp_path / "run", text=BRIEF.replace("1e-2", "1e30"))
    assert re.fullmatch(r"ftcl_model: training: the loss \w+ is (nan|inf) in step \d+", said), said


def test_weights_that_diverge_with_the_very_last_step_are_not_kept(
    tmp_path: Path, data: Path
) -> None:
    step = StageTraining._step

    def last(self: StageTraining, *arguments: object) -> dict[str, float]:
        values = step(self, *arguments)  # type: ignore[arg-type]
        if self.iteration == 8:
            torch.nn.init.constant_(self.model.backbone.classify.bias, torch.inf)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageTraining, "_step", last)
        said = refused(data, tmp_path / "run", text=ONE_STAGE)
    assert said.endswith("training: the weight backbone.classify.bias is not finite after step 9")
    train(data, tmp_path / "run", text=ONE_STAGE)
    assert load_checkpoint(tmp_path / "run" / "model.pt").iteration == 9


def test_a_full_disk_is_one_line_and_the_training_goes_on_when_there_is_room(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    room = 100_000

    def full(descriptor: int, content: bytes) -> int:
        nonlocal room
        if room < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room -= len(content)
        return write(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        said = refused(data, tmp_path / "run")
    assert re.search(r"run/\S+: cannot be written \(No space left on device\)$", said), said
    train(data, tmp_path / "run", "--resume")
    train(data, tmp_path / "whole")
    assert same(tmp_path / "run", tmp_path / "whole")

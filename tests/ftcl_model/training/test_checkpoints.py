from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ftcl_model.sealed import save_sealed
from ftcl_model.training.checkpoints import Checkpoints
from tests.ftcl_model.faults import Faults, How, number_of_calls, refusal


def saved(folder: Path, *iterations: int, run: str = "this run") -> Checkpoints:
    checkpoints = Checkpoints(folder, run)
    for iteration in iterations:
        weights = torch.full((2000,), float(iteration))
        checkpoints.save(iteration, {"iteration": iteration, "model": {"weights": weights}})
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path / "states", 8, 9, 10)
    assert names(tmp_path / "states") == ["step_00000009.pt", "step_00000010.pt"]
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == 10
    assert (state["model"]["weights"] == 10).all()


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "states", "this run").load() is None
    assert not (tmp_path / "states").exists()


def flip_a_weight(path: Path) -> None:
    content = path.read_bytes()
    where = content.index(torch.full((4,), 10.0).numpy().tobytes()) + 400
    path.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = saved(tmp_path, 9, 10)
    newest = tmp_path / "step_00000010.pt"
    if damage == "cut":
        newest.write_bytes(newest.read_bytes()[:-100])
    elif damage == "empty":
        newest.write_bytes(b"")
    else:
        flip_a_weight(newest)
        # Nothing else would notice.
        assert not (torch.load(newest)["state"]["model"]["weights"] == 10).all()
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == 9
    assert "step_00000010.pt: damaged" in capsys.readouterr().err


def test_nothing_is_guessed_when_all_are_damaged(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 9, 10)
    for path in tmp_path.iterdir():
        path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"every checkpoint is damaged \(2\)"):
        checkpoints.load()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 9)
    dies = (
        "import os, sys; from ftcl_model.files import write_bytes\n"
        "os.replace = lambda *names: os._exit(9); write_bytes(sys.argv[1], b'half a che')"
    )
    command = [sys.executable, "-c", dies, tmp_path / "step_00000010.pt"]
    root = Path(__file__).parents[3]
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    assert len(names(tmp_path)) == 2
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == 9
    assert names(tmp_path) == ["step_00000009.pt"]


def alien(path: Path) -> str:
    """Something else under the name of a state; what is said of it."""
    path.write_bytes(b"precious")
    return "damaged or not a checkpoint of this program"


def model(path: Path) -> str:
    save_sealed(path, {"format": 1, "weights": {}})
    return "no state of this training"


def numbers(path: Path) -> str:
    save_sealed(path, [1.0])
    return "no state of this training"


def of_another_run(path: Path) -> str:
    saved(path.parent, int(path.stem[5:]), run="another run")
    return "no state of this training"


def renamed(path: Path) -> str:
    shutil.copy(path.parent / "step_00000009.pt", path)
    return "the state of step 9"


@pytest.mark.parametrize("make", [alien, model, numbers, of_another_run, renamed])
def test_what_is_no_state_of_this_training_is_passed_over_and_stays(
    tmp_path: Path, make: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, 8, 9)
    theirs = [tmp_path / f"step_{iteration:08d}.pt" for iteration in (3, 70, 80, 90)]
    said = [make(path) for path in theirs]
    before = [path.read_bytes() for path in theirs]
    checkpoints = Checkpoints(tmp_path, "this run")
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == 9
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for path, why, line in zip(theirs, said, lines, strict=True):
        assert line.startswith(f"ftcl_model: {path}: {why}")
        assert line.endswith(", passed over")
    # Were they counted, our own would be the ones to go.
    for iteration in (10, 11):
        checkpoints.save(iteration, {"iteration": iteration})
    assert [path.read_bytes() for path in theirs] == before
    ours = {"step_00000010.pt", "step_00000011.pt"}
    assert set(names(tmp_path)) == ours | {path.name for path in theirs}
    checkpoints.remove()
    assert [path.read_bytes() for path in theirs] == before
    assert set(names(tmp_path)) == {path.name for path in theirs}


def test_the_folder_goes_with_the_last_state_if_nothing_else_is_in_it(tmp_path: Path) -> None:
    saved(tmp_path / "states", 9, 10).remove()
    assert names(tmp_path) == []
    Checkpoints(tmp_path / "states", "this run").remove()  # which is not there


@pytest.mark.parametrize("how", ["fails", "killed", "power"])
def test_whatever_goes_wrong_in_saving_a_whole_state_remains(tmp_path: Path, how: How) -> None:
    def save(folder: Path) -> None:
        checkpoints = Checkpoints(folder, "this run", keep=1)
        checkpoints.load()
        checkpoints.save(10, {"iteration": 10})

    saved(tmp_path / "counted", 9)
    with Faults(tmp_path / "counted") as counted:
        save(tmp_path / "counted")
    assert counted.calls[-1] == "unlink"
    seen = []
    for at in range(number_of_calls(counted)):
        folder = tmp_path / f"at {at}"
        saved(folder, 9)
        said = "No space left on device"
        with Faults(folder, at, how):
            said = refusal(lambda folder=folder: save(folder))
        assert "No space left on device" in said
        state = Checkpoints(folder, "this run").load()
        assert state is not None
        seen.append(state["iteration"])
        save(folder)
        assert names(folder) == ["step_00000010.pt"]
    assert seen == sorted(seen)
    assert set(seen) == {9, 10}

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ftcl_model.checkpoints import Checkpoints


def saved(folder: Path, *iterations: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
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
    assert Checkpoints(tmp_path / "states").load() is None
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
        assert not (torch.load(newest)["model"]["weights"] == 10).all()
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
        "import os, sys; from ftcl_model.files import written_whole\n"
        "with written_whole(sys.argv[1]) as path: path.write_bytes(b'half a che'); os._exit(9)"
    )
    command = [sys.executable, "-c", dies, tmp_path / "step_00000010.pt"]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    assert len(names(tmp_path)) == 2
    state = checkpoints.load()
    assert state is not None
    assert state["iteration"] == 9
    assert names(tmp_path) == ["step_00000009.pt"]

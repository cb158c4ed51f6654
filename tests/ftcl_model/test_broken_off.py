"""What is left when a write is broken off at any call to the system, and who removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftcl_model.files import remove_left_behind, write_bytes, write_text, written_folder
from tests.ftcl_model.faults import Faults, How, number_of_calls, refusal

LIKE_OWN = ".ftcl_model.0123456789abcdef.0123456789abcdef.partial"


def left_behind(folder: Path) -> Path:
    """What a process leaves that was killed before it could rename."""
    dies = (
        "import os, sys; from ftcl_model import files\n"
        "os.replace = lambda *names: os._exit(9); files.write_bytes(sys.argv[1], b'half')"
    )
    # Elsewhere first, or it would remove what another one left.
    with tempfile.TemporaryDirectory(dir=folder) as made:
        command = [sys.executable, "-c", dies, Path(made) / "file"]
        root = Path(__file__).parents[2]
        assert subprocess.run(command, cwd=root, check=False).returncode == 9
        (path,) = Path(made).iterdir()
        return path.rename(folder / path.name)


def theirs(folder: Path) -> dict[str, bytes]:
    """What somebody else has in a folder, under names that are like ours and are not."""
    for name in (
        ".video.partial", ".ftcl_model.partial", LIKE_OWN, LIKE_OWN.upper(),
        ".model.pt.abcd1234.partial",
    ):  # fmt: skip
        (folder / name).write_text("precious")
    for name in (".folder.partial", LIKE_OWN.replace("0", "f")):
        (folder / name).mkdir()
        (folder / name / "precious").write_text("precious")
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    before = theirs(tmp_path)
    left = left_behind(tmp_path)
    # The name alone does not make it ours: what is no regular file is somebody's.
    folder, link, fifo = (left_behind(tmp_path) for _ in range(3))
    for path in (folder, link, fifo):
        path.unlink()
    folder.mkdir()
    (folder / "precious").write_text("precious")
    link.symlink_to(folder / "precious")
    os.mkfifo(fifo)
    write_text(tmp_path / "new", "new")
    assert not left.exists()
    assert (folder / "precious").read_text() == link.read_text() == "precious"
    assert fifo.is_fifo()
    for path in (link, fifo):
        path.unlink()
    shutil.rmtree(folder)
    assert contents(tmp_path) == before | {"new": b"new"}


def test_what_somebody_is_writing_is_not_left_behind(tmp_path: Path) -> None:
    writing = left_behind(tmp_path)
    with writing.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_left_behind(tmp_path)
        assert writing.exists()
    remove_left_behind(tmp_path)
    assert not writing.exists()
    remove_left_behind(tmp_path / "none")


def test_one_that_lost_its_name_before_it_was_locked_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            remove_left_behind_by_another()
        lock(descriptor, operation)

    def remove_left_behind_by_another() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", lock)
            remove_left_behind(tmp_path)

    monkeypatch.setattr(fcntl, "flock", late)
    write_text(tmp_path / "file", "new")
    assert len(taken) == 1
    assert contents(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("how", ["fails", "killed", "power"])
@pytest.mark.parametrize("old", [b"old" * 1000, None], ids=["over an old one", "anew"])
def test_whatever_goes_wrong_the_old_file_or_the_new_one_is_there(
    tmp_path: Path, how: How, old: bytes | None
) -> None:
    new = b"new" * 2000

    def folder_at(at: int | None) -> Path:
        folder = tmp_path / f"at {at}"
        folder.mkdir()
        if old is not None:
            (folder / "file").write_bytes(old)
        return folder

    with Faults(folder_at(None)) as counted:
        write_bytes(tmp_path / "at None" / "file", new)
    seen = set()
    for at in range(number_of_calls(counted)):
        folder = folder_at(at)
        precious = theirs(folder)
        precious.pop("file", None)
        said = ""
        with Faults(folder, at, how):
            said = refusal(lambda folder=folder: write_bytes(folder / "file", new))
        after = contents(folder)
        content = after.pop("file", None)
        assert content in (old, new), at
        seen.add(content)
        if how == "fails":
            assert said.endswith(f"cannot be written (No space left on device): '{folder}/file'")
            assert after == precious  # and no litter
        write_bytes(folder / "file", new)
        assert contents(folder) == precious | {"file": new}, at
    # When the power may fail the new one counts only once the call has returned.
    assert seen == ({old} if how == "power" else {old, new})


@pytest.mark.parametrize("how", ["fails", "killed"])
def test_whatever_goes_wrong_a_folder_is_whole_or_not_there(tmp_path: Path, how: How) -> None:
    def write(folder: Path) -> None:
        with written_folder(folder / "data") as temporary:
            for name in ("a", "b"):
                write_text(temporary / name, name)

    (tmp_path / "counted").mkdir()
    with Faults(tmp_path / "counted") as counted:
        write(tmp_path / "counted")
    for at in range(number_of_calls(counted)):
        folder = tmp_path / f"at {at}"
        folder.mkdir()
        precious = theirs(folder)
        said = ""
        with Faults(folder, at, how):
            said = refusal(lambda folder=folder: write(folder))
        assert ("No space left on device" in said) == (how == "fails")
        data = {name: text for name, text in contents(folder).items() if name[:5] == "data/"}
        assert data in ({}, {"data/a": b"a", "data/b": b"b"}), at
        if not data:
            write(folder)
        assert contents(folder).items() >= precious.items()
        if how == "fails":
            assert len(contents(folder)) == len(precious) + 2

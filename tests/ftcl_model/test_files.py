from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftcl_model.files import (
    appended,
    check_output_file,
    check_output_folder,
    locked,
    make_folder,
    read_text,
    write_bytes,
    write_json,
    write_text,
    written_folder,
    written_whole,
)
from tests.ftcl_model.faults import Faults

OWN = r"\.ftcl_model\.[0-9a-f]{16}\.[0-9a-f]{16}\.partial"
LIKE_OWN = ".ftcl_model.0123456789abcdef.0123456789abcdef.partial"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_takes_its_name_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with written_whole(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]


def test_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail() -> None:
        with written_whole(target) as file:
            file.write(b"half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_folder_is_whole_and_a_full_one_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def write(text: str) -> None:
        with written_folder(target) as temporary:
            (temporary / "deep").mkdir()
            (temporary / "deep" / "a").write_text(text)
            assert not target.exists() or text == "2"

    write("1")
    assert (target / "deep" / "a").read_text() == "1"
    with pytest.raises(OSError, match="folder"):
        write("2")
    assert (target / "deep" / "a").read_text() == "1"
    assert names(tmp_path) == ["folder"]


def test_an_empty_folder_gives_its_place_and_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir(mode=0o700)
    with written_folder(target) as temporary:
        (temporary / "a").write_text("1")
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert names(target) == ["a"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_no_nan_and_no_infinity(tmp_path: Path, value: float) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, None]})
    before = path.read_text()
    assert json.loads(before) == {"a": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": [value]})
    assert path.read_text() == before


def test_a_file_in_another_encoding_or_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("Größe", encoding="utf-8")
    assert read_text(path) == "Größe"
    path.write_text("Größe", encoding="latin-1")
    with pytest.raises(ValueError, match=r"file\.txt: not readable as UTF-8 text"):
        read_text(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"file\.txt: the file is missing"):
        read_text(path)


def test_an_existing_file_keeps_its_mode_and_a_new_one_gets_the_usual_one(tmp_path: Path) -> None:
    private, new = tmp_path / "private", tmp_path / "new"
    private.write_text("old")
    private.chmod(0o600)
    before = os.umask(0o027)
    try:
        write_text(private, "new")
        write_text(new, "new")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, new)] == [0o600, 0o640]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_an_existing_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (1234, 2345, "new")


def test_a_link_stays_and_the_file_it_leads_to_is_written(tmp_path: Path) -> None:
    for name, there in (("old", True), ("missing", False)):
        folder = tmp_path / name
        folder.mkdir()
        target, link = folder / "target", tmp_path / f"{name}.link"
        if there:
            target.write_text("old")
        link.symlink_to(target)
        check_output_file(link)
        write_text(link, "new")
        assert link.is_symlink()
        assert target.read_text() == "new"
        assert names(folder) == ["target"]


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_null(path: Path) -> None:
    path.symlink_to(os.devnull)


def a_device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        pytest.skip("only root may make a device")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path)


NOT_REGULAR = [a_fifo, a_link_to_null, a_device, a_folder, a_loop]


@pytest.mark.parametrize("make", NOT_REGULAR)
@pytest.mark.parametrize("write", [check_output_file, lambda path: write_text(path, "new")])
def test_what_is_no_regular_file_is_refused_and_stays(
    tmp_path: Path, make: Callable[[Path], None], write: Callable[[Path], None]
) -> None:
    path = tmp_path / "output"
    make(path)
    before = path.lstat()
    with pytest.raises(OSError, match="output") as refusal:
        write(path)
    assert refusal.value.filename == str(path)
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (
        before.st_ino, before.st_mode, before.st_rdev
    )  # fmt: skip
    assert names(tmp_path) == ["output"]
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("make", [a_fifo, a_link_to_null, a_folder])
def test_a_lock_and_a_log_are_regular_files_too(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(OSError, match=r"\.lock"), locked(tmp_path):
        pass
    with pytest.raises(OSError, match=r"\.lock"), appended(tmp_path / ".lock"):
        pass


def test_a_log_grows(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with appended(tmp_path / "deep" / "log") as log:
            log.write(word)
    assert (tmp_path / "deep" / "log").read_text() == "onetwo"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 300, "File name too long"),
        ("missing/file", "the folder does not exist"),
        ("text/file", "Not a directory"),
    ],
)
def test_an_output_that_cannot_be_is_refused_beforehand(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "text").write_text("a file")
    with pytest.raises(OSError, match=message) as refusal:
        check_output_file(tmp_path / name)
    assert refusal.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["text"]


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Without the rights of root, which may write what is read-only."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_read_only_output_is_refused_beforehand() -> None:
    with tempfile.TemporaryDirectory() as folder:  # where anybody may go, as not into tmp_path
        path = Path(folder) / "file"
        path.write_text("old")
        with as_nobody(Path(folder)):
            path.chmod(0o400)
            with pytest.raises(PermissionError, match="the output is read-only"):
                check_output_file(path)
            path.parent.chmod(0o500)
            with pytest.raises(PermissionError, match=r"cannot be written .*other"):
                check_output_file(path.parent / "other")
            path.parent.chmod(0o700)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_refuses_is_found_out_beforehand(tmp_path: Path, number: int) -> None:
    """A folder on a medium that is read-only or full: nothing can be made there."""

    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number), arguments[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OSError, match="cannot be written") as refusal:
            check_output_file(tmp_path / "file")
    assert (refusal.value.errno, refusal.value.filename) == (number, str(tmp_path / "file"))


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        check_output_file(tmp_path / name)
    assert names(tmp_path) == ["old"]
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new")
    with pytest.raises(NotADirectoryError, match="the output is a file, expected a folder"):
        check_output_folder(tmp_path / "old")


def test_a_folder_has_one_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("theirs")
    with locked(tmp_path), pytest.raises(BlockingIOError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "theirs"


def test_what_is_written_is_on_the_disk_before_it_has_a_name_and_then_its_folder(
    tmp_path: Path,
) -> None:
    with Faults(tmp_path) as faults:
        write_bytes(tmp_path / "file", b"new")
    assert faults.calls == ["open", "write", "fsync", "replace", "open", "fsync"]
    with Faults(tmp_path) as faults:
        make_folder(tmp_path / "one" / "two")
    # The name of a folder is on the disk when the one above is.
    assert faults.calls == ["mkdir", "open", "fsync"] * 2
    with Faults(tmp_path) as faults, written_folder(tmp_path / "folder") as folder:
        (folder / "file").write_bytes(b"new")
    assert faults.calls[-7:] == ["open", "fsync", "open", "fsync", "replace", "open", "fsync"]

"""Files that appear whole or not at all; what ftcl_model writes goes through here.

Out of it are what TensorBoard and wandb write themselves. What is promised:

- **Whole.** A file has its old content or all of the new one, whenever the process is killed, a
  write fails or the power does. What is written lies beside it under a name of our own, is on the
  disk (fsync), and only then takes the file's name; the folder is on the disk too before the call
  returns, so that what is done next, as removing an older state, may rely on it.
- **Nothing but regular files is replaced.** A device, a FIFO, a socket and a folder are refused. A
  symbolic link stays, and the file that it leads to is written; its mode and owner are kept.
- **Nothing is removed that was not made here.** What a killed process was writing has a name that
  holds a digest of itself, which no other file has by chance, and is locked while somebody writes
  it: the next one to write in the folder removes it. A folder that a killed process was filling is
  left, for what lies in it may be anybody's.
- **Tried before the work.** `check_output_file` does all that writing the file needs, and leaves
  nothing; what stops it then stops it before the hours are spent.
- An OSError names the file that was asked for.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from ftcl_model.errors import InputError


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file, whole or not at all; folders that it lacks are made.

    Raises:
        OSError: it is there and no regular file, or cannot be written; it is as it was then, or
            whole.
    """
    with _naming(path):
        target = _target(path)
        make_folder(target.path.parent)
        remove_left_behind(target.path.parent)
        with _scratch(target.path.parent) as scratch:
            if target.status is not None:
                _take_over(scratch.descriptor, target.status)
            _fill(scratch.descriptor, content)
            os.fsync(scratch.descriptor)
            os.replace(scratch.path, target.path)
        _flush_folder(target.path.parent)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file in memory, which `write_bytes` writes to `path` if the block succeeds."""
    content = io.BytesIO()
    yield content
    write_bytes(path, content.getbuffer())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file, whole or not at all; ValueError for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


@contextmanager
def written_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder beside `path` to fill; it takes `path`'s name if the block succeeds.

    Raises:
        OSError: `path` is there already and no empty folder, or cannot be written.
    """
    with _naming(path):
        target = Path(os.path.realpath(path))
        make_folder(target.parent)
        scratch = target.parent / _own_name()
        os.mkdir(scratch)
    try:
        yield scratch
        with _naming(path):
            for folder, _, names in os.walk(scratch):
                for name in names:
                    _flush(os.path.join(folder, name))
                _flush_folder(folder)
            if target.is_dir():
                os.chmod(scratch, stat.S_IMODE(os.stat(target).st_mode))
            os.replace(scratch, target)  # fails unless that is an empty folder
            _flush_folder(target.parent)
    except BaseException:
        # Made by this very process: nothing of anybody else's is in it.
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and those above that are missing, so that they outlive a power failure."""
    path = Path(os.path.realpath(path))
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(folder)
        _flush_folder(folder.parent)


def check_output_file(path: str | os.PathLike[str]) -> None:
    """Find out whether a file could be written, by doing all that it takes but for its name.

    Raises:
        OSError: it is no regular file or read-only, its folder is missing, or the system refuses.
    """
    with _naming(path):
        target = _target(path)
        if not target.path.parent.is_dir():
            raise _refusal(errno.ENOENT, "the folder does not exist", path)
        if target.status is not None and not os.access(target.path, os.W_OK):
            raise _refusal(errno.EACCES, "the output is read-only", path)
        with _scratch(target.path.parent) as scratch:
            _flush_folder(target.path.parent)
            os.unlink(scratch.path)


def check_output_folder(path: str | os.PathLike[str]) -> None:
    """Raise an OSError if a folder is to be where there is something else."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise _refusal(errno.ENOTDIR, "the output is a file, expected a folder", path)


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a folder, which is made; the system lets go of it when a process is killed.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be made, or its lock not be had.
    """
    path = Path(folder) / ".lock"
    with _naming(path):
        make_folder(folder)
        _target(path)  # opening a FIFO would wait for ever
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with _naming(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def appended(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a log, which grows as it is written and is nothing to be read half."""
    with _naming(path):
        target = _target(path)
        make_folder(target.path.parent)
        file = target.path.open("a", encoding="utf-8")
    with file:
        yield file


def remove_file(path: str | os.PathLike[str]) -> None:
    """Remove a file that is known to be of our own making, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_left_behind(folder: str | os.PathLike[str]) -> None:
    """Remove the files that killed processes were writing in a folder; see the promises above."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_own(entry.name) and entry.is_file(follow_symlinks=False):
                # Somebody writes it, or another one removes it.
                with suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


class _Target(NamedTuple):
    """The file that a path leads to, links followed, and what is there."""

    path: Path
    status: os.stat_result | None


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def _target(path: str | os.PathLike[str]) -> _Target:
    status = None
    with suppress(FileNotFoundError):
        status = os.stat(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        raise _refusal(
            errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EEXIST,
            f"the output is {kind}, expected the name of a file",
            path,
        )
    return _Target(Path(os.path.realpath(path)), status)


class _Scratch(NamedTuple):
    """An open file under a name of our own, locked until it is closed."""

    path: Path
    descriptor: int


@contextmanager
def _scratch(folder: Path) -> Iterator[_Scratch]:
    """Open a file in a folder, which is removed if the block fails."""
    scratch = _open_scratch(folder)
    try:
        yield scratch
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch.path)
        raise
    finally:
        os.close(scratch.descriptor)


def _open_scratch(folder: Path) -> _Scratch:
    while True:
        path = folder / _own_name()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # without locks none is ever taken for left behind
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return _Scratch(path, descriptor)
        # Taken for left behind by another process before it was locked.
        os.close(descriptor)


_OWN = re.compile(r"\.ftcl_model\.([0-9a-f]{16})\.([0-9a-f]{16})\.partial")


def _own_name() -> str:
    token = secrets.token_hex(8)
    return f".ftcl_model.{token}.{_seal(token)}.partial"


def _is_own(name: str) -> bool:
    match = _OWN.fullmatch(name)
    return match is not None and match[2] == _seal(match[1])


def _seal(token: str) -> str:
    return hashlib.sha256(f"ftcl_model is writing {token}".encode()).hexdigest()[:16]


def _take_over(descriptor: int, status: os.stat_result) -> None:
    """Give a file the owner, as far as that is allowed, and the mode of another."""
    ours = os.fstat(descriptor)
    if (ours.st_uid, ours.st_gid) != (status.st_uid, status.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _fill(descriptor: int, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _flush(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: str | os.PathLike[str]) -> None:
    try:
        _flush(path)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an OSError name the file that was asked for instead of one that nobody knows."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == os.fspath(path):
            raise
        words = f"cannot be written ({error.strerror or error})"
        raise _refusal(error.errno or errno.EIO, words, path) from error


def _refusal(number: int, words: str, path: str | os.PathLike[str]) -> OSError:
    return OSError(number, words, os.fspath(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, without the mark that some editors begin it with.

    Raises:
        InputError: it is missing, no file, not readable or in another encoding; it is named.
    """
    try:
        mode = os.stat(path).st_mode
        # A pipe is what a shell's <(...) is.
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            kind = "folder" if stat.S_ISDIR(mode) else "device"
            raise InputError(f"{path}: expected a file, got a {kind}")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: the file is missing") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error

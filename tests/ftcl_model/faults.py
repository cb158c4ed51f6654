"""A system that fails, kills the process or loses its power at one call to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

How = Literal["fails", "killed", "power"]

_CHANGING = ("open", "write", "fsync", "fchmod", "fchown", "replace", "unlink", "mkdir", "rmdir")


class Killed(BaseException):
    """The process is no more: after it, nothing changes anything on the disk."""


class Faults:
    """Counts the calls of `os` that change, open or flush what is under a folder; one goes wrong.

    "fails" has it raise that the disk is full; of a write half is done. "killed" ends the process
    there: of a write half is done, anything else not at all, and nothing that Python would still do
    is. "power" is what the disk has then, at worst: of files that were written and not flushed
    nothing, and a rename whose folder was not flushed never was, whereas what was removed is gone.

    Args:
        folder: that the calls are about.
        at: number of the call that goes wrong, from 0; None only counts.
        how: it does.

    Attributes:
        calls: their names, so far.
    """

    def __init__(self, folder: Path, at: int | None = None, how: How = "fails") -> None:
        self.folder, self.at, self.how = os.path.realpath(folder), at, how
        self.calls: list[str] = []
        self._dead = False
        self._open: dict[int, str] = {}
        self._unflushed: dict[int, int] = {}  # by inode, a descriptor to empty it with
        self._renames: list[tuple[str, bytes | None]] = []  # what was replaced

    def __enter__(self) -> Faults:
        self._real = {name: getattr(os, name) for name in (*_CHANGING, "close")}
        for name in _CHANGING:
            setattr(os, name, self._faulty(name))
        os.close = self._close
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        for name, function in self._real.items():
            setattr(os, name, function)
        if self._dead and self.how == "power":
            self._lose_power()
        for descriptor in self._unflushed.values():
            os.close(descriptor)
        return kind is Killed

    def _faulty(self, name: str) -> Any:
        real = self._real[name]

        def call(*arguments: Any, **options: Any) -> Any:
            if self._dead:
                raise Killed
            if not self._concerns(arguments[0]):
                return real(*arguments, **options)
            self.calls.append(name)
            if len(self.calls) - 1 == self.at:
                if name == "write":
                    self._note(name, arguments)
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                if self.how == "fails":
                    named = () if isinstance(arguments[0], int) else (str(arguments[0]),)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)
                self._dead = True
                raise Killed
            self._note(name, arguments)
            result = real(*arguments, **options)
            if name == "open":
                self._open[result] = os.path.realpath(arguments[0])
            return result

        return call

    def _concerns(self, what: Any) -> bool:
        if isinstance(what, int):
            return what in self._open
        parent = os.path.realpath(os.path.dirname(what) or ".")
        return f"{parent}/{os.path.basename(what)}/".startswith(f"{self.folder}/")

    def _close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)

    def _note(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Keep in mind what a loss of power now would undo."""
        if name == "write":
            inode = os.fstat(arguments[0]).st_ino
            if inode not in self._unflushed:
                self._unflushed[inode] = os.dup(arguments[0])
        elif name == "fsync":
            path = self._open[arguments[0]]
            self._renames = [one for one in self._renames if os.path.dirname(one[0]) != path]
            if (copy := self._unflushed.pop(os.fstat(arguments[0]).st_ino, None)) is not None:
                self._real["close"](copy)
        elif name == "replace":
            target = Path(arguments[1])
            before = target.read_bytes() if target.is_file() else None
            self._renames.append((os.path.realpath(target), before))

    def _lose_power(self) -> None:
        for descriptor in self._unflushed.values():
            os.ftruncate(descriptor, 0)
        for path, before in reversed(self._renames):
            if before is not None:
                Path(path).write_bytes(before)
            elif os.path.isfile(path):
                os.unlink(path)


def refusal(action: Callable[[], object]) -> str:
    """What is said where an action is refused; nothing where it is done."""
    try:
        action()
    except (OSError, SystemExit) as error:
        return str(error)
    return ""


def number_of_calls(faults: Faults) -> int:
    """How many there were; none would make a test of every one of them empty."""
    assert faults.calls
    return len(faults.calls)

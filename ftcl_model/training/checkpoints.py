"""The states of a training on disk, from which a killed one goes on."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ftcl_model.errors import InputError
from ftcl_model.files import remove_file, remove_left_behind
from ftcl_model.sealed import load_sealed, save_sealed

_NAME = re.compile(r"step_(\d{8,})\.pt")


class Checkpoints:
    """The last states of one training, in a folder of their own.

    A state is written to a new file that takes its name when it is whole and on the disk, and only
    then is the oldest one removed: whenever the training is killed, a whole state remains. What is
    no whole state of this training is neither counted nor removed.

    Args:
        folder: holds step_<iteration>.pt; made by the first `save`.
        run: tells the training from every other; its states hold it.
        keep: number of states that are kept.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str, keep: int = 2) -> None:
        self.folder, self.run, self.keep = Path(folder), run, keep
        self._states: list[Path] = []  # known to be this training's, oldest first

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write a state; one of the same iteration is replaced.

        Raises:
            OSError: see `files.write_bytes`.
        """
        path = self.folder / f"step_{iteration:08d}.pt"
        save_sealed(path, {"run": self.run, "iteration": iteration, "state": state})
        self._states = [one for one in self._states if one != path] + [path]
        while len(self._states) > self.keep:
            remove_file(self._states.pop(0))

    def load(self) -> dict[str, Any] | None:
        """The newest state, on the CPU; None if there are no states.

        One that is damaged or of another training is passed over, and a line on stderr says so.

        Raises:
            InputError: there are states, and all of them are passed over.
        """
        remove_left_behind(self.folder)
        newest, passed_over = None, 0
        self._states = []
        for iteration, path in self._named():
            try:
                newest = self._read(path, iteration)
            except InputError as error:
                print(f"ftcl_model: {error}, passed over", file=sys.stderr)
                passed_over += 1
            else:
                self._states.append(path)
        if passed_over and newest is None:
            raise InputError(f"{self.folder}: every checkpoint is damaged ({passed_over})")
        return newest

    def remove(self) -> None:
        """Remove the states, and the folder if nothing else is in it."""
        for iteration, path in self._named():
            with suppress(InputError):
                self._read(path, iteration)
                remove_file(path)
        with suppress(OSError):
            self.folder.rmdir()

    def _named(self) -> list[tuple[int, Path]]:
        """What has the name of a state, oldest first."""
        return sorted(
            (int(match[1]), path)
            for path in self.folder.glob("step_*.pt")
            if (match := _NAME.fullmatch(path.name))
        )

    def _read(self, path: Path, iteration: int) -> dict[str, Any]:
        content = load_sealed(path)
        if not isinstance(content, dict) or content.get("run") != self.run:
            raise InputError(f"{path}: no state of this training")
        if content["iteration"] != iteration:
            raise InputError(f"{path}: the state of step {content['iteration']}")
        return content["state"]

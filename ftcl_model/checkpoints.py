"""The states of a training on disk, from which a killed one goes on."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from ftcl_model.files import remove_scratch, written_whole

_NAME = re.compile(r"step_(\d+)\.pt")


class Checkpoints:
    """The last states of one training, in a folder of their own.

    A state is written to a new file that takes its name when it is whole, and only then is the
    oldest one removed: whenever the training is killed, a whole state remains.

    Args:
        folder: holds step_<iteration>.pt; made by the first `save`.
        keep: number of states that are kept.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), keep

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write a state; one of the same iteration is replaced."""
        with written_whole(self.folder / f"step_{iteration:08d}.pt") as temporary:
            torch.save(state, temporary)
        for path in self._newest_first()[self.keep :]:
            path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest readable state, on the CPU; None if there are no states.

        A state that is damaged is passed over, and a line on stderr says so.

        Raises:
            ValueError: there are states, and all of them are damaged.
        """
        remove_scratch(self.folder)
        paths = self._newest_first()
        for path in paths:
            try:
                return _read(path)
            except Exception as error:  # torch.load raises whatever the broken bytes lead it to
                print(f"ftcl_model: {path}: damaged ({error!r}), passed over", file=sys.stderr)
        if paths:
            raise ValueError(f"{self.folder}: every checkpoint is damaged ({len(paths)})")
        return None

    def _newest_first(self) -> list[Path]:
        found = [(int(match[1]), path) for path in self.folder.glob("*.pt")
                 if (match := _NAME.fullmatch(path.name))]  # fmt: skip
        return [path for _, path in sorted(found, reverse=True)]


def _read(path: Path) -> dict[str, Any]:
    # torch.save writes a zip archive with checksums, which torch.load does not look at.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"the checksum of {broken} is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)

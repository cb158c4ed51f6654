"""Where a training's numbers can be watched: TensorBoard and wandb, both only when asked for."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


def check_installed(*, tensorboard: bool, wandb: str | None) -> None:
    """Raise ModuleNotFoundError, saying what to install, if what is asked for is not there."""
    for wanted, package in ((tensorboard, "tensorboard"), (wandb is not None, "wandb")):
        if wanted and importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"{package} is not installed: pip install {package}")


class Logs:
    """Writes named numbers by training step; a context manager that closes what it opened.

    A training that goes on from an earlier step replaces the steps that it repeats.

    Args:
        folder: of the run; TensorBoard's files go to its folder "tensorboard".
        settings: what the run is made of, for wandb.
        first_step: the first step that will be written, counted from 1.
        tensorboard: write for TensorBoard.
        wandb: name of a wandb project, None for none.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        first_step: int,
        tensorboard: bool = False,
        wandb: str | None = None,
    ) -> None:
        self._writer, self._run = None, None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        if wandb is not None:
            import wandb as service

            # The same run again when training goes on: its name is made of what it is.
            name = hashlib.sha256(f"{folder.name} {sorted(settings.items())}".encode()).hexdigest()
            self._run = service.init(
                project=wandb, name=folder.name, id=name[:16], resume="allow",
                dir=str(folder), config=dict(settings),
            )  # fmt: skip

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers of one step, which may be called "group/name"."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._run is not None:
            self._run.finish()

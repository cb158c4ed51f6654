"""A whole training in a folder, which goes on where it was killed."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ftcl_model.annotations import Annotations
from ftcl_model.checkpoints import Checkpoints
from ftcl_model.config import Config, save_config
from ftcl_model.distributed import from_first, processes, rank
from ftcl_model.features import FeatureSplit
from ftcl_model.files import remove_scratch, write_json
from ftcl_model.logs import Logs, check_installed
from ftcl_model.model import FTCL, load_checkpoint, save_checkpoint, versions
from ftcl_model.moving_average import MovingAverage
from ftcl_model.planning import plan_training
from ftcl_model.training import (
    StageName,
    StageTraining,
    new_average,
    new_model,
    train_stage,
)
from ftcl_model.validation import choose_detection, validate


@dataclass(frozen=True)
class RunOptions:
    """How a run is watched and saved, which does not change its results.

    save_seconds: least time between two states on disk; a stage's end is saved always.
    progress: show a progress bar.
    tensorboard: write RUN/tensorboard.
    wandb: name of a wandb project, None for none.
    """

    save_seconds: float = 60.0
    progress: bool = True
    tensorboard: bool = False
    wandb: str | None = None


class RunRefused(ValueError):
    """A run cannot go on in its folder; the message is one line and names it."""


class Run:
    """One training of a configuration by a seed, in a folder.

    What it leaves: run.json (what the training is of), config.yaml (the configuration, with the
    chosen detection settings at the end), checkpoints/ (the last two states), backbone.pt (after
    the first stage), best.pt (if weights are chosen), history.json, and at last model.pt.

    Args:
        config: of the training.
        annotations: of the training videos. Their segments are looked at only where the
            configuration chooses by localisation on videos set apart from training.
        split: the training videos.
        folder: new or empty, or that of the same run, which goes on.
        seed: of everything that chance decides.
        device: to train on.
        options: how it is watched and saved.

    Raises:
        ValueError: the folder is a file, holds something else or the run of another configuration,
            seed or split; or the configuration does not fit the split (`plan_training`).
        ImportError: TensorBoard or wandb is asked for and not installed.
    """

    def __init__(
        self,
        config: Config,
        annotations: Annotations,
        split: FeatureSplit,
        folder: Path,
        *,
        seed: int,
        device: torch.device,
        options: RunOptions | None = None,
    ) -> None:
        self.annotations, self.folder = annotations, folder
        self.seed, self.device = seed, device
        self.options = RunOptions() if options is None else options
        plan = plan_training(config, split, seed)
        self.config, self.training, self.validation, self.adapted = plan
        self.identity = {
            "config": dataclasses.asdict(self.config),
            "classes": annotations.classes,
            "seed": seed,
            "videos": split.names,
        }
        self._check_folder()
        check_installed(tensorboard=self.options.tensorboard, wandb=self.options.wandb)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return (self.folder / "model.pt").is_file()

    def _check_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder}: the output is a file, expected a folder")
        path = self.folder / "run.json"
        if path.is_file():
            theirs = json.loads(path.read_text(encoding="utf-8"))["run"]
            ours = json.loads(json.dumps(self.identity))
            difference = _difference(theirs, ours)
            if difference:
                raise ValueError(f"{self.folder}: holds another run, {difference}")
        # Hidden names are what a killed process leaves: the lock, and files it was writing.
        elif self.folder.exists() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise ValueError(f"{self.folder}: the output folder is not empty")

    def train(self, *, must_go_on: bool = False) -> int:
        """Train what is left to train; the number of steps of the model that is kept.

        Args:
            must_go_on: refuse to begin a training.

        Raises:
            RunRefused: another process is training in the folder, every checkpoint in it is
                damaged, or nothing was begun there that could go on.
            FloatingPointError: a loss or a gradient is NaN or infinite.
        """
        if must_go_on and not from_first((self.folder / "run.json").is_file()):
            raise RunRefused(f"{self.folder}: no training was begun there that could go on")
        if not from_first(self.finished):
            with _locked(self.folder), _deterministic():
                self._train()
        return from_first(self._iteration())

    def _iteration(self) -> int:
        return load_checkpoint(self.folder / "model.pt").iteration if rank() == 0 else 0

    def _train(self) -> None:
        self._saved_at = time.monotonic()
        self._checkpoints = Checkpoints(self.folder / "checkpoints")
        state = from_first(self._open() if rank() == 0 else None)
        model = new_model(self.config, self.annotations.classes, seed=self.seed).to(self.device)
        average = new_average(model)
        self._losses: dict[str, list[dict[str, float]]] = state["losses"] if state else {}
        self._validated: list[dict[str, Any]] = state["validation"] if state else []
        iteration = state["training"]["iteration"] if state else 0
        with self._open_logs(iteration) as self._logs:
            for stage in self._stages:
                if state and self._stages.index(stage) < self._stages.index(_stage_of(state)):
                    continue
                iteration = self._train_stage(stage, model, average, iteration, state)
        if rank() == 0:
            self._finish(average.model if average else model, iteration)

    def _train_stage(
        self,
        stage: StageName,
        model: FTCL,
        average: MovingAverage[FTCL] | None,
        iteration: int,
        state: dict[str, Any] | None,
    ) -> int:
        training = StageTraining(
            model, self.training, stage, seed=self.seed, iteration=iteration, average=average
        )
        if state and stage == _stage_of(state):
            training.load_state_dict(state["training"])
        self._losses[stage] = training.history
        train_stage(
            training,
            progress=self.options.progress,
            after_step=partial(self._after_step, training),
            after_epoch=partial(self._after_epoch, training),
        )
        if rank() == 0 and stage == "backbone":
            save_checkpoint(self.folder / "backbone.pt", training.evaluated, training.iteration)
        return training.iteration

    @property
    def _stages(self) -> tuple[StageName, ...]:
        return ("backbone", "contrast") if self.config.training.contrast_epochs else ("backbone",)

    def _open(self) -> dict[str, Any] | None:
        """The state to go on from, None at the start."""
        remove_scratch(self.folder)
        made_with = {
            "versions": versions(), "processes": processes(), "device": self.device.type
        }  # fmt: skip
        path = self.folder / "run.json"
        if path.is_file():
            difference = _difference(json.loads(path.read_text("utf-8"))["made_with"], made_with)
            if difference:
                print(f"ftcl_model: {self.folder}: not bit for bit the run it was, {difference}")
        else:
            write_json(path, {"run": self.identity, "made_with": made_with})
        try:
            return self._checkpoints.load()
        except ValueError as error:
            raise RunRefused(str(error)) from error

    def _open_logs(self, iteration: int) -> Logs:
        if rank() > 0:
            return Logs(self.folder, {}, first_step=iteration + 1)
        return Logs(
            self.folder,
            {"seed": self.seed, **dataclasses.asdict(self.config)},
            first_step=iteration + 1,
            tensorboard=self.options.tensorboard,
            wandb=self.options.wandb,
        )

    def _after_step(self, training: StageTraining, values: dict[str, float]) -> None:
        self._logs.write(training.iteration, {f"train/{name}": values[name] for name in values})

    def _after_epoch(self, training: StageTraining) -> None:
        ended = training.epoch == training.epochs
        if self.validation and (ended or training.epoch % self.config.validation.every == 0):
            self._validate(training)
        due = ended or time.monotonic() - self._saved_at >= self.options.save_seconds
        if due and rank() == 0:
            state = {
                "training": training.state_dict(),
                "losses": self._losses,
                "validation": self._validated,
            }
            self._checkpoints.save(training.iteration, state)
            self._saved_at = time.monotonic()

    def _validate(self, training: StageTraining) -> None:
        assert self.validation is not None
        values: dict[str, float] = {}
        if rank() == 0:
            values = validate(training.evaluated, self.validation, self.annotations)
            self._logs.write(training.iteration, {f"validation/{k}": v for k, v in values.items()})
        values = from_first(values)
        best = self._best()
        at = {"stage": training.stage, "epoch": training.epoch, "iteration": training.iteration}
        self._validated.append(at | values)
        # Only what is better is kept, of equals the first.
        if self._best() != best and rank() == 0:
            save_checkpoint(self.folder / "best.pt", training.evaluated, training.iteration)

    def _best(self) -> dict[str, Any] | None:
        """The best evaluation of the last stage, if weights are chosen by one."""
        choose = self.config.validation.choose
        last = [one for one in self._validated if one["stage"] == self._stages[-1]]
        return max(last, key=lambda one: one[choose]) if choose != "last" and last else None

    def _finish(self, model: FTCL, iteration: int) -> None:
        best = self._best()
        if best is not None:
            model, iteration = load_checkpoint(self.folder / "best.pt")
            model.to(self.device)
        if self.validation and self.config.validation.detection_choices:
            detection = choose_detection(model, self.validation, self.annotations)
            model.config = replace(model.config, detection=detection)
        save_config(self.folder / "config.yaml", model.config)
        history = {
            "seed": self.seed,
            "versions": versions(),
            "losses": self._losses,
            "validation": self._validated,
            "kept": iteration,
        }
        write_json(self.folder / "history.json", history)
        # The last of all: where it is, nothing is left to do.
        save_checkpoint(self.folder / "model.pt", model, iteration)


def _stage_of(state: dict[str, Any]) -> StageName:
    return state["training"]["stage"]


def _difference(theirs: Any, ours: Any, path: str = "") -> str:
    """What differs first between two JSON values, in words; empty if nothing does."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            found = _difference(theirs.get(key), ours.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return ""
    return "" if theirs == ours else f"{path} was {theirs!r} and is {ours!r}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second training out of the folder; the system lets go of a killed one's lock."""
    if rank() > 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunRefused(f"{folder}: another process is training there") from error
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    """Ask for the same bits from run to run also where a GPU's default is a race."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)

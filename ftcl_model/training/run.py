"""A whole training in a folder, which goes on where it was killed."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ftcl_model.config.config import Config, save_config
from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.fingerprint import difference, feature_digests, fingerprint
from ftcl_model.data.moments import snippet_moments
from ftcl_model.distributed import from_first, on_first, processes, rank
from ftcl_model.errors import InputError
from ftcl_model.files import (
    check_output_file,
    check_output_folder,
    locked,
    read_text,
    remove_left_behind,
    write_json,
)
from ftcl_model.model.ftcl import FTCL, Checkpoint, load_checkpoint, save_checkpoint, versions
from ftcl_model.model.moving_average import MovingAverage
from ftcl_model.reading import parse_json
from ftcl_model.training.checkpoints import Checkpoints
from ftcl_model.training.logs import Logs, check_installed
from ftcl_model.training.planning import check_choices, plan_training
from ftcl_model.training.stages import (
    StageName,
    StageTraining,
    new_average,
    new_model,
    train_stage,
)
from ftcl_model.training.validation import choose_detection, validate


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


class Run:
    """One training of a configuration by a seed, in a folder.

    What it leaves: run.json (what the training is of, and what its data were), config.yaml (the
    configuration, with the chosen detection settings at the end), checkpoints/ (the last two
    states), backbone.pt (after the first stage), best.pt (if weights are chosen), history.json, and
    at last model.pt.

    Args:
        config: of the training.
        annotations: of the training videos. Their segments are looked at only where the
            configuration chooses by localisation on videos set apart from training.
        split: the training videos.
        folder: new or empty, or that of the same run, which goes on.
        seed: of everything that chance decides.
        device: to train on.
        options: how it is watched and saved.
        features: the split's `feature_digests`; None makes them where they are needed.

    Raises:
        OSError: the folder is a file.
        InputError: the folder holds something else, the run of another configuration or seed, or
            one that was begun with other videos, labels or features; or the configuration does not
            fit the split (`plan_training`, `check_choices`).
        ModuleNotFoundError: TensorBoard or wandb is asked for and not installed.
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
        features: Mapping[str, str] | None = None,
    ) -> None:
        self.annotations, self.folder = annotations, folder
        self.seed, self.device = seed, device
        self.options = RunOptions() if options is None else options
        self.split, self._features = split, features
        plan = plan_training(config, split, seed)
        check_choices(plan, annotations)
        self.config, self.training, self.validation, self.adapted = plan
        self.identity = {
            "config": dataclasses.asdict(self.config),
            "classes": annotations.classes,
            "seed": seed,
        }
        self._read_beginning()
        check_installed(tensorboard=self.options.tensorboard, wandb=self.options.wandb)

    def train(self, *, must_go_on: bool = False) -> int:
        """Train what is left to train; the number of steps of the model that is kept.

        A model.pt that is damaged is passed over, and a line on stderr says so.

        Args:
            must_go_on: refuse to begin a training.

        Raises:
            InputError: another process is training in the folder, or has meanwhile begun another
                run there; every checkpoint in it is damaged, or the weights chosen so far are; or
                nothing was begun there that could go on.
            OSError: an output cannot be written, which is tried first.
            FloatingPointError: a loss, a gradient or a weight is NaN or infinite.
        """
        with ExitStack() as lock:
            kept, state = on_first(lambda: self._begin(lock, must_go_on))
            if kept is None:
                with _deterministic():
                    kept = self._train(state)
        return kept

    def _begin(
        self, lock: ExitStack, must_go_on: bool
    ) -> tuple[int, None] | tuple[None, dict[str, Any] | None]:
        """Take the folder; the steps of its model, or the state to go on from (None: from none)."""
        if must_go_on and not (self.folder / "run.json").is_file():
            raise InputError(f"{self.folder}: no training was begun there that could go on")
        try:
            lock.enter_context(locked(self.folder))
        except BlockingIOError as error:
            raise InputError(f"{self.folder}: another process is training there") from error
        # Again, for another process may have begun something there before this one had the lock.
        beginning = self._read_beginning()
        remove_left_behind(self.folder)
        if (kept := self._kept()) is not None:
            return kept, None
        self._check_outputs()
        made_with = {
            "versions": versions(), "processes": processes(), "device": self.device.type
        }  # fmt: skip
        if beginning is None:
            beginning = {
                "id": secrets.token_hex(16),
                "run": self.identity,
                "data": self._data,
                "made_with": made_with,
            }
            write_json(self.folder / "run.json", beginning)
        elif changed := difference(beginning["made_with"], made_with):
            print(f"ftcl_model: {self.folder}: not bit for bit the run it was, {changed}")
        self._checkpoints = Checkpoints(self.folder / "checkpoints", beginning["id"])
        try:
            state = self._checkpoints.load()
            if state and self._best(state["validation"]):
                load_checkpoint(self.folder / "best.pt")
        except InputError as error:
            raise InputError(f"{error}; it cannot go on") from error
        return None, state

    def _read_beginning(self) -> dict[str, Any] | None:
        """What run.json says of this very run; None if nothing was begun in the folder."""
        check_output_folder(self.folder)
        if (self.folder / "run.json").is_file():
            beginning = read_beginning(self.folder)
            if other := difference(beginning["run"], json.loads(json.dumps(self.identity))):
                raise InputError(f"{self.folder}: holds another run, {other}")
            if other := difference(beginning["data"], self._data):
                raise InputError(f"{self.folder}: was begun with other data, {other}")
            return beginning
        # Hidden names are what a killed process leaves, and what is nobody's output.
        if self.folder.exists() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise InputError(f"{self.folder}: the output folder is not empty")
        return None

    @property
    def _data(self) -> dict[str, Any]:
        """What is read of the data."""
        if self._features is None:
            self._features = feature_digests(self.split)
        settings = self.config.validation
        looks = settings.choose == "localisation" or settings.detection_choices
        looked_at = self.validation.names if self.validation and looks else ()
        return fingerprint(self.split, self.annotations, self._features, looked_at)

    def _check_outputs(self) -> None:
        for name in ("config.yaml", "backbone.pt", "best.pt", "history.json", "model.pt"):
            check_output_file(self.folder / name)
        for name in ("checkpoints", "tensorboard"):
            check_output_folder(self.folder / name)
        if (self.folder / "checkpoints").exists():
            check_output_file(self.folder / "checkpoints" / "any")

    def _kept(self) -> int | None:
        """The steps of the model that the run left; None if there is something left to do."""
        path = self.folder / "model.pt"
        if not path.is_file():
            return None
        try:
            return load_checkpoint(path).iteration
        except InputError as error:
            print(f"ftcl_model: {error}, passed over", file=sys.stderr)
            return None

    def _train(self, state: dict[str, Any] | None) -> int:
        self._saved_at = time.monotonic()
        model = new_model(self.config, self.annotations.classes, seed=self.seed).to(self.device)
        if state is None and model.standardise is not None:
            model.standardise.settle(snippet_moments(self.training))
        average = new_average(model)
        self._losses: dict[str, list[dict[str, float]]] = state["losses"] if state else {}
        self._validated: list[dict[str, Any]] = state["validation"] if state else []
        iteration = state["training"]["iteration"] if state else 0
        with self._open_logs(iteration) as self._logs:
            for stage in self._stages:
                if state and self._stages.index(stage) < self._stages.index(_stage_of(state)):
                    continue
                iteration = self._train_stage(stage, model, average, iteration, state)
        return on_first(lambda: self._finish(average.model if average else model, iteration))

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
        best = self._best(self._validated)
        at = {"stage": training.stage, "epoch": training.epoch, "iteration": training.iteration}
        self._validated.append(at | values)
        # Only what is better is kept, of equals the first.
        if self._best(self._validated) != best and rank() == 0:
            save_checkpoint(self.folder / "best.pt", training.evaluated, training.iteration)

    def _best(self, validated: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The best evaluation of the last stage, if weights are chosen by one."""
        choose = self.config.validation.choose
        last = [one for one in validated if one["stage"] == self._stages[-1]]
        return max(last, key=lambda one: one[choose]) if choose != "last" and last else None

    def _finish(self, model: FTCL, iteration: int) -> int:
        """Write what a run ends with; the steps of the model that is kept."""
        best = self._best(self._validated)
        if best is not None:
            model, iteration = self._load_best(best["iteration"])
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
        return iteration

    def _load_best(self, iteration: int) -> Checkpoint:
        path = self.folder / "best.pt"
        try:
            best = load_checkpoint(path)
        except InputError as error:
            raise InputError(str(error)) from error
        if best.iteration != iteration:
            raise InputError(
                f"{path}: expected the weights of step {iteration}, got those of {best.iteration}"
            )
        return best


def read_beginning(folder: Path) -> dict[str, Any]:
    """What run.json of a folder says: "id", "run", "data" and "made_with".

    Raises:
        InputError: the file is missing or not of this form.
    """
    path = folder / "run.json"
    try:
        content = parse_json(read_text(path))
        kinds = [type(content[key]) for key in ("id", "run", "data", "made_with")]
    except (InputError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected what a training begins with, got {error!r}") from error
    if kinds != [str, dict, dict, dict]:
        raise InputError(f"{path}: expected what a training begins with")
    return content


def states_of(folder: Path) -> Checkpoints:
    """The states of the run in a folder; InputError if its run.json is broken."""
    return Checkpoints(folder / "checkpoints", read_beginning(folder)["id"])


def _stage_of(state: dict[str, Any]) -> StageName:
    return state["training"]["stage"]


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

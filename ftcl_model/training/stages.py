"""Training in two stages: the backbone on single videos, then the contrasts on pairs of videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ftcl_model.config.config import Config
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.pairs import (
    Batch,
    PairSampler,
    PartnerSampler,
    count_batches,
    one_ahead,
    pair_batches,
    video_batches,
)
from ftcl_model.distributed import mean_over_processes, processes, rank, share_gradients
from ftcl_model.errors import InputError
from ftcl_model.model.ftcl import FTCL
from ftcl_model.model.moving_average import MovingAverage
from ftcl_model.outputs import BackboneOutput

StageName = Literal["backbone", "contrast"]

# What a seed is used for enters the draws, so that none repeats another's.
_PURPOSES = {"weights": 0, "backbone": 1, "contrast": 2}

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class History(NamedTuple):
    """A finished stage.

    iteration: the number of training steps the model has had, earlier stages included.
    epochs: the mean of each term of the loss, and of their sum under "total", in each epoch.
    """

    iteration: int
    epochs: tuple[dict[str, float], ...]


def new_model(config: Config, classes: tuple[str, ...], *, seed: int) -> FTCL:
    """An untrained model; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_torch_seed(seed, _PURPOSES["weights"]))
        return FTCL(config, classes)


def new_average(model: FTCL) -> MovingAverage[FTCL] | None:
    """The moving average that the model's configuration asks for, from its present weights."""
    decay = model.config.training.moving_average
    return MovingAverage(model, decay) if decay > 0 else None


class StageTraining:
    """One stage of a training, an epoch at a time.

    What chance decides in an epoch depends on the seed, the stage, the epoch and the process alone,
    so that training goes on from `state_dict` bit for bit as if it had never stopped.

    Args:
        model: trained in place, on the device where it is.
        split: the training videos.
        stage: "backbone" is ACM-Net's loss on single videos, for `backbone_epochs`; "contrast" that
            and the contrasts on pairs, drawn afresh in every epoch, for `contrast_epochs`.
        seed: of the order of the videos, the choice of pairs and snippets, and the dropout. The
            same seed gives the same weights.
        iteration: the number of steps the model has had.
        average: takes in the weights after every step.

    Attributes:
        epoch: the number of epochs done.
        epochs: the number of epochs of the stage.
        steps: the number of steps of an epoch.
        iteration: the number of steps the model has had.
        history: for each epoch done the mean of each term of the loss, and their sum, "total".

    Raises:
        InputError: the split lacks the pairs that are contrasted, see `contrast_pairs`; or a batch
            has fewer videos, or pairs, than there are processes.
    """

    def __init__(
        self,
        model: FTCL,
        split: FeatureSplit,
        stage: StageName,
        *,
        seed: int,
        iteration: int = 0,
        average: MovingAverage[FTCL] | None = None,
    ) -> None:
        settings = model.config.training
        self.model, self.split, self.stage, self.seed = model, split, stage, seed
        self.average, self.iteration, self.epoch = average, iteration, 0
        self.history: list[dict[str, float]] = []
        self.device = next(model.parameters()).device
        self.epochs = {
            "backbone": settings.backbone_epochs, "contrast": settings.contrast_epochs
        }[stage]  # fmt: skip
        self._pairs = contrast_pairs(model.config, split) if stage == "contrast" else None
        size = self._epoch_size()
        self.steps = count_batches(size, settings.batch_size)
        smallest = size // self.steps
        if smallest < processes():
            raise InputError(
                f"training.batch_size: expected at least one item of each batch for each of the "
                f"{processes()} processes, got a batch of {smallest} in the {stage} stage"
            )
        self._losses_of = share_gradients(
            model, model.video_losses if stage == "backbone" else model.pair_losses
        )
        self._optimizer = torch.optim.Adam(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        # Gradients of float16 would vanish without a scale, which the scaler finds.
        scales = settings.precision == "float16"
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=scales)

    @property
    def evaluated(self) -> FTCL:
        """The model to evaluate and to keep: the moving average if there is one."""
        return self.model if self.average is None else self.average.model

    def train_epoch(self, after_step: Callable[[dict[str, float]], None] | None = None) -> None:
        """Train for one epoch; torch's own generators are left as they were.

        Args:
            after_step: is told the terms of the loss, and their "total", of the batch that all
                processes share.

        Raises:
            FloatingPointError: a term of the loss, a gradient or, at the end, a weight is NaN or
                infinite; it is named.
        """
        place = [self.seed, _PURPOSES[self.stage], self.epoch]
        steps: list[dict[str, float]] = []
        self.model.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_torch_seed(*place, rank()))
            for batch in one_ahead(self._batches(np.random.default_rng(place))):
                done = (self.epoch + len(steps) / self.steps) / self.epochs
                steps.append(self._step(batch.to(self.device), done))
                self.iteration += 1
                if after_step:
                    after_step(steps[-1])
        self._check_weights()
        self.history.append({name: float(np.mean([s[name] for s in steps])) for name in steps[0]})
        self.epoch += 1
        self._settle()

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on: tensors, numbers and texts."""
        return {
            "stage": self.stage,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned in a training with the same arguments."""
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        self.history = list(state["history"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self._settle()

    def _settle(self) -> None:
        """Set the next step's attention scale, so that what follows sees the attention reached."""
        for model in {self.model, self.evaluated}:
            model.backbone.warm_attention(self.iteration)
            model.eval()

    def _epoch_size(self) -> int:
        """The number of videos, or of pairs, of an epoch."""
        if self._pairs is None:
            return len(self.split)
        count = self.model.config.training.pairs_per_epoch
        return self._pairs.size(count)

    def _batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        settings, snippets = self.model.config.training, self.model.config.dataset.snippets
        if self._pairs is None:
            return video_batches(self.split, settings.batch_size, snippets, rng)
        drawn = self._pairs.draw(settings.pairs_per_epoch, rng)
        return pair_batches(self.split, drawn, settings.batch_size, snippets, rng)

    def _taught(self, batch: Batch) -> tuple[BackboneOutput, ...]:
        """What the teacher says of a batch, in the stage that has one."""
        if self.stage != "contrast" or not self.model.config.chosen.teacher:
            return ()
        assert self.average is not None, "the configuration asks for a moving average"
        self.average.model.backbone.warm_attention(self.iteration)
        with torch.no_grad():
            return (self.average.model(batch.features, batch.lengths),)

    def _step(self, batch: Batch, done: float) -> dict[str, float]:
        """One update, after `done` of the stage; the values of the terms of the loss."""
        settings = self.model.config.training
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_scale(settings.schedule, done)
        self.model.backbone.warm_attention(self.iteration)
        dtype = _PRECISIONS[settings.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            losses = self._losses_of(*batch, *self._taught(batch))
        terms = torch.stack(list(losses.values()))
        # Fetched from the device together, and the same in every process, so that none goes on
        # alone where another stops.
        values = dict(zip(losses, mean_over_processes(terms).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"training: the loss {name} is {value} in step {self.iteration}"
                )
        self._optimizer.zero_grad()
        self._scaler.scale(terms.sum()).backward()
        self._scaler.unscale_(self._optimizer)
        self._check_gradients()
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self.model)
        return values | {"total": sum(values.values())}

    def _check_gradients(self) -> None:
        """A finite loss can have a NaN gradient, which would end up in every weight."""
        named = self.model.named_parameters()
        gradients = {name: weight.grad for name, weight in named if weight.grad is not None}
        if nn.utils.get_total_norm(gradients.values()).isfinite():
            return
        # Gradients that overflow under a large scale are the scaler's business: it skips the step.
        if self._scaler.is_enabled() and self._scaler.get_scale() > 1:
            return
        broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        raise FloatingPointError(
            f"training: the gradient of {', '.join(broken)} is not finite in step {self.iteration}"
        )

    def _check_weights(self) -> None:
        """The last step of all could leave what no further step's loss would tell."""
        for name, value in self.evaluated.state_dict().items():
            if not value.isfinite().all():
                raise FloatingPointError(
                    f"training: the weight {name} is not finite after step {self.iteration}"
                )


def learning_rate_scale(schedule: str, done: float) -> float:
    """What the learning rate is multiplied by when a share `done` in [0, 1] of a stage is over."""
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0


def train_stage(
    training: StageTraining,
    *,
    progress: bool = True,
    after_step: Callable[[dict[str, float]], None] | None = None,
    after_epoch: Callable[[], None] | None = None,
) -> History:
    """Train the epochs of a stage that are not done yet.

    Args:
        training: the stage.
        progress: show a progress bar, in the first process.
        after_step: is told the terms of the loss, and their "total".
        after_epoch: called after each epoch.
    """
    with tqdm(
        desc=training.stage, unit="step", mininterval=1.0, disable=not progress or rank() > 0,
        total=training.epochs * training.steps, initial=training.epoch * training.steps,
    ) as bar:  # fmt: skip

        def stepped(values: dict[str, float]) -> None:
            bar.set_postfix(loss=f"{values['total']:.3f}", refresh=False)
            bar.update()
            if after_step:
                after_step(values)

        while training.epoch < training.epochs:
            training.train_epoch(stepped)
            if after_epoch:
                after_epoch()
    return History(training.iteration, tuple(training.history))


def needed_pairs(config: Config) -> tuple[str, ...]:
    """The kinds of `PairSampler`'s pairs without which there is no second stage.

    A loss that pushes videos of different classes apart would pull all together without negative
    ones; one that looks at single videos needs none.
    """
    variant = config.chosen
    settings = getattr(config, variant.section)
    if not config.training.contrast_epochs or not variant.needs_partner(settings):
        return ()
    return ("positive", "negative") if variant.needs_negative(settings) else ("positive",)


def contrast_pairs(config: Config, split: FeatureSplit) -> PairSampler | PartnerSampler:
    """The pairs of the second stage.

    Raises:
        InputError: no two videos have equal label sets; or all share a class, and a loss needs
            some that do not (`needed_pairs`).
    """
    variant = config.chosen
    if not variant.needs_partner(getattr(config, variant.section)):
        return PartnerSampler(np.zeros_like(split.labels))  # all alike, so that any two are drawn
    drawn = variant.sampler(split.labels)
    pairs = drawn if isinstance(drawn, PairSampler) else PairSampler(split.labels)
    where = f"{split.paths[0].parent}: "
    if len(pairs.positive) == 0:
        raise InputError(
            f"{where}no two training videos have equal label sets, so there is nothing to contrast "
            "(training.contrast_epochs: 0 trains the backbone alone)"
        )
    if not pairs.has_negative and "negative" in needed_pairs(config):
        raise InputError(
            f"{where}no two training videos are without a common class, which the contrast needs "
            "(contrast.lcs_weight: 0 leaves that to FSD under `variant: paper`, "
            "training.contrast_epochs: 0 trains the backbone alone)"
        )
    return drawn


def _torch_seed(seed: int, purpose: int, *place: int) -> int:
    return int(np.random.SeedSequence([seed, purpose, *place]).generate_state(1)[0])

"""What a training will be, settled and refused before it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ftcl_model.config.config import Config
from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.pairs import count_batches
from ftcl_model.errors import InputError
from ftcl_model.settings import WARMUP
from ftcl_model.training.stages import contrast_pairs
from ftcl_model.training.validation import set_apart


class TrainingPlan(NamedTuple):
    """What is trained how.

    config: with every default that depends on the training filled in.
    training: the videos that are trained on.
    validation: those that are set apart, None without.
    adapted: what was filled in other than usual, a sentence; empty if nothing was.
    """

    config: Config
    training: FeatureSplit
    validation: FeatureSplit | None
    adapted: str


def plan_training(config: Config, split: FeatureSplit, seed: int) -> TrainingPlan:
    """Set videos apart, and refuse a training of both stages that could not end well.

    Raises:
        InputError: as `set_apart`; the videos lack the pairs that are contrasted; or the attention
            would not be fully faded in when the training ends.
    """
    training, validation, adapted = split, None, ""
    if config.validation.share > 0:
        training, validation = set_apart(split, config.validation.share, seed)
    steps, warmup = _steps(config, training), config.backbone.attention_warmup
    if warmup is None:
        warmup = min(WARMUP, steps // 2)
        config = replace(config, backbone=replace(config.backbone, attention_warmup=warmup))
        if warmup < WARMUP:
            adapted = (
                f"backbone.attention_warmup is {warmup} instead of {WARMUP}, half of the "
                f"training's {steps} steps"
            )
    elif 2 * warmup > steps:
        raise InputError(
            f"backbone.attention_warmup must be at most half of the training's {steps} steps, so "
            f"that the attention is faded in when it ends, got {warmup}"
        )
    return TrainingPlan(config, training, validation, adapted)


def check_choices(plan: TrainingPlan, annotations: Annotations) -> None:
    """Refuse, with InputError, to choose by segments where no video that is set apart has one."""
    choices, apart = plan.config.validation, plan.validation
    if apart is None or not (choices.choose == "localisation" or choices.detection_choices):
        return
    if not annotations.has_segments(apart.names):
        raise InputError("validation: chooses by segments, which no video that is set apart has")


def _steps(config: Config, split: FeatureSplit) -> int:
    """The steps of both stages."""
    settings = config.training
    steps = settings.backbone_epochs * count_batches(len(split), settings.batch_size)
    if settings.contrast_epochs:
        drawn = contrast_pairs(config, split).size(settings.pairs_per_epoch)
        steps += settings.contrast_epochs * count_batches(drawn, settings.batch_size)
    return steps

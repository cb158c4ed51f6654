"""Trainings of one stage, from its first epoch to its last."""

from __future__ import annotations

from ftcl_model.data.features import FeatureSplit
from ftcl_model.model.ftcl import FTCL
from ftcl_model.model.moving_average import MovingAverage
from ftcl_model.training.stages import History, StageTraining, train_stage


def train_backbone(model: FTCL, split: FeatureSplit, *, seed: int) -> History:
    return train_stage(StageTraining(model, split, "backbone", seed=seed), progress=False)


def train_contrast(
    model: FTCL,
    split: FeatureSplit,
    *,
    seed: int,
    iteration: int,
    average: MovingAverage[FTCL] | None = None,
) -> History:
    training = StageTraining(
        model, split, "contrast", seed=seed, iteration=iteration, average=average
    )
    return train_stage(training, progress=False)

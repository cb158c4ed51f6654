"""Training videos set apart by the seed: weights and detection settings are chosen by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection.scores import VideoScores
from ftcl_model.errors import InputError
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.mean_average_precision import (
    classification_average_precision,
    mean_average_precision,
)
from ftcl_model.model.ftcl import FTCL
from ftcl_model.settings import DetectionSettings

KEPT = 2
"""Videos of every class that training keeps: the contrast needs two of a kind."""


class Parts(NamedTuple):
    """The videos of a split that are trained on, and those that are set apart."""

    training: FeatureSplit
    validation: FeatureSplit


def set_apart(split: FeatureSplit, share: float, seed: int) -> Parts:
    """Set a share of a split's videos apart, chosen by the seed and by nothing else.

    Videos are taken in an order drawn by the seed, passing over those without which a class would
    have fewer than two videos left. Both parts keep the split's order.

    Raises:
        InputError: no video can be set apart.
    """
    wanted = round(share * len(split))
    left = split.labels.sum(axis=0)
    chosen: list[int] = []
    for video in np.random.default_rng([seed, 3]).permutation(len(split)).tolist():
        has = split.labels[video] > 0
        if len(chosen) < wanted and (left[has] > KEPT).all():
            chosen.append(video)
            left -= split.labels[video]
    if not chosen:
        raise InputError(
            f"validation.share: {share:g} of {len(split)} training videos sets none apart that "
            f"leaves {KEPT} of each of its classes"
        )
    apart = np.isin(np.arange(len(split)), chosen)
    return Parts(_subset(split, np.flatnonzero(~apart)), _subset(split, np.flatnonzero(apart)))


def _subset(split: FeatureSplit, videos: NDArray[np.int64]) -> FeatureSplit:
    return replace(
        split,
        names=tuple(split.names[video] for video in videos),
        paths=tuple(split.paths[video] for video in videos),
        labels=split.labels[videos],
        lengths=split.lengths[videos],
    )


def classification(scores: dict[str, VideoScores], split: FeatureSplit) -> float:
    """Mean average precision in 0..1 of the video-level scores against the video-level labels."""
    values = np.stack([scores[name].video_scores for name in split.names])
    return float(np.nanmean(classification_average_precision(values, split.labels)))


def localisation(
    scores: dict[str, VideoScores], split: FeatureSplit, model: FTCL, annotations: Annotations
) -> float:
    """Mean average precision in 0..1 of the detected segments, averaged over `config.tious`."""
    found = detect_all(model, scores)
    return mean_average_precision(found, annotations, split.names, model.config.tious).average


def validate(model: FTCL, split: FeatureSplit, annotations: Annotations) -> dict[str, float]:
    """The model's "classification" and, if its configuration chooses by it, "localisation".

    The segments of the videos are looked at only for the latter.
    """
    scores = score_split(model, split, progress=False)
    values = {"classification": classification(scores, split)}
    if model.config.validation.choose == "localisation":
        values["localisation"] = localisation(scores, split, model, annotations)
    return values


def choose_detection(
    model: FTCL, split: FeatureSplit, annotations: Annotations
) -> DetectionSettings:
    """The detection settings of highest localisation among `config.validation`'s choices.

    One setting is chosen after the other; of equal values the first stays, that of
    `config.detection` being the very first.
    """
    scores = score_split(model, split, progress=False)
    config = model.config
    chosen = config.detection

    def precision(settings: DetectionSettings) -> float:
        model.config = replace(config, detection=settings)
        return localisation(scores, split, model, annotations)

    try:
        for name, values in config.validation.detection_choices.items():
            tried: list[DetectionSettings] = [chosen]
            for value in values:
                changed: dict[str, Any] = {name: value}
                tried.append(replace(chosen, **changed))
            chosen = max(tried, key=precision)
    finally:
        model.config = config
    return chosen

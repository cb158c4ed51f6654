"""From a trained model to detections, and their mean average precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import VideoScores
from ftcl_model.model.ftcl import FTCL
from ftcl_model.outputs import INSTANCE


@torch.inference_mode()
def score_video(model: FTCL, features: NDArray[np.float32], seconds: float) -> VideoScores:
    """Score the snippets of a video, one every `seconds` seconds, in the way of its variant.

    `variant: official` scores at most `dataset.snippets` of them, evenly spread, and the snippet of
    a video of one twice.

    Args:
        model: in evaluation mode.
        features: (T, width).
        seconds: distance between the starts of two successive snippets.
    """
    variant = model.config.chosen
    rows = variant.sample(len(features), model.config.dataset.snippets)
    device = next(model.parameters()).device
    batch = torch.from_numpy(features[rows])[None].to(device)
    output = model(batch, torch.tensor([len(rows)], device=device))
    classes, attention = variant.score(output)
    return VideoScores(
        class_scores=classes[0, :, :-1].cpu().numpy(),
        attention=attention[0].cpu().numpy(),
        video_scores=output.video_log_scores[0, INSTANCE, :-1].exp().cpu().numpy(),
        embedding=output.embedding[0].cpu().numpy(),
        seconds_per_snippet=seconds * len(features) / len(rows),
    )


def score_split(
    model: FTCL, split: FeatureSplit, *, progress: bool = True
) -> dict[str, VideoScores]:
    """`score_video` for the videos of a split, by name."""
    model.eval()
    bar = tqdm(split.names, "scoring", unit="video", mininterval=1.0, disable=not progress)
    return {
        name: score_video(model, split.load(index), split.seconds_per_snippet)
        for index, name in enumerate(bar)
    }


def detect_all(model: FTCL, scores: Mapping[str, VideoScores]) -> dict[str, list[Detection]]:
    """The detections of scored videos, by name, in the way of the model's variant."""
    detect = model.config.chosen.detect
    return {
        name: detect(
            video.class_scores,
            video.attention,
            video.video_scores,
            classes=model.classes,
            seconds_per_snippet=video.seconds_per_snippet,
            settings=model.config.detection,
        )
        for name, video in scores.items()
    }

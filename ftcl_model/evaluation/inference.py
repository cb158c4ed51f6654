"""From a trained model to detections, and their mean average precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection.detect import Detection, detect
from ftcl_model.detection.official import detect_official, sample_evenly
from ftcl_model.model.backbone import BACKGROUND, INSTANCE
from ftcl_model.model.ftcl import FTCL


class VideoScores(NamedTuple):
    """What the segments of a video are read from, as `detect` takes it.

    class_scores: (T, classes).  attention: (T,), how much a snippet is action.
    video_scores: (classes,).  embedding: (T, width).
    seconds_per_snippet: distance between the snippets that were scored.
    """

    class_scores: NDArray[np.float32]
    attention: NDArray[np.float32]
    video_scores: NDArray[np.float32]
    embedding: NDArray[np.float32]
    seconds_per_snippet: float


@torch.inference_mode()
def score_video(model: FTCL, features: NDArray[np.float32], seconds: float) -> VideoScores:
    """Score all snippets of a video, one every `seconds` seconds.

    `variant: official` scores at most `dataset.snippets` of them, evenly spread; its attention is
    that of the instance branch and its class scores are the softmax of logits times attention,
    which on the background is the same for every class. The other variants take for attention all
    that is not background, and for class scores the softmax of the logits.

    Args:
        model: in evaluation mode.
        features: (T, width).
        seconds: distance between the starts of two successive snippets.
    """
    official = model.config.variant == "official"
    rows = np.arange(len(features))
    if official:
        rows = sample_evenly(len(features), model.config.dataset.snippets)
    device = next(model.parameters()).device
    batch = torch.from_numpy(features[rows])[None].to(device)
    output = model(batch, torch.tensor([len(rows)], device=device))
    if official:
        attention = output.attention[0, :, INSTANCE]
        class_scores = output.instance_scores[0]
    else:
        attention = 1 - output.attention[0, :, BACKGROUND]
        class_scores = torch.softmax(output.class_logits[0], dim=-1)
    return VideoScores(
        class_scores=class_scores[:, :-1].cpu().numpy(),
        attention=attention.cpu().numpy(),
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
    localise = detect_official if model.config.variant == "official" else detect
    return {
        name: localise(
            video.class_scores,
            video.attention,
            video.video_scores,
            classes=model.classes,
            seconds_per_snippet=video.seconds_per_snippet,
            settings=model.config.detection,
        )
        for name, video in scores.items()
    }

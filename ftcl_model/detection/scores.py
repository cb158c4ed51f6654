"""What the segments of a video are read from, made of what the backbone says of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftcl_model.outputs import BACKGROUND, BackboneOutput


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


class SnippetScores(NamedTuple):
    """Of a batch: classes (batch, snippets, classes + 1), attention (batch, snippets)."""

    classes: Tensor
    attention: Tensor


def every_snippet(length: int, count: int) -> NDArray[np.int64]:
    """The snippets of a video that are scored: all of them, whatever training draws."""
    return np.arange(length)


def snippet_scores(output: BackboneOutput) -> SnippetScores:
    """For class scores the softmax of the logits, for attention all that is not background."""
    attention = 1 - output.attention[..., BACKGROUND]
    return SnippetScores(torch.softmax(output.class_logits, dim=-1), attention)

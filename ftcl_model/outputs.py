"""What a backbone says of a batch of videos: losses and detection read it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Losses = dict[str, Tensor]
"""From the name of a term to its weighted value."""

INSTANCE, CONTEXT, BACKGROUND = 0, 1, 2
"""Order of the attention's branches."""


class BackboneOutput(NamedTuple):
    """What the backbone says of a batch of videos; entries where `mask` is False mean nothing.

    mask:           (batch, snippets) bool, True for the snippets of a video.
    lengths:        (batch,) int64, their number.
    embedding:      (batch, snippets, width).
    attention:      (batch, snippets, 3), softmax over instance, context, background.
    class_logits:   (batch, snippets, classes + 1), the last column is background.
    instance_scores:    (batch, snippets, classes + 1), softmax of the logits times the instance
                    attention.
    video_log_scores:   (batch, 3, classes + 1), log-softmax of each branch's prediction.
    branch_features:    (batch, 3, width), mean embedding where each branch attends most.
    """

    mask: Tensor
    lengths: Tensor
    embedding: Tensor
    attention: Tensor
    class_logits: Tensor
    instance_scores: Tensor
    video_log_scores: Tensor
    branch_features: Tensor


def halves(output: BackboneOutput) -> tuple[BackboneOutput, BackboneOutput]:
    """The first videos and the second ones of a batch of pairs."""
    first, second = zip(*(values.chunk(2) for values in output), strict=True)
    return BackboneOutput(*first), BackboneOutput(*second)


def rank_by(attention: Tensor, mask: Tensor) -> Tensor:
    """The snippets (batch, snippets) of the mask by falling attention; of equals the first first.

    A saturated attention has many equals, which `topk` would order at will.
    """
    return attention.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)

"""How two scored videos align: the common subsequence of what the model takes for action."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import softdp
from ftcl_model.inference import VideoScores
from ftcl_model.losses import cosines

ALIGNMENT_THRESHOLD = 0.4
"""Similarity above which a match gains."""


class Alignment(NamedTuple):
    """Alignment of a video of n snippets with one of m.

    similarity: (n, m), cosine of the embeddings times the geometric mean of the attentions.
    expected: (n, m), how likely two snippets are matched: the gradient of the smoothed score.
    path: the matches (i, j) of the best alignment, the gradient of the hard score.
    score: the smoothed score, the summed similarity of the matches above the threshold.
    """

    similarity: NDArray[np.float32]
    expected: NDArray[np.float32]
    path: list[tuple[int, int]]
    score: float


def align(
    first: VideoScores,
    second: VideoScores,
    *,
    threshold: float = ALIGNMENT_THRESHOLD,
    gamma: float = 0.05,
) -> Alignment:
    """Align all snippets of two videos.

    A match gains what its similarity has above the threshold. Leaving out a snippet is free, but
    for -gamma log 2, which keeps the number of ways to leave out snippets from gaining anything.
    """
    similarity = cosines(torch.from_numpy(first.embedding), torch.from_numpy(second.embedding))
    attention = np.sqrt(np.outer(first.attention, second.attention))
    similarity = (similarity * torch.from_numpy(attention)).requires_grad_()

    def score(gamma: float) -> Tensor:
        gap = -gamma * math.log(2)
        return softdp.edit_similarity(
            similarity - threshold, gap, gap, gamma=gamma, leading_gaps="paid"
        )

    smoothed = score(gamma)
    (expected,) = torch.autograd.grad(smoothed, similarity)
    (matched,) = torch.autograd.grad(score(0.0), similarity)
    return Alignment(
        similarity.detach().numpy(),
        expected.numpy(),
        [(int(i), int(j)) for i, j in matched.nonzero()],
        smoothed.item(),
    )

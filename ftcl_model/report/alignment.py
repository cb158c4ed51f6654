"""How two scored videos align: the common subsequence of what the model takes for action."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import softdp
from ftcl_model.detection.scores import VideoScores
from ftcl_model.losses.proposals import cosines

ALIGNMENT_THRESHOLD = 0.4
"""Similarity above which a match gains."""
LIKELY = 0.1
"""How likely a match has to be to lie on the path."""


class Alignment(NamedTuple):
    """Alignment of a video of n snippets with one of m.

    similarity: (n, m), cosine of the embeddings times the geometric mean of the attentions.
    expected: (n, m), how likely two snippets are matched: the gradient of the smoothed score.
    path: the matches (i, j), none less likely than LIKELY, of the alignment that has most of what
        is expected.
    score: the smoothed score, what the matches have above the threshold; 0 where nothing matches.
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
    gamma: float = 0.02,
) -> Alignment:
    """Align all snippets of two videos.

    A match gains what its similarity has above the threshold. Leaving out a snippet is free, but
    for -gamma log 2, which keeps the number of ways to leave out snippets from gaining anything.
    Gamma is small beside the gains: the larger it is, the more an alignment has to gain to lie far
    from the diagonal, where there are few ways to leave out snippets.
    """
    similarity = cosines(torch.from_numpy(first.embedding), torch.from_numpy(second.embedding))
    attention = np.sqrt(np.outer(first.attention, second.attention))
    similarity = similarity * torch.from_numpy(attention)
    gap = -gamma * math.log(2)
    alignment = softdp.EditAlignment(
        similarity - threshold, gap, gap, gamma=gamma, leading_gaps="free"
    )
    expected = alignment.expected.match
    best = softdp.best_alignment(expected - LIKELY, 0.0, 0.0, leading_gaps="free")
    return Alignment(
        similarity.numpy(),
        expected.numpy(),
        [(i, j) for i, j in best.pairs[best.arcs == 0].tolist()],
        alignment.score.item(),
    )

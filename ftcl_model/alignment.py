"""How two scored videos align: the longest common subsequence of their actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import softdp
from ftcl_model.inference import VideoScores
from ftcl_model.losses import cosines


class Alignment(NamedTuple):
    """Alignment of a video of n snippets with one of m.

    similarity: (n, m), cosine of the embeddings times the geometric mean of the attentions.
    expected: (n, m), how likely two snippets are matched: the gradient of the smoothed score.
    path: the matches (i, j) of a best path, the gradient of the hard score.
    score: the smoothed score, in matches.
    """

    similarity: NDArray[np.float32]
    expected: NDArray[np.float32]
    path: list[tuple[int, int]]
    score: float


def align(
    first: VideoScores, second: VideoScores, *, threshold: float = 0.5, gamma: float = 0.1
) -> Alignment:
    """Align all snippets of two videos; two match where their similarity exceeds the threshold."""
    similarity = cosines(torch.from_numpy(first.embedding), torch.from_numpy(second.embedding))
    attention = np.sqrt(np.outer(first.attention, second.attention))
    similarity = (similarity * torch.from_numpy(attention)).requires_grad_()
    score = softdp.lcs(similarity, threshold, gamma=gamma)
    (expected,) = torch.autograd.grad(score, similarity)
    (matched,) = torch.autograd.grad(softdp.lcs(similarity, threshold, gamma=0.0), similarity)
    return Alignment(
        similarity.detach().numpy(),
        expected.numpy(),
        [(int(i), int(j)) for i, j in matched.nonzero()],
        score.item(),
    )

"""The snippet sequences that FTCL compares: chosen by attention, kept in the order of time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ftcl_model.outputs import BackboneOutput, rank_by


class SnippetSequence(NamedTuple):
    """A short sequence of each video of a batch.

    snippets: (batch, count, width), zero beyond a sequence's length.
    lengths:  (batch,) int64, smaller than count only where the video has too few snippets.
    """

    snippets: Tensor
    lengths: Tensor


def choose_snippets(
    embedding: Tensor, attention: Tensor, lengths: Tensor, count: int, *, skip: int = 0
) -> SnippetSequence:
    """The `count` snippets of highest attention after the first `skip`, in the order of time.

    No gradient reaches the attention: the choice is discrete.

    Args:
        embedding: (batch, snippets, width).
        attention: (batch, snippets), of one branch.
        lengths: (batch,) int64, the snippets of each video.
        count: length of the sequences.
        skip: ranks passed over before choosing.
    """
    n_snippets = embedding.shape[1]
    mask = torch.arange(n_snippets, device=embedding.device) < lengths[:, None]
    order = rank_by(attention, mask)[:, skip : skip + count]
    order = functional.pad(order, (0, count - order.shape[1]))
    chosen_lengths = (lengths - skip).clamp(min=0, max=count)
    surplus = torch.arange(count, device=embedding.device) >= chosen_lengths[:, None]
    # Surplus places sort behind every snippet, then point at any one of them and are blanked.
    order = order.masked_fill(surplus, n_snippets).sort(dim=1).values.clamp(max=n_snippets - 1)
    snippets = embedding.take_along_dim(order[..., None], dim=1)
    return SnippetSequence(snippets.masked_fill(surplus[..., None], 0.0), chosen_lengths)


def proposal(output: BackboneOutput, branch: int, count: int, *, skip: int = 0) -> SnippetSequence:
    """`choose_snippets` of each video of a batch by the attention of a branch."""
    attention = output.attention[..., branch]
    return choose_snippets(output.embedding, attention, output.lengths, count, skip=skip)


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines (..., n, m) of the rows of left (..., n, width) and right (..., m, width)."""
    return functional.normalize(left, dim=-1) @ functional.normalize(right, dim=-1).mT

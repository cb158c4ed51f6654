"""`variant: aligned`: the expected alignment of two videos supervises their snippets.

Two videos with the same classes show the same actions. Where a teacher, the moving average of the
model, finds their snippets to match, what it says of the one video is a target for the other: its
class scores there, restricted to the classes that the labels name, and its attention. A single
video teaches only its most telling snippets; what is carried over completes the actions, and the
teacher's class scores of the snippet itself keep them from running into each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import softdp
from ftcl_model.distributed import batch_mean
from ftcl_model.outputs import BACKGROUND, BackboneOutput, Losses, halves
from ftcl_model.settings import AlignedSettings

NEIGHBOUR_TEMPERATURE = 0.1
"""Of the softmax of the cosines under `source: neighbours`."""


class AlignedLoss(nn.Module):
    """The two videos of a pair, whose labels are equal, teach each other; it has no weights.

    With `source: self` each video teaches itself, and a pair may be of any two.

    Args:
        width: of the embeddings.
        settings: of the alignment and the two terms.
    """

    def __init__(self, width: int, settings: AlignedSettings) -> None:
        super().__init__()
        self.settings = settings

    @staticmethod
    def needs_partner(settings: AlignedSettings) -> bool:
        """Whether a video is taught by another one of the same classes."""
        return settings.source != "self"

    def forward(
        self,
        output: BackboneOutput,
        labels: Tensor,
        classify: Callable[[Tensor], Tensor],
        teacher: BackboneOutput | None,
    ) -> Losses:
        """The terms of a batch of pairs; see `variants.Variant.loss` for the arguments."""
        assert teacher is not None, "the variant has a teacher"
        targets = snippet_targets(teacher, labels, self.settings)
        return aligned_losses(output, classify(output.embedding), targets, self.settings)


class SnippetTargets(NamedTuple):
    """What each snippet of a batch should say; no gradient flows into it.

    classes: (batch, snippets, classes + 1), distributions, the last column is background.
    action:  (batch, snippets) in 0..1, how much it is action.
    weight:  (batch, snippets) in 0..1, how surely it is matched; 0 beyond a video's length.
    """

    classes: Tensor
    action: Tensor
    weight: Tensor


@torch.no_grad()
def expected_alignment(
    first: BackboneOutput, second: BackboneOutput, gate: AlignedSettings
) -> Tensor:
    """How likely two snippets of a pair are matched, in one batched dynamic program.

    The similarity is the cosine of the embeddings, each less its video's mean. The alignment is the
    smoothed longest common subsequence of `softdp.lcs` with a soft gate.

    Returns:
        (pairs, n, m), rows add up to at most 1, and so do columns; 0 beyond the lengths.
    """
    similarity = _centred(first) @ _centred(second).mT
    return softdp.LCSAlignment(
        similarity,
        gate.threshold,
        gamma=gate.gamma,
        gate_width=gate.gate_width,
        lengths=(first.lengths, second.lengths),
    ).expected.match


@torch.no_grad()
def snippet_targets(
    teacher: BackboneOutput, labels: Tensor, settings: AlignedSettings
) -> SnippetTargets:
    """What each video of a pair is told by the other one, or by itself (`source: self`).

    Args:
        teacher: of 2 * pairs videos, the first videos of the pairs, then the second ones.
        labels: (2 * pairs, classes).
        settings: of the alignment.
    """
    carry = _carry(teacher, settings)
    action = 1 - teacher.attention[..., BACKGROUND]
    classes = _which_and_whether(teacher.class_logits, action, labels)
    # (2 * pairs, snippets, classes + 2), of the video that teaches each.
    said = torch.cat([classes, action[..., None]], dim=-1)
    if settings.source != "self":
        said = said.roll(len(labels) // 2, dims=0)
    matched = carry.sum(dim=2, keepdim=True)
    carried = carry @ said / matched.clamp(min=1e-6)
    return SnippetTargets(
        _agreed(carried[..., :-1], teacher.class_logits, labels, settings.own_share),
        carried[..., -1].clamp(0, 1),
        matched[..., 0].clamp(max=1),
    )


def aligned_losses(
    output: BackboneOutput, class_logits: Tensor, targets: SnippetTargets, settings: AlignedSettings
) -> Losses:
    """Cross-entropies of class scores and attention against the targets, by their weight.

    Args:
        output: of the model in training.
        class_logits: (batch, snippets, classes + 1) without dropout, which would let snippets that
            are dropped pull the bias towards the mean of all targets.
        targets: of the same videos.
        settings: the weights of the two terms.
    """
    losses, action = {}, 1 - output.attention[..., BACKGROUND]
    if settings.class_weight > 0:
        wrong = -(targets.classes * torch.log_softmax(class_logits, dim=-1)).sum(dim=-1)
        losses["aligned_classes"] = settings.class_weight * _mean(targets.weight * wrong, output)
    if settings.attention_weight > 0:
        # A saturated attention must not make the logarithm infinite.
        wrong = functional.binary_cross_entropy(
            action.clamp(1e-6, 1 - 1e-6), targets.action, reduction="none"
        )
        losses["aligned_attention"] = settings.attention_weight * _mean(
            targets.weight * wrong, output
        )
    return losses


def _carry(teacher: BackboneOutput, settings: AlignedSettings) -> Tensor:
    """(2 * pairs, n, m): how far each snippet is told what a snippet of its teaching video is.

    Rows add up to at most 1, and are 0 beyond the length of the video.
    """
    if settings.source == "self":
        return expected_alignment(teacher, teacher, settings)
    first, second = halves(teacher)
    if settings.source == "alignment":
        expected = expected_alignment(first, second, settings)
        return torch.cat([expected, expected.mT])
    return torch.cat([_neighbours(first, second, settings), _neighbours(second, first, settings)])


def _neighbours(pupil: BackboneOutput, other: BackboneOutput, gate: AlignedSettings) -> Tensor:
    """(pairs, n, m): the most similar snippets of the other video, weighted by the best's gate."""
    similarity = _centred(pupil) @ _centred(other).mT
    similarity = similarity.masked_fill(~other.mask[:, None], -torch.inf)
    best = similarity.amax(dim=2, keepdim=True)
    weight = torch.sigmoid((best - gate.threshold) / gate.gate_width) * pupil.mask[..., None]
    return weight * torch.softmax(similarity / NEIGHBOUR_TEMPERATURE, dim=2)


def _centred(output: BackboneOutput) -> Tensor:
    """(batch, snippets, width): embeddings less their video's mean, of length 1; 0 as padding."""
    inside = output.mask[..., None]
    embedding = output.embedding.masked_fill(~inside, 0.0)
    mean = embedding.sum(dim=1, keepdim=True) / output.lengths[:, None, None]
    return functional.normalize((embedding - mean).masked_fill(~inside, 0.0), dim=-1)


def _which_and_whether(class_logits: Tensor, action: Tensor, labels: Tensor) -> Tensor:
    """(batch, snippets, classes + 1): the attention says whether, the class scores which class."""
    present = class_logits[..., :-1].masked_fill(labels[:, None] == 0, -torch.inf)
    which = torch.softmax(present, dim=-1) * action[..., None]
    return torch.cat([which, 1 - action[..., None]], dim=-1)


def _agreed(carried: Tensor, class_logits: Tensor, labels: Tensor, own_share: float) -> Tensor:
    """The geometric mean of what is carried over and what the teacher says of a snippet itself.

    Args:
        carried: (batch, snippets, classes + 1), distributions over the classes that the labels
            name, and background.
        class_logits: (batch, snippets, classes + 1), of the snippets themselves.
        labels: (batch, classes).
        own_share: exponent of the latter; the former's is 1 less it.
    """
    if own_share == 0:
        return carried
    floor = 1e-4  # Neither rules out a class alone.
    own = torch.softmax(class_logits, dim=-1).clamp(min=floor).log()
    mean = torch.lerp(carried.clamp(min=floor).log(), own, own_share)
    absent = functional.pad(labels == 0, (0, 1))  # the background never is
    return torch.softmax(mean.masked_fill(absent[:, None], -torch.inf), dim=-1)


def _mean(values: Tensor, output: BackboneOutput) -> Tensor:
    """The mean over each video's snippets, and over the videos, of (batch, snippets)."""
    return batch_mean(values.masked_fill(~output.mask, 0.0).sum(dim=1) / output.lengths)

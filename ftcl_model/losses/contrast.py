"""The losses: ACM-Net's on single videos, and FTCL's two contrasts on pairs of videos.

Gao, Chen, Xu, "Fine-grained Temporal Contrastive Learning for Weakly-supervised Temporal Action
Localization", CVPR 2022. Every loss is a mapping from the name of a term to its weighted value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

import softdp
from ftcl_model.distributed import batch_mean
from ftcl_model.losses.proposals import SnippetSequence, choose_snippets
from ftcl_model.model.backbone import BACKGROUND, CONTEXT, INSTANCE, BackboneOutput
from ftcl_model.settings import BackboneSettings, ContrastSettings

Losses = dict[str, Tensor]

SHARE_MARGIN = 0.01
"""Distance that the share of a common subsequence keeps from 0 and 1 in its cross-entropy.

Two videos without any match have share 0, and its logarithm would be infinite; the paper leaves
that open. 0.01 bounds a pair's loss at -log 0.01 = 4.6 and its slope at 98, so that no single
pair outweighs a batch, and moves no share by more than 0.01.
"""


OFFICIAL_FLOOR = 1e-10
"""What the authors' second stage adds to a probability before they take its logarithm."""


def backbone_losses(
    output: BackboneOutput, labels: Tensor, settings: BackboneSettings, *, floor: float = 0.0
) -> Losses:
    """The loss of ACM-Net, averaged over the batch that the processes share.

    Cross-entropies of the three branches' video-level predictions (targets: the labels; labels and
    background; background), a guide that ties the instance scores to the instance attention, a
    ranking of the branches' feature norms and the sparsity of the first two attentions.

    Args:
        output: of the backbone.
        labels: (batch, classes) float, 1 where the class occurs; each video has at least one.
        settings: weights and margin.
        floor: added to the video-level probabilities, whose logarithms it bounds.
    """
    zero, one = torch.zeros_like(labels[:, :1]), torch.ones_like(labels[:, :1])
    targets = torch.stack(
        [
            torch.cat([labels, zero], dim=1),
            torch.cat([labels, one], dim=1),
            torch.cat([torch.zeros_like(labels), one], dim=1),
        ],
        dim=1,
    )
    targets = targets / targets.sum(dim=2, keepdim=True)
    log_scores = output.video_log_scores
    if floor > 0:
        log_scores = torch.logaddexp(log_scores, torch.full_like(log_scores, math.log(floor)))
    cross_entropy = -batch_mean((targets * log_scores).sum(dim=2))

    not_background = 1 - output.instance_scores[..., -1]
    gap = (not_background - output.attention[..., INSTANCE].detach()).abs()
    guide = batch_mean(gap.masked_fill(~output.mask, 0.0).sum(dim=1))

    norms = torch.linalg.vector_norm(output.branch_features, dim=2)
    margin = settings.norm_margin
    ranking = (
        functional.relu(margin - norms[:, INSTANCE] + norms[:, CONTEXT])
        + functional.relu(margin - norms[:, CONTEXT] + norms[:, BACKGROUND])
        + norms[:, BACKGROUND]
    )
    foreground = output.attention[..., : CONTEXT + 1].masked_fill(~output.mask[..., None], 0.0)
    return {
        "instance": settings.instance_weight * cross_entropy[INSTANCE],
        "context": cross_entropy[CONTEXT],
        "background": cross_entropy[BACKGROUND],
        "guide": settings.guide_weight * guide,
        "norm": settings.norm_weight * batch_mean(ranking.square()),
        "sparsity": settings.sparsity_weight * batch_mean(foreground.mean(dim=2).sum(dim=1)),
    }


class PaperContrast(nn.Module):
    """FSD and LCS contrasting by the paper's equations.

    FSD: of two snippets u and v, mu = softplus(cosine(f_mu(u), f_mu(v))), and g, h = log sigmoid of
    the same with f_g and f_h: a match rewards, a gap costs, as in the alignment networks that the
    paper builds on. The score s of two sequences is that of `softdp.edit_similarity` with
    potentials mu to match, mu + g to insert and mu + h to delete. For two videos of one class with
    action proposals U, V and background proposals U', V'

        loss = l(s[U V'] - s[U V]) + l(s[U' V] - s[U V]),    l(x) = log(1 + exp(x / eta))

    LCS: the score r of `softdp.lcs` over the cosines of the snippets that the attention chooses,
    divided by the most that it can be, the shorter length. The loss is the cross-entropy of it
    against "of one class". So that the logarithms stay finite, r is mapped to SHARE_MARGIN ..
    1 - SHARE_MARGIN. The gate at the threshold is soft unless its width is 0 (`ContrastSettings`).
    """

    def __init__(self, width: int, settings: ContrastSettings) -> None:
        super().__init__()
        self.settings = settings
        self.f_mu = nn.Linear(width, settings.projection)
        self.f_g = nn.Linear(width, settings.projection)
        self.f_h = nn.Linear(width, settings.projection)

    def forward(self, first: BackboneOutput, second: BackboneOutput, same: Tensor) -> Losses:
        """Compare the videos pair by pair.

        Args:
            first: of the backbone, the one video of each pair.
            second: the other video of each pair.
            same: (pairs,) bool, True where the videos are of one class, False where of none.
        """
        settings, losses = self.settings, {}
        if settings.fsd_weight > 0:
            count = settings.fsd_length
            margins = self._fsd_margins(
                _choose(first, INSTANCE, count),
                _choose(second, INSTANCE, count),
                _choose(first, BACKGROUND, count),
                _choose(second, BACKGROUND, count),
            )
            ranking = functional.softplus(margins / settings.eta).sum(dim=0)
            losses["fsd"] = settings.fsd_weight * batch_mean(ranking, same)
        if settings.lcs_weight > 0:
            left = _choose(first, INSTANCE, settings.lcs_length)
            right = _choose(second, INSTANCE, settings.lcs_length)
            score = softdp.lcs(
                cosines(left.snippets, right.snippets),
                settings.lcs_threshold,
                gamma=settings.gamma,
                gate_width=settings.lcs_gate_width,
                lengths=(left.lengths, right.lengths),
            )
            share = score / torch.minimum(left.lengths, right.lengths)
            likely = SHARE_MARGIN + (1 - 2 * SHARE_MARGIN) * share.clamp(0.0, 1.0)
            cross_entropy = -torch.where(same, likely, 1 - likely).log()
            losses["lcs"] = settings.lcs_weight * batch_mean(cross_entropy)
        return losses

    def _fsd_margins(
        self,
        action: SnippetSequence,
        other_action: SnippetSequence,
        background: SnippetSequence,
        other_background: SnippetSequence,
    ) -> Tensor:
        """(2, pairs): s[U V'] - s[U V] and s[U' V] - s[U V], in one batched comparison."""
        sequences = (action, other_action, background, other_background)
        snippets = torch.stack([sequence.snippets for sequence in sequences])
        lengths = torch.stack([sequence.lengths for sequence in sequences])
        # Rows of the three comparisons U V, U V' and U' V.
        left, right = [0, 0, 2], [1, 3, 1]

        def similarity(f: nn.Linear) -> Tensor:
            projected = f(snippets)
            return cosines(projected[left], projected[right])

        mu = functional.softplus(similarity(self.f_mu))
        scores = softdp.edit_similarity(
            mu,
            mu + functional.logsigmoid(similarity(self.f_g)),
            mu + functional.logsigmoid(similarity(self.f_h)),
            gamma=self.settings.gamma,
            lengths=(lengths[left], lengths[right]),
            leading_gaps="free",
        )
        return scores[1:] - scores[0]


class OfficialContrast(nn.Module):
    """FSD and LCS contrasting with the arithmetic of the authors' code.

    One projection gives both potentials of FSD: the cosine of its first half is m, that of its
    second half g, for insertions and deletions alike. "Background" is what follows the action
    proposal in the ranking by instance attention. A pair of one class is compared action to action,
    one of different classes action to background, and the loss is mean(different) - mean(same),
    without a bound; a video of at most `fsd_length` snippets has no such background, and its pair
    does not count. LCS takes the same difference of hard scores, whatever `lcs_gate_width` says;
    where no cosine exceeds the threshold it has no gradient.
    """

    def __init__(self, width: int, settings: ContrastSettings) -> None:
        super().__init__()
        self.settings = settings
        self.project = nn.Linear(width, settings.projection)

    def forward(self, first: BackboneOutput, second: BackboneOutput, same: Tensor) -> Losses:
        """Compare the videos pair by pair; arguments as for `PaperContrast`."""
        settings, losses = self.settings, {}
        if settings.fsd_weight > 0:
            count = settings.fsd_length
            left = _choose(first, INSTANCE, count)
            action = _choose(second, INSTANCE, count)
            background = _choose(second, INSTANCE, count, skip=count)
            right = SnippetSequence(
                torch.where(same[:, None, None], action.snippets, background.snippets),
                torch.where(same, action.lengths, background.lengths),
            )
            match_left, gap_left = self.project(left.snippets).chunk(2, dim=-1)
            match_right, gap_right = self.project(right.snippets).chunk(2, dim=-1)
            match = cosines(match_left, match_right)
            gap = match + cosines(gap_left, gap_right)
            score = softdp.edit_similarity(
                match,
                gap,
                gap,
                gamma=settings.gamma,
                lengths=(left.lengths, right.lengths),
                leading_gaps="free",
            )
            different = ~same & (background.lengths > 0)
            difference = batch_mean(score, different) - batch_mean(score, same)
            losses["fsd"] = settings.fsd_weight * difference
        if settings.lcs_weight > 0:
            left = _choose(first, INSTANCE, settings.lcs_length)
            right = _choose(second, INSTANCE, settings.lcs_length)
            score = softdp.lcs(
                cosines(left.snippets, right.snippets),
                settings.lcs_threshold,
                gamma=0.0,
                lengths=(left.lengths, right.lengths),
            )
            difference = batch_mean(score, ~same) - batch_mean(score, same)
            losses["lcs"] = settings.lcs_weight * difference
        return losses


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines (..., n, m) of the rows of left (..., n, width) and right (..., m, width)."""
    return functional.normalize(left, dim=-1) @ functional.normalize(right, dim=-1).mT


def _choose(output: BackboneOutput, branch: int, count: int, *, skip: int = 0) -> SnippetSequence:
    attention = output.attention[..., branch]
    return choose_snippets(output.embedding, attention, output.lengths, count, skip=skip)

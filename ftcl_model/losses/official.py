"""`variant: official`: FTCL's two contrasts with the arithmetic of the authors' code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import softdp
from ftcl_model.distributed import batch_mean
from ftcl_model.losses.contrast import Contrast
from ftcl_model.losses.proposals import SnippetSequence, cosines, proposal
from ftcl_model.outputs import INSTANCE, BackboneOutput, Losses
from ftcl_model.settings import ContrastSettings

OFFICIAL_FLOOR = 1e-10
"""What the authors' second stage adds to a probability before they take its logarithm."""


class OfficialContrast(Contrast):
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
        super().__init__(width, settings)
        self.project = nn.Linear(width, settings.projection)

    def compare(self, first: BackboneOutput, second: BackboneOutput, same: Tensor) -> Losses:
        """See `Contrast.compare`."""
        settings, losses = self.settings, {}
        if settings.fsd_weight > 0:
            count = settings.fsd_length
            left = proposal(first, INSTANCE, count)
            action = proposal(second, INSTANCE, count)
            background = proposal(second, INSTANCE, count, skip=count)
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
            left = proposal(first, INSTANCE, settings.lcs_length)
            right = proposal(second, INSTANCE, settings.lcs_length)
            score = softdp.lcs(
                cosines(left.snippets, right.snippets),
                settings.lcs_threshold,
                gamma=0.0,
                lengths=(left.lengths, right.lengths),
            )
            difference = batch_mean(score, ~same) - batch_mean(score, same)
            losses["lcs"] = settings.lcs_weight * difference
        return losses

    @staticmethod
    def needs_negative(settings: ContrastSettings) -> bool:
        """Whether a term pushes apart, as both do."""
        return settings.fsd_weight > 0 or settings.lcs_weight > 0

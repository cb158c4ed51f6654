"""`variant: paper`: FTCL's two contrasts by the paper's equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import softdp
from ftcl_model.distributed import batch_mean
from ftcl_model.losses.contrast import Contrast
from ftcl_model.losses.proposals import SnippetSequence, cosines, proposal
from ftcl_model.outputs import BACKGROUND, INSTANCE, BackboneOutput, Losses
from ftcl_model.settings import ContrastSettings

SHARE_MARGIN = 0.01
"""Distance that the share of a common subsequence keeps from 0 and 1 in its cross-entropy.

Two videos without any match have share 0, and its logarithm would be infinite; the paper leaves
that open. 0.01 bounds a pair's loss at -log 0.01 = 4.6 and its slope at 98, so that no single
pair outweighs a batch, and moves no share by more than 0.01.
"""


class PaperContrast(Contrast):
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
        super().__init__(width, settings)
        self.f_mu = nn.Linear(width, settings.projection)
        self.f_g = nn.Linear(width, settings.projection)
        self.f_h = nn.Linear(width, settings.projection)

    def compare(self, first: BackboneOutput, second: BackboneOutput, same: Tensor) -> Losses:
        """See `Contrast.compare`."""
        settings, losses = self.settings, {}
        if settings.fsd_weight > 0:
            count = settings.fsd_length
            margins = self._fsd_margins(
                proposal(first, INSTANCE, count),
                proposal(second, INSTANCE, count),
                proposal(first, BACKGROUND, count),
                proposal(second, BACKGROUND, count),
            )
            ranking = functional.softplus(margins / settings.eta).sum(dim=0)
            losses["fsd"] = settings.fsd_weight * batch_mean(ranking, same)
        if settings.lcs_weight > 0:
            left = proposal(first, INSTANCE, settings.lcs_length)
            right = proposal(second, INSTANCE, settings.lcs_length)
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

    @staticmethod
    def needs_negative(settings: ContrastSettings) -> bool:
        """Whether a term pushes apart: LCS does, FSD ranks the snippets of one class."""
        return settings.lcs_weight > 0

"""The loss of ACM-Net on single videos, which both stages minimise."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ftcl_model.distributed import batch_mean
from ftcl_model.outputs import BACKGROUND, CONTEXT, INSTANCE, BackboneOutput, Losses
from ftcl_model.settings import BackboneSettings


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

"""ACM-Net: class scores of every snippet, and an attention over instance, context, background.

Qu et al., "ACM-Net: Action Context Modeling Network for Weakly-Supervised Temporal Action
Localization", 2021; the backbone of FTCL.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftcl_model.outputs import INSTANCE, BackboneOutput, rank_by
from ftcl_model.settings import WARMUP, BackboneSettings


class Backbone(nn.Module):
    """The network of ACM-Net.

    Every video of a padded batch gets what it would get alone: its own number of top snippets, and
    zeros beside its ends for the temporal convolution.

    The attention's logits are multiplied by the buffer `attention_scale`. A training with warm-up
    starts the attention layer at zero and raises the scale from 0 to 1 (`warm_attention`), so that
    the class scores learn under a uniform attention first: from a random start about half of the
    seeds learn an attention that points at the background.
    """

    attention_scale: Tensor

    def __init__(self, feature_width: int, classes: int, settings: BackboneSettings) -> None:
        super().__init__()
        width = feature_width if settings.width is None else settings.width
        self.settings = settings
        self.embed = nn.Conv1d(feature_width, width, kernel_size=3, padding=1)
        self.attend = nn.Linear(width, 3)
        self.classify = nn.Linear(width, classes + 1)
        self.register_buffer("attention_scale", torch.ones(()))
        warmup = settings.attention_warmup
        self.warmup = WARMUP if warmup is None else warmup
        if self.warmup > 0:
            nn.init.zeros_(self.attend.weight)
            nn.init.zeros_(self.attend.bias)
            self.warm_attention(0)

    def warm_attention(self, iteration: int) -> None:
        """Set the attention's scale for a training step: clip(iteration / warmup - 1, 0, 1)."""
        if self.warmup > 0:
            self.attention_scale.fill_(min(max(iteration / self.warmup - 1.0, 0.0), 1.0))

    def forward(self, features: Tensor, lengths: Tensor) -> BackboneOutput:
        """Score a padded batch.

        Args:
            features: (batch, snippets, feature_width); what lies beyond a length is ignored.
            lengths: (batch,) int64, each in 1..snippets.
        """
        settings = self.settings
        mask = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        inputs = features.masked_fill(~mask[..., None], 0.0)
        if settings.input_dropout:
            inputs = self._dropout(inputs)
        embedding = functional.relu(self.embed(inputs.transpose(1, 2)).transpose(1, 2))

        attended = self._dropout(embedding) if settings.input_dropout else embedding
        attention = torch.softmax(self.attend(attended) * self.attention_scale, dim=-1)

        # Whole snippets are dropped as well as channels.
        kept = self._dropout(torch.ones_like(embedding[..., :1]))
        class_logits = self.classify(self._dropout(embedding * kept))

        divisors = (
            settings.instance_divisor, settings.context_divisor, settings.background_divisor
        )  # fmt: skip
        video_logits, branch_features = [], []
        for branch, divisor in enumerate(divisors):
            count = (lengths // divisor).clamp(min=1)
            most = max(features.shape[1] // divisor, 1)
            weighted = class_logits * attention[..., branch, None]
            top = weighted.masked_fill(~mask[..., None], -torch.inf).topk(most, dim=1).values
            video_logits.append(_mean_of_first(top, count))
            ranked = rank_by(attention[..., branch], mask)[:, :most]
            attended = embedding.take_along_dim(ranked[..., None], dim=1)
            branch_features.append(_mean_of_first(attended, count))
        return BackboneOutput(
            mask=mask,
            lengths=lengths,
            embedding=embedding,
            attention=attention,
            class_logits=class_logits,
            instance_scores=torch.softmax(class_logits * attention[..., INSTANCE, None], dim=-1),
            video_log_scores=torch.log_softmax(torch.stack(video_logits, dim=1), dim=-1),
            branch_features=torch.stack(branch_features, dim=1),
        )

    def _dropout(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.settings.dropout, self.training)


def _mean_of_first(values: Tensor, count: Tensor) -> Tensor:
    """Mean of the first count[b] rows of values (batch, rows, width), which is (batch, width)."""
    chosen = torch.arange(values.shape[1], device=values.device) < count[:, None]
    return values.masked_fill(~chosen[..., None], 0.0).sum(dim=1) / count[:, None]

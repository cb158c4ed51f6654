"""What FTCL's contrasts have in common: two videos of each pair, of one class or of none.

Gao, Chen, Xu, "Fine-grained Temporal Contrastive Learning for Weakly-supervised Temporal Action
Localization", CVPR 2022.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from ftcl_model.outputs import BackboneOutput, Losses, halves
from ftcl_model.settings import ContrastSettings


class Contrast(nn.Module, ABC):
    """Compares the two videos of each pair.

    Args:
        width: of the embeddings.
        settings: of the contrasts.
    """

    def __init__(self, width: int, settings: ContrastSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self,
        output: BackboneOutput,
        labels: Tensor,
        classify: Callable[[Tensor], Tensor],
        teacher: BackboneOutput | None,
    ) -> Losses:
        """The terms of a batch of pairs; see `variants.Variant.loss` for the arguments."""
        first, second = halves(output)
        first_labels, second_labels = labels.chunk(2)
        same = (first_labels * second_labels).sum(dim=1) > 0
        return self.compare(first, second, same)

    @abstractmethod
    def compare(self, first: BackboneOutput, second: BackboneOutput, same: Tensor) -> Losses:
        """The terms of some pairs.

        Args:
            first: of the backbone, the one video of each pair.
            second: the other video of each pair.
            same: (pairs,) bool, True where the videos are of one class, False where of none.
        """

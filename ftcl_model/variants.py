"""The variants of the model: what the second stage minimises, and how segments are read off.

A new loss is a file in `losses/` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ftcl_model.data.pairs import PairSampler, PartnerSampler
from ftcl_model.detection.detect import detect
from ftcl_model.detection.official import detect_official, official_scores, sample_evenly
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import SnippetScores, every_snippet, snippet_scores
from ftcl_model.losses.aligned import AlignedLoss
from ftcl_model.losses.official import OFFICIAL_FLOOR, OfficialContrast
from ftcl_model.losses.paper import PaperContrast
from ftcl_model.outputs import BackboneOutput
from ftcl_model.settings import BackboneSettings, ContrastSettings, require


def _accept(backbone: BackboneSettings, contrast: ContrastSettings) -> None:
    pass


def _check_official(backbone: BackboneSettings, contrast: ContrastSettings) -> None:
    expected = "0 under `variant: official`, whose attention starts at random"
    require(backbone, "attention_warmup", backbone.attention_warmup == 0, expected)
    even = contrast.projection % 2 == 0
    require(contrast, "projection", even, "even under `variant: official`")


@dataclass(frozen=True)
class Variant:
    """What the text `variant` of a configuration stands for.

    loss: makes the module of the second stage's own terms, of the width of the embeddings and the
        settings of `section`. It is called with the backbone's output on 2 * pairs videos (the
        first ones of the pairs, then the second ones), their labels (2 * pairs, classes), a
        function from embeddings to class logits without dropout, and what the teacher says of the
        same videos, None without one. It returns `outputs.Losses`, averaged by
        `distributed.batch_mean`.
    section: of the configuration, what sets the loss.
    sampler: draws the pairs of an epoch, made of the labels (videos, classes).
    needs_partner: whether the loss, under the settings of `section`, looks at two videos of the
        same classes together; where it does not, the pairs of a `PartnerSampler` are of any two.
    needs_negative: whether the loss, under the settings of `section`, pushes videos of different
        classes apart, and would pull all together if there were none.
    teacher: the loss is told what the moving average of the model says.
    floor: added to the probabilities of whole videos in the second stage.
    sample: which of the snippets of a video are scored, of their number and `dataset.snippets`.
    score: from the output of the backbone to what the segments are read from.
    detect: reads them off.
    check: refuses settings that do not go with the variant.
    """

    loss: Callable[[int, Any], nn.Module]
    section: str = "contrast"
    sampler: type[PairSampler] | type[PartnerSampler] = PairSampler
    needs_partner: Callable[[Any], bool] = lambda settings: True
    needs_negative: Callable[[Any], bool] = lambda settings: False
    teacher: bool = False
    floor: float = 0.0
    sample: Callable[[int, int], NDArray[np.int64]] = every_snippet
    score: Callable[[BackboneOutput], SnippetScores] = snippet_scores
    detect: Callable[..., list[Detection]] = detect
    check: Callable[[BackboneSettings, ContrastSettings], None] = _accept


VARIANTS = {
    "paper": Variant(PaperContrast, needs_negative=PaperContrast.needs_negative),
    "official": Variant(
        OfficialContrast, needs_negative=OfficialContrast.needs_negative, floor=OFFICIAL_FLOOR,
        sample=sample_evenly, score=official_scores, detect=detect_official, check=_check_official,
    ),
    "aligned": Variant(
        AlignedLoss, "aligned", PartnerSampler, needs_partner=AlignedLoss.needs_partner,
        teacher=True,
    ),
}  # fmt: skip
"""By the name that a configuration has them under."""

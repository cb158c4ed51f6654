"""Differentiable dynamic programming over two sequences."""

from softdp import reference
from softdp.alignments import (
    EditAlignment,
    LCSAlignment,
    SoftDTWAlignment,
    best_alignment,
    expected_alignment,
)
from softdp.bands import itakura, sakoe_chiba
from softdp.blocks import blockwise
from softdp.costs import pairwise_cost
from softdp.divergence import DTWDivergence, dtw_divergence
from softdp.ends import Sweep
from softdp.functional import (
    edit_distance,
    edit_similarity,
    lcs,
    needleman_wunsch,
    soft_dtw,
    sweep,
)
from softdp.global_alignments import NeedlemanWunschAlignment
from softdp.modules import LCS, EditDistance, EditSimilarity, NeedlemanWunsch, SoftDTW
from softdp.monotonic import MonotonicAlignment, monotonic_alignment
from softdp.paths import AlignmentPath, ExpectedAlignment
from softdp.transducer import rnnt
from softdp.transducer_loss import RNNTLoss, rnnt_loss
from softdp.values import check_values

__version__ = "0.1.0"
__all__ = [
    "LCS",
    "AlignmentPath",
    "DTWDivergence",
    "EditAlignment",
    "EditDistance",
    "EditSimilarity",
    "ExpectedAlignment",
    "LCSAlignment",
    "MonotonicAlignment",
    "NeedlemanWunsch",
    "NeedlemanWunschAlignment",
    "RNNTLoss",
    "SoftDTW",
    "SoftDTWAlignment",
    "Sweep",
    "best_alignment",
    "blockwise",
    "check_values",
    "dtw_divergence",
    "edit_distance",
    "edit_similarity",
    "expected_alignment",
    "itakura",
    "lcs",
    "monotonic_alignment",
    "needleman_wunsch",
    "pairwise_cost",
    "reference",
    "rnnt",
    "rnnt_loss",
    "sakoe_chiba",
    "soft_dtw",
    "sweep",
]

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
from softdp.drop_alignments import DropDTWAlignment, ExpectedDrops
from softdp.ends import Sweep
from softdp.functional import (
    drop_dtw,
    edit_distance,
    edit_similarity,
    lcs,
    soft_dtw,
    sweep,
)
from softdp.gap_alignments import NeedlemanWunschAlignment, SmithWatermanAlignment
from softdp.gap_functions import needleman_wunsch, smith_waterman
from softdp.gap_modules import NeedlemanWunsch, SmithWaterman
from softdp.modules import LCS, DropDTW, EditDistance, EditSimilarity, SoftDTW
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
    "DropDTW",
    "DropDTWAlignment",
    "EditAlignment",
    "EditDistance",
    "EditSimilarity",
    "ExpectedAlignment",
    "ExpectedDrops",
    "LCSAlignment",
    "MonotonicAlignment",
    "NeedlemanWunsch",
    "NeedlemanWunschAlignment",
    "RNNTLoss",
    "SmithWaterman",
    "SmithWatermanAlignment",
    "SoftDTW",
    "SoftDTWAlignment",
    "Sweep",
    "best_alignment",
    "blockwise",
    "check_values",
    "drop_dtw",
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
    "smith_waterman",
    "soft_dtw",
    "sweep",
]

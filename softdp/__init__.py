"""Differentiable dynamic programming over two sequences."""

from softdp import reference
from softdp.costs import pairwise_cost
from softdp.divergence import DTWDivergence, dtw_divergence
from softdp.functional import edit_distance, edit_similarity, lcs, soft_dtw
from softdp.modules import LCS, EditDistance, EditSimilarity, SoftDTW

__version__ = "0.1.0"
__all__ = [
    "LCS",
    "DTWDivergence",
    "EditDistance",
    "EditSimilarity",
    "SoftDTW",
    "dtw_divergence",
    "edit_distance",
    "edit_similarity",
    "lcs",
    "pairwise_cost",
    "reference",
    "soft_dtw",
]

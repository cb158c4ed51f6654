"""Differentiable dynamic programming over two sequences."""

from softdp import reference
from softdp.functional import edit_distance, edit_similarity, lcs
from softdp.modules import LCS, EditDistance, EditSimilarity

__version__ = "0.1.0"
__all__ = [
    "LCS",
    "EditDistance",
    "EditSimilarity",
    "edit_distance",
    "edit_similarity",
    "lcs",
    "reference",
]

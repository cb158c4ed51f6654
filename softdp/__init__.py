"""Differentiable dynamic programming over two sequences."""

from softdp import reference
from softdp.bands import itakura, sakoe_chiba
from softdp.blocks import blockwise
from softdp.ends import Sweep
from softdp.functional import edit_distance, edit_similarity, lcs, soft_dtw, sweep
from softdp.modules import LCS, EditDistance, EditSimilarity, SoftDTW

__version__ = "0.1.0"
__all__ = [
    "LCS",
    "EditDistance",
    "EditSimilarity",
    "SoftDTW",
    "Sweep",
    "blockwise",
    "edit_distance",
    "edit_similarity",
    "itakura",
    "lcs",
    "reference",
    "sakoe_chiba",
    "soft_dtw",
    "sweep",
]

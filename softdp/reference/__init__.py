r"""The specification of softdp: dynamic programming over two sequences, in plain torch.

Two sequences x (n steps) and y (m steps) meet in a table V over (0..n) x (0..m). Three arcs enter
a cell, each with its own potential (1-based):

    V[0, 0] = 0
    V[i, j] = smax( V[i-1, j-1] + match[i, j],      align x_i with y_j
                    V[i-1, j]   + delete[i, j],     consume x_i alone
                    V[i, j-1]   + insert[i, j] )    consume y_j alone

    smax(a) = gamma * log(sum_k exp(a_k / gamma));  gamma = 0: the maximum
    score   = V[n, m] = gamma * log(sum over all paths of exp(sum of the path's potentials / gamma))

Row 0 has only the insert arc and column 0 only the delete arc; what a leading gap costs says which
values they lead to: "free" 0, "forbidden" -inf, "paid" the sum of the gap potentials. A trailing
gap runs along the last row or column. It is "paid" by the arcs there; else these arcs do not exist,
and if it is "free" a path may end in any cell there: the score is smax over those cells. So both
ends of a sequence are alike: what is reversed scores the same.

The expected alignment is the gradient of the score with respect to `match`. Where a maximum has no
derivative, these are the subgradients:

    gamma = 0      the first largest arc in the order match, delete, insert takes everything,
                   and the derivative with respect to gamma is 0;
    +inf arcs      the arcs of +inf share the cell equally (gamma > 0);
    -inf arcs      an arc of -inf does not exist: no path takes it, whatever else lies on that path;
    no path        the score is -inf and every gradient is 0.

Nothing here is compiled and everything is differentiable by torch any number of times. The
functions take and return what their namesakes in `softdp` do, on any device, and vectorise over the
batch and over anti-diagonals: O(n + m) torch calls.
"""

from softdp.reference.recurrences import (
    blockwise,
    drop_dtw,
    edit_distance,
    edit_similarity,
    expected_alignment,
    lcs,
    monotonic_alignment,
    needleman_wunsch,
    smith_waterman,
    soft_dtw,
    sweep,
)
from softdp.reference.sequences import dtw_divergence, pairwise_cost
from softdp.smooth_max import smooth_max

__all__ = [
    "blockwise",
    "drop_dtw",
    "dtw_divergence",
    "edit_distance",
    "edit_similarity",
    "expected_alignment",
    "lcs",
    "monotonic_alignment",
    "needleman_wunsch",
    "pairwise_cost",
    "smith_waterman",
    "smooth_max",
    "soft_dtw",
    "sweep",
]

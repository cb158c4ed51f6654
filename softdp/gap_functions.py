"""The documented entry points for alignments by costs of gaps."""

from __future__ import annotations

from torch import Tensor

from softdp import affine
from softdp._extension import require_kernels
from softdp.arguments import Band, GapCost, Gaps, GivenLengths
from softdp.functional import core
from softdp.memory import named_when_short


@named_when_short
def needleman_wunsch(
    similarity: Tensor,
    *,
    gap: GapCost | None = None,
    gap_open: GapCost | None = None,
    gap_extend: GapCost | None = None,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
) -> Tensor:
    """Smoothed global alignment with linear or affine gaps (Needleman, Wunsch 1970; Gotoh 1982).

    A gap of k steps costs k gap, or gap_open + k gap_extend, wherever it lies; one gap may follow
    another. The score is the smooth maximum, over all alignments, of the similarities of what is
    aligned less what the gaps cost. With affine gaps a cell has three values, by its last step:

        M[i, j] = similarity[i, j] + smax(M, X, Y                             at [i-1, j-1])
        X[i, j] = smax(M - open - extend, X - extend, Y - open - extend       at [i-1, j])
        Y[i, j] = smax(M - open - extend, X - open - extend, Y - extend       at [i, j-1])
        score   = smax(M, X, Y at [n, m])

    Other programs name their numbers otherwise: open 11 and extend 1 of parasail (of Biopython
    open_gap_score -11, extend_gap_score -1) make k steps cost 11 + (k - 1) 1, which is gap_open 10
    and gap_extend 1 here; "existence 11, extension 1" of BLAST is 11 and 1 here too.

    Args:
        similarity: of x_i with y_j, shape (..., n, m), dtypes as in `edit_similarity`. From a
            matrix of substitutions, by integers: matrix[x[..., :, None], y[..., None, :]].
        gap: cost of a step of a gap, linear gaps: a number, a tensor that broadcasts to
            `similarity`, or two of these, for gaps in x (its steps consumed alone: (..., n, 1) for
            a cost per step of x) and for gaps in y (here (..., 1, m)). As in `edit_similarity` a
            cost in x may have m + 1 columns, one in y n + 1 rows, the first of which is for gaps
            before the first step of the other sequence.
        gap_open: what a gap costs once, affine gaps: in the same forms.
        gap_extend: what each step of it costs besides, its first too.
        gamma: smoothing >= 0, as in `edit_similarity`.
        lengths: as in `edit_similarity`.
        leading_gaps: as in `edit_similarity`; "free" for sequences of which one lies within the
            other or overlaps it.
        trailing_gaps: as in `edit_similarity`.
        band: as in `edit_similarity`.

    Returns:
        Score, shape (...), float32, or float64 for float64 input; -inf, without gradient, where no
        alignment is possible. Its gradient with respect to `similarity` is the expected alignment.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`; gap together with gap_open or
            gap_extend, or neither.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("GATTACA", "GCATA"))
        >>> similarity = torch.where(x[:, None] == y, 5.0, -4.0)
        >>> softdp.needleman_wunsch(similarity, gap_open=10.0, gap_extend=0.5, gamma=0.0)
        tensor(-2.)
    """
    inputs = affine.gap_inputs(
        "needleman_wunsch", similarity, gap, gap_open, gap_extend, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    require_kernels("needleman_wunsch", inputs[0].device)
    return affine.needleman_wunsch(core, "needleman_wunsch", inputs)


@named_when_short
def smith_waterman(
    similarity: Tensor,
    *,
    gap: GapCost | None = None,
    gap_open: GapCost | None = None,
    gap_extend: GapCost | None = None,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Smoothed local alignment with linear or affine gaps (Smith, Waterman 1981; Gotoh 1982).

    The best alignment of any part of x with any part of y: the smooth maximum over all alignments
    that begin and end with a match, wherever these are; what lies before and after costs nothing.

        M[i, j] = similarity[i, j] + smax(0, M, X, Y   at [i-1, j-1])     0: the alignment begins
        X and Y as in `needleman_wunsch`
        score   = smax over all cells of M

    An alignment has one step at least, so that the best one of dissimilar sequences may be below 0;
    other programs say 0 there. Without smoothing `score.clamp(min=0)` is theirs.

    Args:
        similarity: of x_i with y_j, shape (..., n, m), as in `needleman_wunsch`; of what does not
            belong together it should be negative.
        gap: cost of a step of a gap, as in `needleman_wunsch`.
        gap_open: as there.
        gap_extend: as there.
        gamma: smoothing >= 0, as in `edit_similarity`.
        lengths: as in `edit_similarity`.

    Returns:
        Score, shape (...), float32, or float64 for float64 input; -inf, without gradient, where a
        sequence has no step. Its gradient with respect to `similarity` is the expected alignment.

    Raises:
        TypeError, ValueError, RuntimeError: as `needleman_wunsch`.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("TTTGATTACA", "CCGATACA"))
        >>> similarity = torch.where(x[:, None] == y, 5.0, -4.0)
        >>> softdp.smith_waterman(similarity, gap_open=3.0, gap_extend=1.0, gamma=0.0)
        tensor(26.)
    """
    inputs = affine.gap_inputs(
        "smith_waterman", similarity, gap, gap_open, gap_extend, gamma, lengths,
        "free", "free", None,
    )  # fmt: skip
    require_kernels("smith_waterman", inputs[0].device)
    return affine.smith_waterman(core, "smith_waterman", inputs)

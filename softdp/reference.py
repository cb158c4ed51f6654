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

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp import affine, drops, ends
from softdp.anti_diagonals import core
from softdp.arguments import Band, GapCost, Gaps, GivenLengths
from softdp.costs import Cost, cost_inputs, cost_shape, until
from softdp.ends import Sweep
from softdp.monotonic import MonotonicAlignment, monotonic, monotonic_inputs
from softdp.paths import ExpectedAlignment
from softdp.smooth_max import smooth_max
from softdp.validation import (
    block_inputs,
    edit_inputs,
    lcs_inputs,
    soft_dtw_inputs,
    sweep_inputs,
)

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

_INFINITY = math.inf


def edit_similarity(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
) -> Tensor:
    """Smoothed maximum, over all alignments, of an alignment's summed potentials.

    Args:
        match: potential of aligning x_i with y_j, shape (..., n, m).
        insert: potential of consuming y_j alone: a number, a tensor that broadcasts to `match`, or
            one of shape (..., n + 1, m), whose first row is for leading gaps.
        delete: potential of consuming x_i alone: a number, a tensor that broadcasts to `match`, or
            one of shape (..., n, m + 1), whose first column is for leading gaps.
        gamma: smoothing >= 0 in the unit of the potentials, a number or a tensor of shape () or
            (...); 0 is the hard maximum.
        lengths: steps of x and of y that count, two integer tensors of shape (...). What lies
            beyond is never read and gets a gradient of exactly 0.
        leading_gaps: "free", "paid" or "forbidden", or two of these, for gaps in x and in y.
            "paid" needs to know what the gaps cost before the first step of the other sequence: an
            `insert` that does not vary along n or has n + 1 rows, and a `delete` alike.
        trailing_gaps: the same for the ends.
        band: as in `softdp.edit_similarity`.

    Returns:
        The score, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    inputs = edit_inputs(
        "edit_similarity", "match", match, insert, delete, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    return ends.edit(core, "edit_similarity", inputs, minimise=False)[0]


def expected_alignment(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
    minimise: bool = False,
) -> ExpectedAlignment:
    """The gradient of `edit_similarity`, or `edit_distance`, with respect to every arc in a cell.

    Args:
        match: as in `edit_similarity`.
        insert: as there.
        delete: as there.
        gamma: as there.
        lengths: as there.
        leading_gaps: as there.
        trailing_gaps: as there.
        band: as there.
        minimise: whether these are costs.

    Returns:
        Three tensors of shape (..., n, m), differentiable.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    inputs = edit_inputs(
        "expected_alignment", "match", match, insert, delete, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    differentiates = torch.is_grad_enabled()
    arcs: list[Tensor] = []

    def apart(problem: ends.Problem) -> tuple[Tensor, Tensor]:
        """The core, of tables that have each arc of each cell, apart from the border's."""
        border, (match, insert, delete) = problem.border, problem.tables
        if border is None:
            border = ends.laid(match.shape, insert, delete, inputs.leading_gaps, minimise)
        full = (table.expand(match.shape) for table in problem.tables)
        arcs.extend(x if x.requires_grad else x.detach().requires_grad_() for x in full)
        return core(problem._replace(tables=tuple(arcs), border=border))

    with torch.enable_grad():
        score = ends.edit(apart, "expected_alignment", inputs, minimise)[0]
        found = torch.autograd.grad(
            score.sum(), arcs, create_graph=differentiates, materialize_grads=True
        )
    return ExpectedAlignment(*found)


def edit_distance(
    substitute: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
) -> Tensor:
    """Smoothed minimum, over all alignments, of an alignment's summed costs.

    The negative of `edit_similarity` of the negated costs, which see for the arguments. A table
    without a path has distance +inf.
    """
    inputs = edit_inputs(
        "edit_distance", "substitute", substitute, insert, delete, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    return ends.edit(core, "edit_distance", inputs, minimise=True)[0]


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
    """Smoothed global alignment with linear or affine gaps: see `softdp.needleman_wunsch`."""
    inputs = affine.gap_inputs(
        "needleman_wunsch", similarity, gap, gap_open, gap_extend, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    return affine.needleman_wunsch(core, "needleman_wunsch", inputs)


def smith_waterman(
    similarity: Tensor,
    *,
    gap: GapCost | None = None,
    gap_open: GapCost | None = None,
    gap_extend: GapCost | None = None,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Smoothed local alignment with linear or affine gaps: see `softdp.smith_waterman`."""
    inputs = affine.gap_inputs(
        "smith_waterman", similarity, gap, gap_open, gap_extend, gamma, lengths,
        "free", "free", None,
    )  # fmt: skip
    return affine.smith_waterman(core, "smith_waterman", inputs)


def lcs(
    similarity: Tensor,
    threshold: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    gate_width: float = 0.0,
    lengths: GivenLengths | None = None,
    band: Band | None = None,
) -> Tensor:
    """Smoothed weighted longest common subsequence (Gao et al., FTCL, CVPR 2022).

    With c the similarity and tau the threshold, leading gaps being free:

        gate_width = 0:  match = c where c > tau, else -inf
                         gap   = -gamma log 2 where c <= tau, else -inf
        gate_width = w:  match = c + gamma log sigmoid((c - tau) / w)
                         gap   = -gamma log 2 + gamma log sigmoid((tau - c) / w)

    The -gamma log 2 turns the smooth maximum of two gaps into a smooth mean: a table without a
    match scores exactly 0, and no score exceeds that of gamma = 0.

    Args:
        similarity: shape (..., n, m).
        threshold: tau, a number or a tensor of shape () or (...); differentiable when
            gate_width > 0.
        gamma: smoothing >= 0, a number or a tensor of shape () or (...).
        gate_width: width of the gate in the unit of the similarity; 0 is the step.
        lengths: as in `edit_similarity`.
        band: as in `softdp.edit_similarity`.

    Returns:
        The score, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    inputs = lcs_inputs("lcs", similarity, threshold, gamma, gate_width, lengths, band)
    return ends.lcs(core, "lcs", inputs)[0]


def soft_dtw(
    cost: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    lengths: GivenLengths | None = None,
    open_begin: bool = False,
    open_end: bool = False,
    band: Band | None = None,
) -> Tensor:
    """Soft-DTW (Cuturi and Blondel, 2017): one cost for all three arcs, leading gaps forbidden.

    Args:
        cost: shape (..., n, m).
        gamma: smoothing >= 0, a number or a tensor of shape () or (...).
        lengths: as in `edit_similarity`.
        open_begin: whether x may begin at any step of y.
        open_end: whether x may end at any step of y.
        band: as in `softdp.edit_similarity`.

    Returns:
        The distance, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    inputs = soft_dtw_inputs("soft_dtw", cost, gamma, lengths, open_begin, open_end, band)
    return ends.soft_dtw(core, "soft_dtw", inputs)[0]


def drop_dtw(
    cost: Tensor,
    drop_x: Tensor | float,
    drop_y: Tensor | float,
    *,
    gamma: Tensor | float = 1.0,
    lengths: GivenLengths | None = None,
    one_to_many: bool = True,
    many_to_one: bool = True,
) -> Tensor:
    """Smoothed Drop-DTW: see `softdp.drop_dtw`."""
    inputs = drops.drop_dtw_inputs(
        "drop_dtw", cost, drop_x, drop_y, gamma, lengths, one_to_many, many_to_one
    )
    return drops.drop_dtw(core, "drop_dtw", inputs)


def monotonic_alignment(
    log_p: Tensor, *, gamma: Tensor | float = 0.0, lengths: GivenLengths | None = None
) -> MonotonicAlignment:
    """Which token each frame belongs to: see `softdp.monotonic_alignment`."""
    inputs = monotonic_inputs("monotonic_alignment", log_p, gamma, lengths)
    hard = not isinstance(gamma, Tensor) and gamma == 0
    differentiates = torch.is_grad_enabled() and not hard
    with torch.enable_grad():
        leaf = inputs.log_p if inputs.log_p.requires_grad else inputs.log_p.detach()
        leaf = leaf.requires_grad_()
        score = monotonic(core, "monotonic_alignment", inputs._replace(log_p=leaf))
        (alignment,) = torch.autograd.grad(
            score.sum(), leaf, create_graph=differentiates, materialize_grads=True
        )
    return MonotonicAlignment(alignment.detach() if hard else alignment, score)


def sweep(
    family: str,
    *tables: Tensor | float,
    top: Tensor | None = None,
    left: Tensor | None = None,
    **options: Any,
) -> Sweep:
    """A score, and the borders that a larger table would go on from: see `softdp.sweep`."""
    checked, given = sweep_inputs(family, tables, top, left, options)
    return ends.sweep(core, "sweep", family, checked, ends.Border(*given))


def blockwise(
    similarity: Callable[[Tensor, Tensor], Any],
    x: Tensor,
    y: Tensor,
    *tables: Tensor | float,
    family: str = "soft_dtw",
    rows: int = 256,
    dim: int = -2,
    lengths: GivenLengths | None = None,
    open_begin: bool = False,
    open_end: bool = False,
    trailing_gaps: Gaps = "paid",
    **options: Any,
) -> Tensor:
    """The score of the whole table, which `softdp.blockwise` makes a block at a time."""
    block_inputs(family, x, dim, rows, lengths, open_begin, open_end, trailing_gaps, options)
    made = similarity(x, y)
    made = made if isinstance(made, tuple) else (made, *tables)
    if family == "soft_dtw":
        options |= {"open_begin": open_begin, "open_end": open_end}
    if family.startswith("edit"):
        options["trailing_gaps"] = trailing_gaps
    functions: dict[str, Callable[..., Tensor]] = {
        "edit_similarity": edit_similarity,
        "edit_distance": edit_distance,
        "lcs": lcs,
        "soft_dtw": soft_dtw,
    }
    return functions[family](*made, lengths=lengths, **options)


def pairwise_cost(
    x: Tensor, y: Tensor, cost: Cost = "sqeuclidean", *, lengths: GivenLengths | None = None
) -> Tensor:
    """Costs of each step of x with each of y, by their differences: see `softdp.pairwise_cost`."""
    x, y, cost = cost_inputs("pairwise_cost", x, y, cost)
    if lengths is not None:
        table = cost_shape(x, y)
        checked = soft_dtw_inputs("pairwise_cost", table, 1.0, lengths, False, False, None)
        assert checked.lengths is not None
        x, y = until(x, checked.lengths[0]), until(y, checked.lengths[1])
    x, y = x[..., :, None, :], y[..., None, :, :]
    if cost == "sqeuclidean":
        return (x - y).square().sum(-1)
    if cost == "dot":
        return -(x * y).sum(-1)
    if cost == "cosine":
        return 1 - F.cosine_similarity(x, y, dim=-1)
    differences = F.pad(x - y, (0, 1))  # the norm is 0 where d is 0
    norm: Tensor = torch.linalg.vector_norm(differences, float(cost), -1)
    return norm


def dtw_divergence(
    x: Tensor,
    y: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    cost: Cost = "sqeuclidean",
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Soft-DTW of x and y less the mean of both with themselves: see `softdp.dtw_divergence`."""
    x, y, cost = cost_inputs("dtw_divergence", x, y, cost, ("sqeuclidean", "cosine"))
    table = cost_shape(x, y)
    inputs = soft_dtw_inputs("dtw_divergence", table, gamma, lengths, False, False, None)
    x, y = (rows.expand(*table.shape[:-2], *rows.shape[-2:]) for rows in (x, y))

    def score(a: Tensor, b: Tensor, of: tuple[int, int]) -> Tensor:
        own = None if inputs.lengths is None else (inputs.lengths[of[0]], inputs.lengths[of[1]])
        return soft_dtw(pairwise_cost(a, b, cost, lengths=own), gamma=inputs.gamma, lengths=own)

    pair = score(x, y, (0, 1))
    own = score(x, x, (0, 0)) + score(y, y, (1, 1))
    divergence = torch.where(pair == _INFINITY, pair, pair - own / 2)
    if isinstance(cost, str) or cost <= 2:  # what rounding makes negative
        divergence = divergence + (divergence.clamp(min=0) - divergence).nan_to_num(0).detach()
    return divergence

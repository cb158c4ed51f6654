r"""The specification of softdp: dynamic programming over two sequences, in plain torch.

Two sequences x (n steps) and y (m steps) meet in a table V over (0..n) x (0..m). Three arcs enter
a cell, each with its own potential (1-based):

    V[0, 0] = 0
    V[i, j] = smax( V[i-1, j-1] + match[i, j],      align x_i with y_j
                    V[i-1, j]   + delete[i, j],     consume x_i alone
                    V[i, j-1]   + insert[i, j] )    consume y_j alone

    smax(a) = gamma * log(sum_k exp(a_k / gamma));  gamma = 0: the maximum
    score   = V[n, m] = gamma * log(sum over all paths of exp(sum of the path's potentials / gamma))

Row 0 has only the insert arc and column 0 only the delete arc. Their potentials say what a leading
gap costs: "free" 0, "forbidden" -inf, "paid" the gap potentials themselves.

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

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp.validation import EditInputs, Lengths, edit_inputs, lcs_inputs, soft_dtw_inputs

__all__ = ["edit_distance", "edit_similarity", "lcs", "smooth_max", "soft_dtw"]

_INFINITY = math.inf


def edit_similarity(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: Lengths | None = None,
    leading_gaps: str = "free",
) -> Tensor:
    """Smoothed maximum, over all alignments, of an alignment's summed potentials.

    Args:
        match: potential of aligning x_i with y_j, shape (..., n, m).
        insert: potential of consuming y_j alone: a number, or a tensor that broadcasts to `match`.
        delete: potential of consuming x_i alone: a number, or a tensor that broadcasts to `match`.
        gamma: smoothing >= 0 in the unit of the potentials, a number or a tensor of shape () or
            (...); 0 is the hard maximum.
        lengths: steps of x and of y that count, two integer tensors of shape (...). What lies
            beyond is never read and gets a gradient of exactly 0.
        leading_gaps: "free", "paid" or "forbidden". "paid" needs an `insert` that does not vary
            along n and a `delete` that does not vary along m.

    Returns:
        The score, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    return _edit_score(
        edit_inputs(
            "edit_similarity", "match", match, insert, delete, gamma, lengths, leading_gaps
        ),
        sign=1,
    )


def edit_distance(
    substitute: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: Lengths | None = None,
    leading_gaps: str = "paid",
) -> Tensor:
    """Smoothed minimum, over all alignments, of an alignment's summed costs.

    The negative of `edit_similarity` of the negated costs, which see for the arguments. A table
    without a path has distance +inf.
    """
    return -_edit_score(
        edit_inputs(
            "edit_distance", "substitute", substitute, insert, delete, gamma, lengths, leading_gaps
        ),
        sign=-1,
    )


def lcs(
    similarity: Tensor,
    threshold: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    gate_width: float = 0.0,
    lengths: Lengths | None = None,
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

    Returns:
        The score, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    inputs = lcs_inputs("lcs", similarity, threshold, gamma, gate_width, lengths)
    dtype = torch.promote_types(similarity.dtype, torch.float32)
    c, tau, gamma = (value.to(dtype) for value in inputs[:3])
    n, m = c.shape[-2:]
    tau = tau[..., None, None]
    if inputs.lengths is not None:
        outside = _beyond(inputs.lengths, range(1, n + 1), range(1, m + 1))
        c, tau = c.masked_fill(outside, 0), tau.expand(c.shape).masked_fill(outside, 0)
    # torch.where keeps the derivative with respect to gamma at 0 where gamma is 0.
    scale = torch.where(gamma > 0, gamma, 0)[..., None, None]
    gap = -math.log(2) * scale
    if inputs.gate_width == 0:
        # A NaN on either side is neither above nor below the threshold, and has to show.
        match = torch.where(c > tau, c, torch.where(c <= tau, -_INFINITY, math.nan))
        gap = torch.where(c > tau, -_INFINITY, gap)
    else:
        # log sigmoid of something finite: an arc of weight 0 brings 0 to gamma's derivative.
        largest = torch.finfo(dtype).max
        excess = (c - tau) / inputs.gate_width
        bounded = excess.clamp(-largest, largest)
        # Without smoothing there is no gate: gamma log sigmoid(x) tends to 0 for every x.
        gated = scale > 0
        opened, closed = (
            torch.where(gated, scale * F.logsigmoid(x), 0) for x in (bounded, -bounded)
        )
        match = torch.where((excess == -_INFINITY) & gated, -_INFINITY, c + opened)
        match = torch.where(tau.isnan(), math.nan, match)
        gap = torch.where((excess == _INFINITY) & gated, -_INFINITY, gap + closed)
    gap = gap.expand(c.shape)
    potentials = torch.stack(
        [F.pad(match, (1, 0, 1, 0)), F.pad(gap, (1, 0, 1, 0)), F.pad(gap, (1, 0, 1, 0))]
    )
    return _sweep(potentials, gamma, inputs.lengths)


def soft_dtw(
    cost: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    lengths: Lengths | None = None,
) -> Tensor:
    """Soft-DTW (Cuturi and Blondel, 2017): one cost for all three arcs, leading gaps forbidden.

    Args:
        cost: shape (..., n, m).
        gamma: smoothing >= 0, a number or a tensor of shape () or (...).
        lengths: as in `edit_similarity`.

    Returns:
        The distance, shape (...), float32, or float64 for float64 input.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it.
    """
    cost, gamma, lengths = soft_dtw_inputs("soft_dtw", cost, gamma, lengths)
    return -_edit_score(EditInputs(cost, cost, cost, gamma, lengths, "forbidden"), sign=-1)


def smooth_max(arcs: Tensor, gamma: Tensor) -> Tensor:
    """Gamma * log(sum_k exp(arcs_k / gamma)) over dimension 0, its limits and their subgradients.

    Args:
        arcs: shape (arcs, ..., cells), any values.
        gamma: shape (..., 1) or (), >= 0.

    Returns:
        Shape (..., cells).
    """
    peak = arcs.detach().amax(0)
    smooth = (gamma > 0) & peak.isfinite()
    # A gamma that is no normal number counts as the smallest that is, or 1 / gamma would overflow.
    limits = torch.finfo(arcs.dtype)
    raised = gamma + (limits.tiny - gamma).clamp(min=0).detach()
    temperature = torch.where(gamma > 0, raised, 1)
    # Every branch is made finite before torch.where drops it: 0 * inf would be NaN in a gradient,
    # and so would an exponential that is 0 beside an exponent over gamma that is infinite.
    lowest = math.log(limits.tiny) + math.log(limits.eps)
    live = smooth & (arcs.detach() - peak > lowest * temperature)
    exponents = torch.where(live, arcs - peak, 0) / temperature
    total = torch.where(live, exponents.exp(), 0).sum(0)
    softened = peak + temperature * torch.where(smooth, total, 1).log()
    # The hard maximum and the cells of infinite value: from the arcs that attain it, alike.
    largest = arcs == peak
    largest &= (largest.cumsum(0) == 1) | (gamma > 0)
    ties = largest.sum(0, dtype=arcs.dtype)
    attained = torch.where(largest, arcs, 0).sum(0) / ties + gamma * ties.log()
    return torch.where(smooth, softened, attained)


def _edit_score(inputs: EditInputs, sign: int) -> Tensor:
    """Score of the potentials sign * (match, delete, insert), shape (...)."""
    dtype = torch.promote_types(inputs.match.dtype, torch.float32)
    match, delete, insert = (
        sign * potential.to(dtype) for potential in (inputs.match, inputs.delete, inputs.insert)
    )
    *batch, n, m = match.shape
    if inputs.leading_gaps == "paid":
        left, top = delete.expand(*batch, n, 1), insert.expand(*batch, 1, m)
    else:
        border = 0.0 if inputs.leading_gaps == "free" else -_INFINITY
        left, top = match.new_full((*batch, n, 1), border), match.new_full((*batch, 1, m), border)
    delete = torch.cat([left, delete.expand(match.shape)], -1)
    insert = torch.cat([top, insert.expand(match.shape)], -2)
    potentials = torch.stack(
        [F.pad(match, (1, 0, 1, 0)), F.pad(delete, (0, 0, 1, 0)), F.pad(insert, (1, 0, 0, 0))]
    )
    if inputs.lengths is not None:
        outside = _beyond(inputs.lengths, range(n + 1), range(m + 1))
        potentials = potentials.masked_fill(outside, 0)
    return _sweep(potentials, inputs.gamma.to(dtype), inputs.lengths)


def _beyond(lengths: tuple[Tensor, Tensor], rows: range, columns: range) -> Tensor:
    """Which cells lie beyond the lengths, shape (..., rows, columns)."""
    n_lengths, m_lengths = (length[..., None, None] for length in lengths)
    i = torch.arange(rows.start, rows.stop, device=n_lengths.device)
    j = torch.arange(columns.start, columns.stop, device=m_lengths.device)
    return (i[:, None] > n_lengths) | (j > m_lengths)


def _sweep(potentials: Tensor, gamma: Tensor, lengths: tuple[Tensor, Tensor] | None) -> Tensor:
    """V[n, m] of every pair of a batch, shape (...).

    Args:
        potentials: match, delete and insert, shape (3, ..., n + 1, m + 1), the borders included;
            0 where an arc would come from outside the table.
        gamma: shape () or (...).
        lengths: read V there instead, two tensors of shape (...).
    """
    rows, columns = potentials.shape[-2:]
    gamma = gamma[..., None]
    diagonals = _anti_diagonals(potentials).unbind()
    # V along an anti-diagonal, row i at index i + 1; rows off the table are cells without a path.
    nowhere = potentials.new_full((*potentials.shape[1:-2], rows + 1), -_INFINITY)
    start = diagonals[0][..., :1].sum(0)  # three zeros, each still tied to its potentials' graph
    values = [nowhere, F.pad(start, (1, rows - 1), value=-_INFINITY)]
    for d in range(1, rows + columns - 1):
        first, last = max(0, d - columns + 1), min(rows, d + 1)
        before, above = slice(first, last), slice(first + 1, last + 1)
        sources = torch.stack(
            [values[-2][..., before], values[-1][..., before], values[-1][..., above]]
        )
        arcs = _follow(sources, diagonals[d][..., first:last])
        cells = smooth_max(arcs, gamma)
        values.append(F.pad(cells, (first + 1, rows - last), value=-_INFINITY))
        if lengths is None:
            del values[0]
    if lengths is None:
        score = values[-1][..., rows]
    else:
        table = torch.stack(values[1:], -1)
        place = (lengths[0] + 1) * table.shape[-1] + lengths[0] + lengths[1]
        score = table.flatten(-2).gather(-1, place[..., None])[..., 0]
    return score.masked_fill(score == -_INFINITY, -_INFINITY)  # without a path, without a gradient


def _follow(sources: Tensor, potentials: Tensor) -> Tensor:
    """Sources + potentials, where -inf on either side means that there is no such path."""
    absent = torch.minimum(sources.detach(), potentials.detach()) == -_INFINITY
    return torch.where(absent, -_INFINITY, sources + potentials)


def _anti_diagonals(table: Tensor) -> Tensor:
    """Skew a table (..., rows, columns) into its anti-diagonals (rows + columns - 1, ..., rows).

    Row r moves right by r: each row padded to one more than the skewed width, read back at that
    width. Places off the table hold something finite or a neighbour's cell; no slice reads them.
    """
    rows, columns = table.shape[-2:]
    width = rows + columns - 1
    padded = F.pad(table, (0, rows)).flatten(-2)
    skewed = padded[..., : rows * width].unflatten(-1, (rows, width))
    return skewed.movedim(-1, 0).contiguous()

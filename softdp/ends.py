"""Where paths begin and end, for the compiled functions and for softdp.reference alike.

A border is the scores in float64 of a table's first cells, one tensor for both sides: the row above
the table from the corner on, then the column to its left below the corner, shape (..., m + 1 + n).
A sweep puts out the last row from column 0 on, then the last column from row 1 on, alike. Where a
cell has three states (affine gaps: after a match, a gap in x, a gap in y) so has the border, shape
(..., 3, m + 1 + n).

Each function here checks nothing: it takes what softdp.validation returns, and a `core`, which
sweeps a Problem and returns its score and its last border.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softdp.arguments import GAPS, Lengths
from softdp.dtypes import compute_dtype
from softdp.smooth_max import smooth_max
from softdp.validation import EditInputs, LcsInputs, SoftDtwInputs


class Problem(NamedTuple):
    """What is swept."""

    op: str  # whose errors it may have
    family: str
    tables: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    gamma: Tensor
    border: Tensor | None
    lengths: Lengths | None
    band: Tensor | None
    options: tuple[Any, ...]  # of the family's op: csrc/ops/schema.cpp
    keep_border: bool  # whether the last row and column are wanted


Core = Callable[[Problem], tuple[Tensor, Any]]


class Sweep(NamedTuple):
    """The score of each pair, and those of the cells in which a larger table would go on."""

    score: Tensor  # (...)
    bottom: Tensor  # (..., m + 1), float64: the last row, from column 0 on
    right: Tensor  # (..., n), float64: the last column, from row 1 on


class Border(NamedTuple):
    """What is given of the border; the rest of it is as the leading gaps say."""

    top: Tensor | None = None  # (..., m + 1), float64
    left: Tensor | None = None  # (..., n), float64


_NOTHING = Border()


def edit(
    core: Core, op: str, inputs: EditInputs, minimise: bool, given: Border | None = None
) -> tuple[Tensor, Tensor]:
    """Edit similarity, or distance, of checked inputs, and the last border if one is given."""
    match, insert, delete, gamma, lengths, leading, trailing, band = inputs
    ends = ENDS[leading, trailing]
    insert, first_insert = without_first(insert, -2, match.shape[-2])
    delete, first_delete = without_first(delete, -1, match.shape[-1])
    # Whether what leading gaps cost comes with the gaps.
    parted = (leading[1] == "paid" and first_insert is not insert) or (
        leading[0] == "paid" and first_delete is not delete
    )
    border = None
    if given or parted or ends.free_x:
        begin = given or _NOTHING
        border = laid(match.shape, first_insert, first_delete, leading, minimise, begin)
    tables, options = (match, insert, delete), (ends.leading, ends.trailing, minimise)
    free = ends.free_x or ends.free_y
    keep = free or bool(given)
    score, last = core(Problem(op, "edit", tables, (), gamma, border, lengths, band, options, keep))
    if free:
        both = ends.free_x, ends.free_y
        score = best_end(last, border, match.shape, lengths, gamma, both, minimise).to(score.dtype)
    return score, last


def without_first(gap: Tensor, dim: int, size: int) -> tuple[Tensor, Tensor]:
    """A gap without what leading gaps cost, and that: the gap itself where it says no other."""
    if gap.dim() < -dim or gap.shape[dim] in (1, size):
        return gap, gap
    return gap.narrow(dim, 1, size), gap.narrow(dim, 0, 1)


def leading_number(gaps: tuple[str, str]) -> int:
    """As csrc/ops/schema.cpp numbers what leading gaps cost, in x and in y."""
    return GAPS.index(gaps[0]) + 3 * GAPS.index(gaps[1])


def trailing_number(runs: tuple[bool, bool]) -> int:
    """And whether gaps run along the last column, in x, and along the last row, in y."""
    return runs[0] + 2 * runs[1]


class Ends(NamedTuple):
    """What gaps cost at both ends, and where paths may end early."""

    leading: int
    trailing: int
    free_x: bool
    free_y: bool


_PAIRS = [(x, y) for x in GAPS for y in GAPS]
ENDS = {
    (leading, trailing): Ends(
        leading_number(leading),
        trailing_number((trailing[0] == "paid", trailing[1] == "paid")),
        trailing[0] == "free",
        trailing[1] == "free",
    )
    for leading, trailing in itertools.product(_PAIRS, repeat=2)
}


def lcs(
    core: Core, op: str, inputs: LcsInputs, given: Border | None = None
) -> tuple[Tensor, Tensor]:
    """Longest common subsequence of checked inputs, and the last border if one is given."""
    c, threshold, gamma, gate_width, lengths, band = inputs
    border = None
    if given:
        border = laid(c.shape, c, c, ("free", "free"), False, given)
    options = (gate_width,)
    numbers = (threshold.to(compute_dtype(c)),), gamma
    return core(Problem(op, "lcs", (c,), *numbers, border, lengths, band, options, bool(given)))


def soft_dtw(
    core: Core, op: str, inputs: SoftDtwInputs, given: Border | None = None
) -> tuple[Tensor, Tensor]:
    """Soft-DTW of checked inputs, and the last border if one is given."""
    cost, gamma, lengths, open_begin, open_end, band = inputs
    if open_begin:
        given = Border(open_top(cost.shape, gamma, None if lengths is None else lengths[0]))
    border = None
    if given:
        border = laid(cost.shape, cost, cost, ("forbidden", "forbidden"), True, given)
    keep = open_end or bool(given)
    score, last = core(Problem(op, "soft_dtw", (cost,), (), gamma, border, lengths, band, (), keep))
    if open_end:
        end = best_end(last, border, cost.shape, lengths, gamma, (False, True), True)
        score = end.to(score.dtype)
    return score, last


def open_top(shape: tuple[int, ...], gamma: Tensor, n_lengths: Tensor | None) -> Tensor:
    """The row above a table of costs whose paths may begin at any column, shape (..., m + 1).

    Both the match and the delete into a cell of the first row begin a path there. It is the same
    path: each counts for a half. Where there is no row there is none.
    """
    *batch, n, m = shape
    half = (gamma.double() * math.log(2))[..., None]
    if n_lengths is not None:
        half = torch.where(n_lengths[..., None] > 0, half, 0)
    elif n == 0:
        half = torch.zeros_like(half)
    return half.expand(*batch, m + 1)


def laid(
    shape: tuple[int, ...],
    insert: Tensor,
    delete: Tensor,
    gaps: tuple[str, str],
    minimise: bool,
    given: Border = _NOTHING,
) -> Tensor:
    """The whole border: what is given of it, and what its leading gaps are worth.

    insert and delete broadcast to (..., 1, m) and to (..., n, 1) where those gaps are paid.
    """
    *batch, n, m = shape
    top, left = given
    if top is None:
        corner = insert.new_zeros((*batch, 1), dtype=torch.float64)
        top = torch.cat([corner, side_of(gaps[1], corner, insert, (*batch, 1, m), minimise)], -1)
    if left is None:
        left = side_of(gaps[0], top[..., :1], delete, (*batch, n, 1), minimise)
    return torch.cat([top, left], -1)


def side_of(
    gaps: str, corner: Tensor, gap: Tensor, shape: tuple[int, ...], minimise: bool
) -> Tensor:
    """One side of a border, below or right of its corner: (..., rows * columns).

    gap: what its steps are worth where they are paid, broadcasts to `shape`, (..., rows, columns).
    """
    *batch, rows, columns = shape
    if gaps == "paid":
        # In float64 first: what pairs share sums its gradient over them.
        steps = gap.double().expand(shape).reshape(*batch, rows * columns)
        # No path goes on where a step is impossible, whatever follows.
        nowhere = math.inf if minimise else -math.inf
        stopped = (steps == nowhere).cumsum(-1) > 0
        return torch.where(stopped, nowhere, corner + steps.cumsum(-1))
    nowhere = math.inf if minimise else -math.inf
    value = 0.0 if gaps == "free" else nowhere
    return corner.new_full((*batch, rows * columns), value)


def best_end(
    last: Tensor,
    border: Tensor | None,
    shape: tuple[int, ...],
    lengths: Lengths | None,
    gamma: Tensor,
    free: tuple[bool, bool],
    minimise: bool,
) -> Tensor:
    """Smooth maximum over the cells, and their states, in which a path may end, shape (...).

    free: whether what is left of x may be skipped (a path may end in the last column) and what is
    left of y (in the last row).
    """
    arcs = end_values(last, border, shape, lengths, free, minimise)[..., None]
    value = smooth_max(arcs, gamma.double()[..., None])[..., 0]
    return 0 - value if minimise else value  # no score is -0


def end_values(
    last: Tensor,
    border: Tensor | None,
    shape: tuple[int, ...],
    lengths: Lengths | None,
    free: tuple[bool, bool],
    minimise: bool,
) -> Tensor:
    """V in each cell in which a path may end, shape (ends, ...): `end_cells` says which these are.

    Those of the last row from column 0 on, where what is left of y is free; then those of the last
    column from row 1 on, and the one of row 0, where what is left of x is; of the last cell alone
    where nothing is. So for one state after the other.
    """
    if last.dim() == len(shape):  # of several states
        borders = itertools.repeat(None) if border is None else border.unbind(-2)
        each = zip(last.unbind(-2), borders, strict=False)
        return torch.cat(
            [end_values(own, its, shape, lengths, free, minimise) for own, its in each]
        )
    *_, n, m = shape
    sign = -1 if minimise else 1
    bottom, right = sign * last[..., : m + 1], sign * last[..., m + 1 :]
    n_lengths = torch.full((), n, device=last.device) if lengths is None else lengths[0]
    ends = []
    if not any(free):
        return (bottom[..., -1] if lengths is None else at(bottom, lengths[1]))[None]
    if free[1]:
        ends.append(bottom)
    if free[0]:
        assert border is not None
        top = sign * border[..., : m + 1]
        above = top[..., -1] if lengths is None else at(top, lengths[1])
        if free[1]:  # the last cell is in the last row already
            rows = torch.arange(1, n + 1, device=last.device)
            right = torch.where(rows < n_lengths[..., None], right, -math.inf)
            above = torch.where(n_lengths > 0, above, -math.inf)
        ends += [right, above[..., None]]
    return torch.cat(ends, -1).movedim(-1, 0)


def end_cells(
    place: Tensor, lengths: tuple[Tensor, Tensor], shape: tuple[int, ...], free: tuple[bool, bool]
) -> Tensor:
    """Row and column, counted from 1, and state of these places among `end_values`."""
    *_, n, m = shape
    n_lengths, m_lengths = lengths
    of_state = free[1] * (m + 1) + free[0] * (n + 1) if any(free) else 1
    state, place = place // of_state, place % of_state
    if not any(free):
        return torch.stack(torch.broadcast_tensors(n_lengths, m_lengths, state), -1)
    beyond = place - (m + 1 if free[1] else 0)  # the last row's
    in_last_row = beyond < 0
    row = torch.where(beyond == n, 0, beyond + 1)
    rows, columns = (
        torch.where(in_last_row, n_lengths, row),
        torch.where(in_last_row, place, m_lengths),
    )
    return torch.stack([rows, columns, state], -1)


def at(row: Tensor, place: Tensor) -> Tensor:
    """The number of each pair at its place in a row (..., m + 1); any if it has no such place."""
    return row.gather(-1, place.clamp(0, row.shape[-1] - 1)[..., None])[..., 0]


def sweep(core: Core, op: str, family: str, checked: Any, given: Border) -> Sweep:
    """A Sweep of any family's checked inputs."""
    if family == "soft_dtw":
        score, last = soft_dtw(core, op, checked, given)
    elif family == "lcs":
        score, last = lcs(core, op, checked, given)
    else:
        score, last = edit(core, op, checked, family == "edit_distance", given)
    m = checked[0].shape[-1]
    return Sweep(score, last[..., : m + 1], last[..., m + 1 :])

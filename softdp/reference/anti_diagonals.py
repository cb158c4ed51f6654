"""The sweep of softdp.reference: a recurrence in plain torch, an anti-diagonal at a time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp import ends
from softdp.affine import ENDED, AffineGaps, laid_affine
from softdp.arguments import GAPS, Lengths
from softdp.dtypes import compute_dtype
from softdp.potentials import beyond, lcs_potentials
from softdp.smooth_max import smooth_max

_INFINITY = math.inf
DIAGONAL, ABOVE, LEFT, HERE, BEGINS = range(5)


class Arc(NamedTuple):
    """One that leads into a state of a cell."""

    step: int  # from which neighbour, from the cell itself, or the beginning of a path
    state: int = 0  # of it
    potential: int | None = None  # what it is worth; nothing


class Topology(NamedTuple):
    """As csrc/recurrence/topologies has them: which arcs lead into each state."""

    arcs: tuple[tuple[Arc, ...], ...]
    end: int | None  # the state whose value in the last cell is the score

    def of(self, step: int) -> set[int]:
        """The potentials of the arcs from a neighbour."""
        arcs = (arc for into in self.arcs for arc in into if arc.step == step)
        return {arc.potential for arc in arcs if arc.potential is not None}


def _into(step: int, *potentials: int) -> tuple[Arc, ...]:
    return tuple(Arc(step, state, potential) for state, potential in enumerate(potentials))


LINEAR = Topology(((Arc(DIAGONAL, 0, 0), Arc(ABOVE, 0, 1), Arc(LEFT, 0, 2)),), 0)
MONOTONE = Topology(((Arc(DIAGONAL, 0, 0), Arc(LEFT, 0, 0)),), 0)
AFFINE = Topology((_into(DIAGONAL, 0, 0, 0), _into(ABOVE, 1, 2, 1), _into(LEFT, 3, 3, 4)), None)
_ANY = 3
LOCAL = Topology(
    (
        (Arc(DIAGONAL, 0, 0), Arc(DIAGONAL, _ANY, 0)),
        *AFFINE.arcs[1:],
        (Arc(HERE, 1), Arc(HERE, 2), Arc(BEGINS)),
        (Arc(LEFT, ENDED), Arc(HERE, 0)),
    ),
    None,
)
DROPS = Topology(
    (
        (Arc(DIAGONAL, 1, 0), Arc(ABOVE, 0, 1), Arc(LEFT, 0, 2)),
        (Arc(HERE, 0), Arc(ABOVE, 1, 3), Arc(LEFT, 1, 4)),
    ),
    1,
)


def core(problem: ends.Problem) -> tuple[Tensor, Tensor]:
    """Score and border of a family: softdp.ends says more."""
    _, family, tables, parameters, gamma, border, lengths, band, options, keep_border = problem
    dtype = compute_dtype(tables[0])
    gamma = gamma.to(dtype)
    defined = (gamma >= 0) & (gamma < _INFINITY)
    if lengths is not None:  # on a GPU nobody has looked at them
        sizes = tables[0].shape[-2:]
        inside = lengths[0].clamp(0, sizes[0]), lengths[1].clamp(0, sizes[1])
        defined = defined & (inside[0] == lengths[0]) & (inside[1] == lengths[1])
        lengths = inside
    tables = tuple(table.to(dtype) for table in tables)
    n, m = tables[0].shape[-2:]
    rows, columns = (torch.arange(1, size + 1, device=gamma.device) for size in (n, m))
    outside = None
    if band is not None:
        outside = (columns <= band[..., :1]) | (columns > band[..., 1:])
    leading, trailing, minimise, topology = 8, 3, True, LINEAR
    if family == "edit":
        leading, trailing, minimise = options
    if family == "affine":
        (leading, trailing), minimise, topology = options, False, AFFINE
    if family == "local":
        leading, minimise, topology = 0, False, LOCAL
    if family == "drop_dtw":
        leading, topology = 4, DROPS
    if family == "monotonic":
        minimise, topology = False, MONOTONE
    several = len(topology.arcs) > 1
    if family == "lcs":
        leading, minimise = 0, False
        threshold = parameters[0].to(dtype)
        c = tables[0] if outside is None else tables[0].masked_fill(outside, 0)
        match, gap = lcs_potentials(c, threshold, gamma, options[0], lengths)
        arcs = [match, gap, gap]
    elif family == "edit":
        sign = -1 if minimise else 1
        match, insert, delete = (sign * table for table in tables)
        arcs = [match, delete, insert]
    elif family == "soft_dtw":
        arcs = [-tables[0]] * 3
    elif family == "monotonic":
        arcs = [tables[0]]
    elif family == "drop_dtw":
        one_to_many, many_to_one = options
        match, drop_x, drop_y = (-table for table in tables)
        closed = torch.full_like(match, -_INFINITY)
        above, left = (match if allowed else closed for allowed in (many_to_one, one_to_many))
        arcs = [match, above, left, drop_x, drop_y]
    else:
        arcs = list(tables)
    shape = arcs[0].shape
    if border is None:
        gaps = GAPS[leading % 3], GAPS[leading // 3]
        if topology is AFFINE:
            border = laid_affine(shape, AffineGaps(*arcs[1:]), gaps)
        elif topology is LOCAL:
            border = _in_one_state(arcs[0].new_zeros((*shape[:-2], m + 1 + n)), _ANY, topology)
        elif topology is DROPS:
            laid = ends.laid(shape, arcs[4], arcs[3], gaps, minimise=False)
            border = _in_one_state(laid, 1, topology)
        else:
            insert, delete = (arcs[2], arcs[1]) if topology is LINEAR else arcs * 2
            border = ends.laid(shape, insert, delete, gaps, minimise=False)
    elif minimise:
        border = -border
    n_lengths: Any = n
    m_lengths: Any = m
    if lengths is not None:
        n_lengths, m_lengths = (x[..., None, None] for x in lengths)
    for step, closed in ((ABOVE, columns == m_lengths), (LEFT, rows[:, None] == n_lengths)):
        if not trailing & step:
            for potential in topology.of(step):
                arcs[potential] = torch.where(closed, -_INFINITY, arcs[potential])
    potentials = torch.stack([arc.expand(shape) for arc in arcs])
    if outside is not None:
        potentials = potentials.masked_fill(outside, -_INFINITY)
    if lengths is not None:
        beyond_lengths = beyond(lengths, n, m)
        potentials = potentials.masked_fill(beyond_lengths, 0)
        places = torch.arange(m + 1, device=gamma.device), rows
        past = [
            place > length[..., None] for place, length in zip(places, lengths[::-1], strict=True)
        ]
        beyond_border = torch.cat(past, -1)
        border = border.masked_fill(beyond_border[..., None, :] if several else beyond_border, 0)
    border = border.to(dtype)
    border = border.movedim(-2, 0) if several else border[None]
    score, last = _sweep(topology, potentials, border, gamma, outside, lengths, keep_border)
    unit = torch.where(defined, 1, math.nan).to(dtype)
    last = last.double() * unit[..., None]
    # Where no state is the last one, a score is made of the states of the last row and column.
    score = torch.zeros_like(score[0]) if topology.end is None else score[topology.end] * unit
    last = last.movedim(0, -2) if several else last[0]
    return (-score, -last) if minimise else (score, last)


def _in_one_state(border: Tensor, state: int, topology: Topology) -> Tensor:
    """The border of all states, where paths are in one of them there."""
    nowhere = torch.full_like(border, -_INFINITY)
    states = range(len(topology.arcs))
    return torch.stack([border if k == state else nowhere for k in states], -2)


def _sweep(
    topology: Topology,
    potentials: Tensor,
    border: Tensor,
    gamma: Tensor,
    outside: Tensor | None,
    lengths: Lengths | None,
    keep_border: bool,
) -> tuple[Tensor, Tensor]:
    """V[n, m] of every state and pair of a batch, and V in the last row and column.

    Args:
        topology: which arcs there are.
        potentials: what they are worth, shape (potential, ..., n, m).
        border: V in row 0 from the corner on, then in column 0 below it, shape
            (state, ..., m + 1 + n).
        gamma: shape () or (...).
        outside: the cells that no path passes, shape (n, m) or (..., n, m).
        lengths: read V there instead, two tensors of shape (...).
        keep_border: whether the last row and column are wanted.
    """
    n, m = potentials.shape[-2:]
    gamma = gamma[..., None]
    padded = F.pad(potentials, (1, 0, 1, 0))
    border = border + padded[..., 0, 0].sum(0)[..., None]  # zeros, tied to the potentials' graph
    top, left = border[..., : m + 1], border[..., m + 1 :]
    diagonals = _anti_diagonals(padded).unbind()
    if outside is not None:
        outside_diagonals = _anti_diagonals(F.pad(outside, (1, 0, 1, 0)))
    # V along an anti-diagonal, row i at index i + 1; rows off the table are cells without a path.
    nowhere = top.new_full((*top.shape[:-1], n + 2), -_INFINITY)
    values = [nowhere, torch.cat([nowhere[..., :1], top[..., :1], nowhere[..., :n]], -1)]
    for d in range(1, n + m + 1):
        first, last = max(1, d - m), min(n + 1, d)  # rows that are inside
        before, above = slice(first, last), slice(first + 1, last + 1)
        neighbours = values[-2][..., before], values[-1][..., before], values[-1][..., above]
        worth = diagonals[d][..., first:last]
        each: list[Tensor] = []
        for into in topology.arcs:
            sources, potentials_of = [], []
            for arc in into:
                if arc.step == HERE:
                    sources.append(each[arc.state])
                elif arc.step == BEGINS:
                    sources.append(torch.zeros_like(neighbours[0][0]))
                else:
                    sources.append(neighbours[arc.step][arc.state])
                paid = arc.potential is not None
                potentials_of.append(worth[arc.potential] if paid else torch.zeros_like(worth[0]))
            arcs = _follow(torch.stack(sources), torch.stack(potentials_of))
            each.append(smooth_max(arcs, gamma))
        cells = torch.stack(each)
        if outside is not None:  # of a source that is NaN, too
            cells = cells.masked_fill(outside_diagonals[d][..., first:last], -_INFINITY)
        before_cells = [nowhere[..., : 1 + first]]
        if d <= m:
            before_cells = [nowhere[..., :1], top[..., d : d + 1]]
        parts = [*before_cells, cells]
        if d <= n:
            parts.append(left[..., d - 1 : d])
        width = sum(part.shape[-1] for part in parts)
        values.append(torch.cat([*parts, nowhere[..., : n + 2 - width]], -1))
        if lengths is None and not keep_border:
            del values[0]
    if lengths is None and not keep_border:
        score, last_values = values[-1][..., n + 1], border[..., :0]
    else:
        table = torch.stack(values[1:], -1)  # (..., n + 2, n + m + 1)
        flat = table.flatten(-2)
        batch = flat.shape[:-1]
        n_lengths, m_lengths = lengths or (
            torch.full(batch, size, device=flat.device) for size in (n, m)
        )
        width = table.shape[-1]

        def at(i: Tensor, j: Tensor) -> Tensor:
            place = ((i + 1) * width + i + j).expand(*batch, -1)
            return flat.gather(-1, place)

        score = at(n_lengths[..., None], m_lengths[..., None])[..., 0]
        rows = torch.arange(1, n + 1, device=flat.device)
        columns = torch.arange(m + 1, device=flat.device)
        bottom = at(n_lengths[..., None], columns.clamp(max=m))
        right = at(rows, m_lengths[..., None])
        bottom = torch.where(columns <= m_lengths[..., None], bottom, -_INFINITY)
        right = torch.where(rows <= n_lengths[..., None], right, -_INFINITY)
        last_values = torch.cat([bottom, right], -1)
        # Without a path, without a gradient.
        last_values = last_values.masked_fill(last_values == -_INFINITY, -_INFINITY)
    return score.masked_fill(score == -_INFINITY, -_INFINITY), last_values


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
    skewed: Tensor = padded[..., : rows * width].unflatten(-1, (rows, width))
    return skewed.movedim(-1, 0).contiguous()

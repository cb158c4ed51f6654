"""Alignments by costs of gaps, of whole sequences and of parts: arguments, ends, scores.

For softdp.reference too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from softdp.arguments import (
    Band,
    GapCost,
    Gaps,
    GivenLengths,
    Lengths,
    check_band,
    check_ends,
    check_gamma,
    check_gap,
    check_lengths,
    check_table,
)
from softdp.dtypes import compute_dtype
from softdp.ends import ENDS, Core, Problem, best_end, edit, side_of, without_first
from softdp.smooth_max import smooth_max
from softdp.validation import EditInputs


class GapInputs(NamedTuple):
    """Checked arguments of needleman_wunsch, or of smith_waterman, whose ends are free.

    What gaps cost broadcasts as in EditInputs.
    """

    similarity: Tensor  # (..., n, m)
    open_x: Tensor | None  # of gaps in x, as EditInputs has delete; None where gaps are linear
    extend_x: Tensor
    open_y: Tensor | None  # of gaps in y, as it has insert
    extend_y: Tensor
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each
    leading_gaps: tuple[str, str]  # in x, in y
    trailing_gaps: tuple[str, str]
    band: Tensor | None  # int64, (n, 2) or (..., n, 2)


def gap_inputs(
    op: str,
    similarity: Tensor,
    gap: GapCost | None,
    gap_open: GapCost | None,
    gap_extend: GapCost | None,
    gamma: Tensor | float,
    lengths: GivenLengths | None,
    leading_gaps: Gaps,
    trailing_gaps: Gaps,
    band: Band | None,
) -> GapInputs:
    """Check and unify the arguments of needleman_wunsch or smith_waterman.

    Raises:
        TypeError: an argument of the wrong type or dtype; gaps that are both or neither of linear
            and affine.
        ValueError: wrong rank, shape, device or value.
    """
    named = {"gap": gap, "gap_open": gap_open, "gap_extend": gap_extend}
    given = {name: cost for name, cost in named.items() if cost is not None}
    if list(given) not in (["gap"], ["gap_open", "gap_extend"]):
        told = ", ".join(given) or "none of them"
        raise TypeError(f"{op}: give gap, or gap_open and gap_extend; got {told}")
    similarity = check_table(op, "similarity", similarity)
    n, m = similarity.shape[-2:]
    leading = check_ends(op, "leading_gaps", leading_gaps)
    trailing = check_ends(op, "trailing_gaps", trailing_gaps)
    costs = [_costs(op, name, cost, similarity) for name, cost in given.items()]
    for k, (dim, across, size, longer) in enumerate(
        ((-1, "m", (n, 1), (n, m + 1)), (-2, "n", (1, m), (n + 1, m)))
    ):
        sizes = {cost[k].shape[dim] for cost in costs if cost[k].dim() >= -dim} - {1}
        if len(sizes) > 1:
            raise ValueError(
                f"{op}: gap_open and gap_extend in {'xy'[k]} must broadcast to one another, got "
                f"{' and '.join(str(tuple(cost[k].shape)) for cost in costs)}"
            )
        if leading[k] == "paid" and similarity.shape[dim] != 1 and similarity.shape[dim] in sizes:
            raise ValueError(
                f"{op}: leading_gaps='paid' in {'xy'[k]} needs a {[*given][-1]} that does not vary "
                f"along {across} there, shape (..., {size[0]}, {size[1]}), or one that is longer "
                f"by what those gaps cost, shape (..., {longer[0]}, {longer[1]}); two costs are "
                f"for gaps in x and in y"
            )
    (extend_x, extend_y), opened = costs[-1], costs[0] if gap is None else (None, None)
    gamma = check_gamma(op, gamma, "similarity", similarity)
    counted = check_lengths(op, lengths, "similarity", similarity)
    band, gamma = check_band(op, band, "similarity", similarity, counted, gamma)
    return GapInputs(
        similarity,
        opened[0],
        extend_x,
        opened[1],
        extend_y,
        gamma,
        counted,
        leading,
        trailing,
        band,
    )


def _costs(op: str, name: str, cost: GapCost, table: Tensor) -> tuple[Tensor, Tensor]:
    """What gaps in x and in y cost."""
    if isinstance(cost, tuple | list):
        if len(cost) != 2:
            raise ValueError(
                f"{op}: {name} must be one cost, or two of them for gaps in x and in y, got "
                f"{len(cost)}"
            )
        in_x, in_y = cost
        names = f"{name}[0]", f"{name}[1]"
    else:
        in_x = in_y = cost
        names = name, name
    return (
        check_gap(op, names[0], in_x, "similarity", table, -1),
        check_gap(op, names[1], in_y, "similarity", table, -2),
    )


class AffineGaps(NamedTuple):
    """What the first and each further step of a gap are worth; 0 less what they cost."""

    open_x: Tensor
    extend_x: Tensor
    open_y: Tensor
    extend_y: Tensor


ENDED = 4  # of the states of a local alignment that of paths that have ended in a row


def needleman_wunsch(core: Core, op: str, inputs: GapInputs) -> Tensor:
    """The score of checked inputs."""
    if inputs.open_x is None:
        return edit(core, op, linear(inputs), minimise=False)[0]
    similarity, *_, gamma, lengths, leading, trailing, band = inputs
    ends = ENDS[leading, trailing]
    gaps, first = gap_potentials(inputs)
    parted = (leading[0] == "paid" and first[0] is not gaps[0]) or (
        leading[1] == "paid" and first[2] is not gaps[2]
    )
    border = laid_affine(similarity.shape, first, leading) if parted or ends.free_x else None
    tables, options = (similarity, *gaps), (ends.leading, ends.trailing)
    problem = Problem(op, "affine", tables, (), gamma, border, lengths, band, options, True)
    score, last = core(problem)
    free = ends.free_x, ends.free_y
    end = best_end(last, border, similarity.shape, lengths, gamma, free, False)
    return end.to(score.dtype)


def smith_waterman(core: Core, op: str, inputs: GapInputs) -> Tensor:
    """The score of the checked inputs of local alignments, whose ends are free."""
    gaps, _ = gap_potentials(inputs)
    tables = inputs.similarity, *gaps
    score, last = core(
        Problem(op, "local", tables, (), inputs.gamma, None, inputs.lengths, None, (), True)
    )
    values = local_end_values(last, inputs.similarity.shape[-1])[..., None]
    return smooth_max(values, inputs.gamma.double()[..., None])[..., 0].to(score.dtype)


def local_end_values(last: Tensor, m: int) -> Tensor:
    """V of the paths that end in each row, from row 1 on, and -inf; shape (n + 1, ...)."""
    rows = last[..., ENDED, m + 1 :]
    nowhere = rows.new_full((*rows.shape[:-1], 1), -math.inf)
    return torch.cat([rows, nowhere], -1).movedim(-1, 0)


def linear(inputs: GapInputs) -> EditInputs:
    """Those of the edit recurrence, where no step of a gap costs more than the others."""
    similarity, _, extend_x, _, extend_y, gamma, lengths, leading, trailing, band = inputs
    return EditInputs(similarity, -extend_y, -extend_x, gamma, lengths, leading, trailing, band)


def gap_potentials(inputs: GapInputs) -> tuple[AffineGaps, AffineGaps]:
    """Potentials of the gaps, and of those before the first step of the other sequence."""
    similarity, open_x, extend_x, open_y, extend_y, *_ = inputs
    dtype = compute_dtype(similarity)
    n, m = similarity.shape[-2:]
    gaps, first = [], []
    for opened, extended, dim, size in ((open_x, extend_x, -1, m), (open_y, extend_y, -2, n)):
        extended = -extended.to(dtype)
        first_step = extended if opened is None else extended - opened.to(dtype)
        for potential in (first_step, extended):
            own, before = without_first(potential, dim, size)
            gaps.append(own)
            first.append(before)
    return AffineGaps(*gaps), AffineGaps(*first)


def laid_affine(shape: tuple[int, ...], first: AffineGaps, leading: tuple[str, str]) -> Tensor:
    """The whole border of three states: where paths begin, and what their leading gaps are worth.

    first: its gaps broadcast to (..., n, 1) in x and to (..., 1, m) in y where they are paid.
    """
    *batch, n, m = shape
    corner = first.open_x.new_zeros((*batch, 1), dtype=torch.float64)
    sides = []
    for gaps, opened, extended, sizes in (
        (leading[1], first.open_y, first.extend_y, (*batch, 1, m)),
        (leading[0], first.open_x, first.extend_x, (*batch, n, 1)),
    ):
        nowhere = side_of("forbidden", corner, opened, sizes, False)
        begins, runs = side_of(gaps, corner, opened, sizes, False), nowhere
        if gaps == "paid":
            first_step, next_steps = (gap.expand(sizes).flatten(-2) for gap in (opened, extended))
            steps = torch.cat([first_step[..., :1], next_steps[..., 1:]], -1)[..., None, :]
            begins, runs = nowhere, side_of(gaps, corner, steps, steps.shape, False)
        sides.append((begins, runs, nowhere))
    (top, across, no_top), (left, down, no_left) = sides
    no_corner = torch.full_like(corner, -math.inf)
    states = (corner, top, left), (no_corner, no_top, down), (no_corner, across, no_left)
    return torch.stack([torch.cat(state, -1) for state in states], -2)

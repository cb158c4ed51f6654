"""The recurrences: each as its namesake in `softdp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from softdp import affine, drops, ends
from softdp.arguments import Band, GapCost, Gaps, GivenLengths
from softdp.ends import Sweep
from softdp.monotonic import MonotonicAlignment, monotonic, monotonic_inputs
from softdp.paths import ExpectedAlignment
from softdp.reference.anti_diagonals import core
from softdp.validation import (
    block_inputs,
    edit_inputs,
    lcs_inputs,
    soft_dtw_inputs,
    sweep_inputs,
)


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
    searches = not isinstance(gamma, Tensor) and gamma == 0
    needs = log_p.requires_grad or inputs.gamma.requires_grad
    differentiates = torch.is_grad_enabled() and needs and not searches
    with torch.enable_grad():
        leaf = inputs.log_p if log_p.requires_grad else inputs.log_p.detach().requires_grad_()
        score = monotonic(core, "monotonic_alignment", inputs._replace(log_p=leaf))
        (alignment,) = torch.autograd.grad(
            score.sum(), leaf, create_graph=differentiates, materialize_grads=True
        )
    return MonotonicAlignment(alignment, score if differentiates else score.detach())


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

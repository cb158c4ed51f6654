"""The documented entry points."""

from __future__ import annotations

import torch
from torch import Tensor

from softdp import registrations  # noqa: F401
from softdp._extension import require_kernels
from softdp.autograd import FUNCTIONS
from softdp.validation import (
    LEADING_GAPS,
    EditInputs,
    Lengths,
    converted,
    edit_inputs,
    lcs_inputs,
    soft_dtw_inputs,
)


def edit_similarity(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: Lengths | None = None,
    leading_gaps: str = "free",
) -> Tensor:
    """Smoothed maximum, over all alignments of two sequences, of an alignment's summed potentials.

        V[i, j] = smax(V[i-1, j-1] + match[i, j], V[i-1, j] + delete[i, j],
                       V[i, j-1] + insert[i, j])
        smax(a) = gamma * log(sum_k exp(a_k / gamma)), the maximum for gamma = 0;  score = V[n, m]

    The gradient with respect to `match` is the expected alignment (Mensch and Blondel,
    Differentiable Dynamic Programming for Structured Prediction and Attention, ICML 2018).

    Args:
        match: potential of aligning x_i with y_j, shape (..., n, m); float16, bfloat16 (both
            computed in float32), float32 or float64; any strides.
        insert: potential of consuming y_j alone: a number, or a tensor that broadcasts to `match`
            ((..., 1, m) for one per step of y). Read through its strides, never expanded.
        delete: potential of consuming x_i alone: a number, or a tensor that broadcasts to `match`
            ((..., n, 1) for one per step of x).
        gamma: smoothing >= 0 in the unit of the potentials: a number, or a tensor of shape () or
            (...), differentiable. At 0 the first largest of match, delete, insert takes the whole
            subgradient.
        lengths: (n_lengths, m_lengths), how many steps of x and y count: two integer tensors of
            shape (...). What lies beyond is never read and has a gradient of exactly 0.
        leading_gaps: what a cell before the first step of one sequence is worth: "free" 0, "paid"
            the gaps' sum (`insert` may not vary along n then, nor `delete` along m), "forbidden"
            -inf.

    Returns:
        Score, shape (...), float32, or float64 for float64 input; -inf, without gradient, where no
        alignment is possible; NaN where a potential is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `match`; a second derivative was asked for.

    Example:
        >>> similarity = torch.randn(8, 30, 40, requires_grad=True)
        >>> softdp.edit_similarity(similarity, -0.5, -0.5).mean().backward()
        >>> similarity.grad.shape
        torch.Size([8, 30, 40])
    """
    inputs = edit_inputs(
        "edit_similarity", "match", match, insert, delete, gamma, lengths, leading_gaps
    )
    return _edit("edit_similarity", inputs, minimise=False)


def edit_distance(
    substitute: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: Lengths | None = None,
    leading_gaps: str = "paid",
) -> Tensor:
    """Smoothed minimum, over all alignments of two sequences, of an alignment's summed costs.

    Levenshtein's distance for unit costs, no cost to substitute equals, and gamma = 0.

    Args:
        substitute: cost of aligning x_i with y_j, shape (..., n, m).
        insert: cost of consuming y_j alone, as in `edit_similarity`.
        delete: cost of consuming x_i alone.
        gamma: smoothing, as in `edit_similarity`.
        lengths: as in `edit_similarity`.
        leading_gaps: as in `edit_similarity`.

    Returns:
        Distance, shape (...); +inf where no alignment is possible.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.
    """
    inputs = edit_inputs(
        "edit_distance", "substitute", substitute, insert, delete, gamma, lengths, leading_gaps
    )
    return _edit("edit_distance", inputs, minimise=True)


def lcs(
    similarity: Tensor,
    threshold: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    gate_width: float = 0.0,
    lengths: Lengths | None = None,
) -> Tensor:
    """Smoothed weighted longest common subsequence (Gao, Chen, Xu, FTCL, CVPR 2022).

    With c the similarity, tau the threshold and leading gaps free, `edit_similarity` of

        gate_width = 0:  match = c, no gap          where c > tau
                         gap = -gamma log 2, no match   elsewhere
        gate_width = w:  match = c + gamma log sigmoid((c - tau) / w)
                         gap   = -gamma log 2 + gamma log sigmoid((tau - c) / w)

    The gaps' -gamma log 2 makes a table without a match score exactly 0, and no score exceed that
    of gamma = 0.

    Args:
        similarity: c, shape (..., n, m), dtypes as in `edit_similarity`.
        threshold: tau, a number or a tensor of shape () or (...), differentiable if gate_width > 0.
        gamma: smoothing >= 0: a number, or a tensor of shape () or (...).
        gate_width: w >= 0, in the unit of the similarity; 0 is the step.
        lengths: as in `edit_similarity`.

    Returns:
        Score, shape (...), float32, or float64 for float64 input.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.
    """
    inputs = lcs_inputs("lcs", similarity, threshold, gamma, gate_width, lengths)
    similarity, threshold, gamma, gate_width, lengths = inputs
    threshold = converted("lcs", "threshold", threshold, _compute_dtype(similarity))
    return _score("lcs", "lcs", (similarity,), (threshold,), gamma, lengths, gate_width)


def soft_dtw(
    cost: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    lengths: Lengths | None = None,
) -> Tensor:
    """Soft-DTW (Cuturi and Blondel, ICML 2017): one cost for whichever arc enters a cell.

    `edit_distance(cost, cost, cost, leading_gaps="forbidden")`, which reads the one table once.

    Args:
        cost: cost of a cell, whatever the arc into it, shape (..., n, m), dtypes as in
            `edit_similarity`.
        gamma: smoothing >= 0 in the unit of the cost: a number, or a tensor of shape () or (...).
        lengths: as in `edit_similarity`.

    Returns:
        Distance, shape (...), float32, or float64 for float64 input; +inf where no alignment is
        possible. Its gradient with respect to `cost` is the expected alignment.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.
    """
    cost, gamma, lengths = soft_dtw_inputs("soft_dtw", cost, gamma, lengths)
    return _score("soft_dtw", "soft_dtw", (cost,), (), gamma, lengths)


def _edit(op: str, inputs: EditInputs, minimise: bool) -> Tensor:
    match, insert, delete, gamma, lengths, leading_gaps = inputs
    dtype = _compute_dtype(match)
    if match.dtype != dtype:
        # A gap that pairs share, in the dtype in which its gradient can be summed over them.
        batch = match.shape[:-2]
        if insert.shape[:-2] != batch:
            insert = converted(op, "insert", insert, dtype)
        if delete.shape[:-2] != batch:
            delete = converted(op, "delete", delete, dtype)
    tables = match, insert, delete
    number = LEADING_GAPS.index(leading_gaps)
    return _score(op, "edit", tables, (), gamma, lengths, number, minimise)


def _score(
    op: str,
    family: str,
    tables: tuple[Tensor, ...],
    parameters: tuple[Tensor, ...],
    gamma: Tensor,
    lengths: Lengths | None,
    *options: object,
) -> Tensor:
    """Score of a family of softdp.autograd; weights are kept where there will be a gradient."""
    require_kernels(op, tables[0].device)
    gamma = converted(op, "gamma", gamma, _compute_dtype(tables[0]))
    tensors = *tables, *parameters, gamma
    keep_weights = torch.is_grad_enabled() and any([tensor.requires_grad for tensor in tensors])
    n_lengths, m_lengths = lengths or (None, None)
    return FUNCTIONS[family].apply(*tensors, n_lengths, m_lengths, *options, keep_weights)[0]


def _compute_dtype(table: Tensor) -> torch.dtype:
    return torch.float64 if table.dtype == torch.float64 else torch.float32

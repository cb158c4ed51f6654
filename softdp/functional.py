"""The documented entry points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softdp import drops, ends, registrations  # noqa: F401
from softdp._extension import require_kernels
from softdp.arguments import Band, Gaps, GivenLengths
from softdp.autograd import run
from softdp.dtypes import computable
from softdp.ends import Sweep
from softdp.memory import named_when_short
from softdp.validation import edit_inputs, lcs_inputs, soft_dtw_inputs, sweep_inputs
from softdp.values import captured


@named_when_short
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
    """Smoothed maximum, over all alignments of two sequences, of an alignment's summed potentials.

        V[i-1, j-1]          V[i-1, j]        V[i, j] = smax over these three of V + potential
                    ╲            │            smax(a) = gamma * log(sum_k exp(a_k / gamma)),
              match   ╲          │ delete               the maximum for gamma = 0
                        ↘        ↓            score = V[n, m], V[0, 0] = 0
        V[i, j-1] ── insert ──→ V[i, j]

    The gradient with respect to `match` is the expected alignment (Mensch and Blondel,
    Differentiable Dynamic Programming for Structured Prediction and Attention, ICML 2018).

    Args:
        match: potential of aligning x_i with y_j, shape (..., n, m); float16, bfloat16 (both
            computed in float32), float32 or float64; any strides.
        insert: potential of consuming y_j alone: a number, a tensor that broadcasts to `match`
            ((..., 1, m) for one per step of y), or one of shape (..., n + 1, m), whose first row is
            for gaps before the first step of x. Read through its strides, never expanded.
        delete: potential of consuming x_i alone: a number, a tensor that broadcasts to `match`
            ((..., n, 1) for one per step of x), or one of shape (..., n, m + 1), whose first column
            is for gaps before the first step of y.
        gamma: smoothing >= 0 in the unit of the potentials: a number, or a tensor of shape () or
            (...), differentiable. At 0 the first largest of match, delete, insert takes the whole
            subgradient.
        lengths: (n_lengths, m_lengths), how many steps of x and y count: two integer tensors of
            shape (...). What lies beyond is never read and has a gradient of exactly 0.
        leading_gaps: what it costs to begin with a gap: "free" nothing, "paid" the sum of its
            steps (`insert` may not vary along n then, unless it has n + 1 rows; nor `delete` along
            m, unless it has m + 1 columns), "forbidden": paths begin with a match. Or two of these:
            for gaps in x (its steps consumed alone) and for gaps in y.
        trailing_gaps: the same at the end. Where they are free the score is a smooth maximum over
            the cells in which a path may end, and no arc runs along the last row (or column) there:
            both ends are alike, and sequences that are reversed score the same.

            leading, trailing        for x       for y       the alignment is
            paid, paid               global      global      Needleman-Wunsch
            free, free               open        open        overlap
            (paid, free) twice       global      open        semi-global: x within y

        band: which cells a path may pass: a width, within which of the diagonal (of each pair, by
            its lengths: `softdp.sakoe_chiba`), or bounds [first, last) of the columns in each row:
            an integer tensor of shape (n, 2) or (..., n, 2), neither bound of which goes back from
            row to row. Time and the memory of a gradient go with the band; potentials outside are
            not read and have gradient 0. How much memory that is stands in the bounds: where a
            gradient is asked for, a GPU is waited for once in a call, and no CUDA graph holds it.

    Returns:
        Score, shape (...), float32, or float64 for float64 input; -inf, without gradient, where no
        alignment is possible; NaN where a potential is.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `match`.
        NotImplementedError: a third derivative was asked for.

    Example:
        >>> similarity = torch.randn(8, 30, 40, requires_grad=True)
        >>> softdp.edit_similarity(similarity, -0.5, -0.5).mean().backward()
        >>> similarity.grad.shape
        torch.Size([8, 30, 40])
    """
    inputs = edit_inputs(
        "edit_similarity", "match", match, insert, delete, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    require_kernels("edit_similarity", inputs[0].device)
    return ends.edit(core, "edit_similarity", inputs, minimise=False)[0]


@named_when_short
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
    """Smoothed minimum, over all alignments of two sequences, of an alignment's summed costs.

        D[i-1, j-1]          D[i-1, j]        D[i, j] = smin over these three of D + cost
                   ╲             │            smin(a) = -gamma * log(sum_k exp(-a_k / gamma))
         substitute  ╲           │ delete     distance = D[n, m]
                       ↘         ↓
        D[i, j-1] ── insert ──→ D[i, j]

    Levenshtein's distance for unit costs, no cost to substitute equals, and gamma = 0.

    Args:
        substitute: cost of aligning x_i with y_j, shape (..., n, m).
        insert: cost of consuming y_j alone, as in `edit_similarity`.
        delete: cost of consuming x_i alone.
        gamma: smoothing, as in `edit_similarity`.
        lengths: as in `edit_similarity`.
        leading_gaps: as in `edit_similarity`.
        trailing_gaps: as in `edit_similarity`.
        band: as in `edit_similarity`.

    Returns:
        Distance, shape (...); +inf where no alignment is possible.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("kitten", "sitting"))
        >>> softdp.edit_distance((x[:, None] != y).float(), 1.0, 1.0, gamma=0.0)
        tensor(3.)
    """
    inputs = edit_inputs(
        "edit_distance", "substitute", substitute, insert, delete, gamma, lengths,
        leading_gaps, trailing_gaps, band,
    )  # fmt: skip
    require_kernels("edit_distance", inputs[0].device)
    return ends.edit(core, "edit_distance", inputs, minimise=True)[0]


@named_when_short
def lcs(
    similarity: Tensor,
    threshold: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    gate_width: float = 0.0,
    lengths: GivenLengths | None = None,
    band: Band | None = None,
) -> Tensor:
    """Smoothed weighted longest common subsequence (Gao, Chen, Xu, FTCL, CVPR 2022).

        c[i, j] > tau: ↘ matched, + c          x = a b c     a ↘          0 is the score where
        else: → or ↓, worth nothing            y = a c         b ↓        nothing matches
                                                                 c ↘

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
        band: as in `edit_similarity`.

    Returns:
        Score, shape (...), float32, or float64 for float64 input.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("alignment", "lament"))
        >>> softdp.lcs((x[:, None] == y).float(), 0.5, gamma=0.0)
        tensor(5.)
    """
    inputs = lcs_inputs("lcs", similarity, threshold, gamma, gate_width, lengths, band)
    require_kernels("lcs", inputs[0].device)
    return ends.lcs(core, "lcs", inputs)[0]


@named_when_short
def soft_dtw(
    cost: Tensor,
    *,
    gamma: Tensor | float = 1.0,
    lengths: GivenLengths | None = None,
    open_begin: bool = False,
    open_end: bool = False,
    band: Band | None = None,
) -> Tensor:
    """Soft-DTW (Cuturi and Blondel, ICML 2017): one cost for whichever arc enters a cell.

        D[i-1, j-1]  D[i-1, j]                D[i, j] = cost[i, j] + smin over these three
                   ╲     │                    distance = D[n, m]; open_begin: the row above is 0;
                     ↘   ↓                    open_end: smin over the last row
        D[i, j-1] ──→ D[i, j]

    `edit_distance(cost, cost, cost, leading_gaps="forbidden")`, which reads the one table once. It
    may be negative, and is not smallest for equal sequences: `softdp.dtw_divergence` is.

    Args:
        cost: cost of a cell, whatever the arc into it, shape (..., n, m), dtypes as in
            `edit_similarity`.
        gamma: smoothing >= 0 in the unit of the cost: a number, or a tensor of shape () or (...).
        lengths: as in `edit_similarity`.
        open_begin: whether x may begin at any step of y; what y has before it costs nothing.
        open_end: whether x may end at any step of y. With both, x is sought within y (subsequence
            DTW).
        band: as in `edit_similarity`.

    Returns:
        Distance, shape (...), float32, or float64 for float64 input; +inf where no alignment is
        possible. Its gradient with respect to `cost` is the expected alignment.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.

    Example:
        >>> x, y = torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0])
        >>> cost = (x[:, None] - y).square()
        >>> softdp.soft_dtw(cost, gamma=0.0), softdp.soft_dtw(
        ...     cost, gamma=0.0, open_begin=True, open_end=True
        ... )
        (tensor(6.), tensor(0.))
    """
    inputs = soft_dtw_inputs("soft_dtw", cost, gamma, lengths, open_begin, open_end, band)
    require_kernels("soft_dtw", inputs[0].device)
    return ends.soft_dtw(core, "soft_dtw", inputs)[0]


@named_when_short
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
    """Smoothed Drop-DTW: dynamic time warping that may leave out steps of either sequence.

    Each step of x and of y is matched, with one step of the other or with several that follow one
    another, or is dropped, at a cost of its own. D is the least that a path to (i, j) costs, M that
    of those by which x_i and y_j are matched:

        M[i, j] = cost[i, j] + smin(D[i-1, j-1], M[i-1, j], M[i, j-1])
        D[i, j] = smin(M[i, j], D[i-1, j] + drop_x[i], D[i, j-1] + drop_y[j])       D[0, 0] = 0
        distance = D[n, m]

    Between two matches of one step nothing is dropped (the authors' `contiguous`). Drops of x and
    of y in another order are another path. With drop_x=inf all of x is matched; `exclusive` of the
    authors, where several steps of x are not matched with the same step of y, is many_to_one=False.

    Source: Dvornik, Hadji, Derpanis, Garg, Jepson, Drop-DTW: Aligning Common Signal Between
    Sequences While Dropping Outliers, NeurIPS 2021.

    Args:
        cost: of matching x_i with y_j, shape (..., n, m), dtypes as in `edit_similarity`.
        drop_x: of leaving out x_i: a number, or a tensor that broadcasts to shape (..., n).
        drop_y: of leaving out y_j: a number, or a tensor that broadcasts to shape (..., m).
        gamma: smoothing >= 0 in the unit of the cost: a number, or a tensor of shape () or (...).
        lengths: as in `edit_similarity`.
        one_to_many: whether a step of x may be matched with several of y.
        many_to_one: whether several steps of x may be matched with one of y.

    Returns:
        Distance, shape (...), float32, or float64 for float64 input; +inf where there is no path.
        Its gradient with respect to `cost` is how probable each match is, with respect to drop_x
        and drop_y how probable it is that a step is left out.

    Raises:
        TypeError, ValueError, RuntimeError: as `edit_similarity`.

    Example:
        >>> x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 9.0, 2.0, 2.0, 3.0])
        >>> cost = (x[:, None] - y).square()
        >>> softdp.drop_dtw(cost, 0.5, 0.5, gamma=0.0)
        tensor(0.5000)
    """
    inputs = drops.drop_dtw_inputs(
        "drop_dtw", cost, drop_x, drop_y, gamma, lengths, one_to_many, many_to_one
    )
    require_kernels("drop_dtw", inputs[0].device)
    return drops.drop_dtw(core, "drop_dtw", inputs)


@named_when_short
def sweep(
    family: str,
    *tables: Tensor | float,
    top: Tensor | None = None,
    left: Tensor | None = None,
    **options: Any,
) -> Sweep:
    """A table that is a part of a larger one: from the scores on its border to those on its edge.

        top[0]   top[1]    ...  top[m]           row above the table, from the corner on
        left[0]  V[1, 1]   ...  V[1, m]   = right[0]
        ...
        left[n-1] V[n, 1]  ...  V[n, m]   = right[n-1]
          = bottom[0]                bottom[m]

    Sweeping the rows from the first block to the last, each with the bottom of the one before it
    as its top, is sweeping the whole; so is going on when more of x has come. All of it is
    differentiable, borders too: a border's gradient is the mass of the paths that pass there.

    Args:
        family: "edit_similarity", "edit_distance", "lcs" or "soft_dtw".
        tables: what that function takes: match, insert and delete; substitute, insert and delete;
            similarity and threshold; cost.
        top: scores of the cells above the table, shape (..., m + 1), any float dtype; what leading
            gaps say where it is None.
        left: scores of the cells left of it, shape (..., n); where it is None, what leading gaps
            say of the rows below the corner top[0].
        options: gamma, lengths, band, gate_width (of "lcs"), leading_gaps and trailing_gaps (of the
            edit functions), as those functions have them. Trailing gaps that are not paid are for
            the last part of a table: another one does not go on from its edge.

    Returns:
        Sweep(score, bottom, right), shapes (...), (..., m + 1), (..., n); the borders in float64,
        and without a path (-inf, or inf for distances) beyond the lengths.

    Raises:
        TypeError, ValueError, RuntimeError: as the function of the family.

    Example:
        >>> cost = torch.rand(100, 40)
        >>> first = softdp.sweep("soft_dtw", cost[:60])
        >>> whole = softdp.sweep("soft_dtw", cost[60:], top=first.bottom)
        >>> torch.allclose(whole.score, softdp.soft_dtw(cost))
        True
    """
    checked, given = sweep_inputs(family, tables, top, left, options)
    require_kernels("sweep", checked[0].device)
    return ends.sweep(core, "sweep", family, checked, ends.Border(*given))


def core(problem: ends.Problem) -> tuple[Tensor, Any]:
    """Score and border of a family: softdp.ends says more.

    Weights are kept where there will be a gradient, or where nobody knows yet.
    """
    op, family, tables, parameters, gamma, border, lengths, band, options, keep_border = problem
    tables, gamma = computable(op, tables, gamma)
    tensors = *tables, *parameters, gamma
    keep_weights = (
        any([tensor.requires_grad for tensor in tensors])
        or (border is not None and border.requires_grad)
        or captured()
        if torch.is_grad_enabled()
        else torch.jit.is_tracing()  # which checks itself by a second trace, without gradients
    )
    return run(
        family,
        (*tensors, border, *(lengths or (None, None)), band),
        (*options, keep_weights, keep_border),
    )

"""Alignments of sequences whose table is too large to hold: made and swept a block at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from softdp.arguments import Gaps, GivenLengths, check_gap, check_table
from softdp.ends import at, best_end, open_top
from softdp.functional import sweep
from softdp.memory import named_when_short
from softdp.validation import OPTIONS, block_inputs, soft_dtw_inputs

Tables = Tensor | tuple[Tensor | float, ...]


@named_when_short
def blockwise(
    similarity: Callable[[Tensor, Tensor], Tables],
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
    """Score of two sequences without their table: blocks of rows are made, swept and let go.

        top ──────────────► m
        │  similarity(x[:rows], y)          a block is made when it is swept, and made again when
        │  similarity(x[rows:2 rows], y)    its gradient is asked for; between blocks only a row of
        ▼  ...                              scores is kept
        n

    Memory is that of one block and of n / rows rows of m + 1 numbers, whatever n is (but under
    torch.func that of the whole table); time is that of the whole table and of one more forward
    sweep. The score and the gradients, to x, y and
    whatever `similarity` closes over, are those of the whole table to rounding, for any `rows`.

    Args:
        similarity: from some rows of x, shape (..., r, d), and y to the first table of the family,
            shape (..., r, m), or to a tuple of all of its tables. It is called twice for each
            block, and has to give the same both times (random numbers of torch are repeated).
        x: the longer sequence, (..., n, d); its steps lie along `dim`.
        y: passed on as it is.
        tables: those after the first, if `similarity` gives but one: numbers or tensors, as the
            function of the family takes them; those that have n rows, or n + 1, are cut with x.
        family: "soft_dtw", "edit_similarity", "edit_distance" or "lcs".
        rows: of a block. Fewer take less memory, and more calls.
        dim: dimension of x along which its steps lie.
        lengths: (n_lengths, m_lengths), as in `edit_similarity`.
        open_begin: as in `soft_dtw`, for that family.
        open_end: as in `soft_dtw`, for that family.
        trailing_gaps: as in `edit_similarity`, for the edit families.
        options: gamma, gate_width, leading_gaps, as the function of the family has them.

    Returns:
        Score, shape (...), float32, or float64 for float64 tables.

    Raises:
        TypeError, ValueError, RuntimeError: as the function of the family; `rows` or `dim` does not
            fit; `similarity` returned what is no table of these rows.

    Example:
        >>> x, y = torch.randn(5000, 16), torch.randn(300, 16)
        >>> cost = lambda x, y: softdp.pairwise_cost(x, y, "sqeuclidean")
        >>> whole = softdp.soft_dtw(cost(x, y))
        >>> torch.allclose(softdp.blockwise(cost, x, y, rows=512), whole)
        True
    """
    n, counted, trailing = block_inputs(
        family, x, dim, rows, lengths, open_begin, open_end, trailing_gaps, options
    )
    rows = max(rows, 2)  # one row would not show whether its gaps vary along n
    gamma: Any = options.setdefault("gamma", OPTIONS[family]["gamma"])
    closed_x, closed_y = (gaps != "paid" for gaps in trailing)
    minimise = family != "edit_similarity"
    if closed_x:
        options["trailing_gaps"] = "forbidden", "paid"

    def cut(table: Tensor | float, first: int, count: int) -> Tensor | float:
        if not isinstance(table, Tensor) or table.dim() < 2:
            return table
        if table.shape[-2] == n + 1 > 1:  # what leading gaps cost comes first, and with the first
            return table.narrow(-2, first + (first > 0), count + (first == 0))
        return table.narrow(-2, first, count) if table.shape[-2] == n != 1 else table

    def swept(first: int, count: int, top: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        made = similarity(x.narrow(dim, first, count), y)
        made = made if isinstance(made, tuple) else (made, *(cut(t, first, count) for t in tables))
        own = None if counted is None else ((counted[0] - first).clamp(0, count), counted[1])
        if top is None and open_begin and len(made) == 1:  # sweep refuses what are other tables
            table: Any = made[0]
            checked = soft_dtw_inputs("blockwise", table, gamma, None, open_begin, False, None)
            n_lengths = None if own is None else own[0]
            top = open_top(checked.cost.shape, checked.gamma, n_lengths)
        if closed_y and len(made) == 3:
            table = made[0]
            last = (n if counted is None else counted[0][..., None, None]) - first
            table = check_table("blockwise", "similarity", table)
            insert = check_gap("blockwise", "insert", made[1], "similarity", table, -2)
            leading = insert
            if insert.dim() > 1 and insert.shape[-2] == count + 1 > 1:
                leading, insert = insert[..., :1, :], insert[..., 1:, :]
            row = torch.arange(1, count + 1, device=table.device)[:, None]
            below = torch.where(row == last, math.inf if minimise else -math.inf, insert)
            if top is None and (leading.dim() < 2 or leading.shape[-2] == 1):
                leading = leading.expand(*below.shape[:-2], 1, below.shape[-1])
                below = torch.cat([leading, below], -2)
            made = made[0], below, made[2]
        return sweep(family, *made, top=top, lengths=own, **options)

    def block(first: int, count: int, top: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        # torch.func knows no checkpoints: there every block stays.
        if torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
            kept: tuple[Tensor, Tensor, Tensor]
            kept = checkpoint(swept, first, count, top, use_reentrant=False)
            return kept
        return swept(first, count, top)

    score, bottom, right = block(0, min(rows, n), None)
    rights = [right]
    for first in range(rows, n, rows):
        score, bottom, right = block(first, min(rows, n - first), bottom)
        rights.append(right)
    free = trailing[0] == "free", trailing[1] == "free" or open_end
    if counted is None and not any(free):
        return score
    batch, m = bottom.shape[:-1], bottom.shape[-1] - 1
    whole = None
    if counted is not None:
        m_lengths = torch.full((), m, device=bottom.device) if counted[1] is None else counted[1]
        whole = counted[0].expand(batch), m_lengths.expand(batch)
    if any(free):
        # Of no rows at all: the row above the table, in whose last cell a path may end too.
        top = swept(0, 0, None)[1] if free[0] else None
        smoothing = torch.as_tensor(gamma, dtype=torch.float64, device=bottom.device)
        smoothing = smoothing.reshape(()) if smoothing.numel() == 1 else smoothing.expand(batch)
        last = torch.cat([bottom, *rights], -1)
        return best_end(last, top, (*batch, n, m), whole, smoothing, free, minimise).to(score.dtype)
    assert whole is not None
    # The last block's score is that of the pairs that end in it; the row at its bottom has all.
    return at(bottom, whole[1]).to(score.dtype)

"""Paths through a table: in what form they are told, and which there are."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from softdp.ends import leading_number, trailing_number

MATCH, DELETE, INSERT = range(3)
X, Y = range(2)
Ends: TypeAlias = tuple[Tensor, Tensor]  # the lengths of both sequences, (...)


class AlignmentPath(NamedTuple):
    """The steps of a path for each pair, in their order; what is left of n + m places is -1.

    A step leads into the cell of x_i and y_j by an arc: 0 match, 1 delete (x_i alone), 2 insert
    (y_j alone). A gap before the first step of the other sequence has -1 beside it.
    """

    pairs: Tensor  # (..., n + m, 2), int64: i and j from 0
    arcs: Tensor  # (..., n + m), int64
    lengths: Tensor  # (...), int64: how many steps
    score: Tensor  # (...): the sum of its potentials or costs


class ExpectedAlignment(NamedTuple):
    """How probable it is that a path takes an arc into a cell, each of shape (..., n, m)."""

    match: Tensor
    insert: Tensor
    delete: Tensor


class Rules(NamedTuple):
    """Which paths there are."""

    leading: tuple[str, str] = ("free", "free")  # gaps before the first step: in x, in y
    free: tuple[bool, bool] = (False, False)  # whether any cell of the last column, row is an end
    closed: tuple[bool, bool] = (False, False)  # whether no gap runs along the last column, row
    minimise: bool = False
    halves: bool = False  # whether paths into the first row count by both arcs, a half each
    anywhere: bool = False  # whether paths begin and end with any match, and nowhere else


def rules_of(leading: tuple[str, str], trailing: tuple[str, str], minimise: bool = False) -> Rules:
    """As leading and trailing gaps have them."""
    free = trailing[X] == "free", trailing[Y] == "free"
    closed = trailing[X] != "paid", trailing[Y] != "paid"
    return Rules(leading, free, closed, minimise)


def op_options(rules: Rules) -> tuple[int, int, bool]:
    """Those of the edit ops."""  # no property: torch 2.10 compiles none of a named tuple
    runs = not rules.closed[X], not rules.closed[Y]
    return leading_number(rules.leading), trailing_number(runs), rules.minimise


def check_path(op: str, path: AlignmentPath, table: Tensor) -> None:
    """Refuse what has not the form of the paths of a table."""
    *batch, n, m = table.shape
    if not isinstance(path, AlignmentPath):
        raise TypeError(
            f"{op}: path must be an AlignmentPath, of best() or sample(), got {type(path).__name__}"
        )
    for name, beyond_batch in (("pairs", (n + m, 2)), ("arcs", (n + m,)), ("lengths", ())):
        part, shape = getattr(path, name), (*batch, *beyond_batch)
        if part.dtype != torch.int64 or tuple(part.shape[part.dim() - len(shape) :]) != shape:
            raise ValueError(
                f"{op}: path.{name} must be int64 of shape {shape}, or with more "
                f"dimensions before these, got {part.dtype} of {tuple(part.shape)}"
            )


def is_path(path: AlignmentPath, rules: Rules, ends: Ends, band: Tensor | None) -> Tensor:
    """Whether these lead from a beginning to an end by arcs that there are."""
    leading = rules.leading
    pairs, arcs, lengths, _ = path
    n_lengths, m_lengths = ends
    i, j = pairs.unbind(-1)
    most = arcs.shape[-1]
    if most == 0:
        return lengths == 0
    step = torch.arange(most, device=arcs.device) < lengths[..., None]
    down, right = (arcs != INSERT).long(), (arcs != DELETE).long()
    amiss = (arcs < 0) | (arcs > 2) | (i < -1) | (j < -1)
    amiss |= ((i < 0) & ((arcs != INSERT) | (leading[Y] != "paid"))) | (
        (j < 0) & ((arcs != DELETE) | (leading[X] != "paid"))
    )
    amiss[..., 1:] |= (i.diff(dim=-1) != down[..., 1:]) | (j.diff(dim=-1) != right[..., 1:])
    inside = (i >= 0) & (j >= 0)
    if rules.closed[X]:
        amiss |= inside & (arcs == DELETE) & (j == m_lengths[..., None] - 1)
    if rules.closed[Y]:
        amiss |= inside & (arcs == INSERT) & (i == n_lengths[..., None] - 1)
    if band is not None and band.shape[-2] > 0:
        row = i.clamp(0, band.shape[-2] - 1)
        first, last = (held_at(band[..., k], row) for k in (0, 1))
        amiss |= inside & ((j < first) | (j >= last))
    begin = i[..., 0] + 1 - down[..., 0], j[..., 0] + 1 - right[..., 0]
    begins = (begin[0] == 0) & (begin[1] == 0)
    if leading[X] == "free":
        begins |= begin[1] == 0
    if leading[Y] == "free":
        begins |= begin[0] == 0
    if rules.halves:
        begins &= arcs[..., 0] == MATCH
    at_last = (lengths - 1).clamp(0, most - 1)[..., None]
    row, column = (x.gather(-1, at_last)[..., 0] + 1 for x in (i, j))
    stops = _ends_at(rules, ends, row, column)
    if rules.anywhere:
        begins = arcs[..., 0] == MATCH
        stops = (row <= n_lengths) & (column <= m_lengths)
        stops &= arcs.gather(-1, at_last)[..., 0] == MATCH
    found = begins & stops & ~(amiss & step).any(-1)
    is_empty = (lengths == 0) & _may_be_empty(rules, ends)
    return torch.where((lengths > 0) & (lengths <= most), found, is_empty)


def _ends_at(rules: Rules, ends: Ends, row: Tensor, column: Tensor) -> Tensor:
    """Whether paths may end in a cell, counted from 1."""
    n_lengths, m_lengths = ends
    is_end = (row == n_lengths) & (column == m_lengths)
    if rules.free[X]:
        is_end |= (row <= n_lengths) & (column == m_lengths)
    if rules.free[Y]:
        is_end |= (row == n_lengths) & (column <= m_lengths)
    return is_end


def _may_be_empty(rules: Rules, ends: Ends) -> Tensor:
    """Whether a path may end in the cell of the border in which it begins."""
    n_lengths, m_lengths = ends
    zero = torch.zeros_like(n_lengths)
    if rules.anywhere:
        return zero.bool()
    found = _ends_at(rules, ends, zero, zero)
    if rules.leading[X] == "free":
        found |= _ends_at(rules, ends, n_lengths, zero)
    if rules.leading[Y] == "free":
        found |= _ends_at(rules, ends, zero, m_lengths)
    return found


def held_at(table: Tensor, *places: Tensor) -> Tensor:
    """What a table that broadcasts holds at places of its last dimensions.

    Args:
        table: (..., sizes of the last dimensions), broadcasting.
        places: shape (k, ..., steps) each, with any dimensions before the batch.
    """
    shape = places[0].shape  # that of all
    if table.numel() == 0:
        return table.new_zeros(()).expand(shape)
    index, single = [], []
    for d, size in enumerate(table.shape):
        from_end = table.dim() - d
        if size == 1:
            single.append(d)
        elif from_end <= len(places):
            index.append(places[-from_end].clamp(0, size - 1))
        else:  # the place in the batch
            behind = from_end - len(places)
            index.append(torch.arange(size, device=table.device).view(size, *(1,) * behind))
    table = table.squeeze(single)
    return table[tuple(index)].expand(shape) if index else table.expand(shape)

"""Affine gaps by every path, and by the recurrence in plain torch where there are too many.

Neither shares code with softdp. A path's value is the sum of what its steps are worth: a match of
the cell that it enters; a gap opens where the step before it was another one, else it extends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

M, X, Y = range(3)  # the step before: a match, a gap in x, a gap in y
NOWHERE = -math.inf


class Steps(NamedTuple):
    """What the steps of one pair of sequences are worth, each of shape (n, m)."""

    match: Tensor
    open_remove: Tensor
    extend_remove: Tensor
    open_insert: Tensor
    extend_insert: Tensor


def laid(steps: Steps, leading: tuple[str, str]) -> Tensor:
    """Values of the cells before the first step, shape (state, m + 1 + n), by leading gaps.

    A gap that was paid for goes on as one; after a free one a path begins as after a match.
    """
    corner = torch.tensor([[0.0], [NOWHERE], [NOWHERE]], dtype=torch.float64)
    sides = [corner]
    for gaps, state, opened, extended in (
        (leading[1], Y, steps.open_insert[0], steps.extend_insert[0]),
        (leading[0], X, steps.open_remove[:, 0], steps.extend_remove[:, 0]),
    ):
        side = [opened.new_full(opened.shape, NOWHERE)] * 3
        if gaps == "free":
            side[M] = torch.zeros_like(opened)
        if gaps == "paid":
            side[state] = torch.cat([opened[:1], extended[1:]]).cumsum(0)
        sides.append(torch.stack(side))
    return torch.cat(sides, 1)


def closed(steps: Steps) -> Steps:
    """Without gaps in x down the last column and without gaps in y along the last row."""
    match, *gaps = (table.clone() for table in steps)
    for gap in gaps[:2]:
        gap[:, -1:] = NOWHERE
    for gap in gaps[2:]:
        gap[-1:] = NOWHERE
    return Steps(match, *gaps)


def border_by_paths(steps: Steps, border: Tensor, gamma: Tensor) -> Tensor:
    """Values of the last row and column as a sweep puts them out, shape (state, m + 1 + n)."""
    n, m = steps.match.shape
    worth = torch.cat([table.flatten() for table in steps])
    ends: dict[tuple[int, int, int], list[Tensor]] = {}
    for begin, i, j, state, taken in paths(n, m):
        value = border[begin] + worth[list(taken)].sum()
        ends.setdefault((i, j, state), []).append(value)
    return put_out(n, m, border, lambda *end: smax(ends.get(end, []), gamma))


def paths(n: int, m: int) -> Iterator[tuple[tuple[int, int], int, int, int, tuple[int, ...]]]:
    """Every path of at least a step from the border to a cell of the last row or column.

    Yields the place in the border, the cell, the state there, and the numbers of its steps' worth
    in the tables, which lie one after the other.
    """
    begins = [(0, j, j) for j in range(m + 1)] + [(i, 0, m + i) for i in range(1, n + 1)]
    for i, j, place in begins:
        for state in (M, X, Y):
            for *end, taken in walks(n, m, i, j, state):
                yield (state, place), *end, taken


def walks(
    n: int, m: int, i: int, j: int, state: int
) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
    for step, down, right in ((M, 1, 1), (X, 1, 0), (Y, 0, 1)):
        to_i, to_j = i + down, j + right
        if to_i > n or to_j > m or to_i == 0 or to_j == 0:
            continue
        table = (0, 2 if state == X else 1, 4 if state == Y else 3)[step]
        taken = (table * n * m + (to_i - 1) * m + to_j - 1,)
        if to_i == n or to_j == m:
            yield to_i, to_j, step, taken
        for *end, more in walks(n, m, to_i, to_j, step):
            yield *end, taken + more


def border_by_recurrence(steps: Steps, border: Tensor, gamma: Tensor) -> Tensor:
    """The same, a row at a time."""
    n, m = steps.match.shape
    values = {(M, 0, 0): border[M, 0], (X, 0, 0): border[X, 0], (Y, 0, 0): border[Y, 0]}
    for s in (M, X, Y):
        values |= {(s, 0, j): border[s, j] for j in range(1, m + 1)}
        values |= {(s, i, 0): border[s, m + i] for i in range(1, n + 1)}
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            match, open_x, extend_x, open_y, extend_y = (table[i - 1, j - 1] for table in steps)
            for state, before, worth in (
                (M, (i - 1, j - 1), (match, match, match)),
                (X, (i - 1, j), (open_x, extend_x, open_x)),
                (Y, (i, j - 1), (open_y, open_y, extend_y)),
            ):
                arcs = [values[(s, *before)] + worth[s] for s in (M, X, Y)]
                values[state, i, j] = smax(arcs, gamma)
    return put_out(n, m, border, lambda i, j, state: values[state, i, j])


def put_out(n: int, m: int, border: Tensor, value: Callable[[int, int, int], Tensor]) -> Tensor:
    rows = []
    for s in (M, X, Y):
        # Where a sequence is empty, the border is a last row or column too.
        bottom = [border[s, m + n if n else 0]]
        bottom += [value(n, j, s) if n else border[s, j] for j in range(1, m + 1)]
        right = [value(i, m, s) if m else border[s, i] for i in range(1, n + 1)]
        rows.append(torch.stack(bottom + right))
    return torch.stack(rows)


def smax(arcs: list[Tensor], gamma: Tensor) -> Tensor:
    there = [arc for arc in arcs if arc.item() != NOWHERE]
    if not there:
        return torch.tensor(NOWHERE, dtype=torch.float64)
    stacked = torch.stack(there)
    return gamma * (stacked / gamma).logsumexp(0) if gamma.item() > 0 else stacked.max()

"""Every path of a tiny table, from wherever it may begin to wherever it may end.

As enumeration.py, which has one beginning and one end; here a path is walked over a graph of cells
(i, j), 0 <= i <= n, 0 <= j <= m, that says of each option which arcs and which ends there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Cell = tuple[int, int]


class Table(NamedTuple):
    """One pair: match (n, m), insert (n + 1, m), delete (n, m + 1), the first for leading gaps."""

    match: Array
    insert: Array
    delete: Array


class Rules(NamedTuple):
    """What paths may do; gaps are given for x and for y."""

    leading: tuple[str, str] = ("paid", "paid")
    trailing: tuple[str, str] = ("paid", "paid")
    band: NDArray[np.int64] | None = None  # (n, 2)
    begins: dict[Cell, float] | None = None  # what the cells of the border are worth, if given


class Result(NamedTuple):
    """The score, and its gradient with respect to each table, gamma and what paths begin with."""

    score: float
    table: Table
    gamma: float
    begins: dict[Cell, float]


def _arcs(table: Table, rules: Rules, cell: Cell) -> Iterator[tuple[Cell, str, Cell]]:
    """(next cell, table, place in it) of the arcs that leave a cell."""
    n, m = table.match.shape
    i, j = cell
    for kind, to in (("match", (i + 1, j + 1)), ("delete", (i + 1, j)), ("insert", (i, j + 1))):
        if to[0] > n or to[1] > m:
            continue
        inside = to[0] > 0 and to[1] > 0
        if inside and rules.band is not None:
            first, last = rules.band[to[0] - 1]
            if not first < to[1] <= last:
                continue
        if kind == "delete":
            if to[1] == 0 and (rules.leading[0] != "paid" or rules.begins is not None):
                continue
            if inside and to[1] == m and rules.trailing[0] != "paid":
                continue
            yield to, kind, (to[0] - 1, to[1])
        elif kind == "insert":
            if to[0] == 0 and (rules.leading[1] != "paid" or rules.begins is not None):
                continue
            if inside and to[0] == n and rules.trailing[1] != "paid":
                continue
            yield to, kind, (to[0], to[1] - 1)
        else:
            yield to, kind, (to[0] - 1, to[1] - 1)


def _begins(table: Table, rules: Rules) -> dict[Cell, float]:
    if rules.begins is not None:
        return rules.begins
    n, m = table.match.shape
    cells: list[Cell] = [(0, 0)]
    if rules.leading[0] == "free":
        cells += [(i, 0) for i in range(1, n + 1)]
    if rules.leading[1] == "free":
        cells += [(0, j) for j in range(1, m + 1)]
    return dict.fromkeys(cells, 0.0)


class Way(NamedTuple):
    """A path: the cell in which it begins, what it is worth, and its arcs with their places."""

    begin: Cell
    value: float
    arcs: list[tuple[str, Cell]]

    def steps(self) -> list[tuple[int, int, int]]:
        """Of each arc its number (match, delete, insert) and the place, from 0, it leads to."""
        moved = {"match": (0, 0, 0), "delete": (1, 0, -1), "insert": (2, -1, 0)}
        return [
            (moved[kind][0], i + moved[kind][1], j + moved[kind][2]) for kind, (i, j) in self.arcs
        ]


def ways(table: Table, rules: Rules, ends: list[Cell] | None = None) -> list[Way]:
    """Every path; `ends` other than those of the rules if they are given."""
    n, m = table.match.shape
    if ends is None:
        ends = [(n, m)]
        if rules.trailing[0] == "free":
            ends += [(i, m) for i in range(n)]
        if rules.trailing[1] == "free":
            ends += [(n, j) for j in range(m)]
    found: list[Way] = []

    def walk(begin: Cell, cell: Cell, value: float, path: list[tuple[str, Cell]]) -> None:
        if cell in ends:
            found.append(Way(begin, value, list(path)))
        for to, kind, place in _arcs(table, rules, cell):
            walk(begin, to, value + getattr(table, kind)[place], [*path, (kind, place)])

    for cell, value in _begins(table, rules).items():
        if value > -math.inf:
            walk(cell, cell, value, [])
    return found


def score(table: Table, gamma: float, rules: Rules, ends: list[Cell] | None = None) -> Result:
    """Smooth maximum over all paths; `ends` other than those of the rules if they are given."""
    found = ways(table, rules, ends)
    values = [way.value for way in found]
    gradients = Table(*(np.zeros_like(each) for each in table))
    arrived = dict.fromkeys(_begins(table, rules), 0.0)
    if not values or max(values) == -math.inf:
        return Result(-math.inf, gradients, 0.0, arrived)
    scaled = np.exp((np.array(values) - max(values)) / gamma)
    shares = scaled / scaled.sum()
    for share, way in zip(shares, found, strict=True):
        arrived[way.begin] += share
        for kind, place in way.arcs:
            getattr(gradients, kind)[place] += share
    entropy = -float(sum(share * math.log(share) for share in shares if share > 0))
    best = max(values) + gamma * math.log(scaled.sum())
    return Result(float(best), gradients, entropy, arrived)

"""An oracle that shares nothing with softdp: every path of a tiny table, one after the other.

A path's value is the sum of its potentials; the score is gamma * log sum exp(value / gamma) over
paths, an arc's gradient is the probability that a path takes it, and the derivative with respect
to gamma is the entropy of that distribution. gamma = 0 picks one path.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Arc(NamedTuple):
    """An arc into cell (i, j), 1-based."""

    kind: str
    i: int
    j: int


class Result(NamedTuple):
    """Scores (...), and the gradients of their sum weighted by `upstream`, each of its shape."""

    score: Array
    match: Array
    insert: Array
    delete: Array
    gamma: Array


class LcsResult(NamedTuple):
    """Scores (...), and the gradients of their sum weighted by `upstream`, each of its shape."""

    score: Array
    similarity: Array
    threshold: Array
    gamma: Array


@functools.cache
def paths(n: int, m: int) -> list[tuple[Arc, ...]]:
    """Every path from (0, 0) to (n, m), arcs read from the end.

    Paths come in the order match, delete, insert at each cell, so that the first best path in the
    list is the one that gamma = 0 takes.
    """
    if n == 0 and m == 0:
        return [()]
    found: list[tuple[Arc, ...]] = []
    if n > 0 and m > 0:
        found += [(Arc("match", n, m), *rest) for rest in paths(n - 1, m - 1)]
    if n > 0:
        found += [(Arc("delete", n, m), *rest) for rest in paths(n - 1, m)]
    if m > 0:
        found += [(Arc("insert", n, m), *rest) for rest in paths(n, m - 1)]
    return found


def edit(
    match: Array,
    insert: Array,
    delete: Array,
    gamma: Array,
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    leading_gaps: str,
    upstream: Array,
) -> Result:
    """Edit similarity of a batch; gamma, lengths and upstream of shape (...)."""
    potentials = {"match": match, "insert": insert, "delete": delete}
    score = np.zeros(gamma.shape)
    gradients = {kind: np.zeros(table.shape) for kind, table in potentials.items()}
    gamma_gradient = np.zeros(gamma.shape)
    for pair in np.ndindex(gamma.shape):
        candidates = paths(int(lengths[0][pair]), int(lengths[1][pair]))
        values = np.array(
            [
                sum(_potential(potentials, pair, arc, leading_gaps) for arc in path)
                for path in candidates
            ]
        )
        score[pair], shares, entropy = _smooth_max(values, gamma[pair])
        gamma_gradient[pair] = upstream[pair] * entropy
        for path, share in zip(candidates, shares, strict=True):
            for arc in path:
                if _pays(arc, leading_gaps):
                    table = gradients[arc.kind]
                    table[_place(table, pair, arc)] += share * upstream[pair]
    return Result(score, **gradients, gamma=gamma_gradient)


def lcs(
    similarity: Array,
    threshold: Array,
    gamma: Array,
    gate_width: float,
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    upstream: Array,
) -> LcsResult:
    """Weighted longest common subsequence of a batch; threshold, gamma, lengths of shape (...)."""
    tau, scale = threshold[..., None, None], gamma[..., None, None]
    opened = (scale > 0).astype(float)
    if gate_width == 0:
        match = np.where(similarity > tau, similarity, -math.inf)
        gap = np.where(similarity > tau, -math.inf, -scale * math.log(2))
        above = below = log_above = log_below = np.zeros(similarity.shape)
    else:
        z = (similarity - tau) / gate_width
        log_above, log_below = -np.logaddexp(0, -z), -np.logaddexp(0, z)
        above, below = np.exp(log_above), np.exp(log_below)
        match = similarity + scale * log_above
        gap = scale * (log_below - math.log(2))
    result = edit(match, gap, gap, gamma, lengths, "free", upstream)
    gap_gradient = result.insert + result.delete
    slope = scale / gate_width if gate_width else 0.0
    tilt = slope * (result.match * below - gap_gradient * above)
    potential_gamma = opened * (result.match * log_above + gap_gradient * (log_below - math.log(2)))
    return LcsResult(
        result.score,
        result.match + tilt,
        -tilt.sum((-2, -1)),
        result.gamma + potential_gamma.sum((-2, -1)),
    )


class SoftDtwResult(NamedTuple):
    """Distances (...), and the gradients of their sum weighted by `upstream`, each of its shape."""

    score: Array
    cost: Array
    gamma: Array


def soft_dtw(
    cost: Array,
    gamma: Array,
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    upstream: Array,
) -> SoftDtwResult:
    """Soft-DTW of a batch; gamma, lengths and upstream of shape (...)."""
    result = edit(-cost, -cost, -cost, gamma, lengths, "forbidden", upstream)
    alignment = result.match + result.insert + result.delete
    return SoftDtwResult(-result.score, alignment, -result.gamma)


def _smooth_max(values: Array, gamma: float) -> tuple[float, Array, float]:
    """The value, each path's probability, and their entropy."""
    best = values.max()
    if best == -math.inf:
        return -math.inf, np.zeros(len(values)), 0.0
    if gamma == 0:
        return float(best), (np.arange(len(values)) == values.argmax()).astype(float), 0.0
    weights = np.exp((values - best) / gamma)
    shares = weights / weights.sum()
    taken = shares[shares > 0]
    return (
        float(best + gamma * np.log(weights.sum())),
        shares,
        -float((taken * np.log(taken)).sum()),
    )


def _pays(arc: Arc, leading_gaps: str) -> bool:
    return (arc.i > 0 and arc.j > 0) or leading_gaps == "paid"


def _potential(
    potentials: dict[str, Array], pair: tuple[int, ...], arc: Arc, leading_gaps: str
) -> float:
    if not _pays(arc, leading_gaps):
        return 0.0 if leading_gaps == "free" else -math.inf
    table = potentials[arc.kind]
    return float(table[_place(table, pair, arc)])


def _place(table: Array, pair: tuple[int, ...], arc: Arc) -> tuple[int, ...]:
    """Where a table that broadcasts to (..., n, m) keeps an arc's potential."""
    index = (*pair, arc.i - 1, arc.j - 1)
    return tuple(
        0 if size == 1 else position
        for size, position in zip(table.shape, index[len(index) - table.ndim :], strict=True)
    )

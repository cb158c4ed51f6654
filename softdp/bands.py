"""Bands: which columns of each row a path may pass, as bounds [first, last) for every row.

rows of x
│ ██▓░░░░     width = 1, n = m          A band is an integer tensor of shape (n, 2), or
│ ▓██▓░░░     of the lengths' slope     (..., n, 2) with a band for each pair, neither bound of
▼ ░▓██▓░░     where n and m differ      which goes back from row to row.
"""

from __future__ import annotations

import sys
from numbers import Integral, Real

import torch
from torch import Tensor

from softdp.memory import named_when_short

_LIMIT = 2**61  # two columns below it have a sum


@named_when_short
def sakoe_chiba(
    n: int,
    m: int,
    width: int,
    *,
    lengths: tuple[Tensor, Tensor] | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Cells within `width` columns of the diagonal (Sakoe and Chiba 1978), of slope m / n.

    For n = m these are the cells with |i - j| <= width. For other lengths the diagonal takes in all
    of the columns that it crosses in a row, so that there is a path for every width >= 0.

    Args:
        n: rows of the table.
        m: columns of the table.
        width: columns on either side, at least 0.
        lengths: (n_lengths, m_lengths), integer tensors of shape (...): the diagonal of each pair
            ends at its own last cell.
        device: of the result, where there are no lengths.

    Returns:
        Bounds, int64, shape (n, 2), or (..., n, 2) with lengths.

    Raises:
        TypeError: n, m or width is no integer, lengths are no two integer tensors.
        ValueError: one of them is negative, or n and m are too large.

    Example:
        >>> softdp.sakoe_chiba(3, 4, 1).tolist()
        [[0, 3], [0, 4], [1, 4]]
    """
    _require_sizes("sakoe_chiba", n=n, m=m, width=width)
    if lengths is not None and not all(
        isinstance(length, Tensor) and not length.is_floating_point() for length in lengths
    ):
        raise TypeError("sakoe_chiba: lengths must be two integer tensors")
    return around_diagonal(n, m, width, lengths, device)


def around_diagonal(
    n: int,
    m: int,
    width: int,
    lengths: tuple[Tensor, Tensor] | None,
    device: torch.device | str | None,
) -> Tensor:
    """`sakoe_chiba` of what is known to fit."""
    width = min(width, _LIMIT)  # as wide as any table
    if lengths is None:
        rows: Tensor | int = max(n, 1)
        columns: Tensor | int = m
    else:
        rows, columns = (length.long()[..., None] for length in lengths)
        rows, device = rows.clamp(min=1), rows.device
    row = torch.arange(n, device=device)
    first = torch.div(row * columns, rows, rounding_mode="floor") - width
    last = -torch.div(-(row + 1) * columns, rows, rounding_mode="floor") + width
    bounds = torch.stack([first, last], -1)
    if lengths is None:
        return bounds.clamp(0, m)
    return torch.minimum(bounds.clamp(min=0), lengths[1].long()[..., None, None])


@named_when_short
def itakura(
    n: int, m: int, slope: float = 2.0, *, device: torch.device | str | None = None
) -> Tensor:
    """Cells of the parallelogram of Itakura (1975): no path rises faster or slower than the slope.

    Args:
        n: rows of the table.
        m: columns of the table.
        slope: the steepest, in units of m / n, at least 1; 1 / slope is the flattest.
        device: of the result.

    Returns:
        Bounds, int64, shape (n, 2).

    Raises:
        TypeError: n or m is no integer, slope no number.
        ValueError: n or m is negative, or both are too large, or slope is below 1.

    Example:
        >>> softdp.itakura(4, 4).tolist()
        [[0, 2], [0, 3], [1, 4], [2, 4]]
    """
    _require_sizes("itakura", n=n, m=m)
    if not isinstance(slope, Real):
        raise TypeError(f"itakura: slope must be a number, got {type(slope).__name__}")
    if not slope >= 1:
        raise ValueError(f"itakura: slope must be at least 1, got {slope}")
    slope = min(slope, sys.float_info.max)  # infinity times no column would be NaN
    i = torch.arange(1, n + 1, dtype=torch.float64, device=device)
    steep, flat = slope * m / max(n, 1), m / max(n, 1) / slope
    # Through the first corner and through the last; the cells that these lines cross are inside.
    lowest = torch.maximum(flat * (i - 1), m - steep * (n - i + 1))
    highest = torch.minimum(steep * i, m - flat * (n - i))
    first = (lowest + 1e-9).floor().clamp(0, max(m - 1, 0))
    last = (highest - 1e-9).ceil().clamp(0, m)
    return torch.stack([first, torch.maximum(last, first)], -1).long()


def _require_sizes(op: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, Integral | torch.SymInt) or isinstance(size, bool):
            raise TypeError(f"{op}: {name} must be an integer, got {type(size).__name__}")
        if size < 0:
            raise ValueError(f"{op}: {name} must be at least 0, got {size}")
    n, m = sizes["n"], sizes["m"]
    if isinstance(n, Integral) and isinstance(m, Integral) and (n + 1) * (m + 1) >= _LIMIT:
        raise ValueError(f"{op}: n m must be below 2^61, got {n} x {m}")

"""Bands: which columns of each row a path may pass, as bounds [first, last) for every row.

rows of x
│ ██▓░░░░     width = 1, n = m          A band is an integer tensor of shape (n, 2), or
│ ▓██▓░░░     of the lengths' slope     (..., n, 2) with a band for each pair, neither bound of
▼ ░▓██▓░░     where n and m differ      which goes back from row to row.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
        ValueError: width is negative.
    """
    if width < 0:
        raise ValueError(f"sakoe_chiba: width must be at least 0, got {width}")
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
    if isinstance(columns, int):
        return bounds.clamp(0, columns)
    return torch.minimum(bounds.clamp(min=0), columns[..., None])


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
        ValueError: slope is below 1.
    """
    if not slope >= 1:
        raise ValueError(f"itakura: slope must be at least 1, got {slope}")
    i = torch.arange(1, n + 1, dtype=torch.float64, device=device)
    steep, flat = slope * m / max(n, 1), m / max(n, 1) / slope
    # Through the first corner and through the last; the cells that these lines cross are inside.
    lowest = torch.maximum(flat * (i - 1), m - steep * (n - i + 1))
    highest = torch.minimum(steep * i, m - flat * (n - i))
    first = (lowest + 1e-9).floor().clamp(0, max(m - 1, 0))
    last = (highest - 1e-9).ceil().clamp(0, m)
    return torch.stack([first, torch.maximum(last, first)], -1).long()

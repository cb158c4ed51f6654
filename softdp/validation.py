"""What softdp.reference and the compiled functions are called with, checked and in one form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softdp.arguments import (
    NUMBERS,
    SMALLEST,
    Band,
    Gaps,
    GivenLengths,
    Lengths,
    as_integers,
    check_band,
    check_ends,
    check_gamma,
    check_gap,
    check_lengths,
    check_per_pair,
    check_side,
    check_table,
    require_flags,
)
from softdp.dtypes import COMPUTE_DTYPE, as_float, name_of
from softdp.values import require_within


class EditInputs(NamedTuple):
    """Checked arguments of edit_similarity and edit_distance."""

    match: Tensor  # (..., n, m)
    insert: Tensor  # broadcasts to match, or (..., n + 1, m)
    delete: Tensor  # broadcasts to match, or (..., n, m + 1)
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each
    leading_gaps: tuple[str, str]  # in x, in y
    trailing_gaps: tuple[str, str]
    band: Tensor | None  # int64, (n, 2) or (..., n, 2)


class LcsInputs(NamedTuple):
    """Checked arguments of lcs."""

    similarity: Tensor  # (..., n, m)
    threshold: Tensor  # () or (...)
    gamma: Tensor  # () or (...)
    gate_width: float
    lengths: Lengths | None  # int64, (...) each
    band: Tensor | None  # int64, (n, 2) or (..., n, 2)


class SoftDtwInputs(NamedTuple):
    """Checked arguments of soft_dtw."""

    cost: Tensor  # (..., n, m)
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each
    open_begin: bool
    open_end: bool
    band: Tensor | None  # int64, (n, 2) or (..., n, 2)


def edit_inputs(
    op: str,
    match_name: str,
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    gamma: Tensor | float,
    lengths: GivenLengths | None,
    leading_gaps: Gaps,
    trailing_gaps: Gaps,
    band: Band | None,
    given: tuple[Tensor | None, Tensor | None] = (None, None),
) -> EditInputs:
    """Check and unify the arguments of an edit recurrence; `match_name` is what `op` calls match.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    match = check_table(op, match_name, match)
    insert = check_gap(op, "insert", insert, match_name, match, -2)
    delete = check_gap(op, "delete", delete, match_name, match, -1)
    leading = check_ends(op, "leading_gaps", leading_gaps)
    trailing = check_ends(op, "trailing_gaps", trailing_gaps)
    top, left = given
    n, m = match.shape[-2:]
    if leading[1] == "paid" and top is None and insert.dim() > 1 and insert.shape[-2] == n != 1:
        raise ValueError(
            f"{op}: leading_gaps='paid' in y needs an insert that does not vary along n, shape "
            f"(..., 1, {m}), or one with a row more for those gaps, shape (..., {n + 1}, {m}); "
            f"got {tuple(insert.shape)}"
        )
    if leading[0] == "paid" and left is None and delete.dim() > 0 and delete.shape[-1] == m != 1:
        raise ValueError(
            f"{op}: leading_gaps='paid' in x needs a delete that does not vary along m, shape "
            f"(..., {n}, 1), or one with a column more for those gaps, shape (..., {n}, {m + 1}); "
            f"got {tuple(delete.shape)}"
        )
    gamma = check_gamma(op, gamma, match_name, match)
    counted = check_lengths(op, lengths, match_name, match)
    band, gamma = check_band(op, band, match_name, match, counted, gamma)
    return EditInputs(match, insert, delete, gamma, counted, leading, trailing, band)


def lcs_inputs(
    op: str,
    similarity: Tensor,
    threshold: Tensor | float,
    gamma: Tensor | float,
    gate_width: float,
    lengths: GivenLengths | None,
    band: Band | None,
) -> LcsInputs:
    """Check and unify the arguments of lcs.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    similarity = check_table(op, "similarity", similarity)
    threshold = check_per_pair(op, "threshold", threshold, "similarity", similarity)
    gamma = check_gamma(op, gamma, "similarity", similarity)
    if not isinstance(gate_width, NUMBERS):
        raise TypeError(f"{op}: gate_width must be a number, got {type(gate_width).__name__}")
    dtype = COMPUTE_DTYPE[similarity.dtype]
    width = as_float(op, "gate_width", gate_width, dtype)
    if not (width == 0 or width >= SMALLEST):
        raise ValueError(f"{op}: gate_width must be 0 or >= {SMALLEST:.2g}, got {gate_width}")
    if torch.finfo(dtype).max < width < math.inf:
        raise ValueError(f"{op}: gate_width must fit {name_of(dtype)}, got {gate_width}")
    counted = check_lengths(op, lengths, "similarity", similarity)
    band, gamma = check_band(op, band, "similarity", similarity, counted, gamma)
    return LcsInputs(similarity, threshold, gamma, width, counted, band)


def soft_dtw_inputs(
    op: str,
    cost: Tensor,
    gamma: Tensor | float,
    lengths: GivenLengths | None,
    open_begin: bool,
    open_end: bool,
    band: Band | None,
) -> SoftDtwInputs:
    """Check and unify the arguments of soft_dtw.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    cost = check_table(op, "cost", cost)
    gamma = check_gamma(op, gamma, "cost", cost)
    counted = check_lengths(op, lengths, "cost", cost)
    require_flags(op, open_begin=open_begin, open_end=open_end)
    band, gamma = check_band(op, band, "cost", cost, counted, gamma)
    return SoftDtwInputs(cost, gamma, counted, open_begin, open_end, band)


_FAMILIES = {
    "edit_similarity": ("match", "insert", "delete"),
    "edit_distance": ("substitute", "insert", "delete"),
    "lcs": ("similarity", "threshold"),
    "soft_dtw": ("cost",),
}
_EVERY = {"gamma": 0.1, "lengths": None, "band": None}
_EDIT = {**_EVERY, "leading_gaps": "paid", "trailing_gaps": "paid"}
OPTIONS: dict[str, dict[str, Any]] = {
    "edit_similarity": _EDIT,
    "edit_distance": _EDIT,
    "lcs": {**_EVERY, "gate_width": 0.0},
    "soft_dtw": {**_EVERY, "gamma": 1.0},
}


def sweep_inputs(
    family: str,
    tables: tuple[Any, ...],
    top: Tensor | None,
    left: Tensor | None,
    options: dict[str, Any],
) -> tuple[EditInputs | LcsInputs | SoftDtwInputs, tuple[Tensor | None, Tensor | None]]:
    """Check the arguments of sweep: those of the family, and the border that is given.

    Raises:
        TypeError: an argument of the wrong type or dtype, one too many or too few.
        ValueError: wrong rank, shape, device or value.
    """
    op = "sweep"
    if family not in _FAMILIES:
        raise ValueError(f"{op}: family must be one of {', '.join(_FAMILIES)}, got {family!r}")
    names, known = _FAMILIES[family], OPTIONS[family]
    if len(tables) != len(names):
        raise TypeError(f"{op}: {family} takes {', '.join(names)}, got {len(tables)} of these")
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"{op}: {family} takes {', '.join(known)}, got {', '.join(unknown)}")
    options = known | options
    table = check_table(op, names[0], tables[0])
    n, m = table.shape[-2:]
    given = (
        check_side(op, "top", top, names[0], table, m + 1),
        check_side(op, "left", left, names[0], table, n),
    )
    gamma, lengths, band = options["gamma"], options["lengths"], options["band"]
    if family == "soft_dtw":
        return soft_dtw_inputs(op, table, gamma, lengths, False, False, band), given
    if family == "lcs":
        return lcs_inputs(op, table, tables[1], gamma, options["gate_width"], lengths, band), given
    gaps = options["leading_gaps"], options["trailing_gaps"]
    return edit_inputs(
        op, names[0], table, tables[1], tables[2], gamma, lengths, *gaps, band, given
    ), given


def block_inputs(
    family: str,
    x: Tensor,
    dim: int,
    rows: int,
    lengths: GivenLengths | None,
    open_begin: bool,
    open_end: bool,
    trailing_gaps: Gaps,
    options: dict[str, Any],
) -> tuple[int, tuple[Tensor, Tensor | None] | None, tuple[str, str]]:
    """Check the arguments of blockwise that are its own.

    Returns:
        n, lengths as tensors, trailing gaps in x and in y.

    Those of the second sequence may be None: how long it is, the first block says.

    Raises:
        TypeError: an argument of the wrong type, or an option that a block cannot have.
        ValueError: wrong rank, shape or value.
    """
    op = "blockwise"
    if family not in _FAMILIES:
        raise ValueError(f"{op}: family must be one of {', '.join(_FAMILIES)}, got {family!r}")
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: x must be a tensor, got {type(x).__name__}")
    if not isinstance(dim, int) or not -x.dim() <= dim < x.dim():
        raise ValueError(f"{op}: dim must be one of x's {x.dim()} dimensions, got {dim!r}")
    if not isinstance(rows, int) or rows < 1:
        raise ValueError(f"{op}: rows must be an integer of at least 1, got {rows!r}")
    require_flags(op, open_begin=open_begin, open_end=open_end)
    if (open_begin or open_end) and family != "soft_dtw":
        raise ValueError(f"{op}: open_begin and open_end are for family 'soft_dtw', got {family!r}")
    trailing = check_ends(op, "trailing_gaps", trailing_gaps)
    if trailing != ("paid", "paid") and not family.startswith("edit"):
        raise ValueError(f"{op}: trailing_gaps are for the edit families, got {family!r}")
    # A band of a block is not that of the whole; lengths and trailing gaps are arguments.
    known = [name for name in OPTIONS[family] if name not in ("lengths", "band", "trailing_gaps")]
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"{op}: {family} takes {', '.join(known)}, got {', '.join(unknown)}")
    n = x.shape[dim]
    if lengths is None:
        return n, None, trailing
    if not isinstance(lengths, tuple | list | Tensor) or len(lengths) != 2:
        raise TypeError(
            f"{op}: lengths must be a pair (n_lengths, m_lengths), got {type(lengths).__name__}"
        )
    n_lengths, m_lengths = (
        None if length is None else as_integers(op, f"lengths[{k}]", length, x.device)
        for k, length in enumerate(lengths)
    )
    if n_lengths is None:
        n_lengths = torch.full((), n)
    require_within(n_lengths, n, lambda: f"{op}: lengths[0] must be in 0..{n}")
    n_lengths = n_lengths.to(x.device, torch.int64)
    counted = n_lengths, None if m_lengths is None else m_lengths.to(x.device, torch.int64)
    return n, counted, trailing

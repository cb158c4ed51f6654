"""Checks of the arguments that softdp.reference and the compiled functions share.

Each function returns its arguments in one form: numbers as 0-d tensors of the dtype that is
computed in, lengths as int64 tensors beside the input, everything else untouched.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Lengths: TypeAlias = tuple[Tensor, Tensor]

_COMPUTE_DTYPE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
_SMALLEST = torch.finfo(torch.float32).tiny
_MOST_DIMENSIONS = 18  # kMaxBatchDims of csrc/wavefront/table.h, n and m
LEADING_GAPS = ("free", "paid", "forbidden")  # in the order of csrc/wavefront/table.h
_NUMBERS = (float, int, Real)  # the abstract class is slow to ask
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class EditInputs(NamedTuple):
    """Checked arguments of edit_similarity and edit_distance."""

    match: Tensor  # (..., n, m)
    insert: Tensor  # broadcasts to match
    delete: Tensor  # broadcasts to match
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each
    leading_gaps: str


class LcsInputs(NamedTuple):
    """Checked arguments of lcs."""

    similarity: Tensor  # (..., n, m)
    threshold: Tensor  # () or (...)
    gamma: Tensor  # () or (...)
    gate_width: float
    lengths: Lengths | None  # int64, (...) each


class SoftDtwInputs(NamedTuple):
    """Checked arguments of soft_dtw."""

    cost: Tensor  # (..., n, m)
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each


def edit_inputs(
    op: str,
    match_name: str,
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    gamma: Tensor | float,
    lengths: Lengths | None,
    leading_gaps: str,
) -> EditInputs:
    """Check and unify the arguments of an edit recurrence; `match_name` is what `op` calls match.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    match = _table(op, match_name, match)
    insert = _gap(op, "insert", insert, match_name, match)
    delete = _gap(op, "delete", delete, match_name, match)
    if leading_gaps not in LEADING_GAPS:
        raise ValueError(
            f"{op}: leading_gaps must be 'free', 'paid' or 'forbidden', got {leading_gaps!r}"
        )
    if leading_gaps == "paid":
        if insert.dim() > 1 and insert.shape[-2] != 1:
            raise ValueError(
                f"{op}: leading_gaps='paid' needs an insert that does not vary along n, "
                f"shape (..., 1, {match.shape[-1]}), got {tuple(insert.shape)}"
            )
        if delete.dim() > 0 and delete.shape[-1] != 1:
            raise ValueError(
                f"{op}: leading_gaps='paid' needs a delete that does not vary along m, "
                f"shape (..., {match.shape[-2]}, 1), got {tuple(delete.shape)}"
            )
    gamma = _gamma(op, gamma, match_name, match)
    if lengths is not None:
        lengths = _lengths(op, lengths, match_name, match)
    return EditInputs(match, insert, delete, gamma, lengths, leading_gaps)


def lcs_inputs(
    op: str,
    similarity: Tensor,
    threshold: Tensor | float,
    gamma: Tensor | float,
    gate_width: float,
    lengths: Lengths | None,
) -> LcsInputs:
    """Check and unify the arguments of lcs.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    similarity = _table(op, "similarity", similarity)
    threshold = _per_pair(op, "threshold", threshold, "similarity", similarity)
    gamma = _gamma(op, gamma, "similarity", similarity)
    if not isinstance(gate_width, _NUMBERS):
        raise TypeError(f"{op}: gate_width must be a number, got {type(gate_width).__name__}")
    dtype = _COMPUTE_DTYPE[similarity.dtype]
    width = _float(op, "gate_width", gate_width, dtype)
    if not (width == 0 or width >= _SMALLEST):
        raise ValueError(f"{op}: gate_width must be 0 or >= {_SMALLEST:.2g}, got {gate_width}")
    if torch.finfo(dtype).max < width < math.inf:
        raise ValueError(f"{op}: gate_width must fit {_name(dtype)}, got {gate_width}")
    if lengths is not None:
        lengths = _lengths(op, lengths, "similarity", similarity)
    return LcsInputs(similarity, threshold, gamma, width, lengths)


def soft_dtw_inputs(
    op: str, cost: Tensor, gamma: Tensor | float, lengths: Lengths | None
) -> SoftDtwInputs:
    """Check and unify the arguments of soft_dtw.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    cost = _table(op, "cost", cost)
    gamma = _gamma(op, gamma, "cost", cost)
    if lengths is not None:
        lengths = _lengths(op, lengths, "cost", cost)
    return SoftDtwInputs(cost, gamma, lengths)


def _table(op: str, name: str, table: Tensor) -> Tensor:
    if not isinstance(table, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor, got {type(table).__name__}")
    table = _autocast(op, name, table)
    if table.dtype not in _COMPUTE_DTYPE:
        raise TypeError(
            f"{op}: {name} must be float16, bfloat16, float32 or float64, got {_name(table.dtype)}"
        )
    if not 2 <= table.dim() <= _MOST_DIMENSIONS:
        raise ValueError(
            f"{op}: {name} must have shape (..., n, m) with at most {_MOST_DIMENSIONS} dimensions, "
            f"got {tuple(table.shape)}"
        )
    _require_strided(op, name, table)
    return table


def _gap(op: str, name: str, gap: Tensor | float, table_name: str, table: Tensor) -> Tensor:
    """A gap potential: a number, or a tensor that broadcasts to the table."""
    if not isinstance(gap, Tensor):
        return _number(op, name, gap, table)
    gap = _beside(op, name, gap, table_name, table)
    if gap.shape != table.shape and (
        gap.dim() > table.dim()
        or any(
            size not in (1, wanted)
            for size, wanted in zip(reversed(gap.shape), reversed(table.shape), strict=False)
        )
    ):
        raise ValueError(
            f"{op}: {name} must broadcast to {table_name}'s shape {tuple(table.shape)}, "
            f"got {tuple(gap.shape)}"
        )
    return gap


def _per_pair(op: str, name: str, value: Tensor | float, table_name: str, table: Tensor) -> Tensor:
    """A number, or a tensor with one value for all pairs or one for each."""
    if not isinstance(value, Tensor):
        return _number(op, name, value, table)
    value = _beside(op, name, value, table_name, table)
    if value.dim() > 0 and value.shape != table.shape[:-2]:
        raise ValueError(
            f"{op}: {name} must be a number or have shape () or {tuple(table.shape[:-2])} "
            f"({table_name}'s batch shape), got {tuple(value.shape)}"
        )
    return value


def _gamma(op: str, gamma: Tensor | float, table_name: str, table: Tensor) -> Tensor:
    if not isinstance(gamma, Tensor):
        number = _number(op, "gamma", gamma, table)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"{op}: gamma must be >= 0 and finite, got {gamma}")
        return number
    tensor = _per_pair(op, "gamma", gamma, table_name, table)
    largest = torch.finfo(tensor.dtype).max
    _within(tensor.detach(), largest, f"{op}: gamma must be >= 0 and finite")
    return tensor


def _lengths(op: str, lengths: Lengths, table_name: str, table: Tensor) -> Lengths:
    if not isinstance(lengths, tuple | list) or len(lengths) != 2:
        raise TypeError(
            f"{op}: lengths must be two integer tensors (n_lengths, m_lengths), "
            f"got {type(lengths).__name__}"
        )
    *batch, n, m = table.shape
    n_lengths, m_lengths = (
        _length(op, name, length, limit, table_name, torch.Size(batch), table.device)
        for name, length, limit in (
            ("lengths[0]", lengths[0], n),
            ("lengths[1]", lengths[1], m),
        )
    )
    return n_lengths, m_lengths


def _length(
    op: str,
    name: str,
    length: Tensor,
    limit: int,
    table_name: str,
    batch: torch.Size,
    device: torch.device,
) -> Tensor:
    if not isinstance(length, Tensor):
        raise TypeError(f"{op}: {name} must be an integer tensor, got {type(length).__name__}")
    if length.dtype not in _INTEGERS:
        raise TypeError(f"{op}: {name} must be an integer tensor, got {_name(length.dtype)}")
    if length.shape != batch:
        raise ValueError(
            f"{op}: {name} must have {table_name}'s batch shape {tuple(batch)}, "
            f"got {tuple(length.shape)}"
        )
    if length.is_meta and device.type != "meta":
        raise ValueError(f"{op}: {name} must have values, got a tensor on meta")
    _within(length, limit, f"{op}: {name} must be in 0..{limit}")
    return converted(op, name, length, torch.int64).to(device, non_blocking=True)


def _number(op: str, name: str, number: float, table: Tensor) -> Tensor:
    if not isinstance(number, _NUMBERS):
        raise TypeError(f"{op}: {name} must be a number or a tensor, got {type(number).__name__}")
    dtype = _COMPUTE_DTYPE[table.dtype]
    value = _float(op, name, number, dtype)
    try:
        return table.new_full((), value, dtype=dtype)
    except RuntimeError as error:  # too large for the dtype
        raise ValueError(f"{op}: {name} must fit {_name(dtype)}, got {value}") from error


def _float(op: str, name: str, number: float, dtype: torch.dtype) -> float:
    """A number as Python's float; an integer or a fraction may be beyond it."""
    if isinstance(number, float):
        return number
    try:
        return float(number)
    except OverflowError as error:
        raise ValueError(
            f"{op}: {name} must fit {_name(dtype)}, got a number beyond 1.8e308"
        ) from error


def converted(op: str, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another dtype; where there is no memory for it, torch's words and whose it is."""
    if tensor.dtype == dtype:
        return tensor
    try:
        return tensor.to(dtype)
    except RuntimeError as error:
        raise type(error)(f"{op}: {name} does not convert to {_name(dtype)}: {error}") from error


def _beside(op: str, name: str, value: Tensor, table_name: str, table: Tensor) -> Tensor:
    """A tensor on the table's device, of its dtype or of the dtype it is computed in."""
    value = _autocast(op, name, value)
    _require_strided(op, name, value)
    if value.device != table.device:
        raise ValueError(
            f"{op}: {name} must be on {table_name}'s device {table.device}, got {value.device}"
        )
    if value.dtype not in (table.dtype, _COMPUTE_DTYPE[table.dtype]):
        raise TypeError(
            f"{op}: {name} must have {table_name}'s dtype {_name(table.dtype)}, "
            f"got {_name(value.dtype)}"
        )
    return value


def _require_strided(op: str, name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided:
        raise TypeError(f"{op}: {name} must be a dense tensor, got layout {tensor.layout}")


def _autocast(op: str, name: str, value: Tensor) -> Tensor:
    """Under autocast a recurrence is computed in float32, as sums and logarithms are."""
    if not torch._C._is_any_autocast_enabled():  # asked first: the other question is slow
        return value
    if value.is_meta or not torch.is_autocast_enabled(value.device.type):
        return value
    return converted(op, name, value, _COMPUTE_DTYPE.get(value.dtype, value.dtype))


def _within(values: Tensor, upper: float, message: str) -> None:
    """Refuse values outside 0..upper: at once on the CPU, without waiting on other devices.

    While torch.compile traces, values are not there to look at; the ops repeat these checks.
    """
    if torch.compiler.is_compiling() or values.numel() == 0:
        return
    if 0 in values.stride():  # expanded: a number need not be looked at 2^40 times
        values = values[tuple(slice(None) if stride else slice(1) for stride in values.stride())]
    if values.device.type != "cpu":
        torch._assert_async(((values >= 0) & (values <= upper)).all(), message)
        return
    lowest, highest = (bound.item() for bound in values.aminmax())
    if not (lowest >= 0 and highest <= upper):  # a NaN is both and fails
        raise ValueError(f"{message}, got {lowest if not lowest >= 0 else highest}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

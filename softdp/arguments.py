"""Checks of single arguments, each by the name that the caller knows it by.

Each function returns its argument in one form: numbers as 0-d tensors of the dtype that is
computed in, lengths as int64 tensors beside the input, everything else untouched. What does not fit
raises TypeError or ValueError, whose message begins with the op and names the argument.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from softdp import values
from softdp.bands import around_diagonal
from softdp.dtypes import COMPUTE_DTYPE, as_float, converted, name_of
from softdp.values import is_later, require_within

Length: TypeAlias = Tensor | Sequence[int] | int | None
GivenLengths: TypeAlias = Tensor | tuple[Length, Length] | list[Length]  # of x and of y
Lengths: TypeAlias = tuple[Tensor, Tensor]  # as checked: int64, of the batch shape


SMALLEST = torch.finfo(torch.float32).tiny
_MOST_DIMENSIONS = 18  # kMaxBatchDims of csrc/wavefront/table.h, n and m
GAPS = ("free", "paid", "forbidden")  # in the order of csrc/recurrence/ends.h
_BOTH = {gaps: (gaps, gaps) for gaps in GAPS}
Gaps: TypeAlias = str | tuple[str, str]
Band: TypeAlias = int | Tensor
GapCost: TypeAlias = Tensor | float | tuple[Tensor | float, Tensor | float]
NUMBERS = (float, int, Real)  # the abstract class is slow to ask
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def require_flags(op: str, **flags: bool) -> None:
    """Refuse what is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{op}: {name} must be True or False, got {value!r}")


def check_side(
    op: str, name: str, side: Tensor | None, table_name: str, table: Tensor, length: int
) -> Tensor | None:
    """Scores on one side of a table, float64."""
    if side is None:
        return None
    if not isinstance(side, Tensor) or not side.is_floating_point():
        got = name_of(side.dtype) if isinstance(side, Tensor) else type(side).__name__
        raise TypeError(f"{op}: {name} must be a tensor of floats, got {got}")
    shape = (*table.shape[:-2], length)
    if side.shape != shape:
        raise ValueError(
            f"{op}: {name} must have shape {shape} beside {table_name} of shape "
            f"{tuple(table.shape)}, got {tuple(side.shape)}"
        )
    if side.device != table.device:
        raise ValueError(
            f"{op}: {name} must be on {table_name}'s device {table.device}, got {side.device}"
        )
    return side.double()


def check_band(
    op: str,
    band: Band | None,
    table_name: str,
    table: Tensor,
    lengths: Lengths | None,
    gamma: Tensor,
) -> tuple[Tensor | None, Tensor]:
    """Bounds of the columns in each row, int64, and gamma: NaN where they are none on a GPU."""
    if band is None:
        return None, gamma
    *batch, n, m = table.shape
    if isinstance(band, int) and not isinstance(band, bool):
        if band < 0:
            raise ValueError(f"{op}: band must be a width of at least 0 or bounds, got {band}")
        return around_diagonal(n, m, band, lengths, table.device), gamma
    if not isinstance(band, Tensor) or band.dtype not in _INTEGERS:
        got = name_of(band.dtype) if isinstance(band, Tensor) else type(band).__name__
        raise TypeError(f"{op}: band must be an integer or an integer tensor of bounds, got {got}")
    if band.shape not in ((n, 2), (*batch, n, 2)):
        raise ValueError(
            f"{op}: band must have shape {(n, 2)} or {(*batch, n, 2)}, bounds of the columns in "
            f"each row of {table_name}, got {tuple(band.shape)}"
        )
    if band.device != table.device:
        raise ValueError(
            f"{op}: band must be on {table_name}'s device {table.device}, got {band.device}"
        )
    band = band.long()
    if band.device.type == "cpu" and values.is_later():  # the op looks
        return band, gamma
    back = band.diff(dim=-2) < 0
    if not values.is_looked_at(back):
        return band, torch.where(back.flatten(-2).any(-1), math.nan, gamma)
    if back.any():
        *_, row, bound = back.nonzero()[0].tolist()
        raise ValueError(
            f"{op}: neither bound of a band may go back from row to row, but "
            f"{('the first', 'the last')[bound]} column does from row {row} to {row + 1}"
        )
    return band, gamma


def check_ends(op: str, name: str, gaps: Gaps) -> tuple[str, str]:
    """What gaps in x and in y are worth at one end."""
    if isinstance(gaps, str) and gaps in _BOTH:
        return _BOTH[gaps]
    pair = (gaps, gaps) if isinstance(gaps, str) else gaps
    if not isinstance(pair, tuple | list) or len(pair) != 2 or any(g not in GAPS for g in pair):
        raise ValueError(
            f"{op}: {name} must be 'free', 'paid' or 'forbidden', or two of these for x and y, "
            f"got {gaps!r}"
        )
    return pair[0], pair[1]


def check_table(op: str, name: str, table: Tensor) -> Tensor:
    """The table of the full shape (..., n, m), in a dtype that there are kernels for."""
    if not isinstance(table, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor, got {type(table).__name__}")
    table = _autocast(op, name, table)
    if table.dtype not in COMPUTE_DTYPE:
        raise TypeError(
            f"{op}: {name} must be float16, bfloat16, float32 or float64, "
            f"got {name_of(table.dtype)}"
        )
    if not 2 <= table.dim() <= _MOST_DIMENSIONS:
        raise ValueError(
            f"{op}: {name} must have shape (..., n, m) with at most {_MOST_DIMENSIONS} dimensions, "
            f"got {tuple(table.shape)}"
        )
    _require_strided(op, name, table)
    return table


def check_gap(
    op: str, name: str, gap: Tensor | float, table_name: str, table: Tensor, parted: int
) -> Tensor:
    """A gap potential: a number, or a tensor that broadcasts to the table.

    Along dimension `parted` it may be one longer: what leading gaps cost comes first.
    """
    if not isinstance(gap, Tensor):
        return _number(op, name, gap, table)
    gap = _beside(op, name, gap, table_name, table)
    if gap.dim() == 1 and gap.shape == table.shape[:-2] and gap.numel() > 1:
        pairs = "x".join(map(str, gap.shape))
        raise ValueError(
            f"{op}: {name} has {table_name}'s batch shape {tuple(gap.shape)}: one number for each "
            f"pair has shape {(*gap.shape, 1, 1)}, numbers that all {pairs} pairs share have shape "
            f"{(1,) * (table.dim() - gap.dim()) + tuple(gap.shape)}"
        )
    if gap.shape != table.shape and (
        gap.dim() > table.dim()
        or any(
            gap.shape[d] not in (1, table.shape[d], table.shape[d] + int(d == parted))
            for d in range(-gap.dim(), 0)
        )
    ):
        raise ValueError(
            f"{op}: {name} must broadcast to {table_name}'s shape {tuple(table.shape)}, "
            f"got {tuple(gap.shape)}"
        )
    return gap


def check_per_step(
    op: str, name: str, value: Tensor | float, table_name: str, table: Tensor, steps: int
) -> Tensor:
    """A number, or a tensor with one for each of the steps of a sequence."""
    if not isinstance(value, Tensor):
        return _number(op, name, value, table)
    value = _beside(op, name, value, table_name, table)
    shape = torch.Size((*table.shape[:-2], steps))
    if not _broadcasts(value.shape, shape):
        raise ValueError(
            f"{op}: {name} must be a number or broadcast to shape {tuple(shape)}, "
            f"got {tuple(value.shape)}"
        )
    return value


def check_per_pair(
    op: str, name: str, value: Tensor | float, table_name: str, table: Tensor
) -> Tensor:
    """A number, or a tensor with one value for all pairs or one for each."""
    if not isinstance(value, Tensor):
        return _number(op, name, value, table)
    value = _beside(op, name, value, table_name, table)
    batch = table.shape[:-2]
    if value.dim() == 0 or value.shape == batch:
        return value
    if value.shape == (1,):  # what has no dimension cannot be sharded
        return value[0]
    if not _broadcasts(value.shape, batch):
        raise ValueError(
            f"{op}: {name} must be a number or have shape () or one that broadcasts to "
            f"{table_name}'s batch shape {tuple(batch)}, got {tuple(value.shape)}"
        )
    return value.expand(batch)


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    return len(shape) <= len(to) and all(
        size in (1, wanted) for size, wanted in zip(reversed(shape), reversed(to), strict=False)
    )


def check_gamma(op: str, gamma: Tensor | float, table_name: str, table: Tensor) -> Tensor:
    """Smoothing, finite and at least 0: one number, or one for each pair."""
    if not isinstance(gamma, Tensor):
        number = _number(op, "gamma", gamma, table)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"{op}: gamma must be >= 0 and finite, got {gamma}")
        return number
    tensor = check_per_pair(op, "gamma", gamma, table_name, table)
    largest = torch.finfo(tensor.dtype).max
    require_within(tensor.detach(), largest, lambda: f"{op}: gamma must be >= 0 and finite")
    return tensor


def check_lengths(
    op: str, lengths: GivenLengths | None, table_name: str, table: Tensor
) -> Lengths | None:
    """How many steps of both sequences count, int64 of the batch shape on the table's device."""
    if lengths is None:
        return None
    if isinstance(lengths, Tensor) and lengths.is_floating_point():
        raise TypeError(
            f"{op}: lengths must be a pair (n_lengths, m_lengths) of integers, got a tensor of "
            f"{name_of(lengths.dtype)}; for two sequences, {table_name} is made by "
            "softdp.pairwise_cost(x, y)"
        )
    if isinstance(lengths, Tensor) and lengths.dim() > 0 and lengths.shape[0] == 2:
        lengths = list(lengths.unbind())
    if not isinstance(lengths, tuple | list) or len(lengths) != 2:
        raise TypeError(
            f"{op}: lengths must be a pair (n_lengths, m_lengths), each an integer tensor or list, "
            f"an integer or None, got {type(lengths).__name__}"
        )
    *batch, n, m = table.shape
    n_lengths, m_lengths = (
        _length(op, f"lengths[{k}]", length, limit, table_name, torch.Size(batch), table.device)
        for k, (length, limit) in enumerate(zip(lengths, (n, m), strict=True))
    )
    return n_lengths, m_lengths


def _length(
    op: str,
    name: str,
    length: Length,
    limit: int,
    table_name: str,
    batch: torch.Size,
    device: torch.device,
) -> Tensor:
    if length is None:
        return torch.full(batch, limit, device=device)
    length = as_integers(op, name, length, device)
    if not _broadcasts(length.shape, batch):
        raise ValueError(
            f"{op}: {name} must have {table_name}'s batch shape {tuple(batch)} or one that "
            f"broadcasts to it, got {tuple(length.shape)}"
        )
    length = length.expand(batch)
    require_within(length, limit, lambda: f"{op}: {name} must be in 0..{limit}")
    return converted(op, name, length, torch.int64).to(device, non_blocking=True).contiguous()


def as_integers(
    op: str, name: str, length: Tensor | Sequence[int] | int, device: torch.device
) -> Tensor:
    """Lengths in any form as a tensor of integers with values."""
    if not isinstance(length, Tensor):
        try:
            length = torch.as_tensor(length)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{op}: {name} must be an integer tensor or list, an integer or None, "
                f"got {type(length).__name__}"
            ) from error
    if length.dtype not in _INTEGERS:
        raise TypeError(f"{op}: {name} must be of integers, got {name_of(length.dtype)}")
    if length.is_meta and device.type != "meta":
        raise ValueError(f"{op}: {name} must have values, got a tensor on meta")
    return length


def _number(op: str, name: str, number: float, table: Tensor) -> Tensor:
    if not isinstance(number, NUMBERS):
        raise TypeError(f"{op}: {name} must be a number or a tensor, got {type(number).__name__}")
    dtype = COMPUTE_DTYPE[table.dtype]
    value = as_float(op, name, number, dtype)
    try:
        if table.is_cpu and type(table) in _PLAIN and not is_later():
            return _constant(value, dtype)
        return table.new_full((), value, dtype=dtype)
    except RuntimeError as error:  # too large for the dtype
        raise ValueError(f"{op}: {name} must fit {name_of(dtype)}, got {value}") from error


_PLAIN = (Tensor, torch.nn.Parameter)


@functools.lru_cache(maxsize=64)
def _constant(value: float, dtype: torch.dtype) -> Tensor:
    """A number as a tensor that nobody writes to: it takes longer to make than to sweep 5 x 5.

    Not while torch.func transforms: what is made then belongs to the transform.
    """
    with torch.inference_mode(False):
        return torch.full((), value, dtype=dtype, device="cpu")


def _beside(op: str, name: str, value: Tensor, table_name: str, table: Tensor) -> Tensor:
    """A tensor on the table's device, of its dtype or of the dtype it is computed in."""
    value = _autocast(op, name, value)
    _require_strided(op, name, value)
    if value.device != table.device:
        raise ValueError(
            f"{op}: {name} must be on {table_name}'s device {table.device}, got {value.device}"
        )
    computed = COMPUTE_DTYPE[table.dtype]
    if value.dim() == 0 and not value.is_complex():
        return value.to(computed)  # as torch promotes a number beside a tensor
    if value.dtype not in (table.dtype, computed):
        raise TypeError(
            f"{op}: {name} must have {table_name}'s dtype {name_of(table.dtype)}, "
            f"got {name_of(value.dtype)}"
        )
    return value


def _require_strided(op: str, name: str, tensor: Tensor) -> None:
    if tensor.is_nested:
        raise TypeError(
            f"{op}: {name} must be a dense tensor, got a nested one; pad it "
            "(torch.nested.to_padded_tensor) and give its lengths"
        )
    if tensor.layout != torch.strided:
        raise TypeError(f"{op}: {name} must be a dense tensor, got layout {tensor.layout}")
    if type(tensor).__name__ == "MaskedTensor":
        raise TypeError(
            f"{op}: {name} must be a dense tensor, got a masked one; give its data (get_data()) "
            "and lengths"
        )


def _autocast(op: str, name: str, value: Tensor) -> Tensor:
    """Under autocast a recurrence is computed in float32, as sums and logarithms are."""
    if not torch._C._is_any_autocast_enabled():  # asked first: the other question is slow
        return value
    if value.is_meta or not torch.is_autocast_enabled(value.device.type):
        return value
    return converted(op, name, value, COMPUTE_DTYPE.get(value.dtype, value.dtype))

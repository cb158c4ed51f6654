"""Checks of the arguments that softdp.reference and the compiled functions share.

Each function returns its arguments in one form: numbers as 0-d tensors of the dtype that is
computed in, lengths as int64 tensors beside the input, everything else untouched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from softdp.bands import sakoe_chiba

Lengths: TypeAlias = tuple[Tensor, Tensor]  # as checked: int64, of the batch shape

_COMPUTE_DTYPE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def compute_dtype(table: Tensor) -> torch.dtype:
    """The dtype in which a table's recurrence is computed."""
    return _COMPUTE_DTYPE[table.dtype]


_SMALLEST = torch.finfo(torch.float32).tiny
_MOST_DIMENSIONS = 18  # kMaxBatchDims of csrc/wavefront/table.h, n and m
GAPS = ("free", "paid", "forbidden")  # in the order of csrc/recurrence/ends.h
_BOTH = {gaps: (gaps, gaps) for gaps in GAPS}
Gaps: TypeAlias = str | tuple[str, str]
Band: TypeAlias = int | Tensor
_NUMBERS = (float, int, Real)  # the abstract class is slow to ask
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


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
    lengths: Lengths | None,
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
    match = _table(op, match_name, match)
    insert = _gap(op, "insert", insert, match_name, match, -2)
    delete = _gap(op, "delete", delete, match_name, match, -1)
    leading = _ends(op, "leading_gaps", leading_gaps)
    trailing = _ends(op, "trailing_gaps", trailing_gaps)
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
    gamma = _gamma(op, gamma, match_name, match)
    if lengths is not None:
        lengths = _lengths(op, lengths, match_name, match)
    band = _band(op, band, match_name, match, lengths)
    return EditInputs(match, insert, delete, gamma, lengths, leading, trailing, band)


def lcs_inputs(
    op: str,
    similarity: Tensor,
    threshold: Tensor | float,
    gamma: Tensor | float,
    gate_width: float,
    lengths: Lengths | None,
    band: Band | None,
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
    band = _band(op, band, "similarity", similarity, lengths)
    return LcsInputs(similarity, threshold, gamma, width, lengths, band)


def soft_dtw_inputs(
    op: str,
    cost: Tensor,
    gamma: Tensor | float,
    lengths: Lengths | None,
    open_begin: bool,
    open_end: bool,
    band: Band | None,
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
    for name, value in (("open_begin", open_begin), ("open_end", open_end)):
        if not isinstance(value, bool):
            raise TypeError(f"{op}: {name} must be True or False, got {value!r}")
    band = _band(op, band, "cost", cost, lengths)
    return SoftDtwInputs(cost, gamma, lengths, open_begin, open_end, band)


_FAMILIES = {
    "edit_similarity": ("match", "insert", "delete"),
    "edit_distance": ("substitute", "insert", "delete"),
    "lcs": ("similarity", "threshold"),
    "soft_dtw": ("cost",),
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "edit_similarity": {"gamma": 0.1, "lengths": None, "band": None, "leading_gaps": "paid"},
    "edit_distance": {"gamma": 0.1, "lengths": None, "band": None, "leading_gaps": "paid"},
    "lcs": {"gamma": 0.1, "gate_width": 0.0, "lengths": None, "band": None},
    "soft_dtw": {"gamma": 1.0, "lengths": None, "band": None},
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
    names, known = _FAMILIES[family], _OPTIONS[family]
    if len(tables) != len(names):
        raise TypeError(f"{op}: {family} takes {', '.join(names)}, got {len(tables)} of these")
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"{op}: {family} takes {', '.join(known)}, got {', '.join(unknown)}")
    options = known | options
    table = _table(op, names[0], tables[0])
    n, m = table.shape[-2:]
    given = (
        _side(op, "top", top, names[0], table, m + 1),
        _side(op, "left", left, names[0], table, n),
    )
    gamma, lengths, band = options["gamma"], options["lengths"], options["band"]
    if family == "soft_dtw":
        return soft_dtw_inputs(op, table, gamma, lengths, False, False, band), given
    if family == "lcs":
        return lcs_inputs(op, table, tables[1], gamma, options["gate_width"], lengths, band), given
    gaps = options["leading_gaps"]
    return edit_inputs(
        op, names[0], table, tables[1], tables[2], gamma, lengths, gaps, "paid", band, given
    ), given


def block_inputs(
    family: str,
    x: Tensor,
    dim: int,
    rows: int,
    lengths: Lengths | None,
    open_begin: bool,
    open_end: bool,
) -> tuple[int, Lengths | None]:
    """Check the arguments of blockwise that are its own; returns n, and lengths as tensors.

    Raises:
        TypeError: an argument of the wrong type.
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
    if (open_begin or open_end) and family != "soft_dtw":
        raise ValueError(f"{op}: open_begin and open_end are for family 'soft_dtw', got {family!r}")
    n = x.shape[dim]
    if lengths is None:
        return n, None
    if not isinstance(lengths, tuple | list | Tensor) or len(lengths) != 2:
        raise TypeError(
            f"{op}: lengths must be a pair (n_lengths, m_lengths), got {type(lengths).__name__}"
        )
    n_lengths, m_lengths = (
        _integers(op, f"lengths[{k}]", length, x.device) for k, length in enumerate(lengths)
    )
    _within(n_lengths, n, lambda: f"{op}: lengths[0] must be in 0..{n}")
    return n, (n_lengths.to(x.device, torch.int64), m_lengths.to(x.device, torch.int64))


def _side(
    op: str, name: str, side: Tensor | None, table_name: str, table: Tensor, length: int
) -> Tensor | None:
    """Scores on one side of a table, float64."""
    if side is None:
        return None
    if not isinstance(side, Tensor) or not side.is_floating_point():
        got = _name(side.dtype) if isinstance(side, Tensor) else type(side).__name__
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


def _band(
    op: str, band: Band | None, table_name: str, table: Tensor, lengths: Lengths | None
) -> Tensor | None:
    """Bounds of the columns in each row, int64."""
    if band is None:
        return None
    *batch, n, m = table.shape
    if isinstance(band, int) and not isinstance(band, bool):
        if band < 0:
            raise ValueError(f"{op}: band must be a width of at least 0 or bounds, got {band}")
        return sakoe_chiba(n, m, band, lengths=lengths, device=table.device)
    if not isinstance(band, Tensor) or band.dtype not in _INTEGERS:
        got = _name(band.dtype) if isinstance(band, Tensor) else type(band).__name__
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
    if torch.compiler.is_compiling():
        return band
    message = f"{op}: neither bound of a band may go back from row to row"
    back = band.diff(dim=-2) < 0
    if band.device.type != "cpu":
        torch._assert_async(~back.any(), message)
    elif back.any():
        *_, row, bound = back.nonzero()[0].tolist()
        raise ValueError(
            f"{message}, but {('the first', 'the last')[bound]} column does from row {row} to "
            f"{row + 1}"
        )
    return band


def _ends(op: str, name: str, gaps: Gaps) -> tuple[str, str]:
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


def _gap(
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
            gap.shape[d] not in (1, table.shape[d], table.shape[d] + (d == parted))
            for d in range(-gap.dim(), 0)
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


def _gamma(op: str, gamma: Tensor | float, table_name: str, table: Tensor) -> Tensor:
    if not isinstance(gamma, Tensor):
        number = _number(op, "gamma", gamma, table)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"{op}: gamma must be >= 0 and finite, got {gamma}")
        return number
    tensor = _per_pair(op, "gamma", gamma, table_name, table)
    largest = torch.finfo(tensor.dtype).max
    _within(tensor.detach(), largest, lambda: f"{op}: gamma must be >= 0 and finite")
    return tensor


def _lengths(op: str, lengths: Lengths, table_name: str, table: Tensor) -> Lengths:
    if isinstance(lengths, Tensor) and lengths.dim() > 0 and lengths.shape[0] == 2:
        lengths = lengths.unbind()
    if not isinstance(lengths, tuple | list) or len(lengths) != 2:
        raise TypeError(
            f"{op}: lengths must be a pair (n_lengths, m_lengths), each an integer tensor or list, "
            f"an integer or None, got {type(lengths).__name__}"
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
    length: Tensor | Sequence[int] | int | None,
    limit: int,
    table_name: str,
    batch: torch.Size,
    device: torch.device,
) -> Tensor:
    if length is None:
        return torch.full(batch, limit, device=device)
    length = _integers(op, name, length, device)
    if not _broadcasts(length.shape, batch):
        raise ValueError(
            f"{op}: {name} must have {table_name}'s batch shape {tuple(batch)} or one that "
            f"broadcasts to it, got {tuple(length.shape)}"
        )
    length = length.expand(batch)
    _within(length, limit, lambda: f"{op}: {name} must be in 0..{limit}")
    return converted(op, name, length, torch.int64).to(device, non_blocking=True).contiguous()


def _integers(
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
        raise TypeError(f"{op}: {name} must be of integers, got {_name(length.dtype)}")
    if length.is_meta and device.type != "meta":
        raise ValueError(f"{op}: {name} must have values, got a tensor on meta")
    return length


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
    computed = _COMPUTE_DTYPE[table.dtype]
    if value.dim() == 0 and not value.is_complex():
        return value.to(computed)  # as torch promotes a number beside a tensor
    if value.dtype not in (table.dtype, computed):
        raise TypeError(
            f"{op}: {name} must have {table_name}'s dtype {_name(table.dtype)}, "
            f"got {_name(value.dtype)}"
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
    return converted(op, name, value, _COMPUTE_DTYPE.get(value.dtype, value.dtype))


def _within(values: Tensor, upper: float, message: Callable[[], str]) -> None:
    """Refuse values outside 0..upper: at once on the CPU, without waiting on other devices.

    While torch.compile traces, values are not there to look at; the ops repeat these checks. A size
    in a message would then be a constant of the graph, so that none is made before it is needed.
    """
    if torch.compiler.is_compiling() or values.numel() == 0:
        return
    if 0 in values.stride():  # expanded: a number need not be looked at 2^40 times
        values = values[tuple(slice(None) if stride else slice(1) for stride in values.stride())]
    if values.device.type != "cpu":
        torch._assert_async(((values >= 0) & (values <= upper)).all(), message())
        return
    lowest, highest = (bound.item() for bound in values.aminmax())
    if not (lowest >= 0 and highest <= upper):  # a NaN is both and fails
        raise ValueError(f"{message()}, got {lowest if not lowest >= 0 else highest}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

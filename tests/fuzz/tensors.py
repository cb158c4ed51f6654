"""Tensors as a few words that draw, print and make them: any layout, any values, any size."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

import softdp

HUGE = (2**31 - 1, 2**31, 2**32 + 1, 2**40, 2**58, 2**59, 2**61, 2**62 - 1, 2**62, 2**63 - 1)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_SIZES = st.integers(0, 9) | st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 65, 130])
_BATCHES = st.sampled_from(
    [(), (), (1,), (2, 3), (1, 4), (0,), (0, 2**40), (3,), (5,), (9,), (17,), (33,)]
)
_VALUES = (
    "normal",
    "normal",
    "quarters",
    "quarters",
    "infinite",
    "NaN",
    "no path",
    "large",
    "tiny",
)
_MOST_CELLS = 5000


class Spec(NamedTuple):
    """A tensor. `expanded` names the dimensions that hold one number's worth of memory."""

    shape: tuple[int, ...]
    expanded: tuple[bool, ...]
    dtype: torch.dtype
    layout: str = "contiguous"
    values: str = "normal"
    seed: int = 0
    grad: bool = False
    device: str = "cpu"

    @property
    def huge(self) -> bool:
        return math.prod(self.shape) > 2**20 or any(size > 2**20 for size in self.shape)

    def make(self) -> Tensor:
        sizes = [
            1 if expanded else size
            for size, expanded in zip(self.shape, self.expanded, strict=True)
        ]
        if self.layout == "strange" and math.prod(sizes) == 0:
            tensor = torch.empty(0, dtype=self.dtype).as_strided(sizes, [2**61] * len(sizes))
        elif self.layout == "transposed" and len(sizes) > 1:
            tensor = self._drawn([*sizes[:-2], sizes[-1], sizes[-2]]).mT
        elif self.layout == "sliced":
            tensor = self._drawn([2 * size for size in sizes])[(slice(None, None, 2),) * len(sizes)]
        elif self.layout == "offset":
            tensor = self._drawn([math.prod(sizes) + 3])[3:].view(sizes)
        else:
            tensor = self._drawn(sizes)
        tensor = tensor.expand(self.shape).to(self.device)
        return tensor.detach().requires_grad_(self.grad and self.dtype.is_floating_point)

    def _drawn(self, sizes: list[int]) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(sizes, generator=generator, dtype=torch.float64)
        chosen = torch.rand(sizes, generator=generator)
        if self.values == "quarters":
            drawn = (drawn * 4).round().clamp(-16, 16) / 4
        elif self.values == "infinite":
            drawn[chosen < 0.2] = math.inf
            drawn[chosen < 0.1] = -math.inf
        elif self.values == "NaN":
            drawn[chosen < 0.1] = math.nan
        elif self.values == "no path":
            drawn.fill_(math.inf if self.seed % 2 else -math.inf)
        elif self.values == "large":
            drawn[chosen < 0.2] *= 1e30
        elif self.values == "tiny":
            drawn *= 1e-40
        elif self.values == "gamma":
            drawn = drawn.exp() / 4
            drawn[chosen < 0.2] = 0
        elif self.values.startswith("below "):
            drawn = (chosen * (int(self.values.removeprefix("below ")) + 1)).floor()
        return drawn.to(self.dtype)


def _layouts(draw: Any) -> str:
    return draw(st.sampled_from(["contiguous", "transposed", "sliced", "offset", "strange"]))


@st.composite
def tables(draw: Any, dtypes: tuple[torch.dtype, ...] = FLOATS, values: str | None = None) -> Spec:
    """A full table (..., n, m); one or two of its dimensions may be huge."""
    shape = [*draw(_BATCHES), draw(_SIZES), draw(_SIZES)]
    while math.prod(shape) > _MOST_CELLS:
        largest = shape.index(max(shape))
        shape[largest] //= 2
    expanded = [draw(st.integers(0, 9)) == 0 for _ in shape]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = -draw(st.integers(1, min(3, len(shape))))
        stretched = [*shape]
        stretched[place] = draw(st.sampled_from(HUGE))
        if math.prod(stretched) < 2**63:  # torch has no larger tensor
            shape, expanded[place] = stretched, True
    return Spec(
        tuple(shape),
        tuple(expanded),
        draw(st.sampled_from(dtypes)),
        _layouts(draw),
        values or draw(st.sampled_from(_VALUES)),
        draw(st.integers(0, 999)),
        draw(st.booleans()),
    )


@st.composite
def gaps(draw: Any, table: Spec) -> Spec:
    """What broadcasts to a table."""
    dims = draw(st.integers(0, len(table.shape)))
    shape, expanded = [], []
    for size, whole in list(zip(table.shape, table.expanded, strict=True))[
        len(table.shape) - dims :
    ]:
        kept = draw(st.booleans())
        shape.append(size if kept else 1)
        expanded.append(kept and (whole or size > 2**20 or draw(st.integers(0, 9)) == 0))
    return table._replace(
        shape=tuple(shape),
        expanded=tuple(expanded),
        layout=_layouts(draw),
        values=table.values if table.values == "quarters" else draw(st.sampled_from(_VALUES)),
        seed=draw(st.integers(0, 999)),
        grad=draw(st.booleans()),
    )


@st.composite
def per_pair(draw: Any, table: Spec, values: str, dtype: torch.dtype | None = None) -> Spec:
    """One number, or one for each pair of a table."""
    batch = table.shape[:-2] if draw(st.booleans()) else ()
    expanded = [size > 2**20 or draw(st.integers(0, 4)) == 0 for size in batch]
    compute = torch.promote_types(table.dtype, torch.float32)
    return Spec(
        batch,
        tuple(expanded),
        dtype or draw(st.sampled_from([table.dtype, compute])),
        _layouts(draw),
        values,
        draw(st.integers(0, 999)),
        draw(st.booleans()),
    )


@st.composite
def lengths(draw: Any, table: Spec, loose: bool = False) -> Any:
    """None, or how many steps of each sequence count; few of a table that is huge.

    Int64 tensors of the batch shape, as the ops take them; loose: in any form of the functions.
    """
    if draw(st.integers(0, 2)) == 0 and not table.huge:
        return None
    drawn: list[Any] = []
    for size in table.shape[-2:]:
        most = min(size, 127, 40 if table.huge else 127)
        if loose and draw(st.integers(0, 4)) == 0:
            drawn.append(draw(st.sampled_from([None, most, most // 2, [most]])))
            continue
        dtype = draw(st.sampled_from(INTEGERS)) if loose else torch.int64
        numbers = draw(per_pair(table, f"below {most}", dtype))._replace(grad=False)
        if not loose:
            batch = table.shape[:-2]
            numbers = numbers._replace(shape=batch, expanded=tuple(size > 2**20 for size in batch))
        drawn.append(numbers)
    return tuple(drawn)


@st.composite
def amiss(draw: Any, spec: Any) -> Any:
    """Something else in a tensor's place."""
    if isinstance(spec, Band) and draw(st.booleans()):
        *batch, n, m = spec.shape
        return draw(
            st.sampled_from([spec._replace(back=True), spec._replace(shape=(*batch, n + 1, m))])
        )
    if not isinstance(spec, Spec):
        return draw(st.sampled_from([None, "a", 1, -1, 9, 2**40, -(10**400), math.nan]))
    other = draw(st.sampled_from(["dtype", "device", "rank", "size", "huge", "kind"]))
    if other == "dtype":
        every = (*FLOATS, *INTEGERS, torch.bool, torch.complex64)
        return spec._replace(dtype=draw(st.sampled_from(every)), grad=False)
    if other == "device":
        return spec._replace(device="meta")
    if other == "rank" or not spec.shape:
        return spec._replace(shape=(2, *spec.shape), expanded=(True, *spec.expanded))
    if other == "kind":
        return draw(st.sampled_from([None, 1, 0.5, "a"]))
    place = draw(st.integers(0, len(spec.shape) - 1))
    size = draw(st.sampled_from(HUGE)) if other == "huge" else spec.shape[place] + 1
    shape = (*spec.shape[:place], size, *spec.shape[place + 1 :])
    if math.prod(shape) >= 2**63:
        return None
    expanded = (
        *spec.expanded[:place],
        size > 2**20 or spec.expanded[place],
        *spec.expanded[place + 1 :],
    )
    return spec._replace(shape=shape, expanded=expanded)


@st.composite
def parted_gaps(draw: Any, table: Spec, place: int) -> Spec:
    """Gaps one longer than a table along a dimension: what leading gaps cost comes first."""
    gap = draw(gaps(table))
    dims = max(len(gap.shape), -place)
    missing = dims - len(gap.shape)
    shape, expanded = [1] * missing + [*gap.shape], [False] * missing + [*gap.expanded]
    shape[place] = table.shape[place] + 1
    expanded[place] = shape[place] > 2**20
    if math.prod(shape) >= 2**63:
        return gap
    return gap._replace(shape=tuple(shape), expanded=tuple(expanded))


@st.composite
def sides(draw: Any, table: Spec, length: int) -> Spec:
    """Scores in float64 of the cells along a side of a table, or of all of its border."""
    shape = (*table.shape[:-2], length)
    if math.prod(shape) >= 2**63:
        shape = (length,)  # a shape that does not fit
    return Spec(
        shape,
        tuple(size > 2**12 for size in shape),
        torch.float64,
        _layouts(draw),
        table.values if table.values == "quarters" else draw(st.sampled_from(_VALUES)),
        draw(st.integers(0, 99)),
        draw(st.booleans()),
    )


def borders(table: Spec, states: int = 1) -> st.SearchStrategy[Spec]:
    """Scores on the whole border of a table."""
    if states > 1:
        shape = (*table.shape[:-2], states, *table.shape[-2:])
        if math.prod(shape) < 2**63:
            table = table._replace(shape=shape)
    return sides(table, min(sum(table.shape[-2:]) + 1, 2**63 - 1))


class Band(NamedTuple):
    """Bounds of the columns in each row, those of a row for all where there are many rows."""

    shape: tuple[int, ...]  # of the table
    each: bool  # for each pair
    width: int | None  # around the diagonal; None: bounds drawn by the seed
    seed: int
    dtype: torch.dtype
    back: bool = False

    def make(self) -> Tensor:
        *batch, n, m = self.shape
        rows, columns = n if n <= 2**12 else 1, min(m, 2**40)
        if self.width is not None:
            band = softdp.sakoe_chiba(rows, columns, self.width)
        else:
            kept = [size if self.each and size <= 64 else 1 for size in batch]
            generator = torch.Generator().manual_seed(self.seed)
            band = torch.randint(-2, min(m, 60) + 4, (*kept, rows, 2), generator=generator)
            band = band.sort(-2, descending=self.back).values.reshape(*kept, rows, 2)
        band = band.to(self.dtype)
        return (
            band.expand(*batch, n, 2) if self.each else band[(0,) * (band.dim() - 2)].expand(n, 2)
        )


def bands(table: Spec, dtypes: tuple[torch.dtype, ...] = (torch.int64,)) -> st.SearchStrategy[Band]:
    return st.builds(
        Band,
        st.just(table.shape),
        st.booleans(),
        st.none() | st.sampled_from([0, 1, 3, 50]),
        st.integers(0, 99),
        st.sampled_from(dtypes),
        st.just(False),
    )

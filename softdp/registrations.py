"""What torch needs to know of torch.ops.softdp beside kernels: shapes, gradients, autocast."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from softdp import _ops, derivatives
from softdp.autograd import FUNCTIONS
from softdp.batching import Together, one_by_one
from softdp.families import FAMILIES, Family

_TOO_LARGE = 2**62  # kTooLarge of csrc/wavefront/size.h


class _Fake:
    """An op called without values: the checks that give its outputs their sizes, in its words."""

    def __init__(
        self, op: str, first_name: str, first: Tensor, inputs: tuple[Any, ...], states: int = 1
    ) -> None:
        self.op, self.name, self.first, self.states = op, first_name, first, states
        if first.dim() < 2:
            raise RuntimeError(f"{op}: {first_name} must have shape (..., n, m), got {self.shape}")
        for item in inputs:  # or an op on meta and CPU tensors would return memory without values
            if isinstance(item, Tensor) and item.device != first.device:
                raise RuntimeError(
                    f"{op}: all tensors must be on {first_name}'s device {first.device}, "
                    f"got {item.device}"
                )
        *batch, n, m = self.shape
        counts = math.prod(batch), n, m
        if any(isinstance(count, int) and count >= _TOO_LARGE for count in counts):
            raise RuntimeError(
                f"{op}: {first_name} of shape {self.shape} is too large: 2^62 pairs or steps, or "
                "more"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.first.shape)

    def new(self, what: str, sizes: tuple[Any, ...], dtype: torch.dtype) -> Tensor:
        """An output, if its size can be counted; where shapes are symbols nobody knows."""
        counted = all(isinstance(size, int) for size in sizes)
        # An empty tensor has strides all the same.
        if counted and math.prod(max(size, 1) for size in sizes) * dtype.itemsize >= _TOO_LARGE:
            raise RuntimeError(
                f"{self.op}: {self.name} of shape {self.shape} is too large: {what} would take "
                "2^62 bytes or more"
            )
        return self.first.new_empty(sizes, dtype=dtype)

    def border(self) -> Tensor:
        *batch, n, m = self.shape
        states = (self.states,) if self.states > 1 else ()
        return self.new("the border", (*batch, *states, m + 1 + n), torch.float64)

    def forward(
        self, band: Tensor | None, keep_weights: bool, keep_border: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The score, the weights and the border."""
        double = self.first.dtype == torch.float64
        dtype = torch.float64 if double else torch.float32
        score = self.new("the score", self.shape[:-2], dtype)
        numel: Any = 0
        if keep_weights:
            # How many a band leaves is in its values; and what a size decides, a symbol does not
            # show, or each side of it would be a graph of its own.
            if band is None and all(isinstance(size, int) for size in self.shape):
                *batch, n, m = self.shape
                cuda = self.first.device.type == "cuda"
                numel = _ops.weights_numel(math.prod(batch), n, m, self.states, double, cuda)
            else:
                numel = torch.library.get_ctx().new_dynamic_size()
        words = torch.float64 if double else torch.int32
        weights = self.new("the weights for a gradient", (numel,), words)
        none = self.first.new_empty(0, dtype=torch.float64)
        return score, weights, self.border() if keep_border else none

    def table_gradient(self, table: Tensor) -> Tensor:
        """Summed where the table is broadcast along n or m, not yet over the batch."""
        *batch, n, m = self.shape
        n = 1 if table.dim() < 2 or table.shape[-2] == 1 else n
        m = 1 if table.dim() < 1 or table.shape[-1] == 1 else m
        return self.new("a gradient", (*batch, n, m), table.dtype)

    def gradients(
        self, family: Family, score: Tensor, inputs: tuple[Any, ...], wanted: int
    ) -> tuple[Tensor, ...]:
        """Of the inputs of a family that `wanted` asks for; the others' are empty."""
        asked = [bool(wanted >> place & 1) for place in range(family.differentiable)]
        tables = zip(inputs[: family.tables], asked, strict=False)
        return (
            *(self.table_gradient(table) if each else table.new_empty(0) for table, each in tables),
            *(
                torch.empty_like(score) if each else score.new_empty(0)
                for each in asked[family.tables : -1]
            ),
            self.border() if asked[-1] else score.new_empty(0, dtype=torch.float64),
        )


def _register(family: Family) -> None:
    name, function = f"softdp::{family.name}", FUNCTIONS[family.name]
    schema = getattr(torch.ops.softdp, family.name).default._schema
    first_name = schema.arguments[0].name

    @torch.library.register_fake(name)
    def fake(first: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        band = others[family.differentiable + 1]
        call = _Fake(name, first_name, first, others, family.states)
        return call.forward(band, *others[-2:])

    @torch.library.register_fake(f"{name}_backward")
    def fake_backward(
        score_gradient: Tensor,
        border_gradient: Tensor | None,
        score: Tensor,
        weights: Tensor,
        border: Tensor,
        first: Tensor,
        *others: Any,
    ) -> tuple[Tensor, ...]:
        given = (score_gradient, border_gradient, score, weights, border, *others)
        call = _Fake(f"{name}_backward", first_name, first, given, family.states)
        return call.gradients(family, score, (first, *others), others[-1])

    @torch.library.register_fake(f"{name}_tangent")
    def fake_tangent(
        score_gradient: Tensor | None,
        border_gradient: Tensor | None,
        score: Tensor,
        weights: Tensor,
        border: Tensor,
        *others: Any,
    ) -> tuple[Tensor, ...]:
        inputs = others[family.differentiable : -2]
        wanted, keep_border = others[-2:]
        given = (score_gradient, border_gradient, score, weights, border, *others)
        call = _Fake(f"{name}_tangent", first_name, inputs[0], given, family.states)
        return (
            torch.empty_like(score),
            call.border() if keep_border else score.new_empty(0, dtype=torch.float64),
            *call.gradients(family, score, inputs, wanted),
        )

    torch.library.register_autograd(name, function.op_backward, setup_context=function.save)
    _, gradient, tangent = derivatives.FUNCTIONS[family.name]
    for kind, second in (("backward", gradient), ("tangent", tangent)):
        torch.library.register_autograd(
            f"{name}_{kind}", second.backward, setup_context=second.setup_context
        )
    for device in ("cpu", "cuda"):
        # Half inputs are computed in float32 anyway; tables of mixed dtypes meet there too.
        torch.library.register_autocast(name, device, torch.float32)


for _family in FAMILIES.values():
    _register(_family)


@torch.library.register_fake("softdp::walk")
def _fake_walk(
    weights: Tensor,
    first: Tensor,
    n_lengths: Tensor | None,
    m_lengths: Tensor | None,
    band: Tensor | None,
    score: Tensor,
    cells: Tensor | None,
    paths: int,
    states: int,
    leading_gaps: int,
    minimise: bool,
    seeds: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    tensors = weights, n_lengths, m_lengths, band, score, cells, seeds
    call = _Fake("softdp::walk", "first", first, tensors)
    *batch, n, m = call.shape
    pairs = call.new("the pairs", (*batch, paths, n + m, 2), torch.int64)
    arcs = call.new("the arcs", (*batch, paths, n + m), torch.int64)
    return pairs, arcs, call.new("the lengths", (*batch, paths), torch.int64)


@torch.library.register_vmap("softdp::walk")
def _vmap_walk(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
    if in_dims[0] is None:  # of the weights of one call, from cells or by seeds of each
        return one_by_one(_ops.walk.default, info.batch_size, inputs, in_dims)
    weights, first, n_lengths, m_lengths, band, score, cells, *others = inputs
    paths, states, leading, minimise, seeds = others
    together = Together(info.batch_size, first, in_dims[1])
    found = _ops.walk.default(
        together.weights(weights, in_dims[0]),
        together.first,
        together.pair(n_lengths, in_dims[2]),
        together.pair(m_lengths, in_dims[3]),
        together.pair(band, in_dims[4], beyond=2),
        together.full(score, in_dims[5]),
        None if cells is None else together.full(cells, in_dims[6], beyond=2),
        paths,
        states,
        leading,
        minimise,
        None if seeds is None else together.full(seeds, in_dims[-1]),
    )
    return found, (0, 0, 0)

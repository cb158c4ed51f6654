"""What torch needs to know of torch.ops.softdp beside kernels: shapes, gradients, autocast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softdp import autograd
from softdp.autograd import FAMILIES, FUNCTIONS, Family

_LANES = 32  # csrc/wavefront/cpu_sweep.h


def _weights_numel(match: Tensor) -> Any:
    """How many words the weights take: weights_numel in csrc/ops/cpu.h and csrc/ops/cuda.h.

    Without a branch on a size, so that one compiled graph serves every size.
    """
    *batch_shape, n, m = match.shape
    batch = 1
    for size in batch_shape:
        batch = batch * size
    words = 2 if match.dtype == torch.float64 else 1
    if match.device.type == "cuda":
        # Strips x columns x words x rows of a strip: csrc/wavefront/cuda_plan.h.
        least = 8 if match.dtype == torch.float64 else 16
        rows = least * (1 + _reached(n, least + 1) + 2 * _reached(n, 2 * least + 1))
        return batch * ((n + rows - 1) // rows) * m * words * rows
    # Groups x strips x steps x words of the lanes: Layout in csrc/wavefront/cpu_sweep.h.
    pairs = 1 + sum(least // 4 * _reached(batch, least) for least in (4, 8))
    short = 1 - _reached(m, 128)
    pairs = pairs + short * sum(least // 4 * _reached(batch, least) for least in (16, 32))
    rows = _LANES // pairs
    groups = (batch + pairs - 1) // pairs
    strips = (n + rows - 1) // rows * torch.sym_min(m, 1)
    steps = (m + rows - 1) * torch.sym_min(n, 1)
    return groups * strips * steps * words * _LANES


def _reached(size: Any, least: int) -> Any:
    """1 where size >= least, else 0."""
    return torch.sym_min(torch.sym_max(size - least + 1, 0), 1)


def _fake_border(match: Tensor, wanted: bool) -> Tensor:
    if not wanted:
        return match.new_empty(0, dtype=torch.float64)
    *batch, n, m = match.shape
    return match.new_empty((*batch, m + 1 + n), dtype=torch.float64)


def _fake_forward(
    match: Tensor, band: Tensor | None, keep_weights: bool, keep_border: bool
) -> tuple[Tensor, Tensor, Tensor]:
    double = match.dtype == torch.float64
    score = match.new_empty(match.shape[:-2], dtype=torch.float64 if double else torch.float32)
    numel = 0
    if keep_weights:
        # How many a band leaves is in its values.
        banded = band is not None
        numel = torch.library.get_ctx().new_dynamic_size() if banded else _weights_numel(match)
    weights = match.new_empty(numel, dtype=torch.float64 if double else torch.int32)
    return score, weights, _fake_border(match, keep_border)


def _fake_table_gradient(table: Tensor, match: Tensor, wanted: bool) -> Tensor:
    """Summed where the table is broadcast along n or m, not yet over the batch."""
    if not wanted:
        return table.new_empty(0)
    n = 1 if table.dim() < 2 or table.shape[-2] == 1 else match.shape[-2]
    m = 1 if table.dim() < 1 or table.shape[-1] == 1 else match.shape[-1]
    return table.new_empty((*match.shape[:-2], n, m))


def _fake_number_gradient(score: Tensor, wanted: bool) -> Tensor:
    return torch.empty_like(score) if wanted else score.new_empty(0)


def _register(family: Family) -> None:
    name, function = f"softdp::{family.name}", FUNCTIONS[family.name]

    @torch.library.register_fake(name)
    def fake(table: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        return _fake_forward(table, others[family.differentiable + 1], *others[-2:])

    @torch.library.register_fake(f"{name}_backward")
    def fake_backward(
        score_gradient: Tensor,
        border_gradient: Tensor | None,
        score: Tensor,
        weights: Tensor,
        border: Tensor,
        *inputs: Any,
    ) -> tuple[Tensor, ...]:
        wanted = [bool(inputs[-1] >> k & 1) for k in range(family.differentiable)]
        tables = zip(inputs[: family.tables], wanted, strict=False)
        return (
            *(_fake_table_gradient(table, inputs[0], asked) for table, asked in tables),
            *(_fake_number_gradient(score, asked) for asked in wanted[family.tables : -1]),
            _fake_border(inputs[0], wanted[-1]),
        )

    torch.library.register_autograd(name, function.op_backward, setup_context=function.save)
    torch.library.register_autograd(f"{name}_backward", autograd.raise_no_second_derivative)
    for device in ("cpu", "cuda"):
        # Half inputs are computed in float32 anyway; tables of mixed dtypes meet there too.
        torch.library.register_autocast(name, device, torch.float32)


for _family in FAMILIES:
    _register(_family)

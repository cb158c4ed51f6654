"""What torch needs to know of torch.ops.softdp beside kernels: shapes, gradients, autocast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softdp import autograd
from softdp.autograd import Edit, Lcs

_LANES = 32  # csrc/wavefront/cpu_sweep.h


def _weights_numel(match: Tensor) -> Any:
    """Groups x strips x steps x words of the lanes: Layout in csrc/wavefront/cpu_group.h.

    Without a branch on a size, so that one compiled graph serves every size.
    """
    *batch_shape, n, m = match.shape
    batch = 1
    for size in batch_shape:
        batch = batch * size

    def reached(least: int) -> Any:
        return torch.sym_min(torch.sym_max(batch - least + 1, 0), 1)

    pairs = 1 + reached(4) + 2 * reached(8) + 4 * reached(16) + 8 * reached(32)
    rows = _LANES // pairs
    groups = (batch + pairs - 1) // pairs
    strips = (n + rows - 1) // rows * torch.sym_min(m, 1)
    steps = (m + rows - 1) * torch.sym_min(n, 1)
    words = 2 if match.dtype == torch.float64 else 1
    return groups * strips * steps * words * _LANES


def _fake_forward(match: Tensor, keep_weights: bool) -> tuple[Tensor, Tensor]:
    double = match.dtype == torch.float64
    score = match.new_empty(match.shape[:-2], dtype=torch.float64 if double else torch.float32)
    numel = _weights_numel(match) if keep_weights else 0
    return score, match.new_empty(numel, dtype=torch.float64 if double else torch.int32)


def _fake_table_gradient(table: Tensor, match: Tensor, wanted: bool) -> Tensor:
    """Summed where the table is broadcast along n or m, not yet over the batch."""
    if not wanted:
        return table.new_empty(0)
    n = 1 if table.dim() < 2 or table.shape[-2] == 1 else match.shape[-2]
    m = 1 if table.dim() < 1 or table.shape[-1] == 1 else match.shape[-1]
    return table.new_empty((*match.shape[:-2], n, m))


def _fake_number_gradient(score: Tensor, wanted: bool) -> Tensor:
    return torch.empty_like(score) if wanted else score.new_empty(0)


@torch.library.register_fake("softdp::edit")
def _(match, insert, delete, gamma, n_lengths, m_lengths, leading_gaps, minimise, keep_weights):
    return _fake_forward(match, keep_weights)


@torch.library.register_fake("softdp::edit_backward")
def _(
    score_gradient, score, weights, match, insert, delete, gamma, n_lengths, m_lengths,
    leading_gaps, minimise, wanted,
):  # fmt: skip
    return (
        _fake_table_gradient(match, match, bool(wanted & 1)),
        _fake_table_gradient(insert, match, bool(wanted & 2)),
        _fake_table_gradient(delete, match, bool(wanted & 4)),
        _fake_number_gradient(score, bool(wanted & 8)),
    )


@torch.library.register_fake("softdp::lcs")
def _(similarity, threshold, gamma, n_lengths, m_lengths, gate_width, keep_weights):
    return _fake_forward(similarity, keep_weights)


@torch.library.register_fake("softdp::lcs_backward")
def _(
    score_gradient, score, weights, similarity, threshold, gamma, n_lengths, m_lengths,
    gate_width, wanted,
):  # fmt: skip
    return (
        _fake_table_gradient(similarity, similarity, bool(wanted & 1)),
        _fake_number_gradient(score, bool(wanted & 2)),
        _fake_number_gradient(score, bool(wanted & 4)),
    )


for _op, _function in (("edit", Edit), ("lcs", Lcs)):
    torch.library.register_autograd(
        f"softdp::{_op}", _function.backward, setup_context=_function.save
    )
    torch.library.register_autograd(f"softdp::{_op}_backward", autograd.raise_no_second_derivative)
    for _device in ("cpu", "cuda"):
        # Half inputs are computed in float32 anyway; tables of mixed dtypes meet there too.
        torch.library.register_autocast(f"softdp::{_op}", _device, torch.float32)

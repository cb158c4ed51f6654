"""torch.autograd.Function around the ops: what to save, what to return.

torch.ops.softdp.* differentiates by the same rules (registrations.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from softdp import _extension  # noqa: F401  (registers the ops)

_edit = torch.ops.softdp.edit.default
_edit_backward = torch.ops.softdp.edit_backward.default
_lcs = torch.ops.softdp.lcs.default
_lcs_backward = torch.ops.softdp.lcs_backward.default


def _call(op: Any, *arguments: Any) -> Any:
    """Call an op from a Function, where no derivative is recorded: past its own autograd rule.

    That rule is there for direct calls and costs as much time as a small table.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return op(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*arguments)


def _sum_to(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum a gradient over the dimensions in which `like` was broadcast."""
    if gradient.shape == like.shape:
        return gradient
    return gradient.sum() if like.dim() == 0 else gradient.sum_to_size(like.shape)


class Edit(torch.autograd.Function):
    """Score of the edit recurrence and its weights (softdp.reference states the recurrence).

    Inputs: match, insert, delete, gamma, n_lengths, m_lengths, leading_gaps, minimise,
        keep_weights.
    Outputs: score, shape (...); weights, the layout of which is the kernels' own.
    """

    # One forward, not forward and setup_context: torch binds the arguments of the latter by
    # inspecting signatures at each call.
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:  # noqa: D102
        output = _call(_edit, *inputs)
        Edit.save(ctx, inputs, output)
        return output

    @staticmethod
    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what backward needs; the op's own autograd rule uses it too."""
        *tensors, ctx.leading_gaps, ctx.minimise, ctx.keep_weights = inputs
        ctx.save_for_backward(*output, *tensors)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or there would be zeros of the size of the weights

    @staticmethod
    def backward(ctx: Any, score_gradient: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:  # noqa: D102
        if score_gradient is None:
            return (None,) * 9
        _require_weights(ctx)
        saved = ctx.saved_tensors
        needs = match, insert, delete, gamma = ctx.needs_input_grad[:4]
        wanted = match | insert << 1 | delete << 2 | gamma << 3
        gradients = _call(
            _edit_backward,
            score_gradient, *saved, ctx.leading_gaps, ctx.minimise, wanted,
        )  # fmt: skip
        return *_needed(gradients, saved[2:6], needs), *(None,) * 5


class Lcs(torch.autograd.Function):
    """Score of the smoothed longest common subsequence and its weights.

    Inputs: similarity, threshold, gamma, n_lengths, m_lengths, gate_width, keep_weights.
    Outputs: score, shape (...); weights, the layout of which is the kernels' own.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:  # noqa: D102
        output = _call(_lcs, *inputs)
        Lcs.save(ctx, inputs, output)
        return output

    @staticmethod
    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what backward needs; the op's own autograd rule uses it too."""
        *tensors, ctx.gate_width, ctx.keep_weights = inputs
        ctx.save_for_backward(*output, *tensors)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or there would be zeros of the size of the weights

    @staticmethod
    def backward(ctx: Any, score_gradient: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:  # noqa: D102
        if score_gradient is None:
            return (None,) * 7
        _require_weights(ctx)
        saved = ctx.saved_tensors
        needs = similarity, threshold, gamma = ctx.needs_input_grad[:3]
        wanted = similarity | gamma << 1 | threshold << 2  # the op's order
        to_similarity, to_gamma, to_threshold = _call(
            _lcs_backward,
            score_gradient, *saved, ctx.gate_width, wanted,
        )  # fmt: skip
        ordered = (to_similarity, to_threshold, to_gamma)
        return *_needed(ordered, saved[2:5], needs), *(None,) * 4


def _require_weights(ctx: Any) -> None:
    if not ctx.keep_weights:
        raise RuntimeError(
            "softdp: the gradient needs the weights of the forward sweep; call the op with "
            "keep_weights=True"
        )


def _needed(
    gradients: tuple[Tensor, ...], inputs: tuple[Tensor, ...], needs: tuple[bool, ...]
) -> list[Tensor | None]:
    return [
        _sum_to(gradient, tensor) if needed else None
        for gradient, tensor, needed in zip(gradients, inputs, needs, strict=True)
    ]


def raise_no_second_derivative(ctx: FunctionCtx, *_: Any) -> None:
    """Backward rule of the backward ops."""
    raise RuntimeError(
        "softdp: second derivatives of the compiled ops are not implemented; softdp.reference "
        "has the same functions in plain torch and differentiates any number of times"
    )

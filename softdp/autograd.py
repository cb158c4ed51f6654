"""torch.autograd.Function around the ops: what to save, what to return.

torch.ops.softdp.* differentiates by the same rules (registrations.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from softdp import _extension  # noqa: F401  (registers the ops)


class Family(NamedTuple):
    """The ops softdp::name and softdp::name_backward (csrc/ops/schema.cpp).

    Their first inputs are the tables, the parameters, gamma and the border that the sweep begins
    from, which have gradients; two lengths, a band and options follow. The backward op returns the
    gradients in this order.
    """

    name: str
    tables: int
    parameters: int

    @property
    def differentiable(self) -> int:
        """How many inputs have gradients."""
        return self.tables + self.parameters + 2


FAMILIES = (
    Family("edit", tables=3, parameters=0),
    Family("lcs", tables=1, parameters=1),
    Family("soft_dtw", tables=1, parameters=0),
)


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


def _function(family: Family) -> Any:
    """The Function of a family: inputs and outputs (score, weights, border) are its op's."""
    op = getattr(torch.ops.softdp, family.name).default
    backward_op = getattr(torch.ops.softdp, f"{family.name}_backward").default
    differentiable = family.differentiable
    tensors = differentiable + 3  # the lengths and the band too

    class Recurrence(torch.autograd.Function):
        # One forward, not forward and setup_context: torch binds the arguments of the latter by
        # inspecting signatures at each call.
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
            output = _call(op, *inputs)
            Recurrence.save(ctx, inputs, output)
            return output

        @staticmethod
        def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
            """Keep what backward needs; the op's own autograd rule uses it too."""
            *ctx.options, ctx.keep_weights, ctx.keep_border = inputs[tensors:]
            ctx.save_for_backward(*output, *inputs[:tensors])
            _, weights, border = output
            ctx.mark_non_differentiable(*((weights,) if ctx.keep_border else (weights, border)))
            ctx.set_materialize_grads(False)  # or there would be zeros of the size of the weights

        @staticmethod
        def backward(
            ctx: Any, score_gradient: Tensor | None, _: Any, border_gradient: Tensor | None
        ) -> tuple[Tensor | None, ...]:
            without = (None,) * (5 + len(ctx.options))  # lengths, band, options, what to keep
            if not ctx.keep_border:  # torch.compile has one all the same
                border_gradient = None
            if score_gradient is None and border_gradient is None:
                return (None,) * differentiable + without
            if not ctx.keep_weights:
                raise RuntimeError(
                    "softdp: the gradient needs the weights of the forward sweep; call the op with "
                    "keep_weights=True"
                )
            needs = ctx.needs_input_grad
            wanted = 0
            for k in range(differentiable):
                wanted |= needs[k] << k
            score, weights, border, *inputs = ctx.saved_tensors
            if score_gradient is None:
                score_gradient = torch.zeros_like(score)
            outputs = score, weights, border
            gradients = _call(
                backward_op,
                score_gradient,
                border_gradient,
                *outputs,
                *inputs,
                *ctx.options,
                wanted,
            )
            # The first table has the full shape, and so has its gradient.
            first = gradients[0] if needs[0] else None
            others = [
                _sum_to(gradients[k], inputs[k]) if needs[k] else None
                for k in range(1, differentiable)
            ]
            return first, *others, *without

    Recurrence.__name__ = Recurrence.__qualname__ = f"{family.name}_function"
    return Recurrence


FUNCTIONS = {family.name: _function(family) for family in FAMILIES}


def raise_no_second_derivative(ctx: FunctionCtx, *_: Any) -> None:
    """Backward rule of the backward ops."""
    raise RuntimeError(
        "softdp: second derivatives of the compiled ops are not implemented; softdp.reference "
        "has the same functions in plain torch and differentiates any number of times"
    )

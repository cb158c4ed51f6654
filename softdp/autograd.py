"""torch.autograd.Function around the ops: what to save, what to return.

torch.ops.softdp.* differentiates by the same rules (registrations.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from softdp import (
    _extension,  # noqa: F401  (registers the ops)
    memory,
)


class Family(NamedTuple):
    """The ops softdp::name and softdp::name_backward (csrc/ops/schema.cpp).

    Their first inputs are the tables, the parameters, gamma and the border that the sweep begins
    from, which have gradients; two lengths, a band and options follow. The backward op returns the
    gradients in this order.
    """

    name: str
    tables: int
    parameters: int
    reads_tables: bool  # whether the backward does (kFlowReadsTables of csrc/recurrence)

    @property
    def differentiable(self) -> int:
        """How many inputs have gradients."""
        return self.tables + self.parameters + 2


FAMILIES = (
    Family("edit", tables=3, parameters=0, reads_tables=False),
    Family("lcs", tables=1, parameters=1, reads_tables=True),
    Family("soft_dtw", tables=1, parameters=0, reads_tables=False),
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


def _outline(table: Tensor) -> Tensor:
    """A table without its numbers, for a backward that asks for its shape and dtype alone."""
    return table.new_empty(()).expand(table.shape)


_LARGE = 65536  # numbers: what it takes to make an outline is nothing beside them


def _function(family: Family) -> Any:
    """The Function of a family.

    Inputs: what has a gradient, lengths, band, and a tuple of the other inputs of its op.
    Outputs: the score, and the border where it is kept, as each output costs time, too; while
    torch.compile traces all of the op's, or it would miss the size of the weights.
    """
    op = getattr(torch.ops.softdp, family.name).default
    backward_op = getattr(torch.ops.softdp, f"{family.name}_backward").default
    differentiable = family.differentiable
    tensors = differentiable + 3  # the lengths and the band too
    tables, outlined = family.tables, not family.reads_tables

    class Recurrence(torch.autograd.Function):
        # One forward, not forward and setup_context: torch binds the arguments of the latter by
        # inspecting signatures at each call. Options in one tuple: each input costs time.
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            inputs = *inputs[:-1], *inputs[-1]
            output = _call(op, *inputs)
            if torch.compiler.is_compiling():
                Recurrence.save(ctx, inputs, output)
                return output
            Recurrence.keep(ctx, inputs, output)
            if not ctx.keep_border:
                return output[0]
            ctx.set_materialize_grads(False)
            return output[0], output[2]

        @staticmethod
        def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
            """What backward needs."""
            *ctx.options, ctx.keep_weights, ctx.keep_border = inputs[tensors:]
            if outlined and not torch.compiler.is_compiling() and inputs[0].numel() >= _LARGE:
                outlines = [_outline(table) for table in inputs[:tables]]
                inputs = *outlines, *inputs[tables:]
            ctx.save_for_backward(*output, *inputs[:tensors])

        @staticmethod
        def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
            """The same for the op's own rule, which has all of the op's outputs."""
            Recurrence.keep(ctx, inputs, output)
            _, weights, border = output
            if ctx.keep_border:
                ctx.mark_non_differentiable(weights)
            else:
                ctx.mark_non_differentiable(weights, border)
            ctx.set_materialize_grads(False)  # or there would be zeros of the size of the weights

        @staticmethod
        def gradients(
            ctx: Any, score_gradient: Tensor | None, border_gradient: Tensor | None
        ) -> list[Tensor | None]:
            """Of the inputs that have one."""
            if not ctx.keep_border:  # torch.compile has one all the same
                border_gradient = None
            if score_gradient is None and border_gradient is None:
                return [None] * differentiable
            if not ctx.keep_weights:
                raise RuntimeError(
                    "softdp: the gradient needs the weights of the forward sweep; call the op with "
                    "keep_weights=True"
                )
            needs = ctx.needs_input_grad
            wanted = 0
            for k in range(differentiable):
                wanted |= needs[k] << k
            saved = ctx.saved_tensors  # outputs, then inputs
            inputs = saved[3:]
            if score_gradient is None:
                score_gradient = torch.zeros_like(saved[0])
            upstream = score_gradient, border_gradient
            found = _call(backward_op, *upstream, *saved, *ctx.options, wanted)
            # The first table has the full shape, and so has its gradient.
            try:
                return [
                    None if not needs[k] else _sum_to(found[k], inputs[k]) if k > 0 else found[k]
                    for k in range(differentiable)
                ]
            except RuntimeError as error:
                if not memory.is_short(error):
                    raise
                names = [argument.name for argument in op._schema.arguments[:differentiable]]
                given = dict(zip(names, inputs, strict=False))
                raise memory.named(f"softdp::{family.name}_backward", given, error) from error

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
            border_gradient = upstream[-1] if len(upstream) > 1 else None
            found = Recurrence.gradients(ctx, upstream[0], border_gradient)
            return *found, None, None, None, None

        @staticmethod
        def op_backward(
            ctx: Any, score_gradient: Tensor | None, _: Any, border_gradient: Tensor | None
        ) -> tuple[Tensor | None, ...]:
            """The op's own rule: its options are no tuple."""
            found = Recurrence.gradients(ctx, score_gradient, border_gradient)
            return *found, *(None,) * (5 + len(ctx.options))

    Recurrence.__name__ = Recurrence.__qualname__ = f"{family.name}_function"
    return Recurrence


FUNCTIONS = {family.name: _function(family) for family in FAMILIES}
_OPS = {family.name: getattr(torch.ops.softdp, family.name).default for family in FAMILIES}


def run(
    family: str, tensors: tuple[Tensor | None, ...], options: tuple[Any, ...]
) -> tuple[Tensor, Any]:
    """Score and border of a family's op; differentiable where keep_weights is among the options.

    tensors: what has a gradient, the lengths and the band; options: the op's other inputs, of which
    the last two are keep_weights and keep_border. Without the latter the border is nothing.
    """
    keep_weights, keep_border = options[-2:]
    # Past the Function, tangents of forward mode would be lost without a word; it says so.
    forward_mode = forward_ad._current_level >= 0
    if torch.jit.is_tracing():  # the op has its own rule, and a name in a graph
        score, _, border = _OPS[family](*tensors, *options)
    elif not (keep_weights or forward_mode or torch.compiler.is_compiling()):
        with torch._C._AutoDispatchBelowAutograd():
            score, _, border = _OPS[family](*tensors, *options)
    elif torch.compiler.is_compiling():
        score, _, border = FUNCTIONS[family].apply(*tensors, options)
    elif keep_border:
        score, border = FUNCTIONS[family].apply(*tensors, options)
    else:
        score, border = FUNCTIONS[family].apply(*tensors, options), None
    return score, border


def raise_no_second_derivative(ctx: FunctionCtx, *_: Any) -> None:
    """Backward rule of the backward ops."""
    raise RuntimeError(
        "softdp: second derivatives of the compiled ops are not implemented; softdp.reference "
        "has the same functions in plain torch and differentiates any number of times"
    )

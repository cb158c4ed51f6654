"""torch.autograd.Function around the ops: what to save, what to return.

torch.ops.softdp.* differentiates by the same rules (registrations.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from softdp import derivatives, memory
from softdp.derivatives import sum_to
from softdp.families import FAMILIES, Family, below_autograd, past_its_rule


class _Outline(torch.autograd.Function):
    """A table without its numbers, for a backward that asks for its shape and dtype alone.

    Its gradient, that of second order, is the table's.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        return table.new_empty(()).expand(table.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


_LARGE = 65536  # numbers: what it takes to make an outline is nothing beside them


def _function(family: Family) -> Any:
    """The Function of a family.

    Inputs: what has a gradient, lengths, band, and a tuple of the other inputs of its op, after
    what is to be kept of the tables: outlines, or nothing and the tables are.
    Outputs: the score, and the border where it is kept, as each output costs time, too; while
    torch.compile traces all of the op's, or it would miss the size of the weights.
    """
    op, backward_op = family.op, family.backward_op
    gradient = derivatives.FUNCTIONS[family.name].gradient
    differentiable, tensors, tables = family.differentiable, family.tensors, family.tables

    class Recurrence(torch.autograd.Function):
        # One forward, not forward and setup_context: torch binds the arguments of the latter by
        # inspecting signatures at each call. Options in one tuple: each input costs time.
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            outlines, inputs = inputs[-1][0], (*inputs[:-1], *inputs[-1][1:])
            if torch.compiler.is_compiling():
                output = op(*inputs)
                Recurrence.save(ctx, inputs, output)
                return output
            with below_autograd():
                output = op(*inputs)
            Recurrence.keep(ctx, inputs, output, outlines)
            if not ctx.keep_border:
                return output[0]
            ctx.set_materialize_grads(False)
            return output[0], output[2]

        @staticmethod
        def keep(
            ctx: Any,
            inputs: tuple[Any, ...],
            output: tuple[Tensor, Tensor, Tensor],
            outlines: list[Tensor] | None = None,
        ) -> None:
            """What backward needs."""
            *ctx.options, ctx.keep_weights, ctx.keep_border = inputs[tensors:]
            ctx.outlines = outlines
            if outlines is not None:
                inputs = *(None,) * tables, *inputs[tables:]
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
            if ctx.outlines is not None:
                saved = *saved[:3], *ctx.outlines, *saved[3 + tables :]
            inputs = saved[3:]
            if score_gradient is None:
                score_gradient = torch.zeros_like(saved[0])
            upstream = score_gradient, border_gradient
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():
                # The gradient is no function of these outputs, and need not lead back to them.
                outputs = (output.detach() for output in saved[:3])
                found = gradient.apply(*upstream, *outputs, *inputs, *ctx.options, wanted)
            else:
                found = past_its_rule(backward_op, *upstream, *saved, *ctx.options, wanted)
            # The first table has the full shape, and so has its gradient.
            try:
                return [
                    None if not needs[k] else sum_to(found[k], inputs[k]) if k > 0 else found[k]
                    for k in range(differentiable)
                ]
            except RuntimeError as error:
                if not memory.is_short(error):
                    raise
                names = [argument.name for argument in op._schema.arguments[:differentiable]]
                told = dict(zip(names, inputs, strict=False))
                raise memory.named(f"softdp::{family.name}_backward", told, error) from error

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


FUNCTIONS = {family.name: _function(family) for family in FAMILIES.values()}
_OPS = {family.name: family.op for family in FAMILIES.values()}
_OUTLINED = {
    family.name: 0 if family.reads_tables else family.tables for family in FAMILIES.values()
}


def run(
    family: str, tensors: tuple[Tensor | None, ...], options: tuple[Any, ...]
) -> tuple[Tensor, Any]:
    """Score and border of a family's op; differentiable where keep_weights is among the options.

    tensors: what has a gradient, the lengths and the band; options: the op's other inputs, of which
    the last two are keep_weights and keep_border. Without the latter the border is nothing.
    """
    keep_weights, keep_border = options[-2:]
    if torch.compiler.is_compiling():
        score, _, border = FUNCTIONS[family].apply(*tensors, (None, *options))
    elif torch.jit.is_tracing():  # the op has its own rule, and a name in a graph
        score, _, border = _OPS[family](*tensors, *options)
    elif forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        score, _, border = derivatives.FUNCTIONS[family].score.apply(
            *tensors, *options[:-2], keep_border
        )
    elif not keep_weights:
        with below_autograd():
            score, _, border = _OPS[family](*tensors, *options)
    else:
        outlines = None
        if tensors[0].numel() >= _LARGE and (outlined := _OUTLINED[family]):  # type: ignore[union-attr]
            outlines = list(map(_Outline.apply, tensors[:outlined]))
        if keep_border:
            score, border = FUNCTIONS[family].apply(*tensors, (outlines, *options))
        else:
            score, border = FUNCTIONS[family].apply(*tensors, (outlines, *options)), None
    return score, border

"""Derivatives of every order that there is, as torch.func and forward-mode AD want them.

Of a family with inputs x (tables, parameters, gamma, border), three functions that are one
another's derivatives:

    Score     S(x), with the weights of the sweep, which are no function of their own
    Gradient  G(x, u) = u dS/dx
    Tangent   T(x, z) = z dS/dx, and D(x, u, z) = u d²S/dx² z, how the gradient changes along z

        vector times Jacobian      of S: G      of G: T for u, D for x      of T: G for z, D for x
        Jacobian times vector      of S: T      of G: G(x, u') + D          of T: T(x, z') + z' D

D has no derivative: there is no third one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softdp.batching import Together, handed_on, one_by_one
from softdp.families import FAMILIES, Family

_UPSTREAM = (
    5  # score gradient, border gradient, score, weights, border: what a backward begins with
)


class Functions(NamedTuple):
    """Of a family: each takes its op's inputs, one by one."""

    score: Any  # (tensors, options, keep_border)
    gradient: Any  # (upstream, tensors, options, wanted)
    tangent: Any  # (upstream, directions, tensors, options, wanted, keep_border)


def sum_to(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum a gradient over the dimensions in which `like` was broadcast."""
    if gradient.shape == like.shape:
        return gradient
    return gradient.sum() if like.dim() == 0 else gradient.sum_to_size(like.shape)


def _functions(family: Family) -> Functions:
    op, backward_op, tangent_op = family.op, family.backward_op, family.tangent_op
    differentiable, tensors = family.differentiable, family.tensors

    def bits(needs: Sequence[Any]) -> int:
        return sum(bool(need) << k for k, need in enumerate(needs))

    def summed(found: Sequence[Tensor], needs: Sequence[bool], inputs: Sequence[Any]) -> list[Any]:
        return [sum_to(found[k], inputs[k]) if needs[k] else None for k in range(differentiable)]

    def directions(given: Sequence[Tensor | None], inputs: Sequence[Any]) -> list[Tensor | None]:
        """One for each input that has a gradient: of those that stay a zero, of the border none."""
        *first, border = given
        zeros = (x.new_zeros(()) for x in inputs)
        found = [zero if z is None else z for z, zero in zip(first, zeros, strict=False)]
        return [*found, border]

    class Score(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
            swept: tuple[Tensor, Tensor, Tensor] = op(*inputs[:-1], True, inputs[-1])
            return swept

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            *ctx.options, ctx.keep_border = inputs[tensors:]
            ctx.save_for_backward(*output, *inputs[:tensors])
            ctx.save_for_forward(*output, *inputs[:tensors])
            ctx.mark_non_differentiable(*output[1 : 2 if ctx.keep_border else 3])
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, score: Tensor | None, _: Any, border: Tensor | None) -> Any:
            beyond = (None,) * (3 + len(ctx.options) + 1)
            if score is None and border is None:
                return *(None,) * differentiable, *beyond
            outputs, inputs = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
            if score is None:
                score = torch.zeros_like(outputs[0])
            needs = ctx.needs_input_grad[:differentiable]
            given = (score, border, *outputs, *inputs, *ctx.options)
            return *summed(Gradient.apply(*given, bits(needs)), needs, inputs), *beyond

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
            outputs, inputs = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
            along = directions(tangents[:differentiable], inputs)
            score, border, *_ = Tangent.apply(
                None, None, *outputs, *along, *inputs, *ctx.options, 0, ctx.keep_border
            )
            return score, None, border if ctx.keep_border else None

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
            together = Together(info.batch_size, inputs[0], in_dims[0])
            given = together.inputs(family, inputs[:tensors], in_dims[:tensors])
            found = Score.apply(*given, *inputs[tensors:])
            return handed_on(found, info.batch_size, inputs[-1])

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, ...]:
            return tuple(backward_op(*inputs))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            *ctx.options, ctx.wanted = inputs[_UPSTREAM + tensors :]
            saved = inputs[: _UPSTREAM + tensors]
            ctx.save_for_backward(*saved)
            ctx.save_for_forward(*saved)
            unwanted = [x for k, x in enumerate(output) if not ctx.wanted >> k & 1]
            ctx.mark_non_differentiable(*unwanted)
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor | None) -> Any:
            beyond = (None,) * (3 + len(ctx.options) + 1)
            given, inputs = ctx.saved_tensors[:_UPSTREAM], ctx.saved_tensors[_UPSTREAM:]
            if all(each is None for each in upstream):
                return *(None,) * (_UPSTREAM + differentiable), *beyond
            of_score, of_border, *_ = ctx.needs_input_grad
            needs = ctx.needs_input_grad[_UPSTREAM:][:differentiable]
            along = directions(upstream, inputs)
            score, border, *found = Tangent.apply(
                *given, *along, *inputs, *ctx.options, bits(needs), of_border
            )
            return (
                score if of_score else None,
                border if of_border else None,
                None, None, None,
                *summed(found, needs, inputs),
                *beyond,
            )  # fmt: skip

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
            given, inputs = ctx.saved_tensors[:_UPSTREAM], ctx.saved_tensors[_UPSTREAM:]
            score, border = tangents[:2]
            moved = tangents[_UPSTREAM:][:differentiable]
            found: list[Any] = [None] * differentiable
            if any(each is not None for each in moved):
                along = directions(moved, inputs)
                of_inputs = Tangent.apply(*given, *along, *inputs, *ctx.options, ctx.wanted, False)
                found = list(of_inputs[2:])
            if score is not None or border is not None:
                if score is None:
                    score = torch.zeros_like(given[0])
                of_upstream = Gradient.apply(
                    score, border, *given[2:], *inputs, *ctx.options, ctx.wanted
                )
                found = [b if a is None else a + b for a, b in zip(found, of_upstream, strict=True)]
            return tuple(x if ctx.wanted >> k & 1 else None for k, x in enumerate(found))

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
            *options, wanted = inputs[_UPSTREAM + tensors :]
            if in_dims[3] is None:
                return one_by_one(Gradient.apply, info.batch_size, inputs, in_dims)
            place = slice(_UPSTREAM, _UPSTREAM + tensors)
            together = Together(info.batch_size, inputs[_UPSTREAM], in_dims[_UPSTREAM])
            given = together.upstream(family, inputs[:_UPSTREAM], in_dims[:_UPSTREAM])
            own = together.inputs(family, inputs[place], in_dims[place])
            found = Gradient.apply(*given, *own, *options, wanted)
            return found, tuple(0 if wanted >> k & 1 else None for k in range(differentiable))

    class Tangent(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, ...]:
            return tuple(tangent_op(*inputs))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            first = _UPSTREAM + differentiable + tensors
            *ctx.options, ctx.wanted, ctx.keep_border = inputs[first:]
            ctx.save_for_backward(*inputs[:first])
            ctx.save_for_forward(*inputs[:first])
            unwanted = [x for k, x in enumerate(output[2:]) if not ctx.wanted >> k & 1]
            ctx.mark_non_differentiable(*unwanted, *(() if ctx.keep_border else output[1:2]))
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor | None) -> Any:
            beyond = (None,) * (3 + len(ctx.options) + 2)
            score, border, *others = upstream
            if any(each is not None for each in others):
                raise NotImplementedError(_NO_THIRD.format(family.name))
            if score is None and border is None:
                return *(None,) * (_UPSTREAM + 2 * differentiable), *beyond
            given, along, inputs = _parts(ctx.saved_tensors, differentiable)
            score = torch.zeros_like(given[2]) if score is None else score
            begin = (score, border, *given[2:])
            needs = ctx.needs_input_grad[_UPSTREAM:][:differentiable]
            of_along: list[Any] = [None] * differentiable
            if any(needs):
                found = Gradient.apply(*begin, *inputs, *ctx.options, bits(needs))
                of_along = summed(found, needs, along)
            needs = ctx.needs_input_grad[_UPSTREAM + differentiable :][:differentiable]
            of_inputs: list[Any] = [None] * differentiable
            if any(needs):
                _, _, *found = Tangent.apply(
                    *begin, *along, *inputs, *ctx.options, bits(needs), False
                )
                of_inputs = summed(found, needs, inputs)
            return *(None,) * _UPSTREAM, *of_along, *of_inputs, *beyond

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
            if ctx.wanted:
                raise NotImplementedError(_NO_THIRD.format(family.name))
            given, along, inputs = _parts(ctx.saved_tensors, differentiable)
            _, of_along, of_inputs = _parts(tangents, differentiable)
            change: Any = None
            of_border = None
            if any(each is not None for each in of_along):
                second = directions(of_along, inputs)
                change, of_border, *_ = Tangent.apply(
                    *given, *second, *inputs, *ctx.options, 0, ctx.keep_border
                )
            moved = of_inputs[:differentiable]
            if any(each is not None for each in moved):
                if ctx.keep_border:
                    raise NotImplementedError(
                        f"softdp::{family.name}: a second derivative of a border takes reverse "
                        "mode: torch.func.hessian, not jacfwd of jacfwd"
                    )
                ones = torch.ones_like(given[2])
                _, _, *found = Tangent.apply(
                    ones, None, *given[2:], *along, *inputs, *ctx.options,
                    bits([each is not None for each in moved]), False,
                )  # fmt: skip
                for k, each in enumerate(moved):
                    if each is None:
                        continue
                    product = found[k] * each
                    dims = 2 if k < family.tables else 0
                    if k == differentiable - 1:
                        dims = family.border_dims
                    for _ in range(dims):
                        product = product.sum(-1)
                    change = product if change is None else change + product
            return change, of_border, *(None,) * differentiable

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
            *options, wanted, keep_border = inputs[_UPSTREAM + differentiable + tensors :]
            if in_dims[3] is None:
                return one_by_one(Tangent.apply, info.batch_size, inputs, in_dims)
            given, along, own = _parts(inputs, differentiable)
            given_dims, along_dims, own_dims = _parts(in_dims, differentiable)
            together = Together(info.batch_size, own[0], own_dims[0])
            found = Tangent.apply(
                *together.upstream(family, given, given_dims),
                *together.directions(family, along, along_dims),
                *together.inputs(family, own[:tensors], own_dims[:tensors]),
                *options, wanted, keep_border,
            )  # fmt: skip
            dims = (0 if wanted >> k & 1 else None for k in range(differentiable))
            return found, (0, 0 if keep_border else None, *dims)

    for function in (Score, Gradient, Tangent):
        function.__name__ = function.__qualname__ = f"{family.name}_{function.__name__.lower()}"
    return Functions(Score, Gradient, Tangent)


_NO_THIRD = (
    "softdp::{}: there are no third derivatives; softdp.reference has the same functions in plain "
    "torch and differentiates any number of times"
)


def _parts(inputs: Sequence[Any], differentiable: int) -> tuple[Any, Any, Any]:
    """What a Tangent takes: the upstream, directions, and the inputs of its op."""
    middle = _UPSTREAM + differentiable
    return inputs[:_UPSTREAM], inputs[_UPSTREAM:middle], inputs[middle:]


FUNCTIONS = {family.name: _functions(family) for family in FAMILIES.values()}

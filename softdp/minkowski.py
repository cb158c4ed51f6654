"""Minkowski distances between all rows of two sequences, with two derivatives, in blocks of rows.

    N = (sum_k |t_k|^p)^(1/p),  t = x_i - y_j,  r_k = |t_k| / N <= 1
    dN / dt_k         = u_k = sign(t_k) r_k^(p-1)
    d2N / (dt_k dt_l) = (p - 1) / N (r_k^(p-2) [k = l] - u_k u_l)

Where N is 0 both are taken as 0; so is the second where p is 1 or infinite, and where t_k is 0 and
p < 2. What p = infinity gives to the largest differences it gives to all of them alike.

torch.cdist has kernels for p = 1 and 2, and for their gradient. For other p it overflows (1e3^20 in
float32) and underflows; a sum of differences divided by the largest of them does neither. The ops
keep loops over blocks out of what torch.compile and torch.func see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

_BLOCK = 1 << 20  # elements of a (rows, m, d) temporary


def minkowski_distance(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Distances of the rows of x and y; twice differentiable.

    Args:
        x: shape (..., n, d).
        y: shape (..., m, d), the dtype and device of x, a batch shape that broadcasts to x's.
        p: the order of the norm, 1 <= p <= infinity.

    Returns:
        Shape (..., n, m). Rows that are equal have distance 0 exactly, and gradient 0.
    """
    rank = max(x.dim(), y.dim())
    x, y = (rows[(None,) * (rank - rows.dim())] for rows in (x, y))
    distance: Tensor = _Distance.apply(x, y, p)
    return distance


class _Distance(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, p: float) -> Tensor:
        distance: Tensor = _distance(x, y, p)
        return distance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y, ctx.p = inputs
        ctx.save_for_backward(x, y, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, distance = ctx.saved_tensors
        return (
            _Gradient.apply(gradient, x, y, distance, ctx.p) if ctx.needs_input_grad[0] else None,
            _Gradient.apply(gradient.mT, y, x, distance.mT, ctx.p)
            if ctx.needs_input_grad[1]
            else None,
            None,
        )


class _Gradient(torch.autograd.Function):
    """The gradient of the first of two sequences.

    Its own gradients are total ones: the distances that it is given are a function of x and y.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float) -> Tensor:
        found: Tensor = _distance_backward(gradient, x, y, distance, p)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.p = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple[Tensor | None, ...]:
        return *_SecondDerivative.apply(tangent, *ctx.saved_tensors, ctx.p), None, None


class _SecondDerivative(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        tangent: Tensor, gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor]
        found = _distance_double_backward(tangent, gradient, x, y, distance, p)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("pairwise_cost: a norm has no third derivatives here")


@torch.library.custom_op("softdp::minkowski", mutates_args=())
def _distance(x: Tensor, y: Tensor, p: float) -> Tensor:
    if p in (1, 2):
        return torch.cdist(x, y, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    distance = x.new_zeros(_shape(x, y))
    for rows in _blocks(x, y):
        size = (x[..., rows, None, :] - y[..., None, :, :]).abs_()
        largest = size.amax(-1)
        if math.isinf(p):
            distance[..., rows, :] = largest
        else:
            limits = torch.finfo(x.dtype)
            scale = largest.clamp_(limits.tiny, limits.max)
            total = size.div_(scale[..., None]).pow_(p).sum(-1)
            distance[..., rows, :] = total.pow_(1 / p).mul_(scale)
    return distance


@torch.library.custom_op("softdp::minkowski_backward", mutates_args=())
def _distance_backward(
    gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float
) -> Tensor:
    result = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for rows in _blocks(x, y):
        mass, near = gradient[..., rows, :].contiguous(), distance[..., rows, :].contiguous()
        if p in (1, 2):
            # Its CUDA kernel does allocate (rows, m, d).
            block = torch.ops.aten._cdist_backward(
                mass, x[..., rows, :].contiguous(), y.contiguous(), p, near
            )
        else:
            slope, _ = _slope(x[..., rows, :], y, near, p)
            block = slope.mul_(mass[..., None]).sum(-2)
        result[..., rows, :] = block.sum_to_size(result[..., rows, :].shape)
    return result


@torch.library.custom_op("softdp::minkowski_double_backward", mutates_args=())
def _distance_double_backward(
    tangent: Tensor, gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float
) -> tuple[Tensor, Tensor, Tensor]:
    to_gradient, to_x, to_y = (
        torch.zeros_like(of, memory_format=torch.contiguous_format) for of in (gradient, x, y)
    )
    for rows in _blocks(x, y):
        near = distance[..., rows, :]
        slope, ratio = _slope(x[..., rows, :], y, near, p)
        along = tangent[..., rows, None, :]
        change = (slope * along).sum(-1)
        to_gradient[..., rows, :] = change
        if p == 1 or math.isinf(p):
            continue
        bend = torch.where(ratio > 0, ratio.pow(p - 2), 0) if p < 2 else ratio.pow_(p - 2)
        bend = bend * along - slope.mul_(change[..., None])
        weight = torch.where(near > 0, gradient[..., rows, :] * (p - 1) / near, 0)
        bend *= weight[..., None]
        to_x[..., rows, :] = bend.sum(-2).sum_to_size(to_x[..., rows, :].shape)
        to_y -= bend.sum(-3).sum_to_size(to_y.shape)
    return to_gradient, to_x, to_y


def _slope(x: Tensor, y: Tensor, distance: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """The u and r of each pair of rows, (..., rows, m, d); no r where p is infinite."""
    difference = x[..., None, :] - y[..., None, :, :]
    ratio = difference.abs()
    if math.isinf(p):
        largest = ratio == distance[..., None]
        return difference.sign_() * largest / largest.sum(-1, keepdim=True), ratio
    ratio /= torch.where(distance > 0, distance, 1)[..., None]
    return difference.sign_() * ratio.pow(p - 1), ratio


def _shape(x: Tensor, y: Tensor) -> tuple[int, ...]:
    return *torch.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-2]


def _blocks(x: Tensor, y: Tensor) -> Iterator[slice]:
    """Slices of rows of x, none where there is nothing to compute."""
    *batch, n, m = _shape(x, y)
    row = math.prod(batch) * m * x.shape[-1]
    if row > 0:
        step = max(1, _BLOCK // row)
        yield from (slice(first, first + step) for first in range(0, n, step))


@_distance.register_fake
def _(x: Tensor, y: Tensor, p: float) -> Tensor:
    return x.new_empty(_shape(x, y))


@_distance_backward.register_fake
def _(gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float) -> Tensor:
    return x.new_empty(x.shape)


@_distance_double_backward.register_fake
def _(
    tangent: Tensor, gradient: Tensor, x: Tensor, y: Tensor, distance: Tensor, p: float
) -> tuple[Tensor, Tensor, Tensor]:
    return gradient.new_empty(gradient.shape), x.new_empty(x.shape), y.new_empty(y.shape)


def _register_vmap(op: Callable[..., Any], outputs: int | tuple[int, ...]) -> None:
    """One more dimension of the batch, in front; `outputs` says where the outputs have it."""

    @op.register_vmap  # type: ignore[attr-defined]
    def _(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        *tensors, p = inputs
        tensors = [
            tensor.expand(info.batch_size, *tensor.shape)
            if place is None
            else tensor.movedim(place, 0)
            for tensor, place in zip(tensors, in_dims, strict=False)
        ]
        return op(*tensors, p), outputs


_register_vmap(_distance, 0)
_register_vmap(_distance_backward, 0)
_register_vmap(_distance_double_backward, (0, 0, 0))

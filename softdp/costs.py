"""From two sequences to the table of costs between their steps."""

from __future__ import annotations

import contextlib
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from softdp.arguments import GivenLengths, Lengths
from softdp.memory import named_when_short
from softdp.minkowski import minkowski_distance
from softdp.validation import soft_dtw_inputs

Cost: TypeAlias = str | float

PRODUCTS = ("sqeuclidean", "cosine", "dot")
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COSINE_EPS = 1e-8  # torch.nn.functional.cosine_similarity's


@named_when_short
def pairwise_cost(
    x: Tensor,
    y: Tensor,
    cost: Cost = "sqeuclidean",
    *,
    lengths: GivenLengths | None = None,
) -> Tensor:
    """Cost of aligning each step of one sequence with each step of another.

        "sqeuclidean"   sum_k (x_k - y_k)^2                               by one matrix product
        "cosine"        1 - x.y / (max(|x|, 1e-8) max(|y|, 1e-8))         by one matrix product
        "dot"           -x.y: the larger the product, the less it costs   by one matrix product
        "euclidean"     (sum_k (x_k - y_k)^2)^(1/2)                       by differences
        p, a number     (sum_k |x_k - y_k|^p)^(1/p), 1 <= p <= infinity   by differences

    Differences cost more time. No temporary has n m d elements, in the derivatives either.

    With e the spacing of the dtype's numbers at 1, "euclidean" and p are right to a few e of the
    cost, however close two steps are, and exactly 0 between equal steps. "sqeuclidean" takes the
    mean of both sequences away from both first: with R the largest distance from the mean, a cost
    is right to some e R^2 and a gradient to some e R, wherever the sequences are; 0 between equal
    steps is one of these costs, and not exact. torch.set_float32_matmul_precision holds for the
    matrix products.

    No cost but "dot" is negative. Gradients are finite: 0 where a norm is 0; where x is 0, as in
    torch.nn.functional.cosine_similarity, that of x.y / (1e-8 |y|). All are twice differentiable.

    Args:
        x: shape (..., n, d); float16, bfloat16 (both computed in float32), float32 or float64.
        y: shape (..., m, d) with a batch shape that broadcasts to x's (x[:, None] and y[None] for
            all pairs of two batches); the wider dtype counts.
        cost: a name or a number, see above.
        lengths: (n_lengths, m_lengths) as in `soft_dtw`. Steps beyond are never read and have a
            gradient of exactly 0; the costs there are finite and mean nothing.

    Returns:
        Costs, shape (..., n, m), float32, or float64 for float64 input.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.

    Example:
        >>> x, y = torch.randn(8, 30, 4, requires_grad=True), torch.randn(8, 40, 4)
        >>> softdp.soft_dtw(softdp.pairwise_cost(x, y, "euclidean")).sum().backward()
        >>> x.grad.shape
        torch.Size([8, 30, 4])
    """
    x, y, cost = cost_inputs("pairwise_cost", x, y, cost)
    if lengths is not None:
        table = cost_shape(x, y)
        inputs = soft_dtw_inputs("pairwise_cost", table, 1.0, lengths, False, False, None)
        lengths = inputs.lengths
    return cost_table(x, y, cost, lengths)


def cost_inputs(
    op: str, x: Tensor, y: Tensor, cost: Cost, products: tuple[str, ...] = PRODUCTS
) -> tuple[Tensor, Tensor, Cost]:
    """Check and unify: the sequences in the dtype that is computed in, a norm as its number.

    `products` are the names that `op` knows beside the norms.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    for name, sequence in (("x", x), ("y", y)):
        _require_sequence(op, name, sequence)
    if x.device != y.device:
        raise ValueError(f"{op}: y must be on x's device {x.device}, got {y.device}")
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"{op}: y must have x's width d = {x.shape[-1]}, shape (..., m, {x.shape[-1]}), "
            f"got {tuple(y.shape)}"
        )
    try:
        torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError as error:
        raise ValueError(
            f"{op}: y must have a batch shape that broadcasts to x's {tuple(x.shape[:-2])}, "
            f"got {tuple(y.shape)}"
        ) from error
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype), _norm_or_name(op, cost, products)


def cost_shape(x: Tensor, y: Tensor) -> Tensor:
    """A stand-in for the table of the costs, with its shape, dtype and device and no memory."""
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return x.new_zeros(()).expand(*batch, x.shape[-2], y.shape[-2])


def cost_table(x: Tensor, y: Tensor, cost: Cost, lengths: Lengths | None) -> Tensor:
    """`pairwise_cost` of what `cost_inputs` returned."""
    if lengths is not None:
        x, y = until(x, lengths[0]), until(y, lengths[1])
    with _autocast_off(x.device):
        if cost == "sqeuclidean":
            return _square_distance(x, y, lengths)
        if cost == "cosine":
            return _not_negative(_inner(-_normalized(x), _normalized(y)).add_(1))
        if cost == "dot":
            return _inner(-x, y)
        return minkowski_distance(x, y, float(cost))


def _square_distance(x: Tensor, y: Tensor, lengths: Lengths | None) -> Tensor:
    origin = _origin(x, y, lengths)
    x, y = x - origin, y - origin
    x_square, y_square = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    one = torch.ones_like
    table = _inner(
        torch.cat([-2 * x, x_square, one(x_square)], -1),
        torch.cat([y, one(y_square), y_square], -1),
    )
    return _not_negative(table)


def _origin(x: Tensor, y: Tensor, lengths: Lengths | None) -> Tensor:
    """A point amid the steps of x and y, a constant to autograd: one for each pair.

    One for all pairs along a dimension of the batch that only one of the two has, or there would
    be a copy of it for each pair.
    """
    rank = max(x.dim(), y.dim())
    x, y = (rows.detach()[(None,) * (rank - rows.dim())] for rows in (x, y))
    apart = [k for k in range(rank - 2) if x.shape[k] != y.shape[k]]
    means = []
    for rows, length in zip((x, y), lengths or (None, None), strict=True):
        # A step that is not finite is its own affair and not that of all the others.
        finite = rows.nan_to_num(0.0, 0.0, 0.0)
        mean = finite.mean([*apart, -2], keepdim=True).nan_to_num(0.0)  # NaN where there is none
        if length is not None:
            mean = mean * (rows.shape[-2] / length.clamp(min=1)[..., None, None])
        means.append(mean)
    return (means[0] + means[1]) / 2


def _normalized(rows: Tensor) -> Tensor:
    # Not by a norm, whose second derivative at 0 is NaN.
    return rows / rows.square().sum(-1, keepdim=True).clamp_min(_COSINE_EPS**2).sqrt()


def _inner(x: Tensor, y: Tensor) -> Tensor:
    # Unlike matmul, it copies no sequence along a dimension of the batch that only the other has.
    return torch.einsum("...nd,...md->...nm", x, y)


def _not_negative(table: Tensor) -> Tensor:
    """Negative costs, which rounding made of small ones, become 0 in place and keep a gradient."""
    with torch.no_grad():
        table.relu_()
    return table


def until(rows: Tensor, length: Tensor) -> Tensor:
    """The steps that count, and 0 for those beyond, shape (..., n, d)."""
    inside = torch.arange(rows.shape[-2], device=rows.device) < length[..., None]
    return torch.where(inside[..., None], rows, 0)


def _autocast_off(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if torch._C._is_any_autocast_enabled() and device.type != "meta":
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def _require_sequence(op: str, name: str, sequence: Tensor) -> None:
    if not isinstance(sequence, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor, got {type(sequence).__name__}")
    if sequence.dtype not in _DTYPES:
        raise TypeError(
            f"{op}: {name} must be float16, bfloat16, float32 or float64, "
            f"got {str(sequence.dtype).removeprefix('torch.')}"
        )
    if sequence.layout != torch.strided:
        raise TypeError(f"{op}: {name} must be a dense tensor, got layout {sequence.layout}")
    if sequence.dim() < 2:
        raise ValueError(
            f"{op}: {name} must have shape (..., steps, width), got {tuple(sequence.shape)}"
        )


def _norm_or_name(op: str, cost: Cost, products: tuple[str, ...]) -> Cost:
    if isinstance(cost, str):
        if cost == "euclidean":
            return 2.0
        if cost in products:
            return cost
    elif not isinstance(cost, Real):
        raise TypeError(f"{op}: cost must be a name or a number, got {type(cost).__name__}")
    elif cost >= 1:
        return float(cost)
    listed = ", ".join(repr(name) for name in (*products, "euclidean"))
    raise ValueError(f"{op}: cost must be one of {listed}, or a number >= 1, got {cost!r}")

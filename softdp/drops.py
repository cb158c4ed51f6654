"""Drop-DTW: what it is called with, and its sweep, for softdp.reference too."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from softdp.arguments import (
    GivenLengths,
    Lengths,
    check_gamma,
    check_lengths,
    check_per_step,
    check_table,
    require_flags,
)
from softdp.ends import Core, Problem


class DropDtwInputs(NamedTuple):
    """Checked arguments of drop_dtw."""

    cost: Tensor  # (..., n, m)
    drop_x: Tensor  # () or broadcasts to (..., n)
    drop_y: Tensor  # () or broadcasts to (..., m)
    gamma: Tensor  # () or (...)
    lengths: Lengths | None  # int64, (...) each
    one_to_many: bool
    many_to_one: bool


def drop_dtw_inputs(
    op: str,
    cost: Tensor,
    drop_x: Tensor | float,
    drop_y: Tensor | float,
    gamma: Tensor | float,
    lengths: GivenLengths | None,
    one_to_many: bool,
    many_to_one: bool,
) -> DropDtwInputs:
    """Check and unify the arguments of drop_dtw.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: wrong rank, shape, device or value.
    """
    cost = check_table(op, "cost", cost)
    n, m = cost.shape[-2:]
    drop_x = check_per_step(op, "drop_x", drop_x, "cost", cost, n)
    drop_y = check_per_step(op, "drop_y", drop_y, "cost", cost, m)
    gamma = check_gamma(op, gamma, "cost", cost)
    counted = check_lengths(op, lengths, "cost", cost)
    require_flags(op, one_to_many=one_to_many, many_to_one=many_to_one)
    return DropDtwInputs(cost, drop_x, drop_y, gamma, counted, one_to_many, many_to_one)


def tables_of(inputs: DropDtwInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Those of the family: the drops of x and of y broadcast to (..., n, 1) and to (..., 1, m)."""
    drop_x, drop_y = (
        drop if drop.dim() == 0 else drop.unsqueeze(dim)
        for drop, dim in ((inputs.drop_x, -1), (inputs.drop_y, -2))
    )
    return inputs.cost, drop_x, drop_y


def drop_dtw(core: Core, op: str, inputs: DropDtwInputs) -> Tensor:
    """The distance of checked inputs."""
    options = inputs.one_to_many, inputs.many_to_one
    return core(
        Problem(
            op, "drop_dtw", tables_of(inputs), (), inputs.gamma, None, inputs.lengths, None,
            options, False,
        )
    )[0]  # fmt: skip

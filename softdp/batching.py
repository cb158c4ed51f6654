"""What torch.vmap asks of the ops: its calls as one call, of a batch with one more dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from softdp.families import Family


class Together:
    """A vmap's calls as one, of a batch with one more dimension in front.

    The weights of such a call are one tensor that no dimension divides. It is handed on whole, by
    a dimension along which it is expanded, and so is told from the weights of a call that is the
    same for all.
    """

    def __init__(self, size: int, first: Tensor, dim: int | None) -> None:
        self.size, self.dims = size, first.dim() - (dim is not None)
        self.first = first.expand(size, *first.shape) if dim is None else first.movedim(dim, 0)
        self.batch = self.first.shape[:-2]

    def inputs(self, family: Family, inputs: Sequence[Any], in_dims: Sequence[Any]) -> list[Any]:
        """Those of an op of a family."""
        tables, pairs = family.tables, family.differentiable - 1
        places = list(zip(inputs, in_dims, strict=True))
        return [
            self.first,
            *(self.table(*place) for place in places[1:tables]),
            *(self.pair(*place) for place in places[tables:pairs]),
            self.border(family, *places[pairs]),
            *(self.pair(*place) for place in places[pairs + 1 : pairs + 3]),
            self.pair(*places[pairs + 3], beyond=2),  # the band
        ]

    def table(self, table: Tensor, dim: int | None) -> Tensor:
        """What broadcasts to the first table."""
        if dim is None:
            return table
        table = table.movedim(dim, 0)
        return table.reshape(self.size, *(1,) * (self.dims + 1 - table.dim()), *table.shape[1:])

    def pair(self, numbers: Tensor | None, dim: int | None, beyond: int = 0) -> Tensor | None:
        """Numbers, one or some for each pair."""
        if numbers is None:
            return None
        if dim is not None:
            numbers = numbers.movedim(dim, 0)
            missing = len(self.batch) + beyond - numbers.dim()
            numbers = numbers.reshape(self.size, *(1,) * missing, *numbers.shape[1:])
        elif numbers.dim() == beyond:  # of all of them
            return numbers
        return numbers.expand(*self.batch, *numbers.shape[numbers.dim() - beyond :])

    def border(self, family: Family, border: Tensor | None, dim: int | None) -> Tensor | None:
        """Numbers on the border of each pair."""
        border = self.pair(border, dim, beyond=family.border_dims)
        if border is None or border.dim() > family.border_dims:
            return border
        return border.expand(*self.batch, *border.shape)

    def upstream(self, family: Family, given: Sequence[Any], in_dims: Sequence[Any]) -> list[Any]:
        """What a backward begins with."""
        score_gradient, border_gradient, score, weights, border = given
        keeps = border.dim() > (in_dims[4] is not None) + 1 or border.numel() > 0
        return [
            None if score_gradient is None else self.full(score_gradient, in_dims[0]),
            self.border(family, border_gradient, in_dims[1]),
            self.full(score, in_dims[2]),
            self.weights(weights, in_dims[3]),
            self.border(family, border, in_dims[4]) if keeps else border,
        ]

    def weights(self, weights: Tensor, dim: int) -> Tensor:
        """Those of all, as `handed_on` has given them out."""
        return weights.select(dim, 0)

    def full(self, numbers: Tensor, dim: int | None, beyond: int = 0) -> Tensor:
        """Numbers, some for each pair."""
        numbers = numbers if dim is None else numbers.movedim(dim, 0)
        return numbers.expand(*self.batch, *numbers.shape[numbers.dim() - beyond :])

    def directions(self, family: Family, along: Sequence[Any], in_dims: Sequence[Any]) -> list[Any]:
        """Those of the tables, of the numbers and of the border."""
        places = list(zip(along, in_dims, strict=True))
        tables = family.tables
        return [
            *(self.table(*place) for place in places[:tables]),
            *(self.pair(*place) for place in places[tables:-1]),
            self.border(family, *places[-1]),
        ]


def handed_on(
    found: tuple[Tensor, Tensor, Tensor], size: int, keep_border: bool
) -> tuple[Any, Any]:
    """What a forward sweep of all has found, as a vmap's rule returns it."""
    score, weights, border = found
    return (score, weights.expand(size, -1), border), (0, 0, 0 if keep_border else None)


def one_by_one(
    function: Callable[..., tuple[Tensor, ...]],
    size: int,
    inputs: Sequence[Any],
    in_dims: Sequence[Any],
) -> tuple[Any, Any]:
    """A vmap's calls one after the other: of the weights of one call, with many gradients."""
    places = list(zip(inputs, in_dims, strict=True))
    found = [
        function(*(x if dim is None else x.select(dim, k) for x, dim in places))
        for k in range(size)
    ]
    return tuple(map(torch.stack, zip(*found, strict=True))), (0,) * len(found[0])

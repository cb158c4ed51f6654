"""The alignments of Drop-DTW as a distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from softdp import drops, ends
from softdp.arguments import GivenLengths
from softdp.drops import DropDtwInputs, drop_dtw_inputs
from softdp.dtypes import converted
from softdp.memory import named_when_short
from softdp.path_distribution import PathDistribution
from softdp.paths import AlignmentPath, Rules, held_at

MANY_TO_ONE, ONE_TO_MANY, DROP_X, DROP_Y = range(1, 5)  # arcs beside the match of two new steps


class ExpectedDrops(NamedTuple):
    """How probable it is that two steps are matched, and that a step is left out."""

    match: Tensor  # (..., n, m)
    drop_x: Tensor  # (..., n)
    drop_y: Tensor  # (..., m)


class DropDTWAlignment(PathDistribution):
    """The alignments of two sequences whose steps may be left out: that of `softdp.drop_dtw`.

    A path has probability exp((distance - sum of its costs) / gamma). Its arcs are 0 match of two
    steps, 1 of the next x_i with the same y_j, 2 of the same x_i with the next y_j, 3 x_i left out,
    4 y_j left out.

    Source: Dvornik, Hadji, Derpanis, Garg, Jepson, NeurIPS 2021.

    Args:
        cost: as in `softdp.drop_dtw`, shape (..., n, m).
        drop_x: as there.
        drop_y: as there.
        gamma: as there.
        lengths: as there.
        one_to_many: as there.
        many_to_one: as there.

    Raises:
        TypeError, ValueError, RuntimeError: as the function; see `EditAlignment`, which says what
            there is to ask, too. What is expected has no arcs, but drops.

    Example:
        >>> x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 9.0, 2.0, 2.0, 3.0])
        >>> best = softdp.DropDTWAlignment((x[:, None] - y).square(), 0.5, 0.5).best()
        >>> best.pairs[: best.lengths].tolist(), best.arcs[: best.lengths].tolist()
        ([[0, 0], [0, 1], [1, 2], [1, 3], [2, 4]], [0, 4, 0, 2, 0])
    """

    _inputs: DropDtwInputs
    _arcs = "drop_dtw"

    @named_when_short
    def __init__(
        self,
        cost: Tensor,
        drop_x: Tensor | float,
        drop_y: Tensor | float,
        *,
        gamma: Tensor | float = 1.0,
        lengths: GivenLengths | None = None,
        one_to_many: bool = True,
        many_to_one: bool = True,
    ) -> None:
        op = "DropDTWAlignment"
        inputs = drop_dtw_inputs(op, cost, drop_x, drop_y, gamma, lengths, one_to_many, many_to_one)
        super().__init__(op, inputs, Rules(("paid", "paid"), minimise=True))

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return drops.drop_dtw(core, self._op, self._inputs._replace(gamma=gamma))

    def _tables(self) -> tuple[Tensor, ...]:
        return drops.tables_of(self._inputs)

    def _options(self) -> tuple[bool, bool]:
        return self._inputs.one_to_many, self._inputs.many_to_one

    def _full_tables(self) -> tuple[Tensor, ...]:
        *batch, n, m = self._inputs.cost.shape
        shapes = (*batch, n, m), (*batch, n, 1), (*batch, 1, m)
        each = zip(self._tables(), shapes, strict=True)
        return tuple(
            converted(self._op, "a table", table, self._dtype).expand(shape)
            for table, shape in each
        )

    def _expect(self) -> ExpectedDrops:  # type: ignore[override]
        match, drop_x, drop_y = self._gradient(of_tables=True)
        return ExpectedDrops(match, drop_x[..., 0], drop_y[..., 0, :])

    def _kinds(self, arcs: Tensor) -> Tensor:
        return torch.where(arcs > ONE_TO_MANY, arcs - 1, arcs)  # no match leads to the other state

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, ...]:
        zero = torch.zeros_like(i)
        cost, drop_x, drop_y = self._tables()
        match = held_at(cost, i, j)
        return match, match, match, held_at(drop_x, i, zero), held_at(drop_y, zero, j)

    def _is_path(self, path: AlignmentPath) -> Tensor:
        arcs = path.arcs
        # By where they lead matches and drops are alike.
        leads = super()._is_path(path._replace(arcs=torch.where(arcs >= DROP_X, arcs - 2, arcs)))
        before = F.pad(arcs[..., :-1], (1, 0), value=DROP_X)
        goes_on = (arcs == MANY_TO_ONE) | (arcs == ONE_TO_MANY)
        amiss = (arcs > DROP_Y) | (goes_on & (before >= DROP_X))
        if not self._inputs.many_to_one:
            amiss |= arcs == MANY_TO_ONE
        if not self._inputs.one_to_many:
            amiss |= arcs == ONE_TO_MANY
        return leads & ~amiss.any(-1)

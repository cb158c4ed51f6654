"""The ops of torch.ops.softdp, by family: csrc/ops/schema.cpp."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from softdp import _extension  # noqa: F401  (registers the ops)
from softdp.values import is_traced


class Family(NamedTuple):
    """The ops softdp::name, softdp::name_backward and softdp::name_tangent.

    Their inputs are the tables, the parameters, gamma and the border that the sweep begins from,
    which have gradients; two lengths, a band and options follow. The backward op returns the
    gradients in this order.
    """

    name: str
    tables: int
    parameters: int
    reads_tables: bool  # whether the backward does (kFlowReadsTables of csrc/recurrence)
    states: int = 1  # running values of a cell; of several a border has a dimension before its last
    ends_in_one: bool = True  # whether its score is that of one state in the last cell

    @property
    def differentiable(self) -> int:
        """How many inputs have gradients."""
        return self.tables + self.parameters + 2

    @property
    def border_dims(self) -> int:
        """How many dimensions a border has beside those of the batch."""
        return 2 if self.states > 1 else 1

    @property
    def tensors(self) -> int:
        """How many inputs are tensors or nothing: the lengths and the band, too."""
        return self.differentiable + 3

    @property
    def op(self) -> Any:
        """The forward sweep."""
        return getattr(torch.ops.softdp, self.name).default

    @property
    def backward_op(self) -> Any:
        """Gradients, from the outputs' gradients."""
        return getattr(torch.ops.softdp, f"{self.name}_backward").default

    @property
    def tangent_op(self) -> Any:
        """How outputs and gradients change along a direction."""
        return getattr(torch.ops.softdp, f"{self.name}_tangent").default


below_autograd = torch._C._AutoDispatchBelowAutograd


def past_its_rule(op: Any, *given: Any) -> Any:
    """What an op returns of which no derivative is recorded, unless somebody records the call.

    The op's own autograd rule is there for direct calls and costs as much time as a small table.
    """
    if is_traced():
        return op(*given)
    with below_autograd():
        return op(*given)


FAMILIES = {
    family.name: family
    for family in (
        Family("affine", tables=5, parameters=0, reads_tables=False, states=3, ends_in_one=False),
        Family("drop_dtw", tables=3, parameters=0, reads_tables=False, states=2),
        Family("edit", tables=3, parameters=0, reads_tables=False),
        Family("lcs", tables=1, parameters=1, reads_tables=True),
        Family("local", tables=5, parameters=0, reads_tables=False, states=5, ends_in_one=False),
        Family("monotonic", tables=1, parameters=0, reads_tables=False),
        Family("soft_dtw", tables=1, parameters=0, reads_tables=False),
    )
}

"""Calls of every public function and of every op, well and badly formed.

A new function of `softdp.__all__` is drawn by the names of its parameters (`PARAMETERS`), a new
family of `softdp.autograd` by its op's schema, and compared by its line in `REFERENCES`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

import softdp
from softdp import reference
from softdp.autograd import FAMILIES, Family
from softdp.validation import LEADING_GAPS
from tests.fuzz.tensors import Spec, amiss, gaps, lengths, per_pair, tables

_NUMBERS = st.sampled_from([0, 0.0, 0.1, 0.5, 1, 2.0, True, Fraction(1, 3), 1e-3, 1e-45, 5e-324])
_ODD = st.sampled_from([10**30, 10**39, 10**400, -1.0, math.inf, -math.inf, math.nan, "1"])
_WIDTHS = st.sampled_from([0, 0.0, 0.3, 2, 1e-30, 1e30, math.inf, -1.0, math.nan, 1e-40, 1e300])

PARAMETERS: dict[str, Callable[[Spec], st.SearchStrategy[Any]]] = {
    **dict.fromkeys(("match", "substitute", "similarity", "cost"), st.just),
    **dict.fromkeys(("insert", "delete"), lambda table: gaps(table) | _NUMBERS | _ODD),
    "threshold": lambda table: per_pair(table, table.values) | _NUMBERS | _ODD,
    "gamma": lambda table: per_pair(table, "gamma") | _NUMBERS | _ODD,
    "gate_width": lambda table: _WIDTHS | _ODD,
    "lengths": lengths,
    "leading_gaps": lambda table: st.sampled_from([*LEADING_GAPS, *LEADING_GAPS, "none"]),
}
OPTIONS = {
    "bool": st.booleans(),
    "int": st.sampled_from([0, 0, 1, 1, 2, 2, -1, 3, 2**40]),
    "float": _WIDTHS,
}


def _edit(inputs: list[Tensor], gaps: int, minimise: bool, **common: Any) -> Tensor:
    function = reference.edit_distance if minimise else reference.edit_similarity
    return function(*inputs, leading_gaps=LEADING_GAPS[gaps], **common)


# What an op's score is: of its tables and parameters, its options, its gamma and lengths.
REFERENCES: dict[str, Callable[..., Tensor]] = {
    "edit": _edit,
    "lcs": lambda inputs, width, **common: reference.lcs(*inputs, gate_width=width, **common),
    "soft_dtw": lambda inputs, **common: reference.soft_dtw(*inputs, **common),
}
# What may happen to a tensor on its way to a backward op.
SPOIL: dict[str, Callable[[Tensor], Tensor]] = {
    "one more": lambda tensor: torch.cat([tensor.flatten(), tensor.new_zeros(1)]),
    "one less": lambda tensor: tensor.flatten()[:-1],
    "none": lambda tensor: tensor.new_empty(0),
    "a rank more": lambda tensor: tensor[None],
    "float": lambda tensor: tensor.float(),
    "double": lambda tensor: tensor.double(),
    "integer": lambda tensor: tensor.long(),
    "meta": lambda tensor: tensor.to("meta"),
    "huge": lambda tensor: tensor.new_zeros(1).expand(2**61),
    "strided": lambda tensor: torch.stack([tensor, tensor], -1)[..., 0],
}


class FunctionCall(NamedTuple):
    name: str
    arguments: dict[str, Any]
    seed: int


class OpCall(NamedTuple):
    """Forward, then backward with one of its tensors spoilt."""

    family: Family
    arguments: list[Any]
    well_formed: bool
    wanted: int
    spoilt: tuple[int, str] | None


FUNCTIONS = [name for name in softdp.__all__ if inspect.isfunction(getattr(softdp, name))]


@st.composite
def function_calls(draw: Any, name: str) -> FunctionCall:
    parameters = inspect.signature(getattr(softdp, name)).parameters.values()
    table = draw(tables())
    arguments = {
        parameter.name: draw(PARAMETERS[parameter.name](table))
        for parameter in parameters
        if parameter.default is parameter.empty or draw(st.integers(0, 3))
    }
    if draw(st.integers(0, 5)) == 0:
        which = draw(st.sampled_from(sorted(arguments)))
        arguments[which] = draw(amiss(arguments[which]))
    return FunctionCall(name, arguments, draw(st.integers(0, 99)))


@st.composite
def op_calls(draw: Any, family: Family) -> OpCall:
    table = draw(tables())
    compute = torch.promote_types(table.dtype, torch.float32)
    arguments: list[Any] = [
        table,
        *(draw(gaps(table)) for _ in range(family.tables - 1)),
        *(draw(per_pair(table, table.values, compute)) for _ in range(family.parameters)),
        draw(per_pair(table, "gamma", compute)),
        *(draw(lengths(table, (torch.int64,))) or (None, None)),
    ]
    schema = getattr(torch.ops.softdp, family.name).default._schema.arguments
    arguments += [draw(OPTIONS[str(option.type)]) for option in schema[len(arguments) :]]
    well_formed = draw(st.integers(0, 2)) > 0
    if not well_formed:
        which = draw(st.integers(0, len(arguments) - 1))
        arguments[which] = draw(amiss(arguments[which]))
    ways = st.tuples(st.integers(0, family.differentiable + 4), st.sampled_from(sorted(SPOIL)))
    spoilt = draw(st.none() | ways)
    return OpCall(family, arguments, well_formed, draw(st.integers(-1, 15)), spoilt)


KINDS = {
    **{name: function_calls(name) for name in FUNCTIONS},
    **{f"softdp::{family.name}": op_calls(family) for family in FAMILIES},
}

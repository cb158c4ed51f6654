"""Calls of every public function and of every op, well and badly formed.

A new function of `softdp.__all__` is drawn by the names of its parameters (`PARAMETERS`), a new
family of `softdp.autograd` by its op's schema.
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
from softdp.autograd import FAMILIES, Family
from softdp.validation import GAPS
from tests.fuzz.tensors import Spec, amiss, gaps, lengths, per_pair, tables

_NUMBERS = st.sampled_from([0, 0.0, 0.1, 0.5, 1, 2.0, True, Fraction(1, 3), 1e-3, 1e-45, 5e-324])
_ODD = st.sampled_from([10**30, 10**39, 10**400, -1.0, math.inf, -math.inf, math.nan, "1"])
_WIDTHS = st.sampled_from([0, 0.0, 0.3, 2, 1e-30, 1e30, math.inf, -1.0, math.nan, 1e-40, 1e300])

TABLES = ("match", "substitute", "similarity", "cost")
PARAMETERS: dict[str, Callable[[Spec], st.SearchStrategy[Any]]] = {
    **dict.fromkeys(("match", "substitute", "similarity", "cost"), st.just),
    **dict.fromkeys(("insert", "delete"), lambda table: gaps(table) | _NUMBERS | _ODD),
    "threshold": lambda table: per_pair(table, table.values) | _NUMBERS | _ODD,
    "gamma": lambda table: per_pair(table, "gamma") | _NUMBERS | _ODD,
    "gate_width": lambda table: _WIDTHS | _ODD,
    "lengths": lengths,
    "leading_gaps": lambda table: _GAPS,
}
_GAPS = st.sampled_from([*GAPS, *GAPS, "none"])
OPTIONS = {
    "bool": st.booleans(),
    "int": st.sampled_from([0, 3, 3, 4, 4, 8, -1, 9, 2**40]),
    "float": _WIDTHS,
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


# Those that are families of one table; others are made of them.
FUNCTIONS = [
    name
    for name in softdp.__all__
    if inspect.isfunction(function := getattr(softdp, name))
    and next(iter(inspect.signature(function).parameters)) in TABLES
    and function.__module__ == "softdp.functional"
]


@st.composite
def function_calls(draw: Any, name: str) -> FunctionCall:
    parameters = inspect.signature(getattr(softdp, name)).parameters.values()
    table = draw(tables())
    arguments = {
        parameter.name: draw(PARAMETERS[parameter.name](table))
        for parameter in parameters
        if parameter.default is parameter.empty
        or (parameter.name in PARAMETERS and draw(st.integers(0, 3)))
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
        None,  # a border, and below a band: not drawn yet
        *(draw(lengths(table, (torch.int64,))) or (None, None)),
        None,
    ]
    schema = getattr(torch.ops.softdp, family.name).default._schema.arguments
    arguments += [draw(OPTIONS[str(option.type)]) for option in schema[len(arguments) :]]
    well_formed = draw(st.integers(0, 2)) > 0
    if not well_formed:
        which = draw(st.integers(0, len(arguments) - 1))
        arguments[which] = draw(amiss(arguments[which]))
    ways = st.tuples(st.integers(0, family.differentiable + 7), st.sampled_from(sorted(SPOIL)))
    spoilt = draw(st.none() | ways)
    return OpCall(family, arguments, well_formed, draw(st.integers(-1, 31)), spoilt)


KINDS = {
    **{name: function_calls(name) for name in FUNCTIONS},
    **{f"softdp::{family.name}": op_calls(family) for family in FAMILIES},
}

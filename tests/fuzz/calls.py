"""Calls of every public function and of every op, well and badly formed.

A new function of `softdp.__all__` is drawn by the names of its parameters (`PARAMETERS`), a new
family of `softdp.autograd` by its op's schema.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any, NamedTuple

import hypothesis
import torch
from hypothesis import strategies as st
from torch import Tensor

import softdp
from softdp import reference, validation
from softdp.arguments import GAPS
from softdp.families import FAMILIES, Family
from tests.fuzz.tensors import (
    INTEGERS,
    Spec,
    amiss,
    bands,
    borders,
    gaps,
    lengths,
    parted_gaps,
    per_pair,
    sides,
    tables,
)

_NUMBERS = st.sampled_from([0, 0.0, 0.1, 0.5, 1, 2.0, True, Fraction(1, 3), 1e-3, 1e-45, 5e-324])
_ODD = st.sampled_from([10**30, 10**39, 10**400, -1.0, math.inf, -math.inf, math.nan, "1"])
_WIDTHS = st.sampled_from([0, 0.0, 0.3, 2, 1e-30, 1e30, math.inf, -1.0, math.nan, 1e-40, 1e300])

_FLAGS = st.sampled_from([True, True, False, False, 1, None])
_GAPS = st.sampled_from(
    [*GAPS, *itertools.product(GAPS, repeat=2), ["free", "paid"], "none", ("free",), None]
)
_WIDTHS_OF_BANDS = st.sampled_from([0, 0, 1, 2, 3, 5, 50, 2**70, -1, True, 1.5])

TABLES = ("match", "substitute", "similarity", "cost", "log_p")
GAP_COSTS = ("gap", "gap_open", "gap_extend")
# Those that may be numbers of Python's.
NUMBERS = ("insert", "delete", *GAP_COSTS, "drop_x", "drop_y", "threshold", "gamma")
PARAMETERS: dict[str, Callable[[Spec], st.SearchStrategy[Any]]] = {
    **dict.fromkeys(TABLES, st.just),
    "insert": lambda table: gaps(table) | parted_gaps(table, -2) | _NUMBERS | _ODD,
    "delete": lambda table: gaps(table) | parted_gaps(table, -1) | _NUMBERS | _ODD,
    **dict.fromkeys(GAP_COSTS, lambda table: _costs(table)),
    "threshold": lambda table: per_pair(table, table.values) | _NUMBERS | _ODD,
    "gamma": lambda table: per_pair(table, "gamma") | _NUMBERS | _ODD,
    "gate_width": lambda table: _WIDTHS | _ODD,
    "lengths": lambda table: lengths(table, loose=True),
    **dict.fromkeys(("leading_gaps", "trailing_gaps"), lambda table: _GAPS),
    **dict.fromkeys(
        ("open_begin", "open_end", "minimise", "one_to_many", "many_to_one"), lambda table: _FLAGS
    ),
    "drop_x": lambda table: _drops(table, -2) | _NUMBERS | _ODD,
    "drop_y": lambda table: _drops(table, -1) | _NUMBERS | _ODD,
    "band": lambda table: st.none() | _WIDTHS_OF_BANDS | bands(table, INTEGERS),
    "top": lambda table: st.none() | sides(table, min(table.shape[-1] + 1, 2**63 - 1)),
    "left": lambda table: st.none() | sides(table, table.shape[-2]),
    "rows": lambda table: _rows(table.shape[-2]),
}
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "leading_gaps": st.integers(0, 8),
    "trailing_gaps": st.integers(0, 3),
    "gate_width": _WIDTHS,
    **dict.fromkeys(
        ("minimise", "one_to_many", "many_to_one", "keep_weights", "keep_border"), st.booleans()
    ),
}


@st.composite
def _costs(draw: Any, table: Spec) -> Any:
    """What gaps cost: in x and in y alike, or two costs."""
    in_x, in_y = (gaps(table) | parted_gaps(table, -k) | _NUMBERS for k in (1, 2))
    if draw(st.booleans()):
        return draw(gaps(table) | _NUMBERS | _ODD)
    return draw(in_x), draw(in_y)


def _drops(table: Spec, dim: int) -> st.SearchStrategy[Spec]:
    """A number for each step of a sequence."""
    return sides(table, table.shape[dim]).map(lambda drops: drops._replace(dtype=table.dtype))


def _rows(n: int) -> st.SearchStrategy[Any]:
    """Rows of a block: few blocks, as each is a call."""
    least = -(-n // 12)
    return st.sampled_from([max(1, least), max(1, n // 2), n + 1, max(1, least), 0, -1, 2.0, None])


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
COPIES = ("one more", "one less", "float", "double", "integer", "strided")  # not of what is huge


class FunctionCall(NamedTuple):
    name: str
    family: str  # whose arguments these are, beside some of its own: that of a table
    arguments: dict[str, Any]
    seed: int

    def made(self, arguments: dict[str, Any]) -> tuple[Tensor, ...]:
        """The call, of softdp: a score, and borders after it where there are some."""
        given = dict(arguments)
        if self.name == "blockwise":
            # The rows of a table are a sequence too, and stand for themselves.
            x, *tables = [given.pop(name) for name in _tables(self.family) if name in given]
            rows = given["rows"]
            sizes = x.shape if isinstance(x, Tensor) else ()
            if isinstance(rows, int) and rows > 0 and max(sizes, default=0) > 1000 * rows:
                hypothesis.reject()  # each block is a call
            score = softdp.blockwise(
                lambda rows, _: rows, x, x, *tables, family=self.family, **given
            )
            return (score,)
        return self._called(softdp, given)

    def specified(self, arguments: dict[str, Any]) -> tuple[Tensor, ...]:
        """What softdp.reference has to say of it."""
        given = dict(arguments)
        if self.name != "blockwise":
            return self._called(reference, given)
        given.pop("rows", None)
        return (getattr(reference, self.family)(**given),)

    def _called(self, module: ModuleType, given: dict[str, Any]) -> tuple[Tensor, ...]:
        if self.name == self.family:
            return (getattr(module, self.name)(**given),)
        tables = [given.pop(name) for name in _tables(self.family) if name in given]
        return tuple(module.sweep(self.family, *tables, **given))


class PlainCall(NamedTuple):
    """Of a function that is no recurrence: costs, the divergence, bands, alignments."""

    name: str
    arguments: dict[str, Any]


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
    and next(iter(inspect.signature(function).parameters), "") in TABLES
    and function.__module__ == "softdp.functional"
]
# What else takes the arguments of a family, but for some, and others of its own.
_WITHOUT = {"sweep": ("open_begin", "open_end"), "blockwise": ("band",)}
_BESIDE = {"sweep": ("top", "left"), "blockwise": ("rows",)}


def _tables(family: str) -> list[str]:
    """What a function takes by place."""
    parameters = inspect.signature(getattr(softdp, family)).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def _spoil_one(draw: Any, arguments: dict[str, Any]) -> None:
    """Something else in an argument's place, now and then."""
    if draw(st.integers(0, 5)) == 0:
        which = draw(st.sampled_from(sorted(arguments)))
        arguments[which] = draw(amiss(arguments[which]))


@st.composite
def function_calls(draw: Any, name: str) -> FunctionCall:
    family = name if name in FUNCTIONS else draw(st.sampled_from(sorted(validation.OPTIONS)))
    parameters = inspect.signature(getattr(softdp, family)).parameters.values()
    table = draw(tables())
    names = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty or draw(st.integers(0, 3))
    ]
    names = [
        given for given in _one_kind_of_gap(draw, names) if given not in _WITHOUT.get(name, ())
    ]
    arguments = {
        given: draw(PARAMETERS[given](table)) for given in (*names, *_BESIDE.get(name, ()))
    }
    _spoil_one(draw, arguments)
    return FunctionCall(name, family, arguments, draw(st.integers(0, 99)))


def _one_kind_of_gap(draw: Any, names: list[str]) -> list[str]:
    """Linear or affine, as a rule."""
    if "similarity" not in names or "threshold" in names or draw(st.integers(0, 7)) == 0:
        return names
    others = [name for name in names if name not in GAP_COSTS]
    return others + draw(st.sampled_from([["gap"], ["gap_open", "gap_extend"]]))


_COSTS = st.sampled_from(
    [
        "sqeuclidean",
        "cosine",
        "dot",
        "euclidean",
        1,
        1.5,
        2,
        3.0,
        math.inf,
        0.5,
        math.nan,
        "l2",
        None,
    ]
)
_SIZES = st.sampled_from([0, 1, 2, 7, 40, -1, 2**31, 2**40, 2**62, 10**400, True, 1.5, "1", None])


@st.composite
def calls_of_sequences(draw: Any, name: str) -> PlainCall:
    x = draw(tables())
    n, d = x.shape[-2:]
    m = draw(st.sampled_from([n, 1, 5]))
    batch = draw(st.sampled_from([x.shape[:-2], ()]))
    expanded = tuple(size > 2**20 for size in (*batch, m, d))
    layout = draw(st.sampled_from(["contiguous", "transposed", "sliced"]))
    y = x._replace(shape=(*batch, m, d), expanded=expanded, layout=layout, seed=x.seed + 1)
    table = x._replace(shape=(*x.shape[:-2], n, m), expanded=(*x.expanded[:-2], True, True))
    arguments: dict[str, Any] = {"x": x, "y": y, "cost": draw(_COSTS)}
    arguments["lengths"] = draw(lengths(table, loose=True))
    if name == "dtw_divergence":
        arguments["gamma"] = draw(per_pair(table, "gamma") | _NUMBERS | _ODD)
    _spoil_one(draw, arguments)
    return PlainCall(name, arguments)


@st.composite
def calls_of_bands(draw: Any, name: str) -> PlainCall:
    arguments: dict[str, Any] = {"n": draw(_SIZES), "m": draw(_SIZES)}
    third = {"sakoe_chiba": "width", "itakura": "slope"}[name]
    arguments[third] = draw(_SIZES | _WIDTHS)
    return PlainCall(name, arguments)


@st.composite
def calls_of_alignments(draw: Any, name: str) -> PlainCall:
    parameters = inspect.signature(getattr(softdp, name)).parameters.values()
    table = draw(tables())
    names = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty or draw(st.integers(0, 3))
    ]
    arguments = {given: draw(PARAMETERS[given](table)) for given in _one_kind_of_gap(draw, names)}
    _spoil_one(draw, arguments)
    return PlainCall(name, arguments)


@st.composite
def calls_of_lattices(draw: Any, name: str) -> PlainCall:
    """Of the transducer: log_blank and log_label, or logits and what their loss takes."""
    table = draw(tables())
    *batch, frames, labels = table.shape
    if name == "rnnt":
        states = min(labels + 1, 2**62)
        blank = table._replace(shape=(*batch, frames, states))
        if math.prod(blank.shape) >= 2**63:
            blank = table
        arguments: dict[str, Any] = {"log_blank": blank, "log_label": table}
        arguments["lengths"] = draw(lengths(table, loose=True))
    else:
        samples, classes = draw(st.integers(0, 3)), draw(st.integers(1, 5))
        frames, labels = draw(st.integers(0, 5)), draw(st.integers(0, 4))
        shape = (samples, frames, labels + 1, classes)
        if draw(st.integers(0, 3)) == 0:
            shape = (samples * frames * (labels + 1), classes)
        plain = table._replace(shape=shape, expanded=(False,) * len(shape))
        whole = plain._replace(dtype=draw(st.sampled_from(INTEGERS)), grad=False)
        length = whole._replace(shape=(samples,), expanded=(False,))
        arguments = {
            "logits": plain,
            "targets": whole._replace(
                shape=(samples, labels),
                expanded=(False,) * 2,
                values=f"below {classes - 1}",
            ),
            "logit_lengths": length._replace(values=f"below {frames}"),
            "target_lengths": length._replace(values=f"below {labels}", seed=table.seed + 1),
            "blank": draw(st.integers(-classes - 1, classes)),
            "clamp": draw(_NUMBERS | _ODD),
            "reduction": draw(st.sampled_from(["none", "mean", "sum", "max", None])),
            "fused_log_softmax": draw(_FLAGS),
            "reuse_logits": False,
        }
    _spoil_one(draw, arguments)
    return PlainCall(name, arguments)


@st.composite
def op_calls(draw: Any, family: Family) -> OpCall:
    table = draw(tables())
    compute = torch.promote_types(table.dtype, torch.float32)
    arguments: list[Any] = [
        table,
        *(draw(gaps(table)) for _ in range(family.tables - 1)),
        *(draw(per_pair(table, table.values, compute)) for _ in range(family.parameters)),
        draw(per_pair(table, "gamma", compute)),
        draw(st.none() | borders(table, family.states)),
        *(draw(lengths(table)) or (None, None)),
        draw(st.none() | bands(table)),
    ]
    schema = getattr(torch.ops.softdp, family.name).default._schema.arguments
    arguments += [draw(OPTIONS[option.name]) for option in schema[len(arguments) :]]
    well_formed = draw(st.integers(0, 2)) > 0
    if not well_formed:
        which = draw(st.integers(0, len(arguments) - 1))
        arguments[which] = draw(amiss(arguments[which]))
    ways = st.tuples(st.integers(0, family.differentiable + 7), st.sampled_from(sorted(SPOIL)))
    spoilt = draw(st.none() | ways)
    return OpCall(family, arguments, well_formed, draw(st.integers(-1, 31)), spoilt)


ALIGNMENTS = [name for name in softdp.__all__ if name.lower().endswith("alignment")]
ALIGNMENTS.remove("ExpectedAlignment")
ALIGNMENTS.remove("MonotonicAlignment")
ALIGNMENTS.remove("monotonic_alignment")
KINDS = {
    **{name: function_calls(name) for name in (*FUNCTIONS, *_WITHOUT)},
    **{name: calls_of_sequences(name) for name in ("pairwise_cost", "dtw_divergence")},
    **{name: calls_of_alignments(name) for name in (*ALIGNMENTS, "monotonic_alignment")},
    **{name: calls_of_lattices(name) for name in ("rnnt", "rnnt_loss")},
    **{name: calls_of_bands(name) for name in ("sakoe_chiba", "itakura")},
    **{f"softdp::{family.name}": op_calls(family) for family in FAMILIES.values()},
}

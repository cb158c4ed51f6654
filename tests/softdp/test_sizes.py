"""Sizes that cannot be counted, and memory that is not there: a clear error before any work."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from softdp import reference

pytestmark = pytest.mark.host

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "edit_similarity": lambda module, table, **options: module.edit_similarity(
        table, -1.0, -1.0, **options
    ),
    "edit_distance": lambda module, table, **options: module.edit_distance(
        table, 1.0, 1.0, **options
    ),
    "lcs": lambda module, table, **options: module.lcs(table, 0.5, **options),
    "gated lcs": lambda module, table, **options: module.lcs(table, 0.5, gate_width=0.1, **options),
    "soft_dtw": lambda module, table, **options: module.soft_dtw(table, **options),
}
# The name of the first table, and the other inputs but for what is to be kept.
FAMILIES: dict[str, tuple[str, Callable[[Tensor], tuple[Any, ...]]]] = {
    "edit": ("match", lambda number: (number, number, number, *[None] * 4, 0, 3, False)),
    "lcs": ("similarity", lambda number: (number, number, *[None] * 4, 0.5)),
    "soft_dtw": ("cost", lambda number: (number, *[None] * 4)),
}
NO_BORDER = torch.zeros(0, dtype=torch.float64)
# In float32 the words of the weights are 32 times (steps + 31), which wrapped to 992 at 2^64.
WRAPPING = [
    ((1, 2**59), torch.float32),
    ((1, 2**61), torch.float32),
    ((1, 2**62 - 1), torch.float32),
    ((1, 2**58), torch.float64),
    ((2**59, 1), torch.float32),
    ((2**62 - 1, 1), torch.float64),
    ((2**30, 2**31), torch.float32),
    ((2**20, 2**20, 2**20), torch.float32),
    ((2**60, 1, 2), torch.float32),
    ((2**31, 2**29, 1, 1), torch.float64),
]


def expanded(shape: tuple[int, ...], dtype: torch.dtype, **options: Any) -> Tensor:
    return torch.zeros((), dtype=dtype, **options).expand(shape)


def refused(op: str, table: str, shape: tuple[int, ...]) -> str:
    return f"^softdp::{op}: {table} of shape {re.escape(str(shape))} is too large: "


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("shape", "dtype"), WRAPPING)
def test_weights_that_nobody_could_count(
    compiled: ModuleType, name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    table = expanded(shape, dtype, requires_grad=True)
    lengths = tuple(torch.tensor(min(size, 4000)) for size in shape[-2:])
    options = {"lengths": lengths} if len(shape) == 2 else {}
    with pytest.raises(RuntimeError, match=r"^softdp::\w+: \w+ of shape .* is too large: "):
        FUNCTIONS[name](compiled, table, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("shape", "dtype"), WRAPPING)
def test_ops_refuse_them_on_every_device(
    compiled: ModuleType, family: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    table_name, others = FAMILIES[family]
    op = getattr(torch.ops.softdp, family)
    table = expanded(shape, dtype)
    arguments = (table, *others(torch.ones((), dtype=dtype)), True, False)
    message = refused(family, table_name, shape)
    with pytest.raises(RuntimeError, match=message):
        op(*arguments)
    with pytest.raises(RuntimeError, match=message):
        op(*(item.to("meta") if isinstance(item, Tensor) else item for item in arguments))
    with FakeTensorMode() as mode, pytest.raises(RuntimeError, match=message):
        op(*(mode.from_tensor(item) if isinstance(item, Tensor) else item for item in arguments))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 2**59), (2**59, 1)])
def test_weights_of_a_size_that_has_wrapped_are_refused_by_backward(
    compiled: ModuleType, family: str, shape: tuple[int, int]
) -> None:
    _, others = FAMILIES[family]
    table = expanded(shape, torch.float32)
    score, weights = torch.ones(()), torch.zeros(992, dtype=torch.int32)
    with pytest.raises(RuntimeError, match=f"^softdp::{family}_backward: weights must be those"):
        getattr(torch.ops.softdp, f"{family}_backward")(
            score, None, score, weights, NO_BORDER, table, *others(torch.ones(())), 1
        )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(1, 2**63 - 1), (2**62, 1), (2**62, 1, 1)])
def test_sizes_that_have_no_sums_are_refused_even_without_weights(
    compiled: ModuleType, name: str, shape: tuple[int, ...]
) -> None:
    message = r"is too large: 2\^62 pairs or steps, or more$"
    with pytest.raises(RuntimeError, match=message):
        FUNCTIONS[name](compiled, expanded(shape, torch.float32))
    with pytest.raises(RuntimeError, match=message):
        FUNCTIONS[name](compiled, expanded(shape, torch.float32).to("meta"))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(3, 2**59), (2**61, 3), (2**40, 2**20)])
def test_a_score_needs_no_more_memory_than_its_lengths(
    compiled: ModuleType, name: str, shape: tuple[int, int]
) -> None:
    lengths = tuple(torch.tensor(min(size, 5)) for size in shape)
    small = torch.full([int(length) for length in lengths], 0.75)
    score = FUNCTIONS[name](compiled, small[:1, :1].expand(shape), lengths=lengths)
    torch.testing.assert_close(score, FUNCTIONS[name](reference, small))


SHORT = (
    " would take {} bytes; the score without a gradient \\(torch.no_grad\\) takes less, and so do "
    "fewer pairs$"
)


# No address space has 2^50 bytes, whatever the system promises.
@pytest.mark.parametrize("name", FUNCTIONS)
def test_where_memory_is_short_the_error_says_for_what(compiled: ModuleType, name: str) -> None:
    function = FUNCTIONS[name]
    table = expanded((2, 2**22, 2**24), torch.float32, requires_grad=True)
    what = "memory is short: the weights for a gradient of \\w+ of shape \\(2, 4194304, 16777216\\)"
    words = 2 * 2**22 // 32 * (2**24 + 31) * 32
    with pytest.raises(RuntimeError, match=f"^softdp::\\w+: {what}{SHORT.format(4 * words)}"):
        function(compiled, table)
    many = expanded((2**50, 1, 1), torch.float64)
    what = f"memory is short: the score of \\w+ of shape \\({2**50}, 1, 1\\)"
    with pytest.raises(RuntimeError, match=f"^softdp::\\w+: {what}{SHORT.format(8 * 2**50)}"):
        function(compiled, many)
    long = expanded((1, 2**50), torch.float32)
    what = "memory is short: the sweep's own work would take \\d+ bytes; "
    with pytest.raises(RuntimeError, match=f"^softdp::\\w+: {what}"):
        function(compiled, long)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gradient_for_which_memory_is_short(compiled: ModuleType, family: str) -> None:
    # An empty second sequence: there are no weights, and no gradient but that of the gap's rows.
    _, others = FAMILIES[family]
    table = expanded((2**50, 1, 0), torch.float32)
    given = expanded((2**50,), torch.float32)
    weights = torch.zeros(0, dtype=torch.int32)
    with pytest.raises(RuntimeError, match=f"^softdp::{family}_backward: memory is short: "):
        getattr(torch.ops.softdp, f"{family}_backward")(
            given, None, given, weights, NO_BORDER, table, *others(torch.ones(())), 7
        )


def test_copies_for_which_memory_is_short(compiled: ModuleType) -> None:
    table = expanded((2**50, 1, 1), torch.float32)
    gamma = expanded((2**50,), torch.float32)
    message = f"memory is short: a contiguous copy of gamma of shape \\({2**50},\\)"
    with pytest.raises(RuntimeError, match=f"^softdp::soft_dtw: {message}{SHORT.format(2**52)}"):
        compiled.soft_dtw(table, gamma=gamma)
    with pytest.raises(RuntimeError, match=r"^soft_dtw: gamma does not convert to float32: "):
        compiled.soft_dtw(
            expanded((2**50, 1, 1), torch.float16), gamma=expanded((2**50,), torch.float16)
        )
    lengths = torch.ones((), dtype=torch.int32).expand(2**50)
    with pytest.raises(RuntimeError, match=r"^soft_dtw: lengths\[0\] does not convert to int64: "):
        compiled.soft_dtw(table, lengths=(lengths, lengths))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_a_band_that_nobody_could_count(
    compiled: ModuleType, dtype: torch.dtype
) -> None:
    # Of each pair 2^62 words or more: two of them have no sum.
    cost = expanded((6, 5, 2**58), dtype, requires_grad=True)
    band = torch.tensor([0, 2**58]).expand(5, 2)
    lengths = torch.full((6,), 5), torch.full((6,), 2**58)
    for given in (None, lengths):
        with pytest.raises(RuntimeError, match=r"^softdp::soft_dtw: .*2\^62 (bytes )?or more"):
            compiled.soft_dtw(cost, band=band, lengths=given)


ITSELF: dict[str, tuple[Callable[[ModuleType, Tensor], Any], str]] = {
    "soft_dtw": (lambda module, table: module.soft_dtw(table, open_begin=True), "cost"),
    "edit_similarity": (
        lambda module, table: module.edit_similarity(table, 0.0, 0.0, trailing_gaps="free"),
        "match",
    ),
    "edit_distance": (
        lambda module, table: module.edit_distance(table, 0.0, 0.0, trailing_gaps="free"),
        "substitute",
    ),
    "sweep": (lambda module, table: module.sweep("lcs", table, 0.5), "tables[0]"),
    "blockwise": (lambda module, table: module.blockwise(torch.sub, table, table), "x"),
    "pairwise_cost": (lambda module, table: module.pairwise_cost(table, table), "x"),
    "dtw_divergence": (lambda module, table: module.dtw_divergence(table, table), "x"),
}


# What torch allocates for a function, before or after its op.
@pytest.mark.parametrize("name", ITSELF)
def test_a_function_speaks_for_the_tensors_that_it_makes_itself(
    compiled: ModuleType, name: str
) -> None:
    call, argument = ITSELF[name]
    beside = re.escape(f"memory is short: a tensor beside {argument} of shape ({2**50}, 1, 3)")
    inner = "|sweep" if name == "blockwise" else ""
    if inner:
        beside = r"memory is short: .*"
    with pytest.raises(RuntimeError, match=rf"^({name}{inner}): {beside}.* would take \d+ bytes$"):
        call(compiled, expanded((2**50, 1, 3), torch.float32))


@pytest.mark.parametrize(
    ("call", "beside"),
    [
        (
            lambda module: module.soft_dtw(expanded((2**50, 3), torch.float32), band=3),
            f"soft_dtw: memory is short: a tensor beside cost of shape ({2**50}, 3)",
        ),
        (
            lambda module: module.sakoe_chiba(2**50, 3, 1),
            f"sakoe_chiba: memory is short: a tensor beside n = {2**50}, m = 3, width = 1",
        ),
        (
            lambda module: module.itakura(2**50, 3),
            f"itakura: memory is short: a tensor beside n = {2**50}, m = 3",
        ),
        (
            lambda module: module.lcs(
                expanded((2**50, 1, 1), torch.float32), 0.5, lengths=(None, None)
            ),
            f"lcs: memory is short: a tensor beside similarity of shape ({2**50}, 1, 1)",
        ),
    ],
)
def test_bands_and_lengths_for_which_memory_is_short(
    compiled: ModuleType, call: Callable[[ModuleType], Any], beside: str
) -> None:
    with pytest.raises(RuntimeError, match=rf"^{re.escape(beside)} would take \d+ bytes$"):
        call(compiled)


@pytest.mark.parametrize("shape", [(0, 2**63 - 1), (2**63 - 1, 0), (0, 2**40, 0, 2**31)])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_borders_that_nobody_could_count(
    compiled: ModuleType, shape: tuple[int, ...], where: str
) -> None:
    cost = expanded(shape, torch.float32).to(where)
    for call in (
        lambda: compiled.soft_dtw(cost, open_begin=True, open_end=True),
        lambda: compiled.edit_similarity(cost, 0.0, 0.0, trailing_gaps="free"),
        lambda: compiled.sweep("soft_dtw", cost),
    ):
        with pytest.raises(RuntimeError, match=r"^[\w:]+: .*(memory is short|is too large): .*$"):
            call()


def test_what_is_no_want_of_memory_is_said_as_it_was(compiled: ModuleType) -> None:
    def similarity(x: Tensor, y: Tensor) -> Tensor:
        raise RuntimeError("no similarity today")

    with pytest.raises(RuntimeError, match=r"^no similarity today$"):
        compiled.blockwise(similarity, torch.zeros(3, 2), torch.zeros(3, 2))


def test_a_gradient_that_is_summed_has_a_name_too(compiled: ModuleType) -> None:
    match = expanded((0, 2**50, 0, 0), torch.float32)
    gap = expanded((2**50, 1, 1), torch.float32, requires_grad=True)
    score = compiled.edit_similarity(match, 0.0, gap)
    message = re.escape(f"delete of shape ({2**50}, 1, 1)")
    with pytest.raises(RuntimeError, match=f"^softdp::edit_backward: memory is short: .*{message}"):
        torch.autograd.grad(score, gap, score.detach())

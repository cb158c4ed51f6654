"""A topology of three states: by the CUDA kernels' source, and by the op on the CPU."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from softdp import ends, functional
from softdp.arguments import GAPS
from tests.cuda_on_cpu import affine
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.kernels import swept
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT, GAMMA_TOLERANCE, TOLERANCE, close
from tests.softdp.support import LEADING_GAPS, gradients, normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

KERNELS = [{}, {"threads": 1}]  # with a number of threads: the CPU's
TINY = [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (3, 3)]
# Few paths and many rows: around the ends of strips.
THIN = [(8, 1), (9, 1), (17, 1), (33, 1), (65, 1), (1, 17), (1, 33)]


class Case(NamedTuple):
    """What is swept, in float64 numbers that float32 holds too."""

    tables: tuple[Tensor, ...]
    gamma: Tensor
    leading_gaps: str
    lengths: tuple[Tensor, Tensor] | None
    border: Tensor | None
    closed: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.tables[0].shape)


@functools.cache
def drawn(
    batch: int, n: int, m: int, leading: str, ragged: bool, given: bool, closed: bool = False
) -> Case:
    def rounded(*shape: int, seed: int) -> Tensor:
        return normal(*shape, seed=seed).float().double()

    shape = (batch, n, m)
    remove, insert = ((batch, n, 1), (1, m)) if leading == "paid" else (shape, shape)
    tables = [rounded(*shape, seed=0)]
    tables += [rounded(*remove, seed=1), rounded(*remove, seed=2)]
    tables += [rounded(*insert, seed=3), rounded(*insert, seed=4)]
    gamma = rounded(batch, seed=5).abs() + 0.25
    lengths = None
    if ragged:
        generator = torch.Generator().manual_seed(n + m)
        lengths = tuple(
            torch.randint(0, size + 1, (batch,), generator=generator) for size in (n, m)
        )
        lengths[0][0], lengths[1][0] = n, m
    border = rounded(batch, 3, m + 1 + n, seed=6) if given else None
    if border is not None:
        border[:, 1, ::3] = border[:, 0, 1::4] = -torch.inf
    return Case(tuple(tables), gamma, leading, lengths, border, closed)


def outcome(case: Case, border_of: Any, dtype: torch.dtype) -> list[Tensor]:
    """The border that is put out, and the gradients of the scores and a random sum of it."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in (*case.tables, case.gamma)]
    border = None if case.border is None else case.border.detach().requires_grad_()
    out = border_of(leaves[:-1], leaves[-1], border)
    finite = out.isfinite()
    total = (out * normal(*out.shape, seed=7))[finite].sum()
    batch, _, m = case.shape
    gamma = leaves[-1].double()
    for pair in range(batch):
        end = m if case.lengths is None else int(case.lengths[1][pair])
        score = affine.smax(list(out[pair, :, end]), gamma[pair])
        if score.isfinite():
            total = total + score
    return [out.detach(), *gradients(total, leaves + ([] if border is None else [border]))]


def by_oracle(case: Case, border_of_pair: Any) -> list[Tensor]:
    batch, n, m = case.shape

    def border_of(tables: list[Tensor], gamma: Tensor, border: Tensor | None) -> Tensor:
        out = torch.full((batch, 3, m + 1 + n), -torch.inf, dtype=DOUBLE)
        for pair in range(batch):
            rows, columns = (n, m) if case.lengths is None else (int(x[pair]) for x in case.lengths)
            places = [*range(columns + 1), *range(m + 1, m + 1 + rows)]
            whole = affine.Steps(*(table.expand(case.shape)[pair] for table in tables))
            if border is None:
                first = affine.laid(whole, (case.leading_gaps, case.leading_gaps))
            else:
                first = border[pair]
            steps = affine.Steps(*(table[:rows, :columns] for table in whole))
            if case.closed:
                steps = affine.closed(steps)
            out[pair][:, places] = border_of_pair(steps, first[:, places], gamma[pair])
        return out

    return outcome(case, border_of, DOUBLE)


@functools.cache
def wanted(
    batch: int, n: int, m: int, leading: str, ragged: bool, given: bool, closed: bool = False
) -> list[Tensor]:
    """By every path where there are few, by the recurrence elsewhere."""
    few = n * m <= 9 or min(n, m) == 1
    oracle = affine.border_by_paths if few else affine.border_by_recurrence
    return by_oracle(drawn(batch, n, m, leading, ragged, given, closed), oracle)


def by_kernels(case: Case, compute: torch.dtype, **options: Any) -> list[Tensor]:
    if "threads" in options:
        return by_op(case, compute, **options)
    trailing = "forbidden" if case.closed else "paid"
    call = {"leading_gaps": case.leading_gaps, "trailing_gaps": trailing, "lengths": case.lengths}

    def border_of(tables: list[Tensor], gamma: Tensor, border: Tensor | None) -> Tensor:
        return swept("affine", tables, gamma, border=border, keep_border=1, **call, **options)[1]

    return outcome(case, border_of, compute)


def by_op(
    case: Case, compute: torch.dtype, *, threads: int, band: Tensor | None = None
) -> list[Tensor]:
    leading, trailing = 4 * GAPS.index(case.leading_gaps), 0 if case.closed else 3

    def border_of(tables: list[Tensor], gamma: Tensor, border: Tensor | None) -> Tensor:
        problem = ends.Problem(
            "affine", "affine", tuple(tables), (), gamma, border, case.lengths, band,
            (leading, trailing), True,
        )  # fmt: skip
        return functional.core(problem)[1]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return outcome(case, border_of, compute)
    finally:
        torch.set_num_threads(before)


def check(compute: torch.dtype, options: dict[str, Any], *drawing: Any) -> None:
    agree(drawn(*drawing), wanted(*drawing), compute, options)


def agree(
    case: Case, expected: list[Tensor], compute: torch.dtype, options: dict[str, Any]
) -> None:
    got = by_kernels(case, compute, **options)
    for place, (one, other) in enumerate(zip(got, expected, strict=True)):
        gamma = place == 1 + len(case.tables)
        tolerance = (GAMMA_TOLERANCE if gamma else TOLERANCE)[compute]
        size = 1 + other[other.isfinite()].abs().max().item()
        close(one / size, other / size, tolerance, f"output {place}")


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("options", KERNELS)
@pytest.mark.parametrize("leading", LEADING_GAPS)
@pytest.mark.parametrize(("n", "m"), [*TINY, *THIN])
def test_every_path(
    n: int, m: int, leading: str, options: dict[str, Any], compute: torch.dtype
) -> None:
    check(compute, options, 3, n, m, leading, False, False)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("options", KERNELS)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("leading", LEADING_GAPS)
def test_every_path_of_lengths(
    leading: str, given: bool, options: dict[str, Any], compute: torch.dtype
) -> None:
    # 40 pairs: 16 side by side on the CPU, which leaves a strip two rows.
    check(compute, options, 40, 3, 3, leading, True, given)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("options", KERNELS)
@pytest.mark.parametrize(("n", "m"), TINY)
def test_every_path_between_closed_ends(
    n: int, m: int, options: dict[str, Any], compute: torch.dtype
) -> None:
    check(compute, options, 3, n, m, "free", False, False, True)


@pytest.mark.parametrize("given", [False, True])
def test_the_recurrence_is_all_paths(given: bool) -> None:
    case = drawn(3, 3, 3, "free", True, given)
    by_paths, by_recurrence = (
        by_oracle(case, oracle) for oracle in (affine.border_by_paths, affine.border_by_recurrence)
    )
    for one, other in zip(by_paths, by_recurrence, strict=True):
        close(one, other, 1e-12, "recurrence")


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("leading", ["free", "paid"])
@pytest.mark.parametrize(
    ("n", "m", "options"),
    [
        (18, 33, {}),
        (70, 17, {"resident": 1}),
        (130, 9, {"resident": 2}),
        (35, 34, {"resident": 1}),
        (35, 34, {"threads": 1}),
        (70, 17, {"threads": 4}),
    ],
)
def test_every_regime(
    n: int, m: int, options: dict[str, Any], leading: str, compute: torch.dtype
) -> None:
    check(compute, options, 2, n, m, leading, False, leading == "free", leading == "free")


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("options", [*KERNELS, {"resident": 1}])
def test_what_the_scaled_form_does_not_reach(options: dict[str, Any], compute: torch.dtype) -> None:
    case = drawn(3, 35, 18, "free", False, False)
    tables = [table.clone() for table in case.tables]
    tables[0][1, 5:9, 3] = tables[1][1, 5:7, 4] = -1e30
    tables[3][2, 7:] = -torch.inf
    gamma = torch.tensor([0.0, 0.5, 0.5], dtype=DOUBLE)
    case = case._replace(tables=tuple(tables), gamma=gamma)
    agree(case, by_oracle(case, affine.border_by_recurrence), compute, options)


@pytest.mark.parametrize("options", [{}, {"resident": 2}, {"resident": 1}])
def test_the_same_bits_in_every_order_of_threads_and_no_races(options: dict[str, int]) -> None:
    case = drawn(3, 70, 34, "paid", True, False, True)
    first, *others = (by_kernels(case, FLOAT, **options, seed=seed) for seed in range(4))
    for other in (*others, by_kernels(case, FLOAT, **options, races=True)):
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))

"""Topologies of other arcs than the linear one's: by the CUDA kernels' source, and by the ops.

What the CPU's ops find, which tests/softdp compares with every path, is what is expected.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from softdp.derivatives import sum_to
from softdp.families import FAMILIES
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.directions import Case, agree
from tests.cuda_on_cpu.kernels import Direction, sweep
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT
from tests.softdp.support import normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LATTICES = ["drop_dtw", "local", "monotonic"]
# Without a given border leading gaps do not vary along the other sequence.
SHAPES = {
    "drop_dtw": ["cells", "rows", "columns"],
    "local": ["cells", "rows", "number", "columns", "number"],
    "monotonic": ["cells"],
}


def drawn(
    family: str, n: int, m: int, compute: torch.dtype, *, bordered: bool, full: bool = False
) -> Case:
    """Three pairs with lengths, a direction, and a gradient of the border that is put out."""
    sizes = {"cells": (3, n, m), "rows": (3, n, 1), "columns": (1, m), "number": ()}
    shapes = [sizes["cells" if full else kind] for kind in SHAPES[family]]
    tables, moved = (
        [normal(*shape, seed=seed + k).to(compute) for k, shape in enumerate(shapes)]
        for seed in (0, 5)
    )
    states = FAMILIES[family].states
    of_states = (states,) if states > 1 else ()
    border = normal(2, 3, *of_states, m + 1 + n, seed=11)
    if bordered:
        of_first = border[0, :, 0] if states > 1 else border[0]
        of_first[..., ::3] = torch.inf if family == "drop_dtw" else -torch.inf
    gaps = {"drop_dtw": "paid", "monotonic": "forbidden"}.get(family, "free")
    return Case(
        family,
        tables,
        normal(3, seed=12).to(compute).abs() + 0.3,
        Direction(moved, normal(3, seed=13).to(compute), border=border[1] if bordered else None),
        normal(3, seed=14).to(compute),
        border=border[0] if bordered else None,
        border_upstream=normal(3, *of_states, m + 1 + n, seed=15),
        lengths=(torch.tensor([n, n - n // 3, n]), torch.tensor([m - m // 2, m, m])),
        leading_gaps=(gaps, gaps),
    )


def by_op(case: Case) -> list[Tensor]:
    """The score and the border of the family's op, and the gradients of its backward."""
    family = FAMILIES[case.family]
    n_lengths, m_lengths = case.lengths or (None, None)
    inputs = [*case.tables, case.gamma, case.border, n_lengths, m_lengths, None, *case.options()]
    score, weights, border = family.op(*inputs, True, True)
    found = family.backward_op(
        case.upstream, case.border_upstream, score, weights, border, *inputs, ~0
    )
    tables = [sum_to(one, table) for one, table in zip(found, case.tables, strict=False)]
    return [*scored(case, score), border, *tables, *found[len(tables) :]]


def scored(case: Case, score: Tensor) -> list[Tensor]:
    """Of a local alignment it is made of the border."""
    return [] if case.family == "local" else [score]


def by_kernels(case: Case, **options: int) -> list[Tensor]:
    result = sweep(
        case.family, case.tables, case.gamma, upstream=case.upstream, border=case.border,
        border_upstream=case.border_upstream, lengths=case.lengths,
        leading_gaps=case.leading_gaps, **options,
    )  # fmt: skip
    found = [result.border, *result.tables, result.gamma, result.border_gradient]
    found = [*scored(case, result.scores), *found]
    return [each for each in found if each is not None]


def same(found: list[Tensor], expected: list[Tensor], compute: torch.dtype) -> None:
    """Where there is no path, too."""
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[~other.isfinite()], other[~other.isfinite()])
        assert one[other.isfinite()].isfinite().all()
    agree(
        [x.nan_to_num(0, 0, 0) for x in found], [x.nan_to_num(0, 0, 0) for x in expected], compute
    )


PLANS = [
    (1, 1, {}), (3, 4, {}), (9, 5, {}), (18, 33, {}), (33, 17, {}), (70, 17, {"resident": 1}),
    (130, 9, {"resident": 2}), (35, 34, {"resident": 1}),
]  # fmt: skip


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("family", LATTICES)
@pytest.mark.parametrize(("n", "m", "plan"), PLANS)
def test_scores_borders_and_gradients(
    n: int, m: int, plan: dict[str, int], family: str, bordered: bool, compute: torch.dtype
) -> None:
    case = drawn(family, n, m, compute, bordered=bordered)
    same(by_kernels(case, **plan), by_op(case), compute)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("family", LATTICES)
def test_tables_of_cells(family: str, compute: torch.dtype) -> None:
    case = drawn(family, 34, 40, compute, bordered=True, full=True)
    same(by_kernels(case), by_op(case), compute)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("family", LATTICES)
@pytest.mark.parametrize(("n", "m", "plan"), [(18, 33, {}), (70, 17, {"resident": 1})])
def test_tangents(
    n: int, m: int, plan: dict[str, int], family: str, bordered: bool, compute: torch.dtype
) -> None:
    # With a border tables of cells: of a gradient that is one number rounding may leave little.
    case = drawn(family, n, m, compute, bordered=bordered, full=bordered)
    found, expected = case.by_kernels(**plan), case.by_cpu()
    first = 1 if family == "local" else 0  # of a local alignment there is no score
    if family == "monotonic" and not bordered:  # all paths begin in the corner, whatever changes
        for *_, border in (found, expected):
            assert border.abs().max() < 1e-5
        del found[-1], expected[-1]
    agree(found[first:], expected[first:], compute, slack=2)  # of weights of five states


@pytest.mark.parametrize("family", LATTICES)
def test_without_smoothing_and_beyond_the_scaled_form(family: str) -> None:
    case = drawn(family, 35, 18, DOUBLE, bordered=False)
    case.gamma = torch.tensor([0.0, 0.5, 0.0], dtype=DOUBLE)
    sign = 1 if family == "drop_dtw" else -1
    case.tables[0][1, 5:9, 3] = sign * 1e30
    case.tables[0][2, 4] = sign * torch.inf
    same(by_kernels(case), by_op(case), DOUBLE)


@pytest.mark.parametrize(("one_to_many", "many_to_one"), [(0, 1), (1, 0), (0, 0)])
def test_steps_that_are_matched_once(one_to_many: int, many_to_one: int) -> None:
    case = drawn("drop_dtw", 20, 21, DOUBLE, bordered=False)
    case.options = lambda: [bool(one_to_many), bool(many_to_one)]  # type: ignore[method-assign]
    flags = {"one_to_many": one_to_many, "many_to_one": many_to_one}
    same(by_kernels(case, **flags), by_op(case), DOUBLE)


@pytest.mark.parametrize("family", LATTICES)
def test_the_same_bits_in_every_order_of_threads_and_no_races(family: str) -> None:
    case = drawn(family, 70, 34, FLOAT, bordered=True)
    first, *others = (by_kernels(case, resident=2, seed=seed) for seed in range(3))
    for other in (*others, by_kernels(case, resident=2, races=True)):
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))

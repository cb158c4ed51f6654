"""The tangent sweep and the tangent of the backward on the CUDA kernels' own source.

What the CPU's ops find, which tests/softdp compares with the specification, is what is expected.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from softdp import sakoe_chiba
from tests.cuda_on_cpu import test_bands
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.directions import Case, agree, drawn
from tests.cuda_on_cpu.kernels import Direction
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT
from tests.softdp.support import normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SHORT = [(12, 20, {}), (31, 40, {})]
LONG = [(70, 45, {"resident": 2}), (70, 33, {"resident": 1}), (130, 64, {"blocks": 3})]
REGIMES = [*SHORT, *LONG]
SOME = [SHORT[0], LONG[0]]


def check(case: Case, compute: torch.dtype, **options: Any) -> None:
    agree(case.by_kernels(**options), case.by_cpu(), compute)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("edit", {"gaps": "step", "leading_gaps": ("paid", "paid")}),
        ("lcs", {"gate_width": 0.0}),
        ("lcs", {"gate_width": 0.5}),
        ("soft_dtw", {}),
    ],
)
@pytest.mark.parametrize(("n", "m", "plan"), REGIMES)
def test_every_family(
    n: int, m: int, plan: dict[str, int], family: str, options: dict[str, Any], compute: torch.dtype
) -> None:
    check(drawn(family, n, m, compute, **options), compute, **plan, seed=n)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(
    ("leading", "trailing"),
    [
        (("free", "paid"), ("paid", "free")),
        (("paid", "forbidden"), ("free", "free")),
        (("forbidden", "free"), ("free", "paid")),
    ],
)
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_ends(
    n: int,
    m: int,
    plan: dict[str, int],
    leading: tuple[str, str],
    trailing: tuple[str, str],
    compute: torch.dtype,
) -> None:
    ends = {"leading_gaps": leading, "trailing_gaps": trailing}
    case = drawn("edit", n, m, compute, gaps="step", minimise=True, **ends)
    case.border_upstream = normal(4, m + 1 + n, seed=22)
    check(case, compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("family", ["edit", "lcs", "soft_dtw"])
@pytest.mark.parametrize("banded", [False, True])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_borders_and_bands(
    n: int, m: int, plan: dict[str, int], banded: bool, family: str, compute: torch.dtype
) -> None:
    case = drawn(family, n, m, compute, bordered=True, gate_width=0.4)
    if banded:
        case.band = test_bands.bounds(4, n, m=m, seed=5)
    check(case, compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("family", ["edit", "lcs", "soft_dtw"])
@pytest.mark.parametrize(("n", "m", "plan"), [(150, 140, {"resident": 3}), LONG[2]])
def test_narrow_bands(
    n: int, m: int, plan: dict[str, int], family: str, compute: torch.dtype
) -> None:
    case = drawn(family, n, m, compute, batch=2, ragged=False, gate_width=0.4)
    case.band = sakoe_chiba(n, m, 5)
    check(case, compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_a_direction_is_broadcast_in_its_own_way(
    n: int, m: int, plan: dict[str, int], ragged: bool, compute: torch.dtype
) -> None:
    case = drawn("edit", n, m, compute, gaps="other", ragged=ragged, leading_gaps=("paid", "paid"))
    check(case, compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_what_stays(n: int, m: int, plan: dict[str, int], compute: torch.dtype) -> None:
    # gamma and the border stay; then every other pair's gamma does; then all of one table.
    case = drawn("edit", n, m, compute, bordered=True)
    still = torch.zeros_like(case.gamma)
    case.direction = case.direction._replace(gamma=still, border=None)
    check(case, compute, **plan)
    gamma = torch.where(torch.arange(4) % 2 == 0, still, case.gamma)
    tables = [torch.zeros((), dtype=compute), *case.direction.tables[1:]]
    case.direction = case.direction._replace(gamma=gamma, tables=tables)
    check(case, compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_only_what_is_asked_for(n: int, m: int, plan: dict[str, int], compute: torch.dtype) -> None:
    case = drawn("lcs", n, m, compute, gate_width=0.5)
    everything = case.by_kernels(**plan)
    alone = case.by_kernels(**plan, keep_changes=0)
    assert len(alone) == 1
    assert alone[0].equal(everything[0])
    for bit in range(3):
        one = case.by_kernels(**plan, wanted=1 << bit)
        assert len(one) == 2
        assert one[1].equal(everything[1 + bit])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tables_in_half_precision(dtype: torch.dtype) -> None:
    # A gradient's change is in the table's own type; the direction's may be another.
    case = drawn("soft_dtw", 70, 33, FLOAT, ragged=False)
    case.tables = [case.tables[0].mT.contiguous().mT.to(dtype)]
    found = case.by_kernels(resident=2)
    assert found[1].dtype == dtype
    case.tables = [case.tables[0].float()]
    expected = case.by_cpu()
    expected[1] = expected[1].to(dtype)
    agree([found[0], found[2]], [expected[0], expected[2]], FLOAT)
    apart = (found[1].double() - expected[1].double()).norm() / expected[1].double().norm()
    assert apart < 0.01


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("family", ["edit", "lcs", "soft_dtw"])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_nothing_outside_is_read(
    n: int, m: int, plan: dict[str, int], family: str, compute: torch.dtype
) -> None:
    def found(outside: float) -> list[Tensor]:
        case = drawn(family, n, m, compute, gate_width=0.4, leading_gaps=("forbidden",) * 2)
        case.band = sakoe_chiba(n, m, n)
        columns = torch.arange(m)
        inside = (case.band[:, :1] <= columns) & (columns < case.band[:, 1:])
        assert case.lengths is not None
        rows = torch.arange(n)[:, None] < case.lengths[0][:, None, None]
        inside = inside & rows & (columns < case.lengths[1][:, None, None])
        fill = [table.expand(4, n, m).masked_fill(~inside, outside) for table in case.tables]
        case.tables = fill
        along = [x.expand(4, n, m).masked_fill(~inside, outside) for x in case.direction.tables]
        case.direction = case.direction._replace(tables=along)
        return case.by_kernels(**plan)

    for one, other in zip(found(torch.nan), found(0.0), strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_a_pair_that_is_undefined_touches_no_other(
    n: int, m: int, plan: dict[str, int], compute: torch.dtype
) -> None:
    case = drawn("edit", n, m, compute, bordered=True, ragged=False)
    expected = case.by_kernels(**plan)
    case.gamma[1] = torch.nan
    found = case.by_kernels(**plan)
    assert found[0][1].isnan()
    assert found[1][1].isnan().all()
    others = [0, 2, 3]
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert one[others].equal(other[others])


@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_no_path_changes_nothing(n: int, m: int, plan: dict[str, int]) -> None:
    case = drawn("soft_dtw", n, m, DOUBLE, ragged=False, bordered=True)
    case.border = None
    case.direction = case.direction._replace(border=None)
    case.band = torch.tensor([0, m]).expand(4, n, 2).clone()
    case.band[0, : n // 2 + 1] = 0  # no column in the first rows
    case.band[1, :, 1] = m - 1  # all but the last cell
    check(case, DOUBLE, **plan)
    assert (case.by_kernels(**plan)[0][:2] == 0).all()


@pytest.mark.parametrize("plan", [{}, {"resident": 2}, {"resident": 1}])
def test_weights_of_another_band_are_not_read(plan: dict[str, int]) -> None:
    n, m = 130, 140
    case = drawn("edit", n, m, FLOAT, batch=2, bordered=True, ragged=False)
    case.band = sakoe_chiba(n, m, 3)
    score, border, *gradients = case.by_kernels(backward_band=sakoe_chiba(n, m, 60), **plan)
    assert score.isnan().all()
    assert border.isnan().any()
    assert (gradients[0] == 0).all()


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize(
    ("n", "m", "plan"),
    [(18, 33, {}), (70, 17, {"resident": 1}), (35, 34, {"resident": 1})],
)
def test_affine_gaps(
    n: int, m: int, plan: dict[str, int], bordered: bool, compute: torch.dtype
) -> None:
    shapes = [(2, n, m), (2, n, 1), (n, 1), (2, 1, m), (1, m)]
    tables, moved = (
        [normal(*shape, seed=seed + k).to(compute) for k, shape in enumerate(shapes)]
        for seed in (0, 5)
    )
    border = normal(2, 2, 3, m + 1 + n, seed=11)
    case = Case(
        "affine",
        tables,
        normal(2, seed=12).to(compute).abs() + 0.3,
        Direction(moved, normal(2, seed=13).to(compute), border=border[1] if bordered else None),
        normal(2, seed=14).to(compute),
        border=border[0] if bordered else None,
        border_upstream=normal(2, 3, m + 1 + n, seed=15),
        lengths=(torch.tensor([n, n - 3]), torch.tensor([m - 5, m])),
        leading_gaps=("paid", "free"),
        trailing_gaps=("free", "paid"),
    )
    found, expected = case.by_kernels(**plan), case.by_cpu()
    agree(found[1:], expected[1:], compute)  # of several states there is no score


@pytest.mark.parametrize(
    ("family", "n", "m", "plan"),
    [
        ("edit", 20, 30, {}),
        ("edit", 130, 40, {"resident": 2}),
        ("lcs", 130, 60, {"resident": 3}),
        ("soft_dtw", 260, 20, {}),
    ],
)
@pytest.mark.parametrize("banded", [False, True])
def test_the_same_bits_in_every_order_of_threads_and_no_races(
    banded: bool, family: str, n: int, m: int, plan: dict[str, int]
) -> None:
    case = drawn(family, n, m, FLOAT, batch=3, gaps="step", gate_width=0.3, bordered=banded)
    if family == "edit" and not banded:
        case.leading_gaps = ("paid", "paid")
    if banded:
        case.band = test_bands.bounds(3, n, m=m, seed=9)
    first, *others = (case.by_kernels(**plan, seed=seed) for seed in range(6))
    for other in (*others, case.by_kernels(**plan, races=True)):
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))

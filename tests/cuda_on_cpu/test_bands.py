"""Bands on the CUDA kernels' own source: which columns of each row a path may pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from softdp import functional, itakura, sakoe_chiba
from tests.cuda_on_cpu import affine, test_affine
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.kernels import core, sweep
from tests.cuda_on_cpu.test_ends import (
    FUNCTIONS,
    REGIMES,
    Case,
    check,
    check_same_bits,
    outcome,
)
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT, TOLERANCE, close
from tests.softdp.support import normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

# Strips that begin and end far from another.
LARGER = [
    (130, 150, {}),
    (300, 300, {"resident": 1}),
    (300, 310, {"resident": 4}),
    (300, 290, {"blocks": 2}),
]
SOME = [
    (31, 40, {}),
    (97, 48, {"resident": 2}),
    (65, 64, {"resident": 1}),
    (130, 300, {"resident": 3}),
]


def bounds(*shape: int, m: int, seed: int) -> Tensor:
    """Bounds that leap: some rows are empty, some pairs blocked."""
    drawn = torch.randint(0, m + 1, (*shape, 2), generator=torch.Generator().manual_seed(seed))
    drawn = drawn.sort(-2).values
    return torch.stack([drawn[..., 0] // 2, drawn[..., 1]], -1)


def bands(batch: int, n: int, m: int) -> list[Tensor | int]:
    """A width of each kind; bounds of every shape, those beyond the table among them."""
    leaping = [bounds(batch, n, m=m, seed=n), bounds(n, m=m, seed=m)]
    beyond = leaping[0] - torch.tensor([m // 3, 0])
    beyond[..., 1] = torch.where(beyond[..., 1] == m, m + 7, beyond[..., 1])
    return [0, 3, m + 5, *leaping, beyond, itakura(n, m, 1.5)]


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("n", "m", "plan"), [*REGIMES, *LARGER[:2]])
def test_borders_in_and_out(
    n: int, m: int, plan: dict[str, int], ragged: bool, compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_similarity", (4,), n, m, "step")
    lengths = case.ragged() if ragged else None
    for band in bands(4, n, m):
        options = {"lengths": lengths, "band": band}
        check(monkeypatch, case, compute, plan, "sweep", ("top", "left"), **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("width", [0, 9, 70])
@pytest.mark.parametrize(("n", "m", "plan"), LARGER)
def test_narrow_bands_of_long_tables(
    n: int, m: int, plan: dict[str, int], width: int, compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_similarity", (2,), n, m, "step")
    check(monkeypatch, case, compute, plan, band=width, leading_gaps="paid")
    check(monkeypatch, case, compute, plan, band=width, lengths=case.ragged())


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
@pytest.mark.parametrize("gaps", ["cell", "number"])
def test_every_family(
    gaps: str,
    n: int,
    m: int,
    plan: dict[str, int],
    function: str,
    compute: torch.dtype,
    monkeypatch,
) -> None:
    case = Case(function, (3,), n, m, gaps)
    options: dict[str, Any] = {"gate_width": 0.5} if function == "lcs" else {}
    if function == "soft_dtw":
        options = {"open_begin": gaps == "number", "open_end": gaps == "number"}
    for band in (2, bounds(3, n, m=m, seed=5)):
        check(monkeypatch, case, compute, plan, band=band, lengths=case.ragged(), **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("trailing", ["forbidden", "free", ("paid", "free")])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_ends(
    n: int, m: int, plan: dict[str, int], trailing: Any, compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_distance", (4,), n, m, "step")
    options = {"leading_gaps": ("free", "paid"), "trailing_gaps": trailing}
    for band in (1, bounds(4, n, m=m, seed=6)):
        check(monkeypatch, case, compute, plan, **options, lengths=case.ragged(), band=band)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_empty_sequences(n: int, m: int, plan: dict[str, int], compute, monkeypatch) -> None:
    case = Case("edit_distance", (4,), n, m, "step")
    lengths = torch.tensor([0, n, 0, n]), torch.tensor([m, 0, 0, m])
    options = {"lengths": lengths, "band": bounds(4, n, m=m, seed=7), "leading_gaps": "paid"}
    check(monkeypatch, case, compute, plan, "sweep", **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_what_the_scaled_form_does_not_reach(
    n: int, m: int, plan: dict[str, int], compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_similarity", (4,), n, m, "cell")
    case.gamma[0] = 0
    case.border["top"][1] *= 1e30
    case.tables[0][2, 4:9, : m // 2] = -1e30
    for band in (4, bounds(4, n, m=m, seed=8)):
        check(monkeypatch, case, compute, plan, "sweep", ("top", "left"), band=band)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("function", ["edit_similarity", "lcs"])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_nothing_outside_is_read(
    n: int, m: int, plan: dict[str, int], function: str, compute: torch.dtype, monkeypatch
) -> None:
    monkeypatch.setattr(functional, "core", core(**plan))
    case = Case(function, (3,), n, m, "cell")
    band = sakoe_chiba(n, m, 3)
    inside = (band[:, :1] <= torch.arange(m)) & (torch.arange(m) < band[:, 1:])
    options: dict[str, Any] = {"band": band}
    options |= {"gate_width": 0.5} if function == "lcs" else {"leading_gaps": "forbidden"}

    def swept(outside: float) -> list[Tensor]:
        numbers = case.numbers(compute)
        for k, table in enumerate(numbers[: len(case.tables)]):
            numbers[k] = table.expand(3, n, m).masked_fill(~inside, outside)
        return outcome(getattr(functional, function), numbers, {}, options)

    wanted, got = swept(0.0), swept(torch.nan)
    assert all(torch.equal(one, other) for one, other in zip(got, wanted, strict=True))
    for gradient in got[1 : 1 + len(case.tables)]:
        assert (gradient[:, ~inside] == 0).all()


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_no_path(
    n: int, m: int, plan: dict[str, int], gamma: float, compute: torch.dtype, monkeypatch
) -> None:
    monkeypatch.setattr(functional, "core", core(**plan))
    case = Case("soft_dtw", (4,), n, m, "")
    case.gamma[:] = gamma
    band = torch.tensor([0, m]).expand(4, n, 2).clone()
    band[0, : n // 2 + 1] = 0  # no column in the first rows
    band[1, :, 1] = m - 1  # all but the last cell
    band[2, : n // 2, 1] = 2  # then they leap
    band[2, n // 2 :, 0] = m // 2
    case.tables[0][2, 0, 0] = torch.nan  # of which no cell hears
    scores, *gradients = outcome(functional.soft_dtw, case.numbers(compute), {}, {"band": band})
    assert scores[:3].equal(torch.full((3,), torch.inf, dtype=compute))
    assert scores[3].isfinite()
    for gradient in gradients:
        assert (gradient[:3] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tables_in_half_precision(dtype: torch.dtype, monkeypatch) -> None:
    n, m = 68, 50
    monkeypatch.setattr(functional, "core", core(resident=2))
    case = Case("soft_dtw", (2,), n, m, "")
    half, gamma = case.tables[0].to(dtype), case.gamma.float()
    score, gradient, _ = outcome(functional.soft_dtw, [half, gamma], {}, {"band": 4})
    wanted, expected, _ = outcome(functional.soft_dtw, [half.float(), gamma], {}, {"band": 4})
    assert score.equal(wanted)
    close(gradient, expected.double(), 0.02, "gradient")


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(
    ("n", "m", "options"),
    [
        (3, 3, {}),
        (18, 33, {}),
        (70, 17, {"resident": 1}),
        (35, 34, {"resident": 1}),
        (35, 34, {"threads": 1}),
    ],
)
@pytest.mark.parametrize("given", [False, True])
def test_affine_gaps(
    given: bool, n: int, m: int, options: dict[str, Any], compute: torch.dtype
) -> None:
    leaping = torch.stack([sakoe_chiba(n, m, 4), bounds(n, m=m, seed=n)])
    for band in (sakoe_chiba(n, m, 2), leaping):
        case = test_affine.drawn(2, n, m, "free", True, given)
        inside = (band[..., :1] <= torch.arange(m)) & (torch.arange(m) < band[..., 1:])
        walled = tuple(table.masked_fill(~inside, -torch.inf) for table in case.tables)
        expected = test_affine.by_oracle(case._replace(tables=walled), affine.border_by_recurrence)
        test_affine.agree(case, expected, compute, {"band": band, **options})


def words(n: int, m: int, lengths: tuple[Tensor, Tensor] | None, band: Tensor | None) -> int:
    """How many the weights of two pairs in float32 take."""
    table, ones = torch.zeros(2, n, m), torch.ones(2)
    options = {"lengths": lengths, "leading_gaps": "forbidden", "minimise": True}
    return sweep("soft_dtw", [table], ones, upstream=ones, band=band, **options).words


def test_weights_are_kept_for_the_band_alone() -> None:
    n = m = 600
    # Ten strips of 64 rows, of up to 64 + 2 width columns and the one before.
    assert words(n, m, None, sakoe_chiba(n, m, 10)) <= 2 * 10 * 64 * (64 + 20 + 1)
    lengths = torch.tensor([n, 100]), torch.tensor([m, 90])
    whole, half = words(n, m, lengths, None), words(n, m, lengths, torch.tensor([[0, m]] * n))
    assert whole == 2 * 10 * 64 * m
    assert half == 64 * (10 * m + 2 * 90)


@pytest.mark.parametrize("plan", [{}, {"resident": 2}, {"resident": 1}])
def test_weights_of_another_band_are_not_read(plan: dict[str, int]) -> None:
    # Where an op is called with the weights of a narrower band, which a GPU is not waited for.
    n, m = 130, 140
    table, gamma = normal(2, n, m, seed=1).float(), torch.ones(2)
    result = sweep(
        "edit", [table, torch.zeros(()), torch.zeros(())], gamma, upstream=gamma, wanted=1,
        band=sakoe_chiba(n, m, 3), backward_band=sakoe_chiba(n, m, 60), **plan,
    )  # fmt: skip
    assert result.tables[0] is not None
    np.testing.assert_array_equal(result.tables[0], 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "m", "plan"), [*SOME, (300, 290, {"resident": 4})])
def test_bounds_in_any_order_touch_no_other_memory(
    n: int, m: int, plan: dict[str, int], seed: int
) -> None:
    # Where an op is called with them on a GPU; what comes out of it is worth nothing.
    generator = torch.Generator().manual_seed(seed)
    band = torch.randint(-m, 2 * m, (3, n, 2), generator=generator)
    tables = [normal(3, n, m, seed=place).float() for place in range(3)]
    ones = torch.ones(3)
    options = {"band": band, "border_upstream": normal(3, m + 1 + n, seed=3), **plan}
    assert sweep("edit", tables, ones, upstream=ones, **options).scores.shape == (3,)


@pytest.mark.parametrize(
    ("n", "m", "plan"), [*SOME, (590, 200, {}), (130, 150, {"blocks": 9, "resident": 9})]
)
def test_the_same_bits_in_every_order_of_threads_and_no_races(
    n: int, m: int, plan: dict[str, int], monkeypatch
) -> None:
    for band in (3, bounds(3, n, m=m, seed=9)):
        case = Case("edit_similarity", (3,), n, m, "step")
        check_same_bits(monkeypatch, case, plan, band=band)


@pytest.mark.parametrize("plan", [{}, {"resident": 1}])
def test_blocks_of_rows_are_the_whole(plan: dict[str, int], monkeypatch) -> None:
    case = Case("edit_similarity", (2,), 200, 90, "number")
    monkeypatch.setattr(functional, "core", core(**plan))
    match, insert, delete, gamma = case.numbers(DOUBLE)
    band = sakoe_chiba(200, 90, 7)
    options = {"gamma": gamma, "leading_gaps": "free"}
    whole = functional.sweep(case.function, match, insert, delete, band=band, **options)
    bottom = None
    for rows, columns in zip(match.split(40, -2), band.split(40), strict=True):
        block = functional.sweep(
            case.function, rows, insert, delete, top=bottom, band=columns, **options
        )
        bottom = block.bottom
    close(block.score, whole.score, TOLERANCE[DOUBLE], "score")
    close(bottom, whole.bottom, TOLERANCE[DOUBLE], "bottom")

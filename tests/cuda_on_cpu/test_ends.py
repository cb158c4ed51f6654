"""Where paths begin and end: the public functions on top of the CUDA kernels' own source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from softdp import functional, reference
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.kernels import core
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT, GAMMA_TOLERANCE, TOLERANCE, Drawn, close
from tests.softdp.support import gradients, normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

# n, m and by which blocks (test_sweeps.py): every regime, at and around the edges of strips (of 8
# to 64 rows) and of pieces (16 columns); last rows that are a lane's first and its second.
REGIMES = [
    (1, 1, {}),
    (1, 20, {}),
    (20, 1, {}),
    (16, 17, {}),
    (31, 40, {}),
    (64, 33, {"resident": 1}),
    (65, 31, {"resident": 1}),
    (97, 48, {"resident": 2}),
    (128, 17, {"resident": 2}),
    (65, 64, {"blocks": 3}),
    (130, 33, {}),
    (129, 65, {"resident": 3}),
    (70, 112, {"resident": 2}),
]
SOME = [
    (31, 40, {}),
    (97, 48, {"resident": 2}),
    (65, 64, {"blocks": 3}),
    (70, 112, {"resident": 1}),
]
FUNCTIONS = ["edit_similarity", "edit_distance", "lcs", "soft_dtw"]


class Case(Drawn):
    """Arguments of a function, and a border to begin from."""

    def __init__(self, function: str, batch: tuple[int, ...], n: int, m: int, gaps: str) -> None:
        family = function.removesuffix("_similarity").removesuffix("_distance")
        super().__init__(family, batch, n, m, gaps)
        self.function = function
        self.border = {"top": normal(*batch, m + 1, seed=20), "left": normal(*batch, n, seed=21)}
        minimises = function in ("edit_distance", "soft_dtw")
        self.border["top"][..., m // 2] = torch.inf if minimises else -torch.inf
        self.border["left"][..., n // 3] = torch.inf if minimises else -torch.inf

    def numbers(self, compute: torch.dtype) -> list[Tensor]:
        """Tables, threshold and gamma as they are in this dtype."""
        threshold = [self.threshold] if self.family == "lcs" else []
        return [x.to(compute) for x in (*self.tables, *threshold, self.gamma)]


def outcome(
    function: Callable[..., Any],
    numbers: Sequence[Tensor],
    border: dict[str, Tensor],
    options: dict[str, Any],
) -> list[Tensor]:
    """What a function puts out, and the gradients of a random sum of what is finite of it."""
    *arguments, gamma = (x.detach().requires_grad_() for x in numbers)
    border = {name: x.detach().requires_grad_() for name, x in border.items()}
    result = function(*arguments, gamma=gamma, **border, **options)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    total = sum(
        (output.double() * normal(*output.shape, seed=30 + k))[output.isfinite()].sum()
        for k, output in enumerate(outputs)
    )
    leaves = [*arguments, gamma, *border.values()]
    return [*(output.detach() for output in outputs), *gradients(total, leaves)]


def check(
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    compute: torch.dtype,
    plan: dict[str, int],
    name: str | None = None,
    border: Sequence[str] = (),
    **options: Any,
) -> None:
    """The function on top of the kernels (or "sweep" of it) against softdp.reference in float64."""
    monkeypatch.setattr(functional, "core", core(**plan))
    if case.family == "edit":
        options.setdefault("leading_gaps", "free")
    first = (case.function,) if name == "sweep" else ()
    sides = {side: case.border[side] for side in border}
    numbers = case.numbers(compute)

    def of(module: Any, dtype: torch.dtype) -> list[Tensor]:
        function = functools.partial(getattr(module, name or case.function), *first)
        return outcome(function, [x.to(dtype) for x in numbers], sides, options)

    got, wanted = of(functional, compute), of(reference, DOUBLE)
    gamma = len(wanted) - 1 - len(border)
    for place, (one, other) in enumerate(zip(got, wanted, strict=True)):
        tolerance = (GAMMA_TOLERANCE if place == gamma else TOLERANCE)[compute]
        size = other[other.isfinite()].abs().max().item() if other.isfinite().any() else 0.0
        close(one / (1 + size), other / (1 + size), tolerance, f"output {place}")


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("n", "m", "plan"), REGIMES)
def test_borders_in_and_out(
    n: int, m: int, plan: dict[str, int], ragged: bool, compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_similarity", (4,), n, m, "step")
    lengths = case.ragged() if ragged else None
    check(monkeypatch, case, compute, plan, "sweep", ("top", "left"), lengths=lengths)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
@pytest.mark.parametrize("border", [("top", "left"), ("top",), ()])
def test_borders_of_every_family(
    border: tuple[str, ...],
    n: int,
    m: int,
    plan: dict[str, int],
    function: str,
    compute: torch.dtype,
    monkeypatch,
) -> None:
    case = Case(function, (3,), n, m, "step" if function == "edit_distance" else "cell")
    options: dict[str, Any] = {"gate_width": 0.5} if function == "lcs" else {}
    if function == "edit_distance":
        options["leading_gaps"] = "paid"
    check(monkeypatch, case, compute, plan, "sweep", border, **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("leading", ["free", "paid", "forbidden", ("free", "paid")])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_borders_out_of_an_empty_sequence(
    n: int, m: int, plan: dict[str, int], leading: Any, compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_distance", (4,), n, m, "step")
    lengths = torch.tensor([0, n, 0, n]), torch.tensor([m, 0, 0, m])
    options = {"lengths": lengths, "leading_gaps": leading}
    check(monkeypatch, case, compute, plan, "sweep", **options)
    check(monkeypatch, case, compute, plan, "sweep", ("top",), **options)


ENDS = [
    ("free", "free"),
    ("free", "forbidden"),
    ("forbidden", ("free", "paid")),
    ("paid", ("paid", "free")),
    (("free", "paid"), ("forbidden", "free")),
    (("paid", "forbidden"), ("forbidden", "paid")),
    (("forbidden", "free"), ("paid", "forbidden")),
]


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), REGIMES)
def test_closed_arcs(
    n: int, m: int, plan: dict[str, int], compute: torch.dtype, monkeypatch
) -> None:
    case = Case("edit_similarity", (4,), n, m, "step")
    for lengths in (None, case.ragged()):
        options = {"trailing_gaps": ("forbidden", "forbidden"), "lengths": lengths}
        check(monkeypatch, case, compute, plan, **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("function", ["edit_similarity", "edit_distance"])
@pytest.mark.parametrize(("leading", "trailing"), ENDS)
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_ends(
    n: int,
    m: int,
    plan: dict[str, int],
    leading: Any,
    trailing: Any,
    function: str,
    compute: torch.dtype,
    monkeypatch,
) -> None:
    gaps = "step" if "paid" in leading or leading == "paid" else "cell"
    case = Case(function, (4,), n, m, gaps)
    options = {"leading_gaps": leading, "trailing_gaps": trailing}
    check(monkeypatch, case, compute, plan, **options, lengths=case.ragged())


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_open_ends_of_soft_dtw(
    n: int, m: int, plan: dict[str, int], compute: torch.dtype, monkeypatch
) -> None:
    case = Case("soft_dtw", (4,), n, m, "")
    check(monkeypatch, case, compute, plan, open_begin=True, open_end=True, lengths=case.ragged())


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("n", "m", "plan"), SOME)
def test_what_the_scaled_form_does_not_reach(
    n: int, m: int, plan: dict[str, int], compute: torch.dtype, monkeypatch
) -> None:
    # gamma 0; a border of 1e30; NaN and +inf where the arcs are closed; an ordinary pair.
    case = Case("edit_similarity", (4,), n, m, "cell")
    case.gamma[0] = 0
    case.border["top"][1] *= 1e30
    options = {"trailing_gaps": ("forbidden", "forbidden")}
    check(monkeypatch, case, compute, plan, "sweep", ("top", "left"))
    case.tables[2] = case.tables[2].expand(4, n, m).clone()
    case.tables[1][2, -1] = torch.nan
    case.tables[2][2, :, -1] = torch.inf
    check(monkeypatch, case, compute, plan, **options)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
def test_a_border_leaves_a_table_half_of_the_exponents(compute: torch.dtype, monkeypatch) -> None:
    # Each alone is within reach in float32, and both together are not.
    case = Case("edit_similarity", (1,), 1, 64, "number")
    case.gamma = torch.ones(1, dtype=DOUBLE)
    case.tables = [torch.full_like(table, -2.7e6) for table in case.tables]
    case.border = {name: torch.full_like(side, -torch.inf) for name, side in case.border.items()}
    case.border["top"][0, 0] = -9e7
    check(monkeypatch, case, compute, {}, "sweep", ("top", "left"))


@pytest.mark.parametrize("plan", [{}, {"resident": 1}])
def test_blocks_of_rows_are_the_whole(plan: dict[str, int], monkeypatch) -> None:
    case = Case("edit_similarity", (2,), 400, 40, "number")
    match, insert, delete, gamma = (x.requires_grad_() for x in case.numbers(FLOAT))
    in_double = (x.double() for x in (match, insert, delete))
    whole = reference.sweep(case.function, *in_double, gamma=gamma.double())
    monkeypatch.setattr(functional, "core", core(**plan))
    bottom = None
    for rows in match.split(40, -2):
        block = functional.sweep(case.function, rows, insert, delete, top=bottom, gamma=gamma)
        bottom = block.bottom
    close(block.score.detach(), whole.score.detach(), TOLERANCE[FLOAT], "score")
    close(bottom.detach(), whole.bottom.detach(), TOLERANCE[FLOAT], "bottom")
    got, wanted = (gradients(result.score.sum(), [match])[0] for result in (block, whole))
    close(got, wanted.double(), TOLERANCE[FLOAT], "gradient")


def check_same_bits(
    monkeypatch: pytest.MonkeyPatch, case: Case, plan: dict[str, int], **options: Any
) -> None:
    """Two calls, in several orders of threads and under a race detector."""
    options["lengths"] = case.ragged()

    def run(**more: Any) -> list[Tensor]:
        monkeypatch.setattr(functional, "core", core(**plan, **more))
        sweep = functools.partial(functional.sweep, case.function)
        ends = {**options, "leading_gaps": "paid", "trailing_gaps": "free"}
        swept = outcome(sweep, case.numbers(FLOAT), case.border, options)
        return swept + outcome(functional.edit_similarity, case.numbers(FLOAT), {}, ends)

    first, *others = (run(seed=seed) for seed in range(4))
    for other in (*others, run(races=True)):
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))


@pytest.mark.parametrize(("n", "m", "plan"), [*SOME, (590, 20, {})])
def test_the_same_bits_in_every_order_of_threads_and_no_races(
    n: int, m: int, plan: dict[str, int], monkeypatch
) -> None:
    check_same_bits(monkeypatch, Case("edit_similarity", (3,), n, m, "step"), plan)

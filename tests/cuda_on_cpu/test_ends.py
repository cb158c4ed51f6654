"""Where paths begin and end: the public functions on top of the CUDA kernels' own source."""

from __future__ import annotations

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

# n, m and the plan: every regime, at and around the edges of strips (of 8 to 64 rows), of groups of
# strips, of pieces (16 columns) and of tiles; last rows that are a lane's first and its second.
REGIMES = [
    (1, 1, {}),
    (1, 20, {}),
    (20, 1, {}),
    (16, 17, {}),
    (31, 40, {}),
    (64, 33, {"warps": 1}),
    (65, 31, {"warps": 1}),
    (97, 48, {"warps": 2}),
    (128, 17, {"warps": 2}),
    (65, 64, {"warps": 1, "columns": 32}),
    (130, 33, {"warps": 1, "columns": 16}),
    (129, 65, {"warps": 2, "columns": 32}),
]
SOME = [(31, 40, {}), (97, 33, {"warps": 2}), (65, 64, {"warps": 1, "columns": 32})]
FUNCTIONS = ["edit_similarity", "edit_distance", "lcs", "soft_dtw"]
NOWHERE = {"edit_similarity": -torch.inf, "lcs": -torch.inf}  # else inf


class Case(Drawn):
    """Arguments of a function, and a border to begin from."""

    def __init__(self, function: str, batch: tuple[int, ...], n: int, m: int, gaps: str) -> None:
        family = function.removesuffix("_similarity").removesuffix("_distance")
        super().__init__(family, batch, n, m, gaps)
        self.function = function
        nowhere = NOWHERE.get(function, torch.inf)
        self.top, self.left = normal(*batch, m + 1, seed=20), normal(*batch, n, seed=21)
        self.top[..., m // 2] = self.left[..., n // 3] = nowhere

    def arguments(self, compute: torch.dtype) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Tables and numbers, in leaves of this dtype but for the border's float64."""
        tables = [table.to(compute) for table in self.tables]
        if self.family == "lcs":
            tables.append(self.threshold.to(compute))
        leaves = [leaf.detach().clone().requires_grad_() for leaf in (*tables, self.gamma)]
        leaves[-1] = self.gamma.to(compute).detach().requires_grad_()
        return leaves[:-1], {"gamma": leaves[-1]}


def outcome(
    call: Callable[..., Any],
    case: Case,
    dtypes: tuple[torch.dtype, torch.dtype],
    border: Sequence[str],
    options: dict[str, Any],
) -> list[Tensor]:
    """What a function puts out, and the gradients of a random sum of what is finite of it."""
    tables, numbers = case.arguments(dtypes[0])
    tables = [table.detach().to(dtypes[1]).requires_grad_() for table in tables]
    numbers = {name: x.detach().to(dtypes[1]).requires_grad_() for name, x in numbers.items()}
    sides = {name: getattr(case, name).clone().requires_grad_() for name in border}
    result = call(*tables, **numbers, **sides, **options)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    total = sum(
        (output.double() * normal(*output.shape, seed=30 + k))[output.isfinite()].sum()
        for k, output in enumerate(outputs)
    )
    leaves = [*tables, *numbers.values(), *sides.values()]
    return [*(output.detach() for output in outputs), *gradients(total, leaves)]


def check(
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    compute: torch.dtype,
    plan: dict[str, int],
    function: str | None = None,
    border: Sequence[str] = (),
    **options: Any,
) -> None:
    """The function on top of the kernels against the specification in float64."""
    monkeypatch.setattr(functional, "_core", core(**plan))
    if case.family == "edit":
        options.setdefault("leading_gaps", "free")
    name = function or case.function
    arguments = (case.function,) if name == "sweep" else ()

    def call(module: Any) -> Callable[..., Any]:
        return lambda *tables, **more: getattr(module, name)(*arguments, *tables, **more)

    got = outcome(call(functional), case, (compute, compute), border, options)
    wanted = outcome(call(reference), case, (compute, DOUBLE), border, options)
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
    options = {"gate_width": 0.5} if function == "lcs" else {}
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
    case.top[1] *= 1e30
    options = {"trailing_gaps": ("forbidden", "forbidden")}
    check(monkeypatch, case, compute, plan, "sweep", ("top", "left"))
    case.tables[2] = case.tables[2].expand(4, n, m).clone()
    case.tables[1][2, -1] = torch.nan
    case.tables[2][2, :, -1] = torch.inf
    check(monkeypatch, case, compute, plan, **options)


@pytest.mark.parametrize("plan", [{}, {"warps": 1, "columns": 32}])
def test_blocks_of_rows_are_the_whole(plan: dict[str, int], monkeypatch) -> None:
    case = Case("edit_similarity", (2,), 400, 40, "number")
    (match, insert, delete), numbers = case.arguments(FLOAT)
    whole = reference.sweep(
        "edit_similarity", *(x.double() for x in (match, insert, delete)), gamma=case.gamma
    )
    monkeypatch.setattr(functional, "_core", core(**plan))
    bottom = None
    for rows in match.split(40, -2):
        block = functional.sweep("edit_similarity", rows, insert, delete, top=bottom, **numbers)
        bottom = block.bottom
    close(block.score.detach(), whole.score.detach(), TOLERANCE[FLOAT], "score")
    close(bottom.detach(), whole.bottom.detach(), TOLERANCE[FLOAT], "bottom")
    got, wanted = (gradients(result.score.sum(), [match])[0] for result in (block, whole))
    close(got, wanted.double(), TOLERANCE[FLOAT], "gradient")


@pytest.mark.parametrize(("n", "m", "plan"), [*SOME, (590, 20, {"warps": 8})])
def test_the_same_bits_in_every_order_of_threads_and_no_races(
    n: int, m: int, plan: dict[str, int], monkeypatch
) -> None:
    case = Case("edit_similarity", (3,), n, m, "step")
    options = {"lengths": case.ragged(), "trailing_gaps": "free", "leading_gaps": "paid"}

    def run(**more: Any) -> list[Tensor]:
        monkeypatch.setattr(functional, "_core", core(**plan, **more))
        swept = outcome(
            lambda *tables, **given: functional.sweep("edit_similarity", *tables, **given),
            case,
            (FLOAT, FLOAT),
            ("top", "left"),
            {"lengths": options["lengths"]},
        )
        return swept + outcome(functional.edit_similarity, case, (FLOAT, FLOAT), (), options)

    first, *others = (run(seed=seed) for seed in range(4))
    for other in (*others, run(races=True)):
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))

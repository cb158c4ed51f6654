"""The CUDA kernels' own source against the specification: every regime, at and around its edges.

Float32 strips have 16, 32 or 64 rows, float64 ones 8, 16 or 32 (kRows rows a lane); pieces have 16
columns. Where a table has several strips, `blocks` is how many blocks take them, and `resident` how
many of these run at a time; else the plan and the seed say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from softdp import reference
from tests.cuda_on_cpu.build import Fault, why_not
from tests.cuda_on_cpu.kernels import Result, sweep
from tests.softdp.support import LEADING_GAPS, normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

FLOAT, DOUBLE = torch.float32, torch.float64
# What float32 work may differ by from float64: 16-bit weights, and gamma's entropy of them.
TOLERANCE = {FLOAT: 2e-4, DOUBLE: 1e-9}
GAMMA_TOLERANCE = {FLOAT: 1e-2, DOUBLE: 1e-9}

SHORT = [(1, 1), (1, 40), (40, 1), (5, 5), (8, 9), (15, 16), (16, 15), (17, 33), (31, 2), (64, 70)]
# n, m and by which blocks.
LARGER = [
    (33, 16, {"resident": 1}),
    (65, 17, {"resident": 1}),
    (65, 31, {"resident": 2}),
    (128, 33, {"resident": 2}),
    (129, 48, {"resident": 2}),
    (200, 5, {"resident": 4}),
    (70, 300, {"resident": 2}),
    (300, 40, {"resident": 1}),
    (600, 20, {"resident": 4}),
    (64, 33, {}),
    (65, 64, {"blocks": 1}),
    (130, 65, {"blocks": 3}),
    (129, 63, {"blocks": 2, "resident": 2}),
    (150, 100, {"blocks": 40, "resident": 16}),
    (70, 16, {"resident": 16}),
]


class Drawn:
    """A batch of problems, the same for every device and dtype."""

    def __init__(self, family: str, batch: tuple[int, ...], n: int, m: int, gaps: str) -> None:
        self.family, self.gaps, self.batch = family, gaps, batch
        shape = (*batch, n, m)
        gap_shapes = ((1, m), (*batch, n, 1)) if gaps != "cell" else (shape, (n, m))
        gap_shapes = ((), (1,)) if gaps == "number" else gap_shapes
        shapes = [shape, *gap_shapes] if family == "edit" else [shape]
        self.tables = [normal(*shape, seed=place) for place, shape in enumerate(shapes)]
        self.gamma = normal(*batch, seed=8).abs() + 0.2
        self.threshold = normal(*batch, seed=9) * 0.3
        self.upstream = normal(*batch, seed=10)

    def ragged(self) -> tuple[Tensor, Tensor]:
        n, m = self.tables[0].shape[-2:]
        generator = torch.Generator().manual_seed(n + m)
        draw = [torch.randint(0, size + 1, self.batch, generator=generator) for size in (n, m)]
        draw[0].view(-1)[0], draw[1].view(-1)[0] = n, m
        return draw[0], draw[1]


def wanted(drawn: Drawn, tables: Sequence[Tensor], options: dict[str, Any]) -> list[Tensor]:
    """Scores and gradients of the specification in float64."""
    leaves = [t.double().detach().requires_grad_() for t in tables]
    gamma = drawn.gamma.clone().requires_grad_()
    threshold = drawn.threshold.clone().requires_grad_()
    common = {"gamma": gamma, "lengths": options.get("lengths")}
    if drawn.family == "edit":
        distance = options.get("minimise", False)
        function = reference.edit_distance if distance else reference.edit_similarity
        score = function(*leaves, leading_gaps=options.get("leading_gaps", "free"), **common)
    elif drawn.family == "soft_dtw":
        score = reference.soft_dtw(*leaves, **common)
    else:
        score = reference.lcs(
            *leaves, threshold, gate_width=options.get("gate_width", 0.0), **common
        )
    differentiable = [*leaves, gamma, threshold]
    gradients = torch.autograd.grad(
        score, differentiable, drawn.upstream, allow_unused=True, materialize_grads=True
    )
    return [score.detach(), *gradients]


def run(drawn: Drawn, tables: Sequence[Tensor], compute: torch.dtype, **options: Any) -> Result:
    return sweep(
        drawn.family,
        tables,
        drawn.gamma.to(compute),
        upstream=drawn.upstream,
        parameter=drawn.threshold.to(compute) if drawn.family == "lcs" else None,
        **options,
    )


def check(drawn: Drawn, tables: Sequence[Tensor], compute: torch.dtype, **options: Any) -> Result:
    expected = wanted(drawn, [table.detach().to(compute) for table in tables], options)
    if drawn.family == "soft_dtw":
        options |= {"leading_gaps": "forbidden", "minimise": True}
    result = run(drawn, tables, compute, **options)
    half = 0.02 if tables[0].element_size() == 2 else 0.0
    close(result.scores, expected[0], TOLERANCE[compute], "scores")
    for k, gradient in enumerate(result.tables):
        close(gradient, expected[1 + k], TOLERANCE[compute] + half, f"gradient of table {k}")
    close(result.gamma, expected[-2], GAMMA_TOLERANCE[compute], "gradient of gamma")
    if drawn.family == "lcs":
        close(result.parameter, expected[-1], 10 * TOLERANCE[compute], "gradient of threshold")
    return result


def close(actual: Tensor | None, expected: Tensor, tolerance: float, what: str) -> None:
    assert actual is not None, what
    np.testing.assert_allclose(
        actual.double().numpy(), expected.numpy(), rtol=tolerance, atol=tolerance, err_msg=what
    )


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize(("n", "m"), SHORT)
def test_short(n: int, m: int, leading_gaps: str, compute: torch.dtype) -> None:
    drawn = Drawn("edit", (5,), n, m, "step")
    tables = [table.to(compute) for table in drawn.tables]
    check(drawn, tables, compute, leading_gaps=leading_gaps, seed=n)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize(("n", "m", "plan"), LARGER)
def test_larger(
    n: int, m: int, plan: dict[str, int], leading_gaps: str, compute: torch.dtype
) -> None:
    drawn = Drawn("edit", (2,), n, m, "step")
    tables = [table.to(compute) for table in drawn.tables]
    check(drawn, tables, compute, leading_gaps=leading_gaps, **plan, seed=n + m)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("gaps", ["number", "cell"])
@pytest.mark.parametrize("plan", [{"resident": 1}, {"resident": 3}])
def test_gap_forms_and_distances(plan: dict[str, int], gaps: str, compute: torch.dtype) -> None:
    drawn = Drawn("edit", (3,), 70, 50, gaps)
    tables = [table.to(compute) for table in drawn.tables]
    check(drawn, tables, compute, leading_gaps="free", minimise=True, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("plan", [{"resident": 1}, {"resident": 2}, {"blocks": 5, "resident": 5}])
@pytest.mark.parametrize(
    ("family", "options"),
    [("soft_dtw", {}), ("lcs", {"gate_width": 0.0}), ("lcs", {"gate_width": 0.5})],
)
def test_other_families(
    family: str, options: dict[str, float], plan: dict[str, int], compute: torch.dtype
) -> None:
    drawn = Drawn(family, (3,), 75, 45, "")
    if family == "soft_dtw":
        drawn.tables = [table.abs() for table in drawn.tables]
    check(drawn, [table.to(compute) for table in drawn.tables], compute, **options, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("leading_gaps", LEADING_GAPS)
@pytest.mark.parametrize(
    ("batch", "n", "m", "plan"),
    [
        ((21,), 12, 20, {}),
        ((4, 3), 40, 37, {}),
        ((5,), 150, 80, {"resident": 4}),
        ((5,), 150, 80, {"blocks": 3, "resident": 1}),
    ],
)
def test_lengths(
    batch: tuple[int, ...],
    n: int,
    m: int,
    plan: dict[str, int],
    leading_gaps: str,
    compute: torch.dtype,
) -> None:
    drawn = Drawn("edit", batch, n, m, "step")
    lengths = drawn.ragged()
    options = {"leading_gaps": leading_gaps, "lengths": lengths, **plan}
    tables = [table.to(compute) for table in drawn.tables]
    result = check(drawn, tables, compute, **options)
    # Nothing of the padding is read, and its gradient is exactly 0.
    i, j = torch.arange(n)[:, None], torch.arange(m)
    beyond = (i >= lengths[0][..., None, None]) | (j >= lengths[1][..., None, None])
    poisoned = [tables[0].masked_fill(beyond, torch.nan), *tables[1:]]
    again = run(drawn, poisoned, compute, **options)
    assert torch.equal(again.scores, result.scores)
    assert result.tables[0] is not None
    assert (result.tables[0][beyond] == 0).all()


@pytest.mark.parametrize("layout", ["transposed", "sliced", "expanded", "offset"])
@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("plan", [{"resident": 1}, {"resident": 2}, {"blocks": 5, "resident": 5}])
def test_strides_and_element_types(layout: str, dtype: torch.dtype, plan: dict[str, int]) -> None:
    n, m, batch = 68, 36, (2, 3)
    drawn = Drawn("edit", batch, n, m, "number")
    memory = {
        "transposed": normal(*batch, m, n, seed=1).mT,
        "sliced": normal(*batch, 2 * n, m + 3, seed=1)[..., ::2, 3:],
        "expanded": normal(3, n, m, seed=1).expand(*batch, n, m),
        "offset": normal(5 + 6 * n * m, seed=1)[5:].view(*batch, n, m),
    }[layout]
    strided = torch.empty_strided(memory.shape, memory.stride(), dtype=dtype)
    if layout != "expanded":
        strided.copy_(memory)
    else:
        strided = memory[0].to(dtype).expand(*batch, n, m)
    compute = DOUBLE if dtype == DOUBLE else FLOAT
    gaps = [table.to(compute) for table in drawn.tables[1:]]
    check(drawn, [strided, *gaps], compute, **plan)


@pytest.mark.parametrize("compute", [FLOAT, DOUBLE])
@pytest.mark.parametrize("plan", [{"resident": 1}, {"resident": 2}, {"blocks": 5, "resident": 5}])
def test_what_the_scaled_form_does_not_reach(plan: dict[str, int], compute: torch.dtype) -> None:
    # Pairs of one batch: gamma 0, masks of -1e30 and -inf, +inf in a corner, and an ordinary one.
    drawn = Drawn("edit", (5,), 70, 40, "number")
    drawn.tables = [(table * 4).round() / 4 for table in drawn.tables]
    drawn.gamma = torch.tensor([0.0, 0.5, 0.5, 0.5, 0.5], dtype=DOUBLE)
    drawn.tables[0][1, 30:, 5] = -1e30
    drawn.tables[0][2, 10:60] = -torch.inf
    drawn.tables[0][3, 69, 39] = torch.inf
    tables = [table.to(compute) for table in drawn.tables]
    result = run(drawn, tables, compute, **plan)
    expected = wanted(drawn, [table.to(compute) for table in tables], {})
    assert result.scores[3] == torch.inf
    finite = [0, 1, 2, 4]
    close(result.scores[finite], expected[0][finite], TOLERANCE[compute], "scores")
    assert result.tables[0] is not None
    close(
        result.tables[0][finite],
        expected[1][finite],
        TOLERANCE[compute],
        "gradient of match",
    )


@pytest.mark.parametrize("plan", [{"resident": 1}, {"resident": 2}, {"blocks": 5, "resident": 5}])
def test_nan_and_no_path(plan: dict[str, int]) -> None:
    drawn = Drawn("edit", (3,), 70, 40, "number")
    tables = [table.float() for table in drawn.tables]
    tables[0][0, 3, 3] = torch.nan
    tables[0][1] = -torch.inf
    tables[1] = tables[2] = torch.tensor(-torch.inf)
    result = run(drawn, tables, FLOAT, leading_gaps="forbidden", wanted=1, **plan)
    assert result.scores[0].isnan() or result.scores[0] == -torch.inf
    assert (result.scores[1:] == -torch.inf).all()
    assert result.tables[0] is not None
    assert (result.tables[0][1:] == 0).all()


@pytest.mark.parametrize(
    ("n", "m", "plan"),
    [
        (20, 30, {}),
        (130, 60, {"resident": 1}),
        (130, 60, {"resident": 2}),
        (130, 60, {"blocks": 9, "resident": 9}),
        (590, 20, {}),
    ],
)
def test_bitwise_the_same_for_every_order_of_threads(n: int, m: int, plan: dict[str, int]) -> None:
    drawn = Drawn("edit", (3,), n, m, "step")
    tables = [table.float() for table in drawn.tables]
    first, *others = (run(drawn, tables, FLOAT, **plan, seed=seed) for seed in range(8))
    others += [run(drawn, tables, FLOAT, blocks=blocks, resident=3) for blocks in (1, 2, 50)]
    for other in others:
        assert torch.equal(other.scores, first.scores)
        assert torch.equal(other.gamma, first.gamma)
        assert all(torch.equal(a, b) for a, b in zip(other.tables, first.tables, strict=True))


@pytest.mark.parametrize("family", ["edit", "lcs"])
@pytest.mark.parametrize(
    ("n", "m", "plan"),
    [
        (20, 30, {}),
        (130, 60, {"resident": 1}),
        (130, 60, {"resident": 2}),
        (130, 60, {"blocks": 9, "resident": 9}),
        (590, 20, {}),
    ],
)
def test_no_races(family: str, n: int, m: int, plan: dict[str, int]) -> None:
    drawn = Drawn(family, (3,), n, m, "step")
    tables = [table.float() for table in drawn.tables]
    options = {"leading_gaps": "paid"} if family == "edit" else {"gate_width": 0.3}
    run(drawn, tables, FLOAT, lengths=drawn.ragged(), races=True, **options, **plan)


@pytest.mark.parametrize("wanted_bits", [0b0001, 0b0010, 0b0100, 0b1000, 0b0110])
def test_only_what_is_wanted_is_computed(wanted_bits: int) -> None:
    drawn = Drawn("edit", (3,), 20, 30, "step")
    tables = [table.float() for table in drawn.tables]
    everything = run(drawn, tables, FLOAT)
    some = run(drawn, tables, FLOAT, wanted=wanted_bits)
    for k in range(3):
        assert (some.tables[k] is not None) == bool(wanted_bits >> k & 1)
        if some.tables[k] is not None:
            assert torch.equal(some.tables[k], everything.tables[k])
    assert (some.gamma is not None) == bool(wanted_bits >> 3)


def test_the_score_alone_needs_no_weights() -> None:
    drawn = Drawn("edit", (3,), 70, 30, "step")
    tables = [table.float() for table in drawn.tables]
    alone = run(drawn, tables, FLOAT, keep_weights=0)
    assert torch.equal(alone.scores, run(drawn, tables, FLOAT).scores)


def test_weights_that_begin_anywhere_are_refused() -> None:
    drawn = Drawn("edit", (3,), 20, 30, "step")
    with pytest.raises(Fault, match="the weights must begin at a multiple of 16 bytes"):
        run(drawn, [table.float() for table in drawn.tables], FLOAT, misalign=8)

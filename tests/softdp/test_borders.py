"""A table that is a part of a larger one: borders in and out, and blocks of rows."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import softdp
from softdp import reference
from tests.softdp.path_enumeration import Rules, Table, score
from tests.softdp.support import gradients, normal

# Of each family: the tables after the first one, and options.
FAMILIES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "edit_similarity": ((-0.4, -0.3), {"gamma": 0.6}),
    "edit_distance": ((0.4, 0.3), {"gamma": 0.6}),
    "lcs": ((0.1,), {"gamma": 0.6, "gate_width": 0.3}),
    "soft_dtw": ((), {"gamma": 0.6}),
}


def test_borders_against_every_path(implementation: ModuleType, device: torch.device) -> None:
    n, m = 3, 3
    table = Table(
        normal(n, m, seed=1).numpy(), normal(n + 1, m, seed=2).numpy(),
        normal(n, m + 1, seed=3).numpy(),
    )  # fmt: skip
    top = normal(m + 1, seed=4).to(device).requires_grad_()
    left = normal(n, seed=5).to(device).requires_grad_()
    begins = {(0, j): top[j].item() for j in range(m + 1)}
    begins |= {(i + 1, 0): left[i].item() for i in range(n)}
    tables = table.match, table.insert[1:], table.delete[:, 1:]
    leaves = [torch.tensor(each, device=device, requires_grad=True) for each in tables]
    result = implementation.sweep("edit_similarity", *leaves, top=top, left=left, gamma=0.7)
    ends = {(n, j): result.bottom[j] for j in range(m + 1)}
    ends |= {(i, m): result.right[i - 1] for i in range(1, n + 1)}
    for end, value in ends.items():
        wanted = score(table, 0.7, Rules(begins=begins), [end])
        np.testing.assert_allclose(value.item(), wanted.score, rtol=1e-10)
        got = torch.autograd.grad(value, [*leaves, top, left], retain_graph=True)
        for gradient, expected in zip(
            got[:3],
            (wanted.table.match, wanted.table.insert[1:], wanted.table.delete[:, 1:]),
            strict=True,
        ):
            np.testing.assert_allclose(gradient.cpu().numpy(), expected, atol=1e-10)
        arrived = [wanted.begins[0, j] for j in range(m + 1)]
        np.testing.assert_allclose(got[3].cpu().numpy(), arrived, atol=1e-10)
        arrived = [wanted.begins[i + 1, 0] for i in range(n)]
        np.testing.assert_allclose(got[4].cpu().numpy(), arrived, atol=1e-10)
    assert result.score.item() == result.bottom[m].item() == result.right[n - 1].item()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradcheck(implementation: ModuleType, device: torch.device, family: str) -> None:
    rest, options = FAMILIES[family]
    leaves = [
        normal(*shape, seed=k).to(device).requires_grad_()
        for k, shape in enumerate([(2, 3, 4), (2, 5), (2, 3)])
    ]
    lengths = torch.tensor([3, 2]), torch.tensor([3, 4])

    def swept(table: Tensor, top: Tensor, left: Tensor) -> tuple[Tensor, ...]:
        parts = implementation.sweep(
            family, table, *rest, top=top, left=left, lengths=lengths, **options
        )
        return tuple(part.masked_fill(part.isinf(), 0) for part in parts)

    assert gradcheck(swept, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 40, 9), (5, 33, 70), (17, 5, 31), (2, 0, 4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_borders_agree_with_the_reference(
    compiled: ModuleType,
    device: torch.device,
    family: str,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
) -> None:
    batch, n, m = shape
    rest, options = FAMILIES[family]
    leaves = [
        normal(*each, seed=k).to(device, dtype).requires_grad_()
        for k, each in enumerate([shape, (batch, m + 1), (batch, n)])
    ]
    ragged = torch.arange(batch) % (n + 1), (torch.arange(batch) * 7) % (m + 1)
    for lengths in (None, ragged):
        outcomes = []
        for module in (compiled, reference):
            parts = module.sweep(
                family, leaves[0], *rest, top=leaves[1], left=leaves[2], lengths=lengths, **options
            )
            weights = [
                torch.linspace(0.5, 1.5, part.numel(), device=device).reshape(part.shape) / (n + m)
                for part in parts
            ]
            total = sum(
                (part.masked_fill(part.isinf(), 0).double() * weight).sum()
                for part, weight in zip(parts, weights, strict=True)
            )
            outcomes.append((*parts, *torch.autograd.grad(total, leaves)))
        tolerance = 1e-11 if dtype == torch.float64 else 3e-4
        for got, wanted in zip(*outcomes, strict=True):
            torch.testing.assert_close(
                got.double(), wanted.double(), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("family", FAMILIES)
def test_two_parts_are_the_whole_either_way(
    compiled: ModuleType, device: torch.device, family: str, dtype: torch.dtype, tolerance: float
) -> None:
    rest, options = FAMILIES[family]
    table = normal(2, 50, 60, seed=1).to(device, dtype)
    whole = compiled.sweep(family, table, *rest, **options)
    above = compiled.sweep(family, table[:, :19], *rest, **options)
    below = compiled.sweep(family, table[:, 19:], *rest, top=above.bottom, **options)
    torch.testing.assert_close(below.bottom, whole.bottom, rtol=tolerance, atol=tolerance)
    before = compiled.sweep(family, table[..., :33], *rest, **options)
    border = compiled.sweep(family, table, *rest, **options)
    corner_on = torch.cat([_above(compiled, family, table, rest, options)[:, 33:]], -1)
    after = compiled.sweep(
        family, table[..., 33:], *rest, top=corner_on, left=before.right, **options
    )
    torch.testing.assert_close(after.bottom[:, 1:], border.bottom[:, 34:], rtol=tolerance, atol=0)
    torch.testing.assert_close(after.score, whole.score, rtol=tolerance, atol=0)


@pytest.mark.parametrize("trailing", ["free", "forbidden", ("free", "paid"), ("forbidden", "free")])
def test_the_last_part_of_a_table_has_its_trailing_gaps(
    compiled: ModuleType, device: torch.device, trailing: Any
) -> None:
    table = normal(2, 20, 15, seed=1).to(device)
    wanted = compiled.edit_similarity(table, -0.5, -0.4, trailing_gaps=trailing)
    whole = compiled.sweep("edit_similarity", table, -0.5, -0.4, trailing_gaps=trailing)
    assert whole.score.equal(wanted)


def _above(
    module: ModuleType, family: str, table: Tensor, rest: tuple[Any, ...], options: dict[str, Any]
) -> Tensor:
    """The row above a table: the bottom of one without rows."""
    return module.sweep(family, table[:, :0], *rest, **options).bottom


def test_values_far_beyond_the_exponents_are_swept_all_the_same(
    compiled: ModuleType, device: torch.device
) -> None:
    cost = normal(20, 30, seed=1).abs().to(device, torch.float32)
    near = compiled.sweep("soft_dtw", cost, gamma=1e-3)
    for far in (1e4, 1e7, 1e12):
        top = torch.full((31,), float("inf"), dtype=torch.float64, device=device)
        top[0] = far
        moved = compiled.sweep("soft_dtw", cost, gamma=1e-3, top=top)
        torch.testing.assert_close(moved.bottom - far, near.bottom, rtol=1e-5, atol=far * 1e-12)


def cost_of(x: Tensor, y: Tensor) -> Tensor:
    return (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1)


BLOCKED: list[tuple[str, Callable[[Tensor], tuple[Any, ...]], dict[str, Any]]] = [
    ("soft_dtw", lambda x: (), {"gamma": 0.5}),
    ("soft_dtw", lambda x: (), {"gamma": 0.5, "open_begin": True, "open_end": True}),
    ("soft_dtw", lambda x: (), {}),
    ("edit_distance", lambda x: (0.7, 0.9), {"gamma": 0.3}),
    ("edit_similarity", lambda x: (-0.5, x[..., :1].detach()), {"leading_gaps": ("paid", "free")}),
    ("lcs", lambda x: (1.5,), {"gate_width": 0.2}),
    ("edit_similarity", lambda x: (-0.5, -0.4), {"trailing_gaps": "free"}),
    (
        "edit_similarity",
        lambda x: (x.new_tensor([[-0.5]]), -0.4),
        {"trailing_gaps": ("forbidden", "free")},
    ),
    ("edit_similarity", lambda x: (-x.new_ones(51, 1).cumsum(0) / 40, -0.4), {}),
    (
        "edit_similarity",
        lambda x: (-x.new_ones(51, 1).cumsum(0) / 40, -0.4),
        {"trailing_gaps": "free"},
    ),
    (
        "edit_distance",
        lambda x: (0.7, x[..., :1].detach().abs()),
        {"leading_gaps": ("forbidden", "free"), "trailing_gaps": ("free", "forbidden")},
    ),
    (
        "edit_similarity",
        lambda x: (-0.5, -0.4),
        {"leading_gaps": "free", "trailing_gaps": ("paid", "free")},
    ),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("case", range(len(BLOCKED)))
def test_blocks_are_the_whole(
    compiled: ModuleType,
    device: torch.device,
    case: int,
    ragged: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    family, rest, options = BLOCKED[case]
    x, y, scale = (
        normal(*shape, seed=k).to(device, dtype).requires_grad_()
        for k, shape in enumerate([(3, 50, 4), (3, 33, 4), (4,)])
    )
    lengths = None
    if ragged:
        lengths = (
            torch.tensor([50, 17, 16], device=device),
            torch.tensor([33, 0, 20], device=device),
        )

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        return cost_of(x * scale, y)

    function = getattr(compiled, family)
    whole = function(similarity(x, y), *rest(x), lengths=lengths, **options)
    finite = whole.isfinite()
    wanted = gradients(whole[finite], [x, y, scale])
    for rows in (1, 16, 17, 50, 64):
        score = compiled.blockwise(
            similarity, x, y, *rest(x), family=family, rows=rows, lengths=lengths, **options
        )
        torch.testing.assert_close(score, whole, rtol=tolerance, atol=tolerance)
        for got, expected in zip(gradients(score[finite], [x, y, scale]), wanted, strict=True):
            assert (got - expected).norm() <= 10 * tolerance * expected.norm()
        with torch.no_grad():
            again = compiled.blockwise(
                similarity, x, y, *rest(x), family=family, rows=rows, lengths=lengths, **options
            )
        assert again.equal(score)


def test_blocks_of_several_tables_along_another_dimension(
    compiled: ModuleType, device: torch.device
) -> None:
    x, y = normal(4, 30, seed=1).to(device), normal(20, 4, seed=2).to(device)

    def tables(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return -cost_of(x.T, y), -y[None, :, 0].exp(), -x.T[:, :1].exp()

    wanted = compiled.edit_similarity(*tables(x, y), leading_gaps="paid")
    got = compiled.blockwise(
        tables, x, y, family="edit_similarity", rows=7, dim=1, leading_gaps="paid"
    )
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=0)


def test_blocks_hold_no_more_than_one_table(compiled: ModuleType, device: torch.device) -> None:
    sizes = []

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        sizes.append((x.shape[-2], torch.is_grad_enabled()))
        return cost_of(x, y)

    x = normal(100, 2, seed=1).to(device).requires_grad_()
    compiled.blockwise(similarity, x, x.detach(), rows=32).backward()
    assert [size for size, _ in sizes] == [32, 32, 32, 4, 4, 32, 32, 32]  # made again, backwards


@pytest.mark.host
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f("nw", torch.zeros(2, 3)), ValueError, "family must be one of"),
        (lambda f: f("soft_dtw"), TypeError, "soft_dtw takes cost, got 0"),
        (lambda f: f("soft_dtw", torch.zeros(2, 3), open_end=True), TypeError, "got open_end"),
        (
            lambda f: f("soft_dtw", torch.zeros(2, 3), top=torch.zeros(3)),
            ValueError,
            r"top must have shape \(4,\)",
        ),
        (
            lambda f: f("soft_dtw", torch.zeros(2, 3), left=[0.0, 0.0]),
            TypeError,
            "left must be a tensor of floats, got list",
        ),
        (
            lambda f: f("lcs", torch.zeros(2, 3), 0.5, left=torch.zeros(2, dtype=torch.int64)),
            TypeError,
            "left must be a tensor of floats, got int64",
        ),
    ],
)
def test_sweep_says_what_does_not_fit(
    implementation: ModuleType, call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^sweep: .*{message}"):
        call(implementation.sweep)


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows must be an integer of at least 1, got 0"),
        ({"dim": 2}, "dim must be one of x's 2 dimensions, got 2"),
        ({"family": "nw"}, "family must be one of"),
        ({"family": "lcs", "open_end": True}, "open_begin and open_end are for family"),
        ({"family": "lcs", "trailing_gaps": "free"}, "trailing_gaps are for the edit families"),
        ({"family": "edit_distance", "trailing_gaps": "open"}, "trailing_gaps must be 'free'"),
        ({"lengths": (torch.tensor(9), torch.tensor(3))}, r"lengths\[0\] must be in 0\.\.5, got 9"),
    ],
)
def test_blockwise_says_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^blockwise: {message}"):
        softdp.blockwise(cost_of, torch.zeros(5, 2), torch.zeros(3, 2), **options)


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": 1}, "soft_dtw takes gamma, got band"),
        (
            {"family": "lcs", "leading_gaps": "free"},
            "lcs takes gamma, gate_width, got leading_gaps",
        ),
        ({"open_begin": True, "gamma": "1"}, "gamma must be a number or a tensor, got str"),
        ({"open_end": 1}, "open_end must be True or False, got 1"),
        ({"lengths": (2.5, None)}, r"lengths\[0\] must be of integers, got float32"),
    ],
)
def test_blockwise_refuses_what_blocks_cannot_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^blockwise: {message}"):
        softdp.blockwise(cost_of, torch.zeros(5, 2), torch.zeros(3, 2), **options)


@pytest.mark.parametrize(
    "lengths", [(None, 2), (4, None), (None, None), (torch.tensor([[1], [5]]), [0, 3, 2])]
)
def test_blocks_take_lengths_in_any_form(
    compiled: ModuleType, device: torch.device, lengths: Any
) -> None:
    table = normal(2, 3, 5, 3, seed=1).to(device)
    one = torch.ones(1, dtype=torch.float64, device=device)
    ends = {"open_begin": True, "open_end": True}
    for options in ({}, ends, {**ends, "gamma": one}, {**ends, "gamma": one.expand(2, 1)}):
        whole = compiled.soft_dtw(table, lengths=lengths, **options)
        for rows in (1, 3, 9):
            got = compiled.blockwise(
                lambda x, _: x, table, table, rows=rows, lengths=lengths, **options
            )
            torch.testing.assert_close(got, whole)


@pytest.mark.host
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_blocks_of_any_size_refuse_leading_gaps_that_vary(rows: int) -> None:
    table = torch.zeros(5, 3)
    with pytest.raises(ValueError, match="leading_gaps='paid' in y needs an insert that does not"):
        softdp.blockwise(
            lambda x, _: x, table, table, table, 1.0, family="edit_similarity", rows=rows
        )

"""Second derivatives of every function, by every argument that has one, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from softdp import reference
from tests.softdp.support import gradients, normal

N, M = 4, 3
LENGTHS = torch.tensor([4, 0, 2]), torch.tensor([3, 2, 1])
Score = Callable[..., Tensor]
Arguments = tuple[Score, tuple[Tensor, ...]]


def gamma() -> Tensor:
    return 0.5 + torch.sigmoid(normal(3, seed=9))


def edit(module: ModuleType, name: str = "edit_similarity", **options: object) -> Arguments:
    def score(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor) -> Tensor:
        return getattr(module, name)(match, insert, delete, gamma=gamma, **options)

    tables = normal(3, N, M, seed=1), normal(3, 1, M, seed=2), normal(N, 1, seed=3)
    return score, (*tables, gamma())


def varying(module: ModuleType) -> Arguments:
    score, (match, _, _, smoothing) = edit(module, trailing_gaps=("free", "paid"))
    return score, (match, normal(N + 1, M, seed=2), normal(3, N, M + 1, seed=3), smoothing)


def lcs(module: ModuleType, gate_width: float) -> Arguments:
    def score(similarity: Tensor, threshold: Tensor, gamma: Tensor) -> Tensor:
        return module.lcs(similarity, threshold, gamma=gamma, gate_width=gate_width)

    return score, (normal(3, N, M, seed=1), normal(3, seed=2) / 9, gamma())


def step(module: ModuleType) -> Arguments:
    score, (similarity, threshold, smoothing) = lcs(module, 0)
    return lambda c, g: score(c, threshold.to(c), g), (similarity, smoothing)


def soft_dtw(module: ModuleType, **options: object) -> Arguments:
    def score(cost: Tensor, gamma: Tensor) -> Tensor:
        return module.soft_dtw(cost, gamma=gamma, **options)

    return score, (normal(3, N, M, seed=1), gamma())


def borders(module: ModuleType) -> Arguments:
    def outputs(match: Tensor, insert: Tensor, top: Tensor, left: Tensor, gamma: Tensor) -> Tensor:
        found = module.sweep(
            "edit_distance", match, insert, 0.3, top=top, left=left, gamma=gamma,
            lengths=(torch.tensor([4, 3, 2]), torch.tensor([3, 3, 1])),
        )  # fmt: skip
        # Beyond the lengths there is +inf, which no difference can be taken of.
        return torch.cat([found.bottom[:, :2], found.right[:, :2], found.score[:, None]], -1)

    shapes = (3, N, M), (1, M), (3, M + 1), (3, N)
    return outputs, (*(normal(*shape, seed=k) for k, shape in enumerate(shapes)), gamma())


CASES: dict[str, Callable[[ModuleType], Arguments]] = {
    "edit": edit,
    "edit, lengths": lambda f: edit(f, lengths=LENGTHS),
    "edit, forbidden": lambda f: edit(f, leading_gaps="forbidden"),
    "edit, overlap": lambda f: edit(f, leading_gaps="free", trailing_gaps="free"),
    "edit, gaps vary": varying,
    "distance": lambda f: edit(f, "edit_distance"),
    "distance, band": lambda f: edit(f, "edit_distance", band=1, trailing_gaps="forbidden"),
    "lcs": lambda f: lcs(f, 0.5),
    "lcs, step": step,
    "soft_dtw": soft_dtw,
    "soft_dtw, lengths": lambda f: soft_dtw(f, lengths=LENGTHS),
    "soft_dtw, open": lambda f: soft_dtw(f, open_begin=True, open_end=True),
    "soft_dtw, band": lambda f: soft_dtw(f, band=1),
    "borders": borders,
}


@pytest.mark.parametrize("case", CASES)
def test_differences_agree(compiled: ModuleType, device: torch.device, case: str) -> None:
    score, inputs = CASES[case](compiled)
    inputs = tuple(each.to(device).requires_grad_() for each in inputs)
    # A pair without a path has an infinite score; its derivatives are 0, and compared below.
    finite = score(*inputs).isfinite()

    def outputs(*given: Tensor) -> Tensor:
        return score(*given)[finite]

    assert gradcheck(outputs, inputs, check_forward_ad=True)
    assert gradgradcheck(outputs, inputs, check_fwd_over_rev=True)


@pytest.mark.parametrize("case", CASES)
def test_as_the_specification(compiled: ModuleType, device: torch.device, case: str) -> None:
    found = []
    for module in (compiled, reference):
        score, inputs = CASES[case](module)
        inputs = tuple(each.to(device).requires_grad_() for each in inputs)
        value = score(*inputs)
        upstream = normal(*value.shape, seed=5).to(device).requires_grad_()
        first = torch.autograd.grad(
            value, inputs, upstream, create_graph=True, materialize_grads=True
        )
        along = sum(
            (each * normal(*each.shape, seed=k).to(device)).sum() for k, each in enumerate(first)
        )
        found.append(gradients(along, [upstream, *inputs]))
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["edit_similarity", "soft_dtw"])
def test_a_table_that_is_not_kept_has_them_too(
    compiled: ModuleType, device: torch.device, name: str
) -> None:
    # So large a table is not kept for the backward, which does not read it.
    table = normal(2, 200, 200, seed=1).to(device)
    found = []
    for module in (compiled, reference):
        leaf = table.clone().requires_grad_()
        numbers = () if name == "soft_dtw" else (-0.3, -0.5)
        score = getattr(module, name)(leaf.square(), *numbers, gamma=0.5)
        (first,) = torch.autograd.grad(score.sum(), leaf, create_graph=True)
        found.append(gradients(first.square().sum(), [leaf])[0])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(compiled: ModuleType, device: torch.device, dtype: torch.dtype) -> None:
    found = []
    table = normal(2, 20, 25, seed=1).to(device, dtype)
    for module, own in ((compiled, dtype), (reference, torch.float64)):
        leaf = table.detach().to(own).requires_grad_()
        score = module.edit_similarity(leaf, -0.5, -0.25, gamma=0.5)
        (first,) = torch.autograd.grad(score.sum(), leaf, create_graph=True)
        (second,) = gradients(first.square().sum(), [leaf])
        assert second.dtype == own
        found.append(second.double())
    far = (found[0] - found[1]).norm() / found[1].norm()
    assert far < (1e-3 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("kind", ["similarity", "cost"])
def test_float32_of_long_sequences(compiled: ModuleType, device: torch.device, kind: str) -> None:
    n, smoothing = 1024, 0.1
    x, y = (normal(n, 8, seed=seed) for seed in (1, 2))
    table = torch.cdist(x, y).square() if kind == "cost" else normal(n, n, seed=3)
    direction = normal(n, n, seed=4)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = table.to(device, dtype).requires_grad_()
        if kind == "cost":
            score = compiled.soft_dtw(leaf, gamma=smoothing)
        else:
            score = compiled.edit_similarity(leaf, -0.5, -0.5, gamma=smoothing)
        (first,) = torch.autograd.grad(score, leaf, create_graph=True)
        (second,) = torch.autograd.grad((first * direction.to(device, dtype)).sum(), leaf)
        found.append(second.double())
    far = (found[0] - found[1]).norm() / found[1].norm()
    assert far < 1e-3  # of the weights' 16 bits: 2e-4


@pytest.mark.parametrize("case", ["edit", "lcs", "soft_dtw, lengths"])
def test_without_smoothing_they_are_zero(
    compiled: ModuleType, device: torch.device, case: str
) -> None:
    score, (*tables, smoothing) = CASES[case](compiled)
    leaves = [table.to(device).requires_grad_() for table in tables]
    value = score(*leaves, torch.zeros_like(smoothing, device=device))
    first = torch.autograd.grad(value.nan_to_num(0, 0, 0).sum(), leaves, create_graph=True)
    second = gradients(sum(each.square().sum() for each in first), leaves)
    for each in second:
        assert (each == 0).all()


def test_what_is_infinite_has_none(compiled: ModuleType, device: torch.device) -> None:
    table = normal(3, N, M, seed=1).to(device)
    table[0, :, 1] = -torch.inf  # gaps go around
    table[1] = -torch.inf
    leaf = table.requires_grad_()
    score = compiled.edit_similarity(leaf, -0.5, -0.5, gamma=0.5)
    (first,) = torch.autograd.grad(score.sum(), leaf, create_graph=True)
    (second,) = gradients(first.square().sum(), [leaf])
    assert second.isfinite().all()
    assert (second[table == -torch.inf] == 0).all()
    assert second[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["edit_similarity", "edit_distance", "lcs", "soft_dtw"])
def test_third_derivatives_are_refused(
    compiled: ModuleType, device: torch.device, name: str
) -> None:
    table = normal(N, M, seed=1).to(device).requires_grad_()
    numbers = {"lcs": (0.1,), "soft_dtw": ()}.get(name, (0.3, 0.5))
    score = getattr(compiled, name)(table, *numbers, gamma=0.5)
    (first,) = torch.autograd.grad(score, table, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), table, create_graph=True)
    # Beside a term that has a gradient, so that a silent zero would pass unnoticed.
    with pytest.raises(NotImplementedError, match=r"no third derivatives; softdp\.reference"):
        (second.square().sum() + table.sum()).backward()


class Ops(TorchDispatchMode):
    """The names of softdp's ops, as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        if function.namespace == "softdp":
            self.names.append(function._schema.name.removeprefix("softdp::"))
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("size", [4, 300])  # the tables are kept, or outlines of them
def test_a_hessian_product_sweeps_once_for_each_derivative(
    compiled: ModuleType, device: torch.device, size: int
) -> None:
    cost = normal(size, size, seed=1).to(device).requires_grad_()
    with Ops() as ops:
        score = compiled.soft_dtw(cost)
        (first,) = torch.autograd.grad(score, cost, create_graph=True)
        torch.autograd.grad(first, cost, torch.ones_like(first))
    assert ops.names == ["soft_dtw", "soft_dtw_backward", "soft_dtw_tangent"]

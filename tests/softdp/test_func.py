"""torch.func: transforms of every function agree with the specification's, and with loops."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    vjp,
    vmap,
)

import softdp
from softdp import arguments, reference
from tests.softdp.support import normal

Function = Callable[[Tensor], Tensor]
FUNCTIONS: dict[str, Callable[[ModuleType], Function]] = {
    "edit": lambda f: lambda x: f.edit_similarity(x, -0.5, -0.3, gamma=0.7),
    "overlap": lambda f: lambda x: f.edit_similarity(
        x, -0.5, -0.3, gamma=0.7, leading_gaps="free", trailing_gaps="free"
    ),
    "distance": lambda f: lambda x: f.edit_distance(x, 0.5, 0.3, gamma=0.7, band=2),
    "lcs": lambda f: lambda x: f.lcs(x, 0.1, gamma=0.7, gate_width=0.5),
    "soft_dtw": lambda f: lambda x: f.soft_dtw(x, gamma=0.7),
    "open": lambda f: lambda x: f.soft_dtw(x, gamma=0.7, open_begin=True, open_end=True),
}
BORDERS = ("overlap", "open")  # whose score is made of a border
TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "grad": grad,
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": hessian,
    "jacrev of jacrev": lambda f: jacrev(jacrev(f)),
    "jacrev of jacfwd": lambda f: jacrev(jacfwd(f)),
    "jacfwd of jacfwd": lambda f: jacfwd(jacfwd(f)),
    "vjp": lambda f: lambda x: vjp(f, x)[1](f(x))[0],
    "jvp": lambda f: lambda x: jvp(f, (x,), (x.sin(),))[1],
}
SPECIFIED = {"jacfwd": "jacrev", "hessian": "jacrev of jacrev"}  # what a reference does the same by


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transform(compiled: ModuleType, device: torch.device, transform: str, name: str) -> None:
    x = normal(4, 5, seed=1).to(device)
    changed = TRANSFORMS[transform](FUNCTIONS[name](compiled))
    if transform == "jacfwd of jacfwd" and name in BORDERS:
        with pytest.raises(NotImplementedError, match=r"hessian, not jacfwd of jacfwd"):
            changed(x)
        return
    same = "jacrev of jacrev" if " of " in transform else SPECIFIED.get(transform, transform)
    wanted = TRANSFORMS[same](FUNCTIONS[name](reference))(x)
    torch.testing.assert_close(changed(x), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("transform", ["", "grad", "hessian", "jacfwd"])
def test_vmap_of_it(compiled: ModuleType, device: torch.device, transform: str, name: str) -> None:
    function = FUNCTIONS[name](compiled)
    if transform:
        function = TRANSFORMS[transform](function)
    x = normal(3, 2, 4, 5, seed=1).to(device)
    wanted = torch.stack([torch.stack([function(each) for each in some]) for some in x])
    torch.testing.assert_close(vmap(vmap(function))(x), wanted)
    moved = x.permute(2, 0, 3, 1)
    torch.testing.assert_close(vmap(vmap(function, in_dims=2), in_dims=1)(moved), wanted)


def test_vmap_of_a_batch_with_lengths_and_gammas(
    compiled: ModuleType, device: torch.device
) -> None:
    def score(x: Tensor, n: Tensor, m: Tensor, gamma: Tensor) -> Tensor:
        return compiled.soft_dtw(x, gamma=gamma, lengths=(n, m))

    x = normal(6, 2, 4, 5, seed=1).to(device)
    n, m = (torch.randint(1, size, (6, 2)).to(device) for size in (5, 6))
    gamma = 0.5 + normal(6, 2, seed=3).to(device).sigmoid()
    inputs = x, n, m, gamma
    each = [torch.stack(list(map(score, *inputs)))]
    each += map(
        torch.stack, zip(*(both(score)(*one) for one in zip(*inputs, strict=True)), strict=True)
    )
    got = vmap(score)(*inputs), *vmap(both(score))(*inputs)
    for mapped, looped in zip(got, each, strict=True):
        torch.testing.assert_close(mapped, looped)


def both(score: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    return grad(lambda *inputs: score(*inputs).sum(), argnums=(0, 3))


@pytest.mark.parametrize("which", range(4))
def test_vmap_of_one_argument(compiled: ModuleType, device: torch.device, which: int) -> None:
    shapes = (2, 4, 5), (1, 5), (4, 1), (2,)
    inputs = [normal(*shape, seed=k).to(device) for k, shape in enumerate(shapes)]
    inputs[3] = inputs[3].exp()
    mapped = torch.stack([inputs[which], inputs[which] / 2, inputs[which] / 3], -1)

    def score(*inputs: Tensor) -> Tensor:
        match, insert, delete, gamma = inputs
        return compiled.edit_similarity(match, insert, delete, gamma=gamma)

    def with_one(one: Tensor) -> Tensor:
        given = tuple(one if k == which else each for k, each in enumerate(inputs))
        found = grad(lambda given: score(*given).sum())(given)
        return torch.stack([each.sum() for each in found])

    wanted = torch.stack([with_one(one) for one in mapped.unbind(-1)])
    torch.testing.assert_close(vmap(with_one, in_dims=-1)(mapped), wanted)


@pytest.mark.parametrize("lengths", [False, True])
def test_gradients_of_each_sample(
    compiled: ModuleType, device: torch.device, lengths: bool
) -> None:
    model = torch.nn.Linear(6, 4).double().to(device)
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    x, y = (normal(5, size, 6, seed=size).to(device) for size in (7, 8))
    counted = torch.tensor([7, 3, 5, 1, 2], device=device)

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor, n: Tensor) -> Tensor:
        x, y = (functional_call(model, parameters, (each,)) for each in (x, y))
        own = (n, torch.full_like(n, 8)) if lengths else None
        return compiled.dtw_divergence(x, y, gamma=0.5, lengths=own)

    got = vmap(grad(loss), in_dims=(None, 0, 0, 0))(parameters, x, y, counted)
    for k in range(5):
        wanted = grad(loss)(parameters, x[k], y[k], counted[k])
        for name in parameters:
            torch.testing.assert_close(got[name][k], wanted[name])


def test_borders_are_outputs(compiled: ModuleType, device: torch.device) -> None:
    x, top = normal(4, 5, seed=1).to(device), normal(6, seed=2).to(device)
    found = []
    for module in (compiled, reference):

        def swept(x: Tensor, top: Tensor, module: ModuleType = module) -> tuple[Tensor, ...]:
            return tuple(module.sweep("edit_similarity", x, -0.5, -0.5, top=top, gamma=0.7))

        found.append((*jvp(swept, (x, top), (x.sin(), top.cos()))[1],
                      *(each for some in jacrev(swept, (0, 1))(x, top) for each in some),
                      *vmap(swept, (0, None))(x.expand(2, 4, 5), top)))  # fmt: skip
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_blocks_of_rows(compiled: ModuleType, device: torch.device) -> None:
    x, y = normal(7, 3, seed=1).to(device), normal(5, 3, seed=2).to(device)

    def whole(x: Tensor) -> Tensor:
        return compiled.soft_dtw(compiled.pairwise_cost(x, y), gamma=0.5)

    def in_blocks(x: Tensor) -> Tensor:
        return compiled.blockwise(compiled.pairwise_cost, x, y, rows=3, gamma=0.5)

    for transform in (grad, hessian, TRANSFORMS["jvp"]):
        torch.testing.assert_close(transform(in_blocks)(x), transform(whole)(x))
    leaf = x.requires_grad_()
    first = [torch.autograd.grad(f(leaf), leaf, create_graph=True)[0] for f in (whole, in_blocks)]
    second = [torch.autograd.grad(each.square().sum(), leaf)[0] for each in first]
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("transform", [torch.func.hessian, torch.vmap])
def test_a_number_first_met_in_a_transform_is_a_number_afterwards(
    device: torch.device, transform: Callable[..., Callable[[Tensor], Tensor]]
) -> None:
    arguments._constant.cache_clear()
    similarity = normal(3, 4, 5, seed=1).to(device)

    def score(own: Tensor) -> Tensor:
        return softdp.lcs(own, 0.25, gamma=0.3, gate_width=0.3)

    expected = transform(score)(similarity)
    tables = [torch.tensor(number, dtype=torch.float64, device=device) for number in (0.25, 0.3)]
    torch.testing.assert_close(
        score(similarity), softdp.lcs(similarity, tables[0], gamma=tables[1], gate_width=0.3)
    )
    torch.testing.assert_close(transform(score)(similarity), expected)


@pytest.mark.host
def test_a_bad_value_is_told_by_the_op() -> None:
    lengths = torch.tensor([2, 9]), torch.tensor([3, 3])
    with pytest.raises(RuntimeError, match=r"n_lengths must be in 0\.\.4, got 9"):
        vmap(lambda x, n, m: softdp.soft_dtw(x, lengths=(n, m)))(torch.zeros(2, 4, 3), *lengths)

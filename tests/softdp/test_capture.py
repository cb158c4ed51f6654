"""What is recorded of tensors that need no gradient, and differentiated later."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from tests.softdp.support import gradients, normal

Function = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
FUNCTIONS: dict[str, Callable[[ModuleType], Function]] = {
    "soft_dtw": lambda f: lambda c, g, n, m: f.soft_dtw(c, gamma=g, lengths=(n, m)),
    "open": lambda f: lambda c, g, n, m: f.soft_dtw(c, gamma=g, open_begin=True, open_end=True),
    "edit": lambda f: lambda c, g, n, m: f.edit_similarity(c, -0.3, -0.2, gamma=g, lengths=(n, m)),
    "free": lambda f: lambda c, g, n, m: f.edit_distance(
        c, 0.3, 0.2, gamma=g, leading_gaps="free", trailing_gaps="free"
    ),
    "lcs": lambda f: lambda c, g, n, m: f.lcs(c, 0.3, gamma=g, gate_width=0.1, lengths=(n, m)),
}


class Module(torch.nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, c: Tensor, g: Tensor, n: Tensor, m: Tensor) -> Tensor:
        return self.function(c, g, n, m)


def exported(function: Function, inputs: tuple[Tensor, ...], strict: bool) -> Function:
    return torch.export.export(Module(function), inputs, strict=strict).module()


CAPTURES: dict[str, Callable[[Function, tuple[Tensor, ...]], Function]] = {
    "export": lambda function, inputs: exported(function, inputs, False),
    "strict export": lambda function, inputs: exported(function, inputs, True),
    "jit.trace": lambda function, inputs: torch.jit.trace(function, inputs),
    "make_fx real": lambda function, inputs: make_fx(function)(*inputs),
    "make_fx fake": lambda function, inputs: make_fx(function, tracing_mode="fake")(*inputs),
    "make_fx symbolic": lambda function, inputs: make_fx(function, tracing_mode="symbolic")(
        *inputs
    ),
}


def inputs_of(device: torch.device, seed: int) -> list[Tensor]:
    lengths = torch.tensor([4, 2]), torch.tensor([3, 5])
    table, gamma = normal(2, 4, 5, seed=seed), torch.tensor(0.5, dtype=torch.float64)
    return [item.to(device) for item in (table, gamma, *lengths)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_was_captured_without_gradients_has_them_later(
    compiled: ModuleType, device: torch.device, name: str, capture: str
) -> None:
    function = FUNCTIONS[name](compiled)
    captured = CAPTURES[capture](function, tuple(inputs_of(device, 1)))
    table, gamma, *lengths = inputs_of(device, 2)
    leaves = [table.requires_grad_(), gamma.requires_grad_()]
    score, wanted = (f(*leaves, *lengths) for f in (captured, function))
    torch.testing.assert_close(score, wanted)
    torch.testing.assert_close(gradients(score, leaves), gradients(wanted, leaves))
    second = []
    for each in (captured, function):
        first = torch.autograd.grad(each(*leaves, *lengths).sum(), leaves, create_graph=True)
        second.append(gradients(sum(g.square().sum() for g in first), leaves))
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fake_tensors_have_shapes(compiled: ModuleType, device: torch.device, name: str) -> None:
    with FakeTensorMode():
        table, gamma, *lengths = inputs_of(device, 1)
        table.requires_grad_()
        score = FUNCTIONS[name](compiled)(table, gamma, *lengths)
        (gradient,) = gradients(score, [table])
    assert (score.shape, score.dtype) == ((2,), torch.float64)
    assert gradient.shape == table.shape

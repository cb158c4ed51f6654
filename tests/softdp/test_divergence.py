"""dtw_divergence: the definition, what it promises where x = y, and what it does not compute."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

import softdp
from softdp import _extension, divergence, dtw_divergence, pairwise_cost, reference
from tests.softdp import enumeration
from tests.softdp.support import assert_equal_to_oracle, gradients, normal

COSTS: list[Any] = ["sqeuclidean", "cosine", "euclidean", 1, 3]


def defined(
    x: Tensor, y: Tensor, gamma: Any = 1.0, cost: Any = "sqeuclidean", lengths: Any = None
) -> Tensor:
    """By the definition and the specification of soft-DTW, nothing held at 0."""
    n_lengths, m_lengths = lengths or (None, None)

    def soft_dtw(first: Tensor, second: Tensor, *lengths: Tensor | None) -> Tensor:
        table = pairwise_cost(first, second, cost)
        return reference.soft_dtw(
            table, gamma=gamma, lengths=None if lengths[0] is None else lengths
        )

    own = soft_dtw(x, x, n_lengths, n_lengths) + soft_dtw(y, y, m_lengths, m_lengths)
    return soft_dtw(x, y, n_lengths, m_lengths) - own / 2


def leaves(*shapes: tuple[int, ...], device: torch.device, **options: Any) -> list[Tensor]:
    return [
        normal(*shape, seed=seed, device=device, **options).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]


def test_every_path_enumerated(device: torch.device) -> None:
    x, y = normal(6, 3, 2, seed=1), normal(6, 4, 2, seed=2)
    gamma = torch.tensor([0.0, 0.1, 0.5, 1.0, 3.0, 30.0], dtype=torch.float64)

    def soft_dtw(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        table = ((first[:, :, None] - second[:, None]) ** 2).sum(-1)
        lengths = tuple(np.full(6, size) for size in table.shape[1:])
        return enumeration.soft_dtw(table, gamma.numpy(), lengths, np.ones(6)).score

    a, b = x.numpy(), y.numpy()
    wanted = soft_dtw(a, b) - (soft_dtw(a, a) + soft_dtw(b, b)) / 2
    actual = dtw_divergence(x.to(device), y.to(device), gamma=gamma.to(device))
    assert_equal_to_oracle(actual, wanted, "divergence")


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("ragged", [False, True])
def test_the_definition(device: torch.device, cost: Any, ragged: bool) -> None:
    x, y = leaves((3, 6, 2), (3, 5, 2), device=device)
    gamma = torch.tensor([0.2, 1.0, 4.0], dtype=torch.float64, device=device, requires_grad=True)
    lengths = (torch.tensor([6, 2, 4]), torch.tensor([1, 5, 4])) if ragged else None
    inputs = [x, y, gamma]
    actual = dtw_divergence(x, y, gamma=gamma, cost=cost, lengths=lengths)
    wanted = defined(x, y, gamma, cost, lengths)
    torch.testing.assert_close(actual, wanted)
    for got, expected in zip(gradients(actual, inputs), gradients(wanted, inputs), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("cost", COSTS)
def test_two_derivatives(monkeypatch: pytest.MonkeyPatch, device: torch.device, cost: Any) -> None:
    inputs = leaves((4, 2), (3, 2), device=device)
    assert gradcheck(lambda x, y: dtw_divergence(x, y, cost=cost), inputs)
    monkeypatch.setattr(divergence, "soft_dtw", reference.soft_dtw)
    assert gradgradcheck(lambda x, y: dtw_divergence(x, y, cost=cost), inputs)


@pytest.mark.parametrize(
    ("n", "cost"), [*((7, cost) for cost in COSTS), (1000, "sqeuclidean"), (1000, "euclidean")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 3.0])
def test_equal_sequences_have_divergence_0_and_gradient_0_to_a_rounding(
    device: torch.device, n: int, cost: Any, dtype: torch.dtype, gamma: float
) -> None:
    x = normal(n, 3, seed=1).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    smoothing = torch.tensor(gamma, dtype=dtype, device=device, requires_grad=True)
    value = dtw_divergence(x, y, gamma=smoothing, cost=cost)
    assert value == 0
    *received, entropy = gradients(value / 3, [x, y, smoothing])
    eps = torch.finfo(dtype).eps
    assert all(gradient.abs().max() <= 4 * eps for gradient in received)
    assert entropy.abs() <= 4 * eps * n


@pytest.mark.parametrize("gamma", [0.01, 1.0])
def test_rounding_between_nearly_equal_sequences(device: torch.device, gamma: float) -> None:
    n = 1000
    x = normal(4, n, 3, seed=1, dtype=torch.float32).to(device)
    y = x + 1e-3 * normal(4, n, 3, seed=2, dtype=torch.float32).to(device)
    actual = dtw_divergence(x, y, gamma=gamma)
    exact = dtw_divergence(x.double(), y.double(), gamma=gamma)
    assert (actual >= 0).all()
    eps = torch.finfo(torch.float32).eps
    noise = 4 * eps * (gamma * 2 * n * math.log(3) + math.sqrt(n) * x.square().sum(-1).max().item())
    assert (actual - exact).abs().max() <= noise


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine", "euclidean", 1, 1.5])
@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0])
def test_random_sequences_have_no_negative_divergence(
    device: torch.device, cost: Any, gamma: float
) -> None:
    x = normal(200, 6, 4, seed=1, device=device)
    distance = torch.logspace(-3, 0, 200, dtype=torch.float64, device=device)[:, None, None]
    y = x + distance * normal(200, 6, 4, seed=2, device=device)
    assert defined(x, y, gamma, cost).min() > 0


def test_the_maximum_norm_has_negative_divergences_and_they_are_returned(
    device: torch.device,
) -> None:
    # Steps of one sequence are 2 apart, those of different sequences 1: no such points have p <= 2.
    apart = 2 * (1 - torch.eye(8, dtype=torch.float64, device=device))
    x, y = (torch.cat(half, -1) for half in ((apart, apart**0), (apart**0, apart)))
    wanted = defined(x, y, 30.0, math.inf)
    assert wanted < -1
    torch.testing.assert_close(dtw_divergence(x, y, gamma=30.0, cost=math.inf), wanted)


def test_a_negative_rounding_error_is_held_at_0_and_keeps_its_gradient(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    x, y = leaves((4, 2), (3, 2), device=device)
    wanted = gradients(dtw_divergence(x, y), [x, y])
    monkeypatch.setattr(
        divergence, "soft_dtw", lambda *args, **options: softdp.soft_dtw(*args, **options) - 1e3
    )
    monkeypatch.setattr(divergence, "_to_itself", lambda *args: torch.zeros((), device=device))
    value = dtw_divergence(x, y)
    assert value == 0
    assert all(gradient.abs().max() > 0 for gradient in (*gradients(value, [x, y]), *wanted))


def test_symmetry_and_all_pairs(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    x, y = leaves((3, 6, 2), (4, 5, 2), device=device)
    shapes = []

    def soft_dtw(cost: Tensor, **options: Any) -> Tensor:
        shapes.append(tuple(cost.shape))
        return softdp.soft_dtw(cost, **options)

    monkeypatch.setattr(divergence, "soft_dtw", soft_dtw)
    pairs = dtw_divergence(x[:, None], y[None], gamma=0.5)
    assert sorted(shapes) == [(1, 4, 5, 5), (3, 1, 6, 6), (3, 4, 6, 5)]
    singles = [[dtw_divergence(a, b, gamma=0.5) for b in y] for a in x]
    torch.testing.assert_close(pairs, torch.stack([torch.stack(row) for row in singles]))
    torch.testing.assert_close(pairs.mT, dtw_divergence(y[:, None], x[None], gamma=0.5))
    per_pair = torch.full((3, 4), 0.5, dtype=torch.float64, device=device)
    torch.testing.assert_close(pairs, dtw_divergence(x[:, None], y[None], gamma=per_pair))


@pytest.mark.parametrize("cost", COSTS)
def test_padding_is_not_read_and_empty_sequences_are_infinitely_far(
    device: torch.device, cost: Any
) -> None:
    lengths = torch.tensor([4, 0, 0, 2]), torch.tensor([3, 5, 0, 6])
    x, y = normal(4, 5, 2, seed=1), normal(4, 6, 2, seed=2)
    for rows, length in zip((x, y), lengths, strict=True):
        rows[torch.arange(rows.shape[1]) >= length[:, None]] = math.nan
    x, y = x.to(device).requires_grad_(), y.to(device).requires_grad_()
    value = dtw_divergence(x, y, cost=cost, lengths=lengths)
    torch.testing.assert_close(value[0], dtw_divergence(x[0, :4], y[0, :3], cost=cost))
    assert value[1] == math.inf
    assert value[2] == 0
    torch.testing.assert_close(value[3], dtw_divergence(x[3, :2], y[3], cost=cost))
    received = gradients(value, [x, y])
    for gradient, length in zip(received, lengths, strict=True):
        beyond = torch.arange(gradient.shape[1]) >= length[:, None]
        assert (gradient[beyond.to(device)] == 0).all()
        assert (gradient[1:3] == 0).all()
        assert gradient.isfinite().all()


def test_narrow_floats_and_autocast(device: torch.device) -> None:
    x, y = (normal(2, 5, 3, seed=seed).to(device, torch.bfloat16) for seed in (1, 2))
    wanted = dtw_divergence(x.float(), y.float())
    assert wanted.dtype == torch.float32
    assert dtw_divergence(x, y).equal(wanted)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert dtw_divergence(x.float(), y).equal(wanted)


def test_a_compiled_loss_is_one_graph_for_every_size(device: torch.device) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return dtw_divergence(x, y, gamma=0.5).sqrt().sum()

    torch._dynamo.reset()
    graphs = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    whole = torch.compile(loss, fullgraph=True, dynamic=True, backend=graphs)
    counts = []
    for pairs, n, m in ((2, 5, 6), (3, 7, 4), (4, 9, 12)):
        inputs = leaves((pairs, n, 3), (pairs, m, 3), device=device)
        torch.testing.assert_close(
            gradients(whole(*inputs), inputs), gradients(loss(*inputs), inputs)
        )
        counts.append(graphs.frame_count)
    assert len(set(counts)) == 1, counts


def test_the_module_holds_its_options(device: torch.device) -> None:
    x, y = leaves((3, 6, 2), (3, 5, 2), device=device)
    lengths = torch.tensor([6, 2, 4]), torch.tensor([1, 5, 4])
    module = softdp.DTWDivergence(gamma=0.3, cost="euclidean")
    assert repr(module) == "DTWDivergence(gamma=0.3, cost=euclidean)"
    assert module(x, y, lengths).equal(
        dtw_divergence(x, y, gamma=0.3, cost="euclidean", lengths=lengths)
    )
    gamma = nn.Parameter(torch.tensor(0.5, dtype=torch.float64, device=device))
    softdp.DTWDivergence(gamma=gamma)(x, y).sum().backward()
    assert gamma.grad.abs() > 0


X = torch.zeros(2, 5, 3)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[0, 0]}, "x must have shape (..., steps, width), got (3,)"),
        (
            {"cost": "dot"},
            "cost must be one of 'sqeuclidean', 'cosine', 'euclidean', or a number >= 1, got 'dot'",
        ),
        ({"gamma": -1.0}, "gamma must be >= 0 and finite, got -1.0"),
        (
            {"lengths": (torch.tensor([5, 5, 5]), torch.tensor([5]))},
            "lengths[0] must have cost's batch shape (2,) or one that broadcasts to it, got (3,)",
        ),
    ],
)
def test_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'dtw_divergence: {message}')}$"):
        dtw_divergence(**{"x": X, "y": X, **changes})


@pytest.mark.host
def test_without_cuda_kernels_the_error_says_how_to_build_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_extension, "_devices", {"cpu", "meta"})
    with FakeTensorMode():
        x = torch.empty(2, 3, 4, device="cuda")
        with pytest.raises(RuntimeError, match=r"^dtw_divergence: no kernels for device cuda:0"):
            dtw_divergence(x, x)

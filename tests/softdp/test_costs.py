"""pairwise_cost: values, two derivatives, digits, memory, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.profiler import ProfilerActivity, profile

import softdp
from softdp import minkowski, pairwise_cost, reference
from tests.softdp.support import gradients, normal

PRODUCTS = ["sqeuclidean", "cosine", "dot"]
NORMS: list[Any] = ["euclidean", 1, 1.5, 3, math.inf]
COSTS = PRODUCTS + NORMS


def defined(x: Tensor, y: Tensor, cost: Any) -> Tensor:
    """By the definition, with a temporary (..., n, m, d)."""
    x, y = x[..., :, None, :], y[..., None, :, :]
    if cost == "sqeuclidean":
        return (x - y).square().sum(-1)
    if cost == "cosine":
        return 1 - F.cosine_similarity(x, y, dim=-1)
    if cost == "dot":
        return -(x * y).sum(-1)
    return torch.linalg.vector_norm(x - y, 2 if cost == "euclidean" else cost, dim=-1)


def leaves(*shapes: tuple[int, ...], device: torch.device) -> list[Tensor]:
    return [
        normal(*shape, seed=seed).to(device).requires_grad_() for seed, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize(
    "shapes",
    [
        ((5, 3), (4, 3)),
        ((2, 5, 3), (4, 3)),
        ((2, 1, 5, 3), (3, 4, 3)),
        ((1, 1), (1, 1)),
        ((2, 5, 0), (2, 4, 0)),
        ((2, 0, 3), (2, 4, 3)),
        ((0, 5, 3), (1, 4, 3)),
    ],
)
def test_the_definition_and_its_gradient(
    device: torch.device, cost: Any, shapes: tuple[tuple[int, ...], ...]
) -> None:
    inputs = leaves(*shapes, device=device)
    table = pairwise_cost(*inputs, cost)
    if shapes[0][-1] == 0:  # a maximum over nothing is not defined
        wanted = table.new_full((2, 5, 4), 1.0 if cost == "cosine" else 0.0)
        assert table.equal(wanted)
        assert all(
            gradient.shape == of.shape
            for gradient, of in zip(gradients(table, inputs), inputs, strict=True)
        )
        return
    wanted = defined(*inputs, cost)
    torch.testing.assert_close(table, wanted)
    upstream = normal(*table.shape, seed=5).to(device)
    for got, expected in zip(
        gradients(table, inputs, upstream), gradients(wanted, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("shapes", [((3, 2), (4, 2)), ((2, 1, 3, 2), (2, 2, 2))])
def test_two_derivatives(
    device: torch.device, cost: Any, shapes: tuple[tuple[int, ...], ...]
) -> None:
    inputs = leaves(*shapes, device=device)
    assert gradcheck(lambda x, y: pairwise_cost(x, y, cost), inputs)
    assert gradgradcheck(lambda x, y: pairwise_cost(x, y, cost), inputs)


def test_a_third_derivative_of_a_norm_is_refused(device: torch.device) -> None:
    x, y = leaves((3, 2), (4, 2), device=device)
    (first,) = torch.autograd.grad(pairwise_cost(x, y, 3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(
        RuntimeError, match=r"^pairwise_cost: a norm has no third derivatives here$"
    ):
        second.sum().backward()


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("d", [1, 30])
def test_where_the_sequences_are_does_not_matter(
    device: torch.device, offset: float, d: int
) -> None:
    x = (normal(3, 40, d, seed=1) + offset).float().to(device).requires_grad_()
    y = (normal(3, 30, d, seed=2) + offset).float().to(device).requires_grad_()
    exact = [rows.detach().double().requires_grad_() for rows in (x, y)]
    radius = max((rows - offset).norm(dim=-1).max().item() for rows in exact)
    eps = torch.finfo(torch.float32).eps
    table, wanted = pairwise_cost(x, y), defined(*exact, "sqeuclidean")
    assert (table >= 0).all()
    assert (table - wanted).abs().max() <= 4 * eps * radius**2
    upstream = normal(3, 40, 30, seed=3, dtype=torch.float32).to(device)
    for got, expected in zip(
        gradients(table, [x, y], upstream),
        gradients(wanted, exact, upstream.double()),
        strict=True,
    ):
        assert (got - expected).abs().max() <= 8 * eps * radius * upstream.abs().sum(-1).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_close_steps_keep_their_digits_in_differences(
    device: torch.device, dtype: torch.dtype
) -> None:
    x = normal(40, 5, seed=1).to(device, dtype)
    y = x + 1e-4 * normal(40, 5, seed=2).to(device, dtype)
    for cost in NORMS:
        wanted = defined(x.double(), y.double(), cost)
        torch.testing.assert_close(pairwise_cost(x, y, cost).double(), wanted, rtol=2e-6, atol=0)


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine", *NORMS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_steps(device: torch.device, cost: Any, dtype: torch.dtype) -> None:
    x = normal(50, 7, seed=1).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    table = pairwise_cost(x, y, cost)
    assert (table >= 0).all()
    diagonal = table.diagonal()
    received = gradients(diagonal.sum(), [x, y])
    if cost in PRODUCTS:
        eps, radius = torch.finfo(dtype).eps, x.norm(dim=-1).max()
        assert diagonal.max() <= 4 * eps * radius**2
        for gradient in received:
            assert gradient.abs().max() <= 8 * eps * radius
    else:
        assert (diagonal == 0).all()
        assert all((gradient == 0).all() for gradient in received)


def test_what_rounding_makes_negative_keeps_its_gradient(device: torch.device) -> None:
    x = normal(60, 7, seed=1, dtype=torch.float32).to(device).requires_grad_()
    y = x.detach() + 1e-4 * normal(60, 7, seed=2, dtype=torch.float32).to(device)
    diagonal = pairwise_cost(x, y).diagonal()
    assert (diagonal == 0).any()
    (gradient,) = gradients(diagonal, [x])
    torch.testing.assert_close(gradient, 2 * (x.detach() - y), rtol=0, atol=5e-6)


@pytest.mark.parametrize(("p", "size"), [(50, 1e3), (50, 1e-3), (1e6, 1.0), (2.5, 1e-25)])
def test_no_power_overflows_or_vanishes(device: torch.device, p: float, size: float) -> None:
    x = (size * normal(5, 4, seed=1)).float().to(device).requires_grad_()
    y = (size * normal(6, 4, seed=2)).float().to(device)
    scaled = [(rows.detach().double() / size).requires_grad_() for rows in (x, y)]
    table, wanted = pairwise_cost(x, y, p), pairwise_cost(*scaled, p)
    torch.testing.assert_close(table.double() / size, wanted, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        gradients(table, [x])[0].double(), gradients(wanted, scaled)[0], rtol=1e-3, atol=1e-5
    )


def test_the_largest_differences_share_a_maximum(device: torch.device) -> None:
    x = torch.tensor([[1.0, -1.0, 0.0]], device=device, requires_grad=True)
    table = pairwise_cost(x, torch.zeros(1, 3, device=device), math.inf)
    assert table.item() == 1
    assert gradients(table, [x])[0].tolist() == [[0.5, -0.5, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cosine_of_a_zero_vector(device: torch.device, dtype: torch.dtype) -> None:
    x = torch.zeros(1, 3, device=device, dtype=dtype, requires_grad=True)
    y = normal(4, 3, seed=1).to(device, dtype)
    table = pairwise_cost(x, y, "cosine")
    assert (table == 1).all()
    (gradient,) = torch.autograd.grad(table.sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, gradients(defined(x, y, "cosine"), [x])[0])
    assert gradients(gradient, [x])[0].isfinite().all()


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_inputs_are_computed_in_float32(
    device: torch.device, cost: Any, dtype: torch.dtype
) -> None:
    x, y = (normal(2, 5, 3, seed=seed).to(device, dtype).requires_grad_() for seed in (1, 2))
    wide = [rows.detach().float().requires_grad_() for rows in (x, y)]
    table, wanted = pairwise_cost(x, y, cost), pairwise_cost(*wide, cost)
    assert table.dtype == torch.float32
    assert table.equal(wanted)
    for got, expected in zip(gradients(table, [x, y]), gradients(wanted, wide), strict=True):
        assert got.equal(expected.to(dtype))


@pytest.mark.parametrize("cost", COSTS)
def test_autocast_and_mixed_dtypes(device: torch.device, cost: Any) -> None:
    x, y = (normal(2, 5, 3, seed=seed, dtype=torch.float32).to(device) for seed in (1, 2))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert pairwise_cost(x, y, cost).equal(pairwise_cost(x.clone(), y.clone(), cost))
        inside = pairwise_cost(x, y.bfloat16(), cost)
    assert inside.equal(pairwise_cost(x, y.bfloat16().float(), cost))
    assert pairwise_cost(x, y.double(), cost).dtype == torch.float64


@pytest.mark.parametrize("cost", COSTS)
def test_steps_beyond_the_lengths_are_not_read(device: torch.device, cost: Any) -> None:
    n_lengths, m_lengths = torch.tensor([4, 0, 5]), torch.tensor([2, 3, 6])
    x, y = normal(3, 5, 2, seed=1) + 1e3, normal(6, 2, seed=2).expand(3, 6, 2).clone() + 1e3
    for rows, lengths in ((x, n_lengths), (y, m_lengths)):
        rows[torch.arange(rows.shape[1]) >= lengths[:, None]] = math.nan
    x, y = (rows.float().to(device).requires_grad_() for rows in (x, y))
    table = pairwise_cost(x, y, cost, lengths=(n_lengths, m_lengths))
    assert table.isfinite().all()
    upstream = torch.zeros_like(table)
    for pair, (n, m) in enumerate(zip(n_lengths.tolist(), m_lengths.tolist(), strict=True)):
        upstream[pair, :n, :m] = normal(n, m, seed=pair).float().to(device)
    received = gradients(table, [x, y], upstream)
    for pair, (n, m) in enumerate(zip(n_lengths.tolist(), m_lengths.tolist(), strict=True)):
        cut = [rows[pair, :size].detach().requires_grad_() for rows, size in ((x, n), (y, m))]
        wanted = pairwise_cost(*cut, cost)
        torch.testing.assert_close(table[pair, :n, :m], wanted, rtol=1e-5, atol=2e-5)
        expected = gradients(wanted, cut, upstream[pair, :n, :m])
        for got, want in zip(received, expected, strict=True):
            torch.testing.assert_close(got[pair, : len(want)], want, rtol=1e-5, atol=2e-5)
            assert (got[pair, len(want) :] == 0).all()


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_spoils_its_own_costs_only(
    device: torch.device, cost: Any, value: float
) -> None:
    x, y = normal(2, 5, 3, seed=1).to(device), normal(2, 4, 3, seed=2).to(device)
    x[0, 2, 1] = value
    finite = pairwise_cost(x, y, cost).isfinite()
    assert not finite[0, 2].any()
    finite[0, 2] = True
    assert finite.all()


def largest_allocation(work: Callable[[], object]) -> int:
    """Bytes of the largest piece of memory that work asks for, inside torch's kernels too."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    return max(event.nbytes() for event in events if event.name() == "[memory]")


def test_the_measure_of_memory_sees_what_a_kernel_allocates(device: torch.device) -> None:
    x, y = leaves((30, 7), (20, 7), device=device)
    assert largest_allocation(lambda: defined(x, y, "euclidean")) == 30 * 20 * 7 * 8
    assert largest_allocation(lambda: torch.cdist(x, y, p=3.0)) >= 30 * 20 * 8


@pytest.mark.parametrize("cost", COSTS)
def test_no_temporary_has_n_m_d_elements(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, cost: Any
) -> None:
    monkeypatch.setattr(minkowski, "_BLOCK", 1)
    n, m, d = 70, 60, 40
    x, y = leaves((n, d), (m, d), device=device)

    def work() -> None:
        table = pairwise_cost(x, y, cost)
        received = torch.autograd.grad(table.sum(), [x, y], create_graph=True)
        gradients(sum(gradient.square().sum() for gradient in received), [x, y])

    assert largest_allocation(work) <= 1.1 * 8 * n * m


@pytest.mark.parametrize("cost", PRODUCTS)
def test_all_pairs_of_two_batches_are_one_product(device: torch.device, cost: str) -> None:
    x, y = leaves((6, 1, 10, 90), (1, 6, 12, 90), device=device)
    largest = largest_allocation(lambda: gradients(pairwise_cost(x, y, cost), [x, y]))
    assert largest <= 1.1 * 8 * max(6 * 12 * 92, 6 * 6 * 10 * 12)


@pytest.mark.parametrize("cost", COSTS)
def test_torch_func(device: torch.device, cost: Any) -> None:
    x, y = leaves((3, 4, 2), (3, 5, 2), device=device)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_cost(x, y, cost).sin().sum()

    gradient = torch.func.grad(loss, argnums=(0, 1))
    wanted = gradients(loss(x, y), [x, y])
    for got, expected in zip(torch.func.vmap(gradient)(x, y), wanted, strict=True):
        torch.testing.assert_close(got, expected)
    received = torch.func.vmap(gradient, in_dims=(None, 0))(x[0], y)
    for pair in range(3):
        for got, expected in zip(received, gradient(x[0], y[pair]), strict=True):
            torch.testing.assert_close(got[pair], expected)
    hessian = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(loss)))(x, y)
    expected = torch.autograd.functional.hessian(lambda rows: loss(rows, y[1]), x[1])
    torch.testing.assert_close(hessian[1], expected)


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine", "euclidean", 3])
def test_one_graph_serves_every_size(device: torch.device, cost: Any) -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_cost(x, y, cost).sin().sum()

    torch._dynamo.reset()
    graphs = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    whole = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
    counts = []
    for pairs, n, m in ((2, 5, 6), (3, 7, 4), (4, 9, 12)):
        inputs = leaves((pairs, n, 3), (pairs, m, 3), device=device)
        torch.testing.assert_close(
            gradients(whole(*inputs), inputs), gradients(model(*inputs), inputs)
        )
        counts.append(graphs.frame_count)
    assert len(set(counts)) == 1, counts


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_opcheck(device: torch.device, p: float) -> None:
    x, y, tangent = (normal(2, n, 3, seed=n).to(device) for n in (4, 5, 4))
    mass = normal(2, 4, 5, seed=1).to(device)
    distance = torch.ops.softdp.minkowski(x, y, p)
    torch.library.opcheck(torch.ops.softdp.minkowski, (x, y, p))
    torch.library.opcheck(torch.ops.softdp.minkowski_backward, (mass, x, y, distance, p))
    torch.library.opcheck(
        torch.ops.softdp.minkowski_double_backward, (tangent, mass, x, y, distance, p)
    )


X, Y = torch.zeros(2, 5, 3), torch.zeros(2, 4, 3)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": [[1.0]]}, TypeError, "x must be a tensor, got list"),
        (
            {"y": Y.long()},
            TypeError,
            "y must be float16, bfloat16, float32 or float64, got int64",
        ),
        (
            {"y": Y.to_sparse()},
            TypeError,
            "y must be a dense tensor, got layout torch.sparse_coo",
        ),
        ({"x": X[0, 0]}, ValueError, "x must have shape (..., steps, width), got (3,)"),
        (
            {"y": Y[..., :2]},
            ValueError,
            "y must have x's width d = 3, shape (..., m, 3), got (2, 4, 2)",
        ),
        (
            {"y": torch.zeros(3, 4, 3)},
            ValueError,
            "y must have a batch shape that broadcasts to x's (2,), got (3, 4, 3)",
        ),
        ({"y": Y.to("meta")}, ValueError, "y must be on x's device cpu, got meta"),
        ({"cost": None}, TypeError, "cost must be a name or a number, got NoneType"),
        (
            {"cost": "manhattan"},
            ValueError,
            "cost must be one of 'sqeuclidean', 'cosine', 'dot', 'euclidean', or a number >= 1, "
            "got 'manhattan'",
        ),
        (
            {"cost": math.nan},
            ValueError,
            "cost must be one of 'sqeuclidean', 'cosine', 'dot', 'euclidean', or a number >= 1, "
            "got nan",
        ),
        (
            {"lengths": (torch.tensor([6, 1]), torch.tensor([1, 1]))},
            ValueError,
            "lengths[0] must be in 0..5, got 6",
        ),
    ],
)
def test_errors(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(f'pairwise_cost: {message}')}$"):
        pairwise_cost(**{"x": X, "y": Y, **changes})


def test_a_loss_of_two_sequences(device: torch.device) -> None:
    x, y = leaves((2, 6, 3), (2, 5, 3), device=device)
    lengths = torch.tensor([6, 4]), torch.tensor([3, 5])
    received, wanted = (
        gradients(soft_dtw(pairwise_cost(x, y, lengths=lengths), lengths=lengths), [x, y])
        for soft_dtw in (softdp.soft_dtw, reference.soft_dtw)
    )
    torch.testing.assert_close(received, wanted)

"""Small things that several test files use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import softdp

LEADING_GAPS = ("free", "paid", "forbidden")


def normal(*shape: int, seed: int, **options: object) -> Tensor:
    """Standard normal float64 numbers, the same on every device; options go to Tensor.to."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn.to(**options) if options else drawn  # type: ignore[call-overload]


GAP_FORMS = (
    "number",
    "along n",
    "along m",
    "along n, each pair",
    "along m, each pair",
    "pair",
    "cell",
)
"""What `gap_shape` takes."""


def gap_shape(form: str, batch: tuple[int, ...], n: int, m: int) -> tuple[int, ...]:
    """Shape of a gap potential given as a `form` of broadcasting."""
    return {
        "number": (),
        "along n": (n, 1),
        "along m": (1, m),
        "along n, each pair": (*batch, n, 1),
        "along m, each pair": (*batch, 1, m),
        "pair": (*batch, 1, 1),
        "cell": (*batch, n, m),
    }[form]


def gradients(
    output: Tensor, inputs: Sequence[Tensor], upstream: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Gradients of sum(output * upstream), zero for an input that it does not depend on."""
    if upstream is None:
        upstream = torch.ones_like(output)
    return torch.autograd.grad(output, inputs, upstream, allow_unused=True, materialize_grads=True)


def some_lengths(batch: tuple[int, ...], n: int, m: int) -> tuple[Tensor, ...] | None:
    """Of each pair of a batch; of a pair alone none."""
    generator = torch.Generator().manual_seed(1)
    drawn = (torch.randint(0, size + 1, batch, generator=generator) for size in (n, m))
    return tuple(drawn) if batch else None


def check_agreement(
    call: Callable[..., Tensor], tables: Sequence[Tensor], device: torch.device
) -> None:
    """`call(implementation, *tables, gamma)` and its gradients are those of the specification.

    What is compared is divided by the largest number that is expected.
    """
    dtype = tables[0].dtype
    tolerance = {torch.float64: 1e-9, torch.float32: 2e-3}.get(dtype, 2e-2)

    def outcome(implementation: Any, at: torch.device, compute: torch.dtype) -> list[Tensor]:
        leaves = [table.to(at, compute) for table in tables]
        wide = torch.promote_types(compute, torch.float32)
        leaves = [x.requires_grad_() for x in (*leaves, torch.tensor(0.3, device=at, dtype=wide))]
        score = call(implementation, *leaves)
        seen = torch.where(score.isfinite(), score, 0)
        return [score.detach(), *gradients(seen.sum(), leaves)]

    got = outcome(softdp, device, dtype)
    wanted = outcome(softdp.reference, torch.device("cpu"), torch.float64)
    for one, other in zip(got, wanted, strict=True):
        finite = other[other.isfinite()]
        size = 1 + (finite.abs().max().item() if finite.numel() else 0)
        torch.testing.assert_close(one.double().cpu() / size, other / size, rtol=0, atol=tolerance)


def check_transforms(score: Callable[[Tensor], Tensor], table: Tensor) -> None:
    """A function of tables (pairs, n, m) under torch.func and torch.compile: its own gradient."""
    leaf = table.clone().requires_grad_()
    (gradient,) = gradients(score(leaf), [leaf])
    torch.testing.assert_close(torch.vmap(score)(table), score(table))
    torch.testing.assert_close(torch.vmap(torch.func.grad(score))(table), gradient)
    direction = normal(*table.shape, seed=2).to(table.device)
    _, tangent = torch.func.jvp(score, (table,), (direction,))
    torch.testing.assert_close(tangent, (gradient * direction).sum((-1, -2)))
    hessian = torch.autograd.functional.hessian(score, table[0])
    torch.testing.assert_close(torch.func.hessian(score)(table[0]), hessian)
    compiled = torch.compile(score, fullgraph=True)
    torch.testing.assert_close(compiled(leaf), score(leaf))
    torch.testing.assert_close(gradients(compiled(leaf), [leaf])[0], gradient)


def check_frequencies(paths: Any, pair: int, shares: Mapping[tuple[Any, ...], float]) -> None:
    """Paths that were drawn of a pair have these steps, each as often as its share says."""
    drawn: dict[tuple[Any, ...], int] = {}
    for arcs, cells, length in zip(
        paths.arcs[:, pair].tolist(), paths.pairs[:, pair].tolist(),
        paths.lengths[:, pair].tolist(), strict=True,
    ):  # fmt: skip
        steps = tuple((arcs[s], *cells[s]) for s in range(length))
        drawn[steps] = drawn.get(steps, 0) + 1
    count = len(paths.lengths)
    assert set(drawn) <= set(shares)
    for steps, share in shares.items():  # five standard deviations
        deviation = math.sqrt(count * share * (1 - share)) + 1
        assert abs(drawn.get(steps, 0) - count * share) < 5 * deviation


def assert_equal_to_oracle(actual: Tensor, expected: np.ndarray, what: str) -> None:
    """Agreement to float64 rounding with a result of enumeration.py."""
    np.testing.assert_allclose(
        actual.detach().cpu().numpy(), expected, rtol=1e-10, atol=1e-12, err_msg=what
    )

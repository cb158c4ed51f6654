"""Small things that several test files use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

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


def assert_equal_to_oracle(actual: Tensor, expected: np.ndarray, what: str) -> None:
    """Agreement to float64 rounding with a result of enumeration.py."""
    np.testing.assert_allclose(
        actual.detach().cpu().numpy(), expected, rtol=1e-10, atol=1e-12, err_msg=what
    )

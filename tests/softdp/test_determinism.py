"""The same numbers, bit for bit, from run to run and however many threads share the work."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.softdp.support import gradients, normal


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def score_and_gradients(compiled: ModuleType, table: Tensor, name: str) -> tuple[Tensor, ...]:
    inputs = [table.clone().requires_grad_()]
    if name == "lcs":
        score = compiled.lcs(*inputs, 0.3, gate_width=0.2)
    elif name == "soft_dtw":
        score = compiled.soft_dtw(*inputs)
    else:
        numbers = (table.new_full((), value).requires_grad_() for value in (-0.3, -0.4, 0.5))
        inputs += numbers
        score = compiled.edit_similarity(*inputs[:3], gamma=inputs[3], leading_gaps="free")
    return score, *gradients(score, inputs)


# One table that threads share, a few, and many that they divide among them.
@pytest.mark.parametrize("shape", [(700, 600), (3, 200, 300), (200, 20, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["edit_similarity", "lcs", "soft_dtw"])
def test_bitwise_equal(
    compiled: ModuleType,
    device: torch.device,
    name: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
) -> None:
    table = normal(*shape, seed=1).to(device, dtype)
    torch.set_num_threads(1)
    wanted = score_and_gradients(compiled, table, name)
    for threads in (1, 2, 3, 4, 4, 4):
        torch.set_num_threads(threads)
        for got, expected in zip(score_and_gradients(compiled, table, name), wanted, strict=True):
            assert got.equal(expected), f"{threads} threads"

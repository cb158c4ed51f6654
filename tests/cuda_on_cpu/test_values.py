"""Lengths, gammas and bands that do not fit, seen by the GPU alone: their pair is undefined."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from softdp import functional
from softdp import values as looked
from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.kernels import core
from tests.softdp.support import gradients, normal
from tests.softdp.test_values import BAD, FUNCTIONS

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

BATCH, BADLY = 3, 1  # which pair does not fit


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("n", "m", "plan", "compute"),
    [
        (20, 33, {}, torch.float32),
        (70, 50, {"resident": 2}, torch.float64),
        (70, 80, {"resident": 1}, torch.float32),
    ],
    ids=["short", "long, two blocks at a time", "long, a block at a time"],
)
def test_one_pair_is_undefined(
    n: int,
    m: int,
    plan: dict[str, int],
    compute: torch.dtype,
    name: str,
    bad: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest, options = FUNCTIONS[name]
    monkeypatch.setattr(functional, "core", core(**plan))
    monkeypatch.setattr(looked, "is_looked_at", lambda values: False)

    def outcome(changes: dict[str, Any]) -> list[Tensor]:
        table = normal(BATCH, n, m, seed=1).to(compute).requires_grad_()
        lengths = torch.tensor([n, n - 3, n - 1]), torch.tensor([m, m - 2, 5])
        gamma = torch.tensor([0.5, 0.4, 0.3], dtype=compute)
        for k, key in enumerate(("n_length", "m_length")):
            if key in changes:
                lengths[k][BADLY] = changes[key] if changes[key] < 0 else n + m + changes[key]
        gamma[BADLY] = changes.get("gamma", 0.4)
        more: dict[str, Any] = {}
        if "band" in changes or bad == {"band": True}:
            bounds = torch.stack([torch.arange(n).clamp(max=m - 1), torch.full((n,), m)], -1)
            more["band"] = bounds.expand(BATCH, n, 2).clone()
            if "band" in changes:
                more["band"][BADLY] = more["band"][BADLY].flip(0)
        gamma.requires_grad_()
        score = getattr(functional, name)(
            table, *rest, gamma=gamma, lengths=lengths, **options, **more
        )
        return [score.detach(), *gradients(score, [table, gamma])]

    wanted, got = outcome({}), outcome(bad)
    assert got[0][BADLY].isnan()
    empty = min(bad.get("n_length", n), bad.get("m_length", m)) < 0  # as far as it is touched
    assert got[1][BADLY].isnan().any() != empty
    others = torch.arange(BATCH) != BADLY
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one[others], other[others], rtol=0, atol=0)

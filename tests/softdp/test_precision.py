"""float32 against float64 of the same op, where errors have thousands of steps to grow.

The soft-DTW potentials: minus the squared Euclidean costs of two sequences of 8-d standard normal
vectors, for all three arcs, leading gaps forbidden.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests.softdp.support import normal


class Run(NamedTuple):
    """A score and the mass that flows through each arc, as float32."""

    score: float
    match: Tensor
    insert: Tensor
    delete: Tensor


def dtw_potentials(n: int, device: torch.device) -> Tensor:
    x, y = (normal(n, 8, seed=seed).to(device) for seed in (1, 2))
    return -torch.cdist(x, y).square().float()


def run(compiled: ModuleType, tables: list[Tensor], dtype: torch.dtype, **options: object) -> Run:
    converted = {id(table): table.to(dtype) for table in tables}  # one copy of a table given thrice
    leaves = [converted[id(table)].detach().requires_grad_() for table in tables]
    options.setdefault("leading_gaps", "free")
    score = compiled.edit_similarity(*leaves, **options)
    masses = torch.autograd.grad(score, leaves)
    return Run(score.item(), *(mass.float() for mass in masses))


def check(compiled: ModuleType, tables: list[Tensor], **options: object) -> Run:
    """The bar: mass within 1e-4 everywhere, score within 1e-6 relative. Returns the float32 run."""
    wanted = run(compiled, tables, torch.float64, **options)
    got = run(compiled, tables, torch.float32, **options)
    assert got.score == pytest.approx(wanted.score, rel=1e-6)
    for name in ("match", "insert", "delete"):
        error = (getattr(got, name) - getattr(wanted, name)).abs().max().item()
        assert error <= 1e-4, f"{name}: {error}"
    return got


def check_mass(got: Run) -> None:
    """All mass leaves the start cell through its one arc, and every path enters each row once."""
    assert got.match[0, 0].item() == pytest.approx(1, abs=1e-5)
    rows = (got.match + got.delete).double().sum(1)
    assert (rows - 1).abs().max().item() <= 1e-5


@pytest.mark.parametrize("gamma", [1.0, 0.1, 0.01])
def test_soft_dtw_of_2048_steps(compiled: ModuleType, device: torch.device, gamma: float) -> None:
    tables = [dtw_potentials(2048, device)] * 3
    check_mass(check(compiled, tables, gamma=gamma, leading_gaps="forbidden"))


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 0.1, 0.01])
def test_soft_dtw_of_8192_steps(compiled: ModuleType, device: torch.device, gamma: float) -> None:
    tables = [dtw_potentials(8192, device)] * 3
    check_mass(check(compiled, tables, gamma=gamma, leading_gaps="forbidden"))


@pytest.mark.parametrize("potentials", [(0.1, -0.3, -0.5), (0.0, 0.0, 0.0)])
def test_equal_cells_do_not_round_alike(
    compiled: ModuleType, device: torch.device, potentials: tuple[float, float, float]
) -> None:
    # Rounded to nearest, the same error at every cell of a path added up to 2.5e-4 here.
    tables = [torch.full((2048, 2048), value, device=device) for value in potentials]
    check(compiled, tables, gamma=0.1)


@pytest.mark.parametrize("gamma", [1.0, 0.1])
def test_potentials_of_ten_thousand(
    compiled: ModuleType, device: torch.device, gamma: float
) -> None:
    tables = [1e4 * normal(300, 400, seed=seed).float().to(device) for seed in range(3)]
    check(compiled, tables, gamma=gamma)


def test_a_common_offset_of_ten_thousand(compiled: ModuleType, device: torch.device) -> None:
    # Values near 5e6, where one float resolves 0.5, and choices between potentials near 1.
    tables = [1e4 + normal(500, 500, seed=seed).float().to(device) for seed in range(3)]
    tables[0] += 1e4
    check(compiled, tables, gamma=1.0)


@pytest.mark.parametrize("gate_width", [0.0, 0.05])
def test_lcs_of_1000_steps(compiled: ModuleType, device: torch.device, gate_width: float) -> None:
    x, y = (
        torch.nn.functional.normalize(normal(n, 8, seed=n), dim=1).to(device) for n in (1000, 900)
    )
    similarity = (x @ y.mT).float()
    alignments = []
    for dtype in (torch.float32, torch.float64):
        leaf = similarity.to(dtype).requires_grad_()
        score = compiled.lcs(leaf, 0.5, gamma=0.1, gate_width=gate_width)
        alignments.append((score.item(), torch.autograd.grad(score, leaf)[0].double()))
    (score, alignment), (wanted_score, wanted) = alignments
    assert score == pytest.approx(wanted_score, rel=1e-6)
    # Through a soft gate the mass of the gaps counts too, gamma / gate_width = 2 times.
    assert (alignment - wanted).abs().max().item() <= (3e-4 if gate_width else 1e-4)

"""The nn.Module forms hold options, move them, and learn those that are parameters."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from tests.softdp.support import normal


def test_modules_are_the_functions(compiled: ModuleType, device: torch.device) -> None:
    match = normal(3, 5, 6, seed=1).to(device)
    lengths = (torch.tensor([5, 2, 0]), torch.tensor([6, 6, 1]))
    assert compiled.EditSimilarity(gamma=0.5, leading_gaps="forbidden")(
        match, -0.3, -0.2, lengths
    ).equal(
        compiled.edit_similarity(
            match, -0.3, -0.2, gamma=0.5, lengths=lengths, leading_gaps="forbidden"
        )
    )
    assert compiled.EditDistance()(match, 0.3, 0.2).equal(compiled.edit_distance(match, 0.3, 0.2))
    assert compiled.LCS(0.2, gamma=0.5, gate_width=0.1)(match, lengths).equal(
        compiled.lcs(match, 0.2, gamma=0.5, gate_width=0.1, lengths=lengths)
    )
    assert compiled.SoftDTW(gamma=0.5)(match, lengths).equal(
        compiled.soft_dtw(match, gamma=0.5, lengths=lengths)
    )
    gaps = {"gap_open": (1.0, 2.0), "gap_extend": 0.5, "trailing_gaps": "free"}
    assert compiled.NeedlemanWunsch(**gaps)(match, lengths).equal(
        compiled.needleman_wunsch(match, lengths=lengths, **gaps)
    )
    gaps = {"gap_open": (1.0, 2.0), "gap_extend": 0.5}
    assert compiled.SmithWaterman(**gaps)(match, lengths).equal(
        compiled.smith_waterman(match, lengths=lengths, **gaps)
    )
    drops = compiled.DropDTW(0.5, one_to_many=False, gamma=0.3)
    assert drops(match, drop_y=0.2, lengths=lengths).equal(
        compiled.drop_dtw(match, 0.5, 0.2, gamma=0.3, lengths=lengths, one_to_many=False)
    )
    logits, targets = normal(2, 4, 3, 5, seed=1).to(device), torch.tensor([[1, 2], [3, 1]])
    given = logits, targets, torch.tensor([4, 2]), torch.tensor([2, 1])
    module = compiled.RNNTLoss(blank=0, clamp=0.5, reduction="sum")
    assert module(*given).equal(compiled.rnnt_loss(*given, 0, 0.5, "sum"))
    assert repr(module) == "RNNTLoss(blank=0, clamp=0.5, reduction='sum')"


def test_parameters_learn_and_tensors_move(compiled: ModuleType, device: torch.device) -> None:
    threshold = nn.Parameter(torch.tensor(0.1))
    module = compiled.LCS(threshold, gamma=torch.tensor(0.5), gate_width=0.2).to(
        device, torch.float64
    )
    assert [name for name, _ in module.named_parameters()] == ["threshold"]
    assert set(module.state_dict()) == {"threshold", "_gamma"}
    module(normal(3, 5, 6, seed=1).to(device)).sum().backward()
    assert module.threshold.grad.abs() > 0
    assert "gate_width=0.2" in repr(module)


def test_a_learned_gamma(compiled: ModuleType, device: torch.device) -> None:
    gamma = nn.Parameter(torch.tensor(0.5, dtype=torch.float64, device=device))
    score = compiled.EditSimilarity(gamma=gamma)(normal(5, 6, seed=1).to(device), -0.3, -0.2)
    score.backward()
    assert gamma.grad > 0


def test_gaps_that_are_learned(compiled: ModuleType, device: torch.device) -> None:
    insert = nn.Parameter(torch.tensor(-0.3, device=device))
    module = compiled.EditSimilarity(
        insert, torch.tensor([-0.2] * 6), leading_gaps="free", trailing_gaps="free"
    )
    module = module.to(device)
    match = normal(2, 5, 6, seed=1).float().to(device)
    score = module(match, lengths=([5, 3], [6, 6]))
    wanted = compiled.edit_similarity(
        match,
        insert,
        module.delete,
        lengths=([5, 3], [6, 6]),
        leading_gaps="free",
        trailing_gaps="free",
    )
    assert score.equal(wanted)
    score.sum().backward()
    assert insert.grad.abs() > 0
    assert module(match, 0.5).equal(
        compiled.edit_similarity(
            match, 0.5, module.delete, leading_gaps="free", trailing_gaps="free"
        )
    )
    assert set(module.state_dict()) == {"insert", "delete"}


def test_affine_gaps_that_are_learned(compiled: ModuleType, device: torch.device) -> None:
    opened = nn.Parameter(torch.tensor(1.0)), torch.tensor(2.0)
    module = compiled.NeedlemanWunsch(gap_open=opened, gap_extend=nn.Parameter(torch.tensor(0.5)))
    module = module.to(device, torch.float64)
    assert set(module.state_dict()) == {"_gap_open_0", "_gap_open_1", "_gap_extend"}
    assert "gap_open=(1, 2), gap_extend=0.5" in repr(module)
    match = normal(2, 5, 6, seed=1).to(device)
    score = module(match)
    gaps = {"gap_open": (1.0, 2.0), "gap_extend": 0.5}
    torch.testing.assert_close(score, compiled.needleman_wunsch(match, **gaps))
    score.sum().backward()
    assert all(parameter.grad.abs() > 0 for parameter in module.parameters())


@pytest.mark.host
def test_a_gap_that_is_nowhere_is_missed(compiled: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"^EditDistance: delete must be given here or when"):
        compiled.EditDistance(insert=1.0)(torch.zeros(2, 3))
    with pytest.raises(TypeError, match=r"^DropDTW: drop_x must be given here or when"):
        compiled.DropDTW(drop_y=1.0)(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda f, **options: f.EditSimilarity(-0.3, -0.2, **options),
        lambda f, **options: f.EditDistance(0.3, 0.2, **options),
        lambda f, **options: f.LCS(0.2, gate_width=0.1, **options),
        lambda f, **options: f.SoftDTW(**options),
        lambda f, **options: f.NeedlemanWunsch(gap_open=0.3, gap_extend=0.2, **options),
        lambda f, **options: f.SmithWaterman(gap=0.3, **options),
        lambda f, **options: f.DropDTW(0.3, 0.2, **options),
    ],
)
def test_a_gamma_that_is_learned_stays_positive(
    compiled: ModuleType, device: torch.device, make: Callable[..., nn.Module]
) -> None:
    module: Any = make(compiled, gamma=0.01, learn_gamma=True).to(device)
    table = normal(4, 9, 8, seed=1).to(device)
    assert [name for name, _ in module.named_parameters()] == ["log_gamma"]
    torch.testing.assert_close(module.gamma, torch.tensor(0.01, device=device))
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
    sign = 1 if module(table).sum() > make(compiled, gamma=0.02)(table).sum() else -1
    for _ in range(20):
        optimiser.zero_grad()
        (-sign * module(table)).sum().backward()  # whichever way makes it smaller
        optimiser.step()
    assert module.gamma.item() > 0
    assert module(table).isfinite().all()


@pytest.mark.host
def test_no_learned_gamma_begins_at_zero(compiled: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^SoftDTW: a learned gamma must begin above 0, got 0"):
        compiled.SoftDTW(gamma=0.0, learn_gamma=True)

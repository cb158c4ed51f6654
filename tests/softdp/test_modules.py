"""The nn.Module forms hold options, move them, and learn those that are parameters."""

from __future__ import annotations

from types import ModuleType

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


def test_parameters_learn_and_tensors_move(compiled: ModuleType, device: torch.device) -> None:
    threshold = nn.Parameter(torch.tensor(0.1))
    module = compiled.LCS(threshold, gamma=torch.tensor(0.5), gate_width=0.2).to(
        device, torch.float64
    )
    assert [name for name, _ in module.named_parameters()] == ["threshold"]
    assert set(module.state_dict()) == {"threshold", "gamma"}
    module(normal(3, 5, 6, seed=1).to(device)).sum().backward()
    assert module.threshold.grad.abs() > 0
    assert "gate_width=0.2" in repr(module)


def test_a_learned_gamma(compiled: ModuleType, device: torch.device) -> None:
    gamma = nn.Parameter(torch.tensor(0.5, dtype=torch.float64, device=device))
    score = compiled.EditSimilarity(gamma=gamma)(normal(5, 6, seed=1).to(device), -0.3, -0.2)
    score.backward()
    assert gamma.grad > 0

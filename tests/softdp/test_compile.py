"""torch.compile(fullgraph=True) of models that use the functions, and what it must not change."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.softdp.support import gradients, normal

Model = Callable[[ModuleType, Tensor, Tensor, Tensor, Tensor], Tensor]
LENGTHS = (torch.tensor([6, 3, 0]), torch.tensor([5, 5, 2]))


def similarity_model(
    softdp: ModuleType, x: Tensor, y: Tensor, gap: Tensor, gamma: Tensor
) -> Tensor:
    return softdp.edit_similarity(torch.tanh(x @ y.mT), gap, -0.5, gamma=gamma).square()


def ragged_model(softdp: ModuleType, x: Tensor, y: Tensor, gap: Tensor, gamma: Tensor) -> Tensor:
    lengths = tuple(length.to(x.device) for length in LENGTHS)
    return softdp.edit_similarity(
        x @ y.mT, gap, gap.square(), gamma=gamma, lengths=lengths, leading_gaps="free"
    ).sigmoid()


def distance_model(softdp: ModuleType, x: Tensor, y: Tensor, gap: Tensor, gamma: Tensor) -> Tensor:
    return softdp.edit_distance(torch.cdist(x, y), gap.exp(), 1.0, gamma=gamma).exp()


def lcs_model(softdp: ModuleType, x: Tensor, y: Tensor, gap: Tensor, gamma: Tensor) -> Tensor:
    hard = softdp.lcs(x @ y.mT, 0.2, gamma=0.0)
    return hard + softdp.lcs(x @ y.mT, gap.mean(), gamma=gamma, gate_width=0.5)


def soft_dtw_model(softdp: ModuleType, x: Tensor, y: Tensor, gap: Tensor, gamma: Tensor) -> Tensor:
    lengths = tuple(length.to(x.device) + 1 for length in LENGTHS)
    cost = F.pad(torch.cdist(x, y) * gap.square(), (0, 1, 0, 1), value=1.0)
    return softdp.soft_dtw(cost, gamma=gamma, lengths=lengths).sigmoid()


@pytest.mark.parametrize(
    "model", [similarity_model, ragged_model, distance_model, lcs_model, soft_dtw_model]
)
def test_a_compiled_model_agrees(compiled: ModuleType, device: torch.device, model: Model) -> None:
    inputs = [
        normal(3, 6, 4, seed=1).to(device).requires_grad_(),
        normal(3, 5, 4, seed=2).to(device).requires_grad_(),
        normal(1, 5, seed=3).to(device).requires_grad_(),
        normal(3, seed=4).exp().to(device).requires_grad_(),
    ]
    wanted = model(compiled, *inputs)
    torch._dynamo.reset()
    whole = torch.compile(model, fullgraph=True, backend="aot_eager")
    score = whole(compiled, *inputs)
    torch.testing.assert_close(score, wanted)
    for gradient, expected in zip(gradients(score, inputs), gradients(wanted, inputs), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_one_graph_serves_every_size(compiled: ModuleType, device: torch.device) -> None:
    def model(match: Tensor, insert: Tensor) -> Tensor:
        return compiled.edit_similarity(match, insert, -0.5).sum()

    torch._dynamo.reset()
    graphs = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    whole = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
    counts = []
    for pairs, n, m in ((3, 5, 6), (4, 7, 9), (20, 40, 33), (70, 12, 80)):
        match = normal(pairs, n, m, seed=1).to(device).requires_grad_()
        insert = normal(1, m, seed=2).to(device).requires_grad_()
        score = whole(match, insert)
        torch.testing.assert_close(score, model(match, insert))
        torch.testing.assert_close(
            gradients(score, [match, insert]), gradients(model(match, insert), [match, insert])
        )
        counts.append(graphs.frame_count)
    assert len(set(counts)) == 1, counts

"""torch.compile(fullgraph=True) of models that use the functions, and what it must not change."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import softdp
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


Sized = Callable[[ModuleType, Tensor, Tensor, Tensor, Tensor], Tensor]

# Of a table, lengths of both sequences and a gamma.
OF_EVERY_SIZE: dict[str, Sized] = {
    "soft_dtw": lambda f, c, n, m, g: f.soft_dtw(c, gamma=g, lengths=(n, m)),
    "open": lambda f, c, n, m, g: f.soft_dtw(
        c, gamma=g, lengths=(n, m), open_begin=True, open_end=True
    ),
    "paid": lambda f, c, n, m, g: f.edit_similarity(
        c, -0.3, c[..., :1], gamma=g, lengths=(n, m), leading_gaps="paid"
    ),
    "free": lambda f, c, n, m, g: f.edit_similarity(
        c, -0.3, -0.2, gamma=g, lengths=(n, m), leading_gaps="free", trailing_gaps="free"
    ),
    "distance": lambda f, c, n, m, g: f.edit_distance(c, 0.3, 0.2, gamma=g, lengths=(n, m)),
    "lcs": lambda f, c, n, m, g: f.lcs(c, 0.3, gamma=g, gate_width=0.1, lengths=(n, m)),
    "without lengths": lambda f, c, n, m, g: f.edit_similarity(c, c[..., :1, :], -0.5, gamma=g),
    "free, without lengths": lambda f, c, n, m, g: f.edit_similarity(
        c, -0.3, -0.2, gamma=g, leading_gaps="free", trailing_gaps="free"
    ),
    "open, without lengths": lambda f, c, n, m, g: f.soft_dtw(
        c, gamma=g, open_begin=True, open_end=True
    ),
    "a band": lambda f, c, n, m, g: f.soft_dtw(c, gamma=g, band=3, lengths=(n, m)),
    "a band, without lengths": lambda f, c, n, m, g: f.edit_similarity(
        c, -0.3, -0.2, gamma=g, band=3
    ),
    "divergence": lambda f, c, n, m, g: f.dtw_divergence(c, c.sin() + 0.1, gamma=g),
    "sweep": lambda f, c, n, m, g: f.sweep("soft_dtw", c, gamma=g).bottom.sigmoid().sum(-1),
    "pairwise costs": lambda f, c, n, m, g: f.soft_dtw(f.pairwise_cost(c, c.cos()), gamma=g),
}
# On both sides of what the layout of a table turns on.
SIZES = [(3, 5, 6), (4, 7, 9), (2, 30, 200), (20, 33, 127), (17, 3, 128), (33, 4, 5), (5, 64, 2)]


def arguments(pairs: int, n: int, m: int, device: torch.device) -> list[Tensor]:
    table = normal(pairs, n, m, seed=1).to(device).requires_grad_()
    rows, columns = (torch.arange(pairs, device=device) % limit + 1 for limit in (n, m))
    gamma = torch.tensor(0.5, dtype=torch.float64, device=device, requires_grad=True)
    return [table, rows, columns, gamma]


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", OF_EVERY_SIZE)
def test_one_graph_serves_every_size(
    compiled: ModuleType,
    device: torch.device,
    name: str,
    backend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = functools.partial(OF_EVERY_SIZE[name], compiled)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for cache in ("empty", "full"):
        torch._dynamo.reset()
        graphs = CompileCounterWithBackend(backend)
        whole = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
        counts = []
        for size in SIZES:
            table, rows, columns, gamma = arguments(*size, device)
            score = whole(table, rows, columns, gamma)
            wanted = model(table, rows, columns, gamma)
            torch.testing.assert_close(score, wanted)
            torch.testing.assert_close(
                gradients(score, [table, gamma]), gradients(wanted, [table, gamma])
            )
            counts.append(graphs.frame_count)
        assert set(counts) == {counts[0]}, f"{counts} with its cache {cache}"


class Exported(torch.nn.Module):
    def __init__(self, model: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model

    def forward(self, table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self.model(table, rows, columns, 0.5)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", OF_EVERY_SIZE)
def test_one_export_serves_every_size(
    compiled: ModuleType, device: torch.device, name: str, strict: bool
) -> None:
    model = functools.partial(OF_EVERY_SIZE[name], compiled)
    pairs, n, m = (torch.export.Dim(each, min=2, max=4096) for each in ("pairs", "n", "m"))
    example = tuple(each.detach() for each in arguments(3, 5, 6, device)[:3])
    shapes = ({0: pairs, 1: n, 2: m}, {0: pairs}, {0: pairs})
    program = torch.export.export(Exported(model), example, dynamic_shapes=shapes, strict=strict)
    for size in SIZES[1:]:
        table, rows, columns, _ = arguments(*size, device)
        score = program.module()(table.detach(), rows, columns)
        torch.testing.assert_close(score, model(table, rows, columns, 0.5).detach())


@pytest.mark.host
def test_a_model_compiled_ahead_of_time_serves_every_size(tmp_path: Path) -> None:
    device = torch.device("cpu")
    model = functools.partial(OF_EVERY_SIZE["open"], softdp)
    pairs, n, m = (torch.export.Dim(each, min=2, max=4096) for each in ("pairs", "n", "m"))
    example = tuple(each.detach() for each in arguments(3, 5, 6, device)[:3])
    shapes = ({0: pairs, 1: n, 2: m}, {0: pairs}, {0: pairs})
    program = torch.export.export(Exported(model), example, dynamic_shapes=shapes)
    package = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "model.pt2")
    )
    whole = torch._inductor.aoti_load_package(package)
    for size in SIZES[1:]:
        table, rows, columns, _ = arguments(*size, device)
        score = whole(table.detach(), rows, columns)
        torch.testing.assert_close(score, model(table, rows, columns, 0.5).detach())

"""A GPU that is not the current one, and DistributedDataParallel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import softdp
from tests.gpu.programs import NAMES, SHAPES, program


@pytest.fixture
def other() -> torch.device:
    """The last of several GPUs, while the first is the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU only")
    torch.cuda.set_device(0)
    return torch.device("cuda", torch.cuda.device_count() - 1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_that_is_not_the_current_one(
    other: torch.device, name: str, shape: tuple[int, int, int]
) -> None:
    results = program(name, shape, other, ragged=True)()
    assert torch.cuda.current_device() == 0
    for got, wanted in zip(results, program(name, shape, "cuda:0", ragged=True)(), strict=True):
        assert got.device == other
        torch.testing.assert_close(got.cpu(), wanted.cpu())


class Aligner(nn.Module):
    """Learns an embedding and what a gap costs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(8, 4)
        self.gap = nn.Parameter(torch.tensor(-0.3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        similarity = torch.tanh(self.embed(x) @ self.embed(y).mT)
        return softdp.edit_similarity(similarity, self.gap, self.gap, gamma=0.2)


def train_in_parallel(device: torch.device, rendezvous: Path) -> None:
    """One process of one: gradients are those of the model alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1
    )
    try:
        alone = Aligner().to(device)
        model = nn.parallel.DistributedDataParallel(Aligner().to(device), device_ids=[device.index])
        x, y = torch.randn(6, 40, 8, device=device), torch.randn(6, 50, 8, device=device)
        for item in (alone, model):
            item(x, y).sum().backward()
        for parameter, wanted in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, wanted.grad)
    finally:
        torch.distributed.destroy_process_group()


def test_distributed_data_parallel(gpu: torch.device, tmp_path: Path) -> None:
    train_in_parallel(gpu, tmp_path / "rendezvous")


def test_distributed_data_parallel_on_another_gpu(other: torch.device, tmp_path: Path) -> None:
    train_in_parallel(other, tmp_path / "rendezvous")

"""Capture in a CUDA graph, and replay on other values."""

from __future__ import annotations

import pytest
import torch

import softdp
from tests.gpu.programs import NAMES, SHAPES, program


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_graph_replays_on_other_values(
    gpu: torch.device, name: str, shape: tuple[int, int, int], ragged: bool
) -> None:
    captured, other = (program(name, shape, gpu, ragged=ragged, seed=seed) for seed in (1, 2))
    wanted = other()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        captured()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = captured()
    with torch.no_grad():
        for old, new in zip(captured.leaves, other.leaves, strict=True):
            old.copy_(new)
        for old, new in zip(
            captured.options.get("lengths", ()), other.options.get("lengths", ()), strict=True
        ):
            old.copy_(new)
    for _ in range(2):
        for result in results:
            result.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        for got, expected in zip(results, wanted, strict=True):
            assert got.equal(expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_of_a_band_the_score_is_captured_and_the_gradient_is_not(
    gpu: torch.device, shape: tuple[int, int, int]
) -> None:
    item = program("steps", shape, gpu, banded=True, ragged=True)
    wanted, *_ = item()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        score = getattr(softdp, item.function)(*item.arguments, **item.options)
    graph.replay()
    torch.cuda.synchronize()
    assert score.equal(wanted)
    with (
        torch.cuda.graph(torch.cuda.CUDAGraph()),
        pytest.raises(RuntimeError, match="while a CUDA graph is captured"),
    ):
        item()

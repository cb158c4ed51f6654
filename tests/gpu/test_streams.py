"""Work is queued on the current stream, does not wait on the host, and repeats bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tests.gpu.programs import NAMES, SHAPES, Program, program

CYCLES = 50_000_000  # some 30 ms


def poison(program: Program) -> list[Tensor]:
    """The values of its leaves, which are NaN from here on."""
    values = [leaf.detach().clone() for leaf in program.leaves]
    with torch.no_grad():
        for leaf in program.leaves:
            leaf.fill_(torch.nan)
    return values


def run_late(program: Program, values: list[Tensor]) -> list[Tensor]:
    """After a while, with the values that come to the leaves only then."""
    torch.cuda._sleep(CYCLES)
    with torch.no_grad():
        for leaf, value in zip(program.leaves, values, strict=True):
            leaf.copy_(value)
    return program()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("banded", [False, True])
def test_two_streams_do_not_meet(
    gpu: torch.device, name: str, shape: tuple[int, int, int], banded: bool
) -> None:
    # On another stream than its own a kernel would read the NaNs.
    programs = [program(name, shape, gpu, banded=banded, seed=seed) for seed in (1, 2)]
    wanted = [item() for item in programs]
    values = [poison(item) for item in programs]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in programs]
    got = []
    for stream, item, late in zip(streams, programs, values, strict=True):
        with torch.cuda.stream(stream):
            got.append(run_late(item, late))
    torch.cuda.synchronize()
    for results, expected in zip(got, wanted, strict=True):
        for result, value in zip(results, expected, strict=True):
            assert result.equal(value)


def test_threads_that_launch_the_same_kernels_at_once(gpu: torch.device) -> None:
    # With another amount of shared memory each.
    programs = [program("tables", shape, gpu) for shape in SHAPES.values()]
    wanted = [item() for item in programs]
    with ThreadPoolExecutor(len(programs)) as pool:
        got = pool.map(lambda item: [item() for _ in range(50)], programs)
        for repeated, expected in zip(got, wanted, strict=True):
            for results in repeated:
                assert all(map(Tensor.equal, results, expected))


@pytest.fixture
def no_synchronisation() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("no_synchronisation")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ragged", [False, True])
def test_the_host_waits_for_nothing(
    gpu: torch.device, name: str, shape: tuple[int, int, int], ragged: bool
) -> None:
    item = program(name, shape, gpu, ragged=ragged)
    item()
    torch.cuda.set_sync_debug_mode("error")
    item()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("banded", [False, True])
def test_the_same_bits_whatever_else_runs(
    gpu: torch.device, name: str, shape: tuple[int, int, int], banded: bool
) -> None:
    item = program(name, shape, gpu, ragged=True, banded=banded)
    wanted = item()
    busy, square = torch.cuda.Stream(), torch.randn(2048, 2048, device=gpu)
    for _ in range(5):
        with torch.cuda.stream(busy):
            for _ in range(10):
                square @ square
        for got, expected in zip(item(), wanted, strict=True):
            assert got.equal(expected)
    torch.cuda.synchronize()

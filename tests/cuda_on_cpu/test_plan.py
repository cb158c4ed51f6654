"""Which strips and blocks a shape is swept by: csrc/wavefront/cuda/plan.h."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.cuda_on_cpu.build import why_not
from tests.cuda_on_cpu.kernels import driver
from tests.gpu import programs, sanitizer_cases

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Planned(NamedTuple):
    """A Plan of csrc/wavefront/cuda/plan.h."""

    lanes: int
    in_block: int
    strips: int
    blocks: int

    @property
    def regime(self) -> str:
        return "long" if self.strips > 1 else "short"


def planned(
    shape: tuple[int, int, int], rows: int, strip: int, multiprocessors: int = 132
) -> Planned:
    """For pairs, n, m; rows of a lane; bytes of a strip."""
    pairs, n, _ = shape
    reply = driver("soft_dtw").call(
        "plan",
        {},
        pairs=pairs,
        n=n,
        rows=rows,
        strip_bytes=strip,
        card_multiprocessors=multiprocessors,
        card_shared_bytes=227 << 10,
    )
    return Planned(*map(int, reply["plan"]))


@pytest.mark.parametrize(
    ("pairs", "n", "rows", "regime", "blocks"),
    [
        (65536, 30, 2, "short", 65536 // 8),
        (16, 5, 2, "short", 4),
        (1, 64, 2, "short", 1),
        (512, 32, 1, "short", 128),
        (10, 65, 2, "long", 20),
        (10, 33, 1, "long", 20),
        (512, 256, 2, "long", 8 * 132),
        (4096, 1024, 2, "long", 8 * 132),
        (1, 16384, 2, "long", 256),
    ],
)
def test_the_plan_fits_the_shape(pairs: int, n: int, rows: int, regime: str, blocks: int) -> None:
    bytes_of_a_strip = 25 << 10
    plan = planned((pairs, n, 100), rows, bytes_of_a_strip)
    assert plan.regime == regime
    assert plan.blocks == blocks
    assert plan.strips * plan.lanes * rows >= n
    assert plan.in_block * bytes_of_a_strip <= 227 << 10
    assert plan.in_block * plan.lanes % 32 == 0
    assert plan.in_block * plan.lanes <= 128


@pytest.mark.parametrize("multiprocessors", [40, 84, 132, 170])
@pytest.mark.parametrize("kilobytes", [9, 25, 42, 58, 66])
@pytest.mark.parametrize("rows", [1, 2])
def test_what_runs_on_a_gpu_reaches_every_regime(
    rows: int, kilobytes: int, multiprocessors: int
) -> None:
    for name, shape in programs.SHAPES.items():
        regime = "short" if name == "short" else "long"
        assert planned(shape, rows, kilobytes << 10, multiprocessors).regime == regime
    for shape in sanitizer_cases.LONG:
        assert planned(shape, rows, kilobytes << 10, multiprocessors).regime == "long"
    # Blocks that take several strips, and such that wait for blocks which run at the same time.
    many = planned(sanitizer_cases.MANY, rows, kilobytes << 10, multiprocessors)
    assert many.blocks < sanitizer_cases.MANY[0] * many.strips

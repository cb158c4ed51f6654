"""Paths by the CUDA kernels' own source: those that the CPU's walk finds."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.cpp_extension import include_paths

import softdp
from softdp import ends
from softdp.affine import AffineGaps, laid_affine
from softdp.arguments import GAPS
from softdp.families import FAMILIES
from tests.cuda_on_cpu.build import Executable, compile_driver, why_not
from tests.softdp.support import normal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

# n and m. What a strip has is in test_sweeps.py.
SHAPES = [
    (1, 1), (5, 9), (9, 1), (33, 16), (64, 70), (130, 40), (70, 65), (65, 40), (40, 129),
]  # fmt: skip


@functools.cache
def driver(races: bool) -> Executable:
    headers = [f"-I{path}" for path in include_paths()]
    return Executable(compile_driver("walks.cpp", *headers, races=races))


def by_kernels(
    family: str,
    tables: list[Tensor],
    cells: Tensor,
    gaps: str,
    races: bool = False,
    **arrays: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs, arcs and lengths of a forward sweep and a walk, as softdp::walk has them."""
    given = {f"table{k}": table for k, table in enumerate(tables)} | {"cells": cells} | arrays
    reply = driver(races).call(
        str(tables[0].dtype).removeprefix("torch."),
        {name: np.ascontiguousarray(array.numpy()) for name, array in given.items()},
        family=family,
        leading_gaps=4 * GAPS.index(gaps),
        card_shared_bytes=227 << 10,
    )
    return tuple(torch.from_numpy(reply[name].copy()) for name in ("pairs", "arcs", "lengths"))


def check(
    family: str,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    gaps: str,
    gamma: float,
    draw: int | None,
    ragged: bool = False,
    band: Tensor | None = None,
    races: bool = False,
) -> None:
    pairs, n, m = shape
    count, states = FAMILIES[family].tables, FAMILIES[family].states
    tables = [normal(*shape, seed=k).to(dtype) for k in range(count)]
    # Of gaps that are paid for before the first step of the other sequence there is one price; of
    # drops at one price the order would be decided by rounding.
    if family != "drop_dtw":
        tables[1:] = [table[:, :1, :1].expand(shape).contiguous() for table in tables[1:]]
    n_lengths, m_lengths = (torch.full((pairs,), size) for size in (n, m))
    if ragged:
        n_lengths, m_lengths = n - torch.arange(pairs) % n, m - (torch.arange(pairs) * 2) % m
    of_op: Any = (n_lengths, m_lengths) if ragged else (None, None)
    number = torch.tensor(gamma, dtype=dtype)
    border = None
    if family == "edit":
        worth = [table[:, :1, :1] for table in tables[1:]]
        border = ends.laid(shape, worth[0], worth[1], (gaps, gaps), False)
        options: tuple[Any, ...] = (4 * GAPS.index(gaps), 3, False)
    elif family == "affine":
        worth = [table[:, :1, :1] for table in tables[1:]]
        border = laid_affine(shape, AffineGaps(*worth), (gaps, gaps))
        options = (4 * GAPS.index(gaps), 3)
    elif family == "drop_dtw":
        side = ends.laid(shape, tables[2][:, :1], tables[1][:, :, :1], (gaps, gaps), True)
        side = 1.1 * side  # not as much as the drops of the table, or the first two would tie, too
        border, options = torch.stack([torch.full_like(side, torch.inf), side], -2), (True, True)
    else:
        options = ()
    op = getattr(torch.ops.softdp, family)
    score, weights, _ = op(*tables, number, border, *of_op, band, *options, True, False)
    assert band is not None or family == "monotonic" or score.isfinite().all()
    last = torch.stack([n_lengths, m_lengths, torch.zeros_like(n_lengths)], -1)
    cells = last[:, None].repeat(1, 3, 1)
    cells[:, 2] = (cells[:, 2] - 1).clamp(min=0)  # and from another one
    if family == "affine":
        cells[..., 2] = torch.arange(3)
    elif states > 1:
        cells[..., 2] = states - 1  # that of paths that have ended
    leading = 4 * GAPS.index(gaps)
    seeds = None if draw is None else torch.arange(pairs) * 2**40 + draw
    wanted = torch.ops.softdp.walk(
        weights,
        tables[0],
        *of_op,
        band,
        score,
        cells,
        3,
        states,
        leading,
        family in ("drop_dtw", "soft_dtw"),
        seeds,
    )
    arrays = {"gamma": number}
    if seeds is not None:
        arrays["seeds"] = seeds
    if ragged:
        arrays |= {"n_lengths": n_lengths, "m_lengths": m_lengths}
    if band is not None:
        arrays["band"] = band
    if border is not None:
        arrays["border"] = border
    got = by_kernels(family, tables, cells, gaps, races, **arrays)
    for name, one, other in zip(("pairs", "arcs", "lengths"), got, wanted, strict=True):
        assert one.equal(other), name


@pytest.mark.parametrize("draw", [None, 7])
@pytest.mark.parametrize("family", ["affine", "drop_dtw", "edit", "local", "monotonic", "soft_dtw"])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_the_paths_of_the_cpu(family: str, n: int, m: int, draw: int | None) -> None:
    gaps = {"monotonic": "forbidden", "soft_dtw": "forbidden", "drop_dtw": "paid"}.get(
        family, "free"
    )
    check(family, (3, n, m), torch.float64, gaps, 0.5, draw)
    check(family, (4, n, m), torch.float64, gaps, 0.5, draw, ragged=True)


@pytest.mark.parametrize("gaps", ["free", "paid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_smoothing(dtype: torch.dtype, gaps: str) -> None:
    check("affine", (5, 40, 70), dtype, gaps, 0.0, None)
    check("edit", (5, 40, 70), dtype, gaps, 0.0, None)
    check("edit", (5, 70, 40), dtype, gaps, 0.0, None, ragged=True)


@pytest.mark.parametrize("draw", [None, 7])
@pytest.mark.parametrize("family", ["affine", "edit", "soft_dtw"])
def test_bands(family: str, draw: int | None) -> None:
    gaps = "forbidden" if family == "soft_dtw" else "free"
    for n, m, width in [(40, 70, 5), (70, 40, 9), (100, 100, 3), (5, 60, 2)]:
        lengths = n - torch.arange(4) % n, m - (torch.arange(4) * 2) % m
        band = softdp.sakoe_chiba(n, m, width, lengths=lengths)
        check(family, (4, n, m), torch.float64, gaps, 0.5, draw, ragged=True, band=band)


def test_weights_of_another_band_have_no_paths() -> None:
    table = normal(1, 40, 70, seed=1)
    cells = torch.tensor([[[40, 70, 0]]])
    band = softdp.sakoe_chiba(40, 70, 5)[None].contiguous()
    arrays = {"gamma": torch.tensor(0.5, dtype=torch.float64), "band": band}
    *_, lengths = by_kernels("soft_dtw", [table], cells, "forbidden", **arrays)
    assert lengths.item() >= 70
    arrays["walk_band"] = softdp.sakoe_chiba(40, 70, 6)[None].contiguous()
    _, arcs, lengths = by_kernels("soft_dtw", [table], cells, "forbidden", **arrays)
    assert lengths.item() == 0
    assert (arcs == -1).all()


@pytest.mark.skipif(why_not("-fsanitize=thread") is not None, reason="no race detector")
def test_no_races() -> None:
    check("edit", (3, 70, 65), torch.float64, "free", 0.5, 7, races=True)
    band = softdp.sakoe_chiba(70, 65, 9)[None].expand(3, -1, -1).contiguous()
    check("soft_dtw", (3, 70, 65), torch.float64, "forbidden", 0.5, 7, band=band, races=True)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000" * 4, "00000000" * 2, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
        ("ffffffff" * 4, "ffffffff" * 2, "408f276d41c83b0ea20bc7c66d5451fd"),
        (
            "243f6a8885a308d313198a2e03707344",
            "a4093822299f31d0",
            "d16cfe0994fdcceb5001e42024126ea1",
        ),
    ],
)
def test_random_numbers_are_those_of_random123(counter: str, key: str, words: str) -> None:
    arrays = {
        name: np.frombuffer(bytes.fromhex(text), ">u4").astype(np.uint32)
        for name, text in (("counter", counter), ("key", key))
    }
    drawn = driver(False).call("philox", arrays)["words"]
    assert drawn.astype(">u4").tobytes().hex() == words

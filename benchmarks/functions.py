"""Times what stands around the scores beside its peers: ``python -m benchmarks.functions``.

Bands, open and free ends, borders, blocks of rows, tables of costs, divergences, derivatives of
second order: forward and backward; alignments: without gradients; in float32, each beside the same
computed otherwise (the whole table, plain torch, a peer that is installed). The gradients of the
others are compared with softdp's before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

import softdp
from benchmarks import timing
from benchmarks.machine import machine


class Way(NamedTuple):
    """One way to compute a case: its scores, or what else is differentiated, from the leaves."""

    name: str
    scores: Callable[..., Tensor]
    needs: str | None = None  # a package without which it cannot run


class Case(NamedTuple):
    """What is computed, from leaves of these shapes; the first way is the one that is measured.

    Attributes:
        ratio: bars for the first way: its time over that of the way named, at most.
        peak: and its peak of memory, in MB, at most.
        tolerance: of the others' gradients, relative to the first's.
        backward: whether gradients are asked for.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    ways: tuple[Way, ...]
    ratio: dict[str, float] = {}  # noqa: RUF012  a named tuple has no factory
    peak: float | None = None
    tolerance: float = 1e-3
    backward: bool = True


class Record(TypedDict):
    """A way's time of forward + backward and what memory that takes at most."""

    case: str
    way: str
    shapes: tuple[tuple[int, ...], ...]
    median_ms: float
    spread_ms: float
    calls: int
    peak_mb: float | None


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return softdp.pairwise_cost(x, y, "sqeuclidean")


def _blocks(rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: softdp.blockwise(_squared, x, y, rows=rows)


def _pysdtw(cost: Tensor, width: int) -> Tensor:
    from pysdtw import SoftDTWcpu

    lengths = torch.tensor([cost.shape[-2:]]).expand(len(cost), 2).contiguous()
    return SoftDTWcpu.apply(cost, lengths, 1.0, width)


def _subsequence(cost: Tensor) -> Tensor:
    from ddtw import subSDTW

    loss = subSDTW(normalization="none", backend="cpu_numba", sub_X=False, compensate_subseq=False)
    return loss(C=cost) * len(cost)  # its loss is the mean over the batch


def _divergence_of_three(x: Tensor, y: Tensor) -> Tensor:
    def score(a: Tensor, b: Tensor) -> Tensor:
        return softdp.soft_dtw((a[..., :, None, :] - b[..., None, :, :]).square().sum(-1))

    return score(x, y) - (score(x, x) + score(y, y)) / 2


def _tslearn_divergence(x: Tensor, y: Tensor) -> Tensor:
    from tslearn.metrics import SoftDTWLossPyTorch

    return SoftDTWLossPyTorch(gamma=1.0, normalize=True)(x, y)


def _semi_global(table: Tensor) -> Tensor:
    ends = ("paid", "free")
    return softdp.edit_similarity(table, -0.5, -0.5, leading_gaps=ends, trailing_gaps=ends)


def _semi_global_by_reference(table: Tensor) -> Tensor:
    ends = ("paid", "free")
    return softdp.reference.edit_similarity(
        table, -0.5, -0.5, leading_gaps=ends, trailing_gaps=ends
    )


def _gradient(score: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """That of a score, as a function whose vector-Jacobian product is the Hessian's."""
    return lambda x: torch.autograd.grad(score(x).sum(), x, create_graph=True)[0]


def _distortion(score: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The expected alignment weighed by how far it is from the diagonal."""

    def weighed(cost: Tensor) -> Tensor:
        n, m = cost.shape[-2:]
        far = (torch.arange(n)[:, None] / n - torch.arange(m) / m).square()
        return (_gradient(score)(cost) * far).sum((-1, -2))

    return weighed


def _hard_score(table: Tensor) -> Tensor:
    return softdp.edit_similarity(table, -0.5, -0.5, gamma=0)


def _tslearn_paths(table: Tensor) -> Tensor:
    from tslearn.metrics import dtw_path_from_metric

    paths = [dtw_path_from_metric(each.numpy(), metric="precomputed")[0] for each in table]
    return torch.tensor([len(path) for path in paths])


def _parts(table: Tensor) -> Tensor:
    above = softdp.sweep("soft_dtw", table[..., :128, :])
    return softdp.sweep("soft_dtw", table[..., 128:, :], top=above.bottom).score


CASES = (
    Case(
        "a band of 2 %",
        ((1, 3000, 3000),),
        (
            Way("softdp", lambda cost: softdp.soft_dtw(cost, band=60)),
            Way("softdp, the whole table", softdp.soft_dtw),
            Way("pysdtw", lambda cost: _pysdtw(cost, 60), "pysdtw"),
        ),
        ratio={"softdp, the whole table": 0.2},
        tolerance=float("inf"),  # another band each
    ),
    Case(
        "x within y",
        ((16, 64, 512),),
        (
            Way("softdp", lambda c: softdp.soft_dtw(c, open_begin=True, open_end=True)),
            Way("softdp, fixed ends", softdp.soft_dtw),
            Way("ddtw", _subsequence, "ddtw"),
        ),
        tolerance=float("inf"),
    ),
    Case(
        "semi-global",
        ((32, 256, 256),),
        (
            Way("softdp", _semi_global),
            Way("reference", _semi_global_by_reference),
        ),
    ),
    Case(
        "in two parts",
        ((32, 256, 256),),
        (Way("softdp", _parts), Way("softdp, the whole table", softdp.soft_dtw)),
    ),
    Case(
        "pairwise cost",
        ((32, 256, 64), (32, 256, 64)),
        (
            Way("softdp", lambda x, y: _squared(x, y).sum((-1, -2))),
            Way("torch.cdist", lambda x, y: torch.cdist(x, y).square().sum((-1, -2))),
            Way(
                "torch, by differences",
                lambda x, y: (x[..., :, None, :] - y[..., None, :, :]).square().sum((-1, -2, -3)),
            ),
        ),
    ),
    Case(
        "divergence",
        ((16, 128, 16), (16, 128, 16)),
        (
            Way("softdp", lambda x, y: softdp.dtw_divergence(x, y, gamma=1.0)),
            Way("three scores of softdp", _divergence_of_three),
            Way("tslearn", _tslearn_divergence, "tslearn"),
        ),
    ),
    Case(
        "Hessian product",
        ((1, 1024, 1024),),
        (
            Way("softdp", _gradient(softdp.soft_dtw)),
            Way("softdp, the gradient alone", softdp.soft_dtw),
        ),
        ratio={"softdp, the gradient alone": 3},
        tolerance=float("inf"),  # of two different things
    ),
    Case(
        "temporal distortion",  # of DILATE (Le Guen and Thome, NeurIPS 2019), and its gradient
        ((16, 128, 128),),
        (
            Way("softdp", _distortion(softdp.soft_dtw)),
            Way("softdp, the gradient alone", softdp.soft_dtw),
            Way("reference", _distortion(softdp.reference.soft_dtw)),
        ),
        ratio={"reference": 0.05},
        tolerance=float("inf"),
    ),
    Case(
        "best path",
        ((8, 400, 90),),
        (
            Way("softdp", lambda table: softdp.best_alignment(table, -0.5, -0.5).pairs),
            Way("softdp, its score alone", _hard_score),
            Way("tslearn", _tslearn_paths, "tslearn"),
        ),
        ratio={"softdp, its score alone": 1.5},
        backward=False,
    ),
    Case(
        "expected alignment",
        ((32, 256, 256),),
        (
            Way("softdp", lambda table: softdp.expected_alignment(table, -0.5, -0.5).match),
            Way("softdp, the score alone", lambda t: softdp.edit_similarity(t, -0.5, -0.5)),
        ),
        backward=False,
    ),
    Case(
        "16 alignments drawn",
        ((32, 256, 256),),
        (
            Way("softdp", lambda t: softdp.EditAlignment(t, -0.5, -0.5).sample(16).pairs),
            Way("softdp, the score alone", lambda t: softdp.edit_similarity(t, -0.5, -0.5)),
        ),
        backward=False,
    ),
    Case(
        "blocks of 20,000 x 20,000",
        ((20_000, 64), (20_000, 64)),
        (
            Way("softdp.blockwise", _blocks(512)),
            Way("softdp, the whole table", lambda x, y: softdp.soft_dtw(_squared(x, y))),
        ),
        ratio={"softdp, the whole table": 1.6},
        peak=1000.0,
    ),
)
# Only where it is asked for: minutes.
LONG = Case(
    "blocks of 100,000 x 100,000",
    ((100_000, 64), (100_000, 64)),
    (Way("softdp.blockwise", _blocks(512)),),
    peak=1000.0,
)


def leaves_of(case: Case) -> list[Tensor]:
    """The case's inputs: what is random stays the same."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator).square_().div_(shape[-1] ** 0.5).requires_grad_()
        for shape in case.shapes
    ]


def measure(case: Case, effort: timing.Effort) -> list[Record]:
    """A record for each way that can run here; those that do not agree raise ValueError."""
    ways = [way for way in case.ways if way.needs is None or importlib.util.find_spec(way.needs)]
    leaves = leaves_of(case)

    generator = torch.Generator().manual_seed(1)
    upstream: dict[torch.Size, Tensor] = {}
    for way in ways if case.backward else ():
        shape = way.scores(*leaves).shape
        upstream.setdefault(shape, torch.randn(shape, generator=generator))

    def forward_and_backward(way: Way) -> tuple[Tensor, ...]:
        if not case.backward:
            with torch.no_grad():
                return (way.scores(*leaves),)
        scores = way.scores(*leaves)
        return torch.autograd.grad(scores, leaves, upstream[scores.shape])

    wanted = forward_and_backward(ways[0]) if len(ways) > 1 and case.backward else ()
    for way in ways[1:] if case.backward else ():
        for got, own in zip(forward_and_backward(way), wanted, strict=True):
            error = ((got - own).norm() / own.norm()).item()
            if not error <= case.tolerance:
                raise ValueError(f"{case.name}: {way.name} has another gradient, by {error:.1e}")
    del wanted
    room = timing.room(torch.device("cpu"))
    peaks = [room.peak_memory(lambda way=way: forward_and_backward(way)) for way in ways]  # type: ignore[misc]
    taken = room.measure_in_turn(
        [lambda way=way: forward_and_backward(way) for way in ways],  # type: ignore[misc]
        effort,
    )
    return [
        Record(
            case=case.name,
            way=way.name,
            shapes=case.shapes,
            median_ms=1e3 * each.median,
            spread_ms=1e3 * each.spread,
            calls=each.calls,
            peak_mb=None if peak is None else peak / 1e6,
        )
        for way, each, peak in zip(ways, taken, peaks, strict=True)
    ]


def missed(case: Case, records: Sequence[Record]) -> list[str]:
    """The bars that the first way does not meet."""
    first, times = records[0], {record["way"]: record["median_ms"] for record in records}
    told = [
        f"{case.name}: {first['median_ms'] / times[way]:.2f} of the time of {way}, wanted {most}"
        for way, most in case.ratio.items()
        if not first["median_ms"] <= most * times[way]
    ]
    peak = first["peak_mb"]
    if case.peak is not None and peak is not None and not peak <= case.peak:
        told.append(f"{case.name}: {peak:.0f} MB at most, wanted {case.peak:.0f}")
    return told


def line(record: Record, first: Record) -> str:
    """A record as text, beside that of the first way."""
    peak = "" if record["peak_mb"] is None else f"{record['peak_mb']:10.1f} MB"
    ratio = record["median_ms"] / first["median_ms"]
    return (
        f"{record['case']:28} {record['way']:26} {record['median_ms']:11.2f} ms "
        f"(spread {record['spread_ms']:8.2f}) {ratio:8.2f} times {peak}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each way; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.functions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="the cases with it in the name")
    parser.add_argument("--long", action="store_true", help=f"{LONG.name}, too: once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    options = parser.parse_args(arguments)
    full = timing.room(torch.device("cpu")).FULL
    runs = [(case, full) for case in CASES] + [(LONG, timing.QUICK)] * options.long
    records: list[Record] = []
    told: list[str] = []
    for case, effort in runs:
        if options.only not in case.name:
            continue
        found = measure(case, effort)
        records += found
        told += missed(case, found)
        for record in found:
            print(line(record, found[0]), flush=True)
    print("\n".join(told) or "every bar is met")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"machine": machine(torch.device("cpu"))}
        options.json.write_text(json.dumps([head, *records], indent=1) + "\n")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())

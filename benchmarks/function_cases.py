"""What benchmarks.functions times: bands, ends, borders, costs, derivatives, alignments, blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import softdp


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
        threads: of torch, where a peer has one.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    ways: tuple[Way, ...]
    ratio: dict[str, float] = {}  # noqa: RUF012  a named tuple has no factory
    peak: float | None = None
    tolerance: float = 1e-3
    backward: bool = True
    threads: int | None = None


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

"""Alignments under torch.vmap: as in a loop, and drawn as its randomness says."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import grad, vmap

from softdp import AlignmentPath, EditAlignment, LCSAlignment, SoftDTWAlignment
from softdp.path_distribution import PathDistribution
from tests.softdp.support import normal

Make = Callable[..., PathDistribution]
MAKES: dict[str, Make] = {
    "edit": lambda x, lengths=None: EditAlignment(x, -0.5, -0.3, gamma=0.7, lengths=lengths),
    "overlap": lambda x, lengths=None: EditAlignment(
        x, -0.5, -0.3, gamma=0.7, lengths=lengths, leading_gaps="free", trailing_gaps="free"
    ),
    "banded": lambda x, lengths=None: EditAlignment(
        x, -0.5, -0.3, gamma=0.7, lengths=lengths, band=6
    ),
    "lcs": lambda x, lengths=None: LCSAlignment(x, 0.1, gamma=0.7, gate_width=0.5, lengths=lengths),
    "soft_dtw": lambda x, lengths=None: SoftDTWAlignment(x, gamma=0.7, lengths=lengths),
    "open": lambda x, lengths=None: SoftDTWAlignment(
        x, gamma=0.7, lengths=lengths, open_begin=True, open_end=True
    ),
}
each_make = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def stacked(paths: list[AlignmentPath]) -> AlignmentPath:
    return AlignmentPath(*(torch.stack(parts) for parts in zip(*paths, strict=True)))


def assert_same(got: AlignmentPath, wanted: AlignmentPath) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


def drawn(make: Make, count: int) -> Callable[[Tensor], AlignmentPath]:
    return lambda x: make(x).sample(count)


@each_make
def test_best_paths(device: torch.device, make: Make) -> None:
    x = normal(3, 2, 4, 5, seed=1).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that torch loops
        got = vmap(lambda x: make(x).best())(x)
        deeper = vmap(vmap(lambda x: make(x).best(), in_dims=2), in_dims=1)(x.permute(2, 0, 3, 1))
    assert_same(got, make(x).best())
    assert_same(deeper, got)
    n, m = torch.tensor([[4, 1], [0, 2], [3, 4]]), torch.tensor([[5, 2], [1, 3], [5, 5]])
    lengths = n.to(device), m.to(device)
    got = vmap(lambda x, n, m: make(x, (n, m)).best())(x, *lengths)
    assert_same(got, make(x, lengths).best())


@each_make
def test_what_else_there_is_to_ask(device: torch.device, make: Make) -> None:
    def asked(x: Tensor) -> tuple[Tensor, ...]:
        a = make(x)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    def weighed(x: Tensor) -> Tensor:
        return sum((each.square().sum() for each in asked(x)), torch.zeros((), device=device))

    x = normal(3, 4, 5, seed=1).to(device)
    for got, wanted in zip(vmap(asked)(x), asked(x), strict=True):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        vmap(grad(weighed))(x), torch.stack([grad(weighed)(each) for each in x])
    )


@each_make
def test_samples_with_the_randomness_of_vmap(device: torch.device, make: Make) -> None:
    x = normal(3, 2, 4, 5, seed=1).to(device)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(drawn(make, 4))(x)

    torch.manual_seed(3)
    same = vmap(drawn(make, 4), randomness="same")(x)
    alone = []
    for each in x:
        torch.manual_seed(3)
        alone.append(make(each).sample(4))
    assert_same(same, stacked(alone))

    alike = x[:1].expand(3, -1, -1, -1)
    got = vmap(drawn(make, 50), randomness="same")(alike)
    assert got.arcs[0].equal(got.arcs[1])
    got = vmap(drawn(make, 50), randomness="different")(alike)
    assert not got.arcs[0].equal(got.arcs[1])
    scores = make(x[0])
    for k in range(3):
        path = AlignmentPath(*(part[k] for part in got))
        assert scores.log_prob(path).isfinite().all()


@each_make
def test_samples_of_what_is_the_same_for_all(device: torch.device, make: Make) -> None:
    alignment = make(normal(2, 4, 5, seed=1).to(device))
    whole = alignment.sample(64)

    def one(_: Tensor) -> Tensor:
        return alignment.sample(64).arcs

    got = vmap(one, randomness="different")(torch.zeros(3))
    assert got.shape == (3, *whole.arcs.shape)
    assert not got[0].equal(got[1])
    assert vmap(one, randomness="same")(torch.zeros(3)).shape in (got.shape, whole.arcs.shape)


@each_make
def test_paths_compile(device: torch.device, make: Make) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=True, backend=counter)
    def paths(x: Tensor) -> tuple[AlignmentPath, AlignmentPath, Tensor]:
        a = make(x)
        sampled = a.sample(3)
        return a.best(), sampled, a.log_prob(sampled)

    counts = set()
    for n in range(4, 9):
        x = normal(2, n, 5, seed=n).to(device)
        best, sampled, log_prob = paths(x)
        a = make(x)
        assert_same(best, a.best())
        assert log_prob.isfinite().all()
        torch.testing.assert_close(log_prob, a.log_prob(sampled))
        counts.add(counter.frame_count)
    assert len(counts) == 1


# The weights of a band are as many as its values say, which meta tensors do not have.
@pytest.mark.host
@pytest.mark.parametrize("make", [MAKES[name] for name in MAKES if name != "banded"])
@pytest.mark.parametrize("size", [1, 3])
def test_meta_tensors_have_shapes(make: Make, size: int) -> None:
    a = make(torch.empty(2, size, size, device="meta"))
    sampled = a.sample(4)
    assert (a.score.shape, a.entropy().shape) == ((2,), (2,))
    assert a.expected.match.shape == (2, size, size)
    assert sampled.pairs.shape == (4, 2, 2 * size, 2)
    assert a.log_prob(sampled).shape == (4, 2)
    assert a.log_prob(a.best()).is_meta

"""Alignments as they are used: differentiated, without gradients, compiled, misused."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import softdp
from softdp import EditAlignment, LCSAlignment, SoftDTWAlignment
from tests.softdp.alignment_oracle import double
from tests.softdp.support import LEADING_GAPS, gradients, normal


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"leading_gaps": "free", "trailing_gaps": "free"},
        {"leading_gaps": ("paid", "free"), "trailing_gaps": ("paid", "free"), "minimise": True},
        {"leading_gaps": "forbidden", "trailing_gaps": "forbidden"},
    ],
)
def test_expected_arcs_and_entropies_differentiate(
    device: torch.device, options: dict[str, Any]
) -> None:
    lengths = torch.tensor([3, 2]), torch.tensor([4, 3])

    def all_of(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        a = EditAlignment(match, insert, delete, gamma=gamma, lengths=lengths, **options)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    leaves = [
        double(2, 3, 4, seed=1, device=device), double(1, 4, seed=2, device=device),
        double(2, 3, 1, seed=3, device=device),
        torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True),
    ]  # fmt: skip
    assert torch.autograd.gradcheck(all_of, leaves)


@pytest.mark.parametrize("gate_width", [0.0, 0.4])
def test_those_of_lcs_do(device: torch.device, gate_width: float) -> None:
    def all_of(c: Tensor, gamma: Tensor, *tau: Tensor) -> tuple[Tensor, ...]:
        a = LCSAlignment(c, *(tau or (0.1,)), gamma=gamma, gate_width=gate_width, band=2)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    gamma = torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True)
    tau = torch.tensor(0.1, dtype=torch.float64, device=device, requires_grad=True)
    leaves = double(2, 3, 4, seed=1, device=device), gamma, *((tau,) if gate_width else ())
    assert torch.autograd.gradcheck(all_of, leaves)


@pytest.mark.parametrize("open_ends", [False, True])
def test_those_of_soft_dtw_do(device: torch.device, open_ends: bool) -> None:
    def all_of(cost: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        a = SoftDTWAlignment(cost, gamma=gamma, open_begin=open_ends, open_end=open_ends)
        return *a.expected, a.entropy(), a.score, a.log_prob(a.best())

    gamma = torch.tensor([0.7, 1.3], dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(all_of, (double(2, 3, 4, seed=1, device=device), gamma))


def test_without_gradients(device: torch.device) -> None:
    match = double(4, 9, 8, seed=1, device=device)
    wanted = softdp.expected_alignment(match, -0.3, -0.2)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            alignment = EditAlignment(match, -0.3, -0.2)
            for one, other in zip(alignment.expected, wanted, strict=True):
                assert one.equal(other)
                assert not one.requires_grad
            alignment.best(), alignment.sample(2), alignment.entropy()
    with torch.no_grad():
        alignment = EditAlignment(match, -0.3, -0.2)
        assert not alignment.expected.match.requires_grad
    # What was made without a graph is made again where one is wanted.
    assert alignment.expected.match.requires_grad
    assert alignment.score.requires_grad
    (gradient,) = gradients(softdp.edit_similarity(match, -0.3, -0.2), [match])
    torch.testing.assert_close(wanted.match.detach(), gradient)


@pytest.mark.parametrize("minimise", [False, True])
@pytest.mark.parametrize("gaps", LEADING_GAPS)
def test_the_reference_expects_the_same(device: torch.device, gaps: str, minimise: bool) -> None:
    lengths = torch.tensor([9, 4, 7]), torch.tensor([6, 8, 0])
    leaves = [
        double(*shape, seed=k, device=device)
        for k, shape in enumerate([(3, 9, 8), (1, 8), (3, 9, 1)])
    ]
    options: dict[str, Any] = {
        "gamma": 0.7, "lengths": lengths, "leading_gaps": gaps, "trailing_gaps": "free",
        "minimise": minimise,
    }  # fmt: skip
    outcomes = []
    for module in (softdp, softdp.reference):
        expected = module.expected_alignment(*leaves, **options)
        total = sum((normal(3, 9, 8, seed=k).to(device) * e).sum() for k, e in enumerate(expected))
        outcomes.append([*expected, *gradients(total, leaves)])
        with torch.no_grad():
            assert module.expected_alignment(*leaves, **options).match.equal(expected.match)
    torch.testing.assert_close(outcomes[0], outcomes[1])


def test_nothing_is_swept_twice(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    alignment = EditAlignment(normal(4, 9, 8, seed=1).to(device), -0.3, -0.2)
    swept: list[str] = []
    called = softdp.path_distribution.past_its_rule

    def counted(op: Any, *given: Any) -> Any:
        if op is not torch.ops.softdp.walk.default:
            swept.append(op._schema.name)
        return called(op, *given)

    monkeypatch.setattr(softdp.path_distribution, "past_its_rule", counted)
    assert swept == []
    for _ in range(2):
        alignment.score, alignment.expected, alignment.sample(2)
    assert swept == ["softdp::edit", "softdp::edit_backward"]
    for _ in range(2):
        alignment.best(), alignment.entropy()
    assert swept[2:] == ["softdp::edit", "softdp::edit_backward"]


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    match = normal(3, 9, 8, seed=1).to(device, torch.float16)
    expected = softdp.expected_alignment(match, -0.3, -0.2)
    wanted = softdp.expected_alignment(match.float(), -0.3, -0.2)
    assert expected.match.dtype == torch.float32
    assert all(one.equal(other) for one, other in zip(expected, wanted, strict=True))


def test_where_there_is_no_path(device: torch.device) -> None:
    match = torch.full((2, 3, 3), -math.inf, dtype=torch.float64, device=device)
    alignment = EditAlignment(match, -math.inf, -math.inf)
    for path in (alignment.best(), alignment.sample(4)):
        assert (path.lengths == 0).all()
        assert (path.arcs == -1).all()
        assert (path.pairs == -1).all()
        assert (path.score == -math.inf).all()
        assert (alignment.log_prob(path) == -math.inf).all()
    assert (alignment.entropy() == 0).all()
    assert all((table == 0).all() for table in alignment.expected)


def test_without_smoothing(device: torch.device) -> None:
    alignment = EditAlignment(normal(3, 9, 8, seed=1).to(device), -0.3, -0.2, gamma=0.0)
    best = alignment.best()
    assert (alignment.entropy() == 0).all()
    assert (alignment.log_prob(best) == 0).all()
    assert alignment.sample(2).arcs.equal(best.arcs.expand(2, -1, -1))
    worse = best._replace(arcs=best.arcs.roll(1, 0), pairs=best.pairs.roll(1, 0))
    assert (alignment.log_prob(worse) == -math.inf).all()


@pytest.mark.parametrize(
    "shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 0, 0), (3, 4), (2, 2, 3, 4)]
)
def test_empty_and_other_shapes(device: torch.device, shape: tuple[int, ...]) -> None:
    *batch, n, m = shape
    for options in ({}, {"leading_gaps": "free", "trailing_gaps": "free"}):
        alignment = EditAlignment(torch.zeros(shape, device=device), -1.0, -1.0, **options)
        assert all(table.shape == shape for table in alignment.expected)
        for path, front in ((alignment.best(), ()), (alignment.sample(3), (3,))):
            assert path.pairs.shape == (*front, *batch, n + m, 2)
            assert path.arcs.shape == (*front, *batch, n + m)
            assert path.lengths.shape == path.score.shape == (*front, *batch)
            assert alignment.log_prob(path).isfinite().all()
        assert alignment.sample(0).arcs.shape == (0, *batch, n + m)
        assert alignment.entropy().shape == tuple(batch)


Sized = Callable[[Tensor, Tensor, Tensor, Tensor], Any]
COMPILED: dict[str, Sized] = {
    "paid": lambda c, n, m, g: softdp.expected_alignment(
        c, -0.3, c[..., :1], gamma=g, lengths=(n, m)
    ),
    "free": lambda c, n, m, g: softdp.expected_alignment(
        c, -0.3, -0.2, gamma=g, lengths=(n, m), leading_gaps="free", trailing_gaps="free"
    ),
    "soft_dtw": lambda c, n, m, g: SoftDTWAlignment(
        c, gamma=g, lengths=(n, m), open_begin=True, open_end=True
    ).expected,
    "lcs": lambda c, n, m, g: LCSAlignment(
        c, 0.3, gamma=g, gate_width=0.1, lengths=(n, m)
    ).expected,
}


@pytest.mark.parametrize("name", COMPILED)
def test_one_graph_serves_every_size(
    device: torch.device, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = functools.partial(COMPILED[name])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend("aot_eager")
    whole = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
    counts = []
    for pairs, n, m in [(3, 5, 6), (4, 7, 9), (20, 33, 12), (5, 4, 130)]:
        table = double(pairs, n, m, seed=1, device=device)
        rows, columns = (torch.arange(pairs, device=device) % size + 1 for size in (n, m))
        gamma = torch.tensor(0.5, dtype=torch.float64, device=device, requires_grad=True)
        outcomes = []
        for function in (whole, model):
            expected = function(table, rows, columns, gamma)
            total = sum((normal(*e.shape, seed=9).to(device) * e).sum() for e in expected)
            outcomes.append([*expected, *gradients(total, [table, gamma])])
        torch.testing.assert_close(outcomes[0], outcomes[1])
        counts.append(graphs.frame_count)
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize("name", ["expected_alignment", "best_alignment", "EditAlignment"])
def test_errors_name_what_was_called(device: torch.device, name: str) -> None:
    function = getattr(softdp, name)
    match = torch.zeros(2, 3, 4, device=device)
    with pytest.raises(TypeError, match=f"^{name}: match must be a tensor"):
        function([[1.0]], 0.0, 0.0)
    with pytest.raises(ValueError, match=f"^{name}: insert must broadcast to match's shape"):
        function(match, torch.zeros(5, device=device), 0.0)
    with pytest.raises(ValueError, match=rf"^{name}: lengths\[0\] must be in 0..3, got 4"):
        function(match, 0.0, 0.0, lengths=(torch.tensor([4, 0]), torch.tensor([1, 1])))
    with pytest.raises(ValueError, match=f"^{name}: leading_gaps='paid' in y needs an insert"):
        function(match, torch.zeros(3, 4, device=device), 0.0)
    with pytest.raises(TypeError, match=f"^{name}: minimise must be True or False"):
        function(match, 0.0, 0.0, minimise=1)


def test_errors_of_the_other_families(device: torch.device) -> None:
    table = torch.zeros(2, 3, 4, device=device)
    with pytest.raises(ValueError, match=r"^LCSAlignment: gate_width must be 0 or"):
        LCSAlignment(table, 0.0, gate_width=-1.0)
    with pytest.raises(TypeError, match=r"^SoftDTWAlignment: open_end must be True or False"):
        SoftDTWAlignment(table, open_end=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^SoftDTWAlignment: gamma must be"):
        SoftDTWAlignment(table, gamma=-1.0)


def test_errors_of_what_is_asked_for(device: torch.device) -> None:
    alignment = EditAlignment(torch.zeros(2, 3, 4, device=device), 0.0, 0.0)
    with pytest.raises(TypeError, match="EditAlignment: k must be an integer, got float"):
        alignment.sample(2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="EditAlignment: k must be at least 0, got -1"):
        alignment.sample(-1)
    with pytest.raises(TypeError, match="EditAlignment: path must be an AlignmentPath"):
        alignment.log_prob(alignment.best().arcs)  # type: ignore[arg-type]
    best = alignment.best()
    with pytest.raises(
        ValueError, match=r"EditAlignment: path.arcs must be int64 of shape \(2, 7\)"
    ):
        alignment.log_prob(best._replace(arcs=best.arcs[..., 1:]))

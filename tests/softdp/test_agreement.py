"""Kernels against the specification in float64: random shapes, strides, lengths, options."""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from softdp import reference
from tests.softdp.support import GAP_FORMS, LEADING_GAPS, gap_shape, gradients, normal

pytest.importorskip("hypothesis", reason="hypothesis, which draws the examples, is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SIZES = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65]) | st.integers(0, 70)
BATCHES = st.sampled_from([(), (0,), (2, 3), (1, 5)]) | st.tuples(st.integers(1, 40))
LAYOUTS = st.sampled_from(["contiguous", "transposed", "sliced", "expanded"])


class Case(NamedTuple):
    """What was drawn for any recurrence; tensors are made of it."""

    batch: tuple[int, ...]
    n: int
    m: int
    dtype: torch.dtype
    layouts: tuple[str, str, str]
    ragged: bool
    hard: bool
    gamma_per_pair: bool
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.batch, self.n, self.m)


CASES = st.builds(
    Case,
    batch=BATCHES,
    n=SIZES,
    m=SIZES,
    dtype=st.sampled_from(DTYPES),
    layouts=st.tuples(LAYOUTS, LAYOUTS, LAYOUTS),
    ragged=st.booleans(),
    hard=st.booleans(),
    gamma_per_pair=st.booleans(),
    seed=st.integers(0, 2**16),
)


def view_of(memory: Tensor, shape: tuple[int, ...], layout: str) -> Tensor:
    """Memory made by `memory_of`, seen as a tensor of `shape`."""
    if layout == "transposed":
        return memory.mT
    if layout == "sliced":
        return memory[..., ::2, 1:]
    return memory.expand(shape)


def memory_of(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Shape of the memory that `view_of` sees as `shape`."""
    if layout == "transposed":
        return (*shape[:-2], shape[-1], shape[-2])
    if layout == "sliced":
        return (*shape[:-2], 2 * shape[-2], shape[-1] + 1)
    if layout == "expanded":
        return tuple(1 for _ in shape[:-2]) + shape[-2:]
    return shape


def draw(case: Case, shapes: list[tuple[int, ...]], layouts: tuple[str, ...]) -> list[Tensor]:
    """Memories of potentials; for gamma = 0 in sixteenths, so that sums are exact and ties real.

    A hard choice between sums that differ in rounding alone would say nothing of either side.
    """
    memories = [
        normal(*memory_of(shape, layout), seed=case.seed + place)
        for place, (shape, layout) in enumerate(zip(shapes, layouts, strict=True))
    ]
    if case.hard:
        memories = [(memory * 4).round().clamp(-16, 16) / 16 for memory in memories]
    return [memory.to(case.dtype) for memory in memories]


def leaves_on(
    memories: list[Tensor],
    shapes: list[tuple[int, ...]],
    layouts: tuple[str, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> list[Tensor]:
    """Strided leaves: views of the memories, on a device and in a dtype."""
    return [
        view_of(memory.to(device, dtype), shape, layout).detach().requires_grad_()
        for memory, shape, layout in zip(memories, shapes, layouts, strict=True)
    ]


def lengths_for(case: Case) -> tuple[Tensor, Tensor] | None:
    if not case.ragged:
        return None
    generator = torch.Generator().manual_seed(case.seed)
    n_lengths, m_lengths = (
        torch.randint(0, size + 1, case.batch, generator=generator) for size in (case.n, case.m)
    )
    return n_lengths, m_lengths


def gamma_for(case: Case, dtype: torch.dtype, device: torch.device) -> Tensor:
    shape = case.batch if case.gamma_per_pair else ()
    gamma = torch.zeros(shape) if case.hard else normal(*shape, seed=case.seed).exp() / 8
    # Through the narrow dtype, so that both sides see one number.
    return gamma.to(case.dtype).to(device, dtype).requires_grad_()


def poison_padding(case: Case, memory: Tensor, layout: str) -> None:
    """NaN beyond the lengths, where the memory is one table for each pair."""
    lengths = lengths_for(case)
    if lengths is None or layout == "expanded":
        return
    beyond = (torch.arange(case.n)[:, None] >= lengths[0][..., None, None]) | (
        torch.arange(case.m) >= lengths[1][..., None, None]
    )
    view_of(memory, case.shape, layout).masked_fill_(beyond, math.nan)


def assert_agree(
    case: Case,
    names: list[str],
    scores: tuple[Tensor, Tensor],
    leaves: tuple[list[Tensor], list[Tensor]],
) -> None:
    """Score and every gradient, each rounded once to its dtype beside its error in computing."""
    score, wanted = scores
    compute = torch.promote_types(case.dtype, torch.float32)
    assert score.dtype == compute
    assert score.shape == case.batch
    double = compute == torch.float64
    close(score, wanted, 1e-9 if double else 1e-6, 1e-9 if double else 1e-5, "score")
    upstream = normal(*case.batch, seed=case.seed + 7).clamp(-1, 1).to(score.device)
    received = gradients(score, leaves[0], upstream.to(compute))
    expected = gradients(wanted, leaves[1], upstream.to(compute).to(torch.float64))
    for name, gradient, reference_gradient, leaf in zip(
        names, received, expected, leaves[0], strict=True
    ):
        assert gradient.dtype == leaf.dtype, name
        # A gradient that sums over cells sums their errors. Weights in 16 bits leave each cell's
        # entropy up to 2^-17 log 2^17 = 9e-5 off to one side, all along a path.
        sums = max(1, math.prod(case.shape) // max(1, leaf.numel()))
        steps = max(1, case.n + case.m) if name == "gamma" else 1
        atol = 1e-9 if double else 2e-4 * math.sqrt(sums) * steps
        rtol = 1e-9 if double else max(1e-4, torch.finfo(gradient.dtype).eps)
        close(gradient, reference_gradient, rtol, atol, f"gradient of {name}")


def close(actual: Tensor, expected: Tensor, rtol: float, atol: float, what: str) -> None:
    torch.testing.assert_close(
        actual.to(torch.float64),
        expected.to(actual.device),
        rtol=rtol,
        atol=atol,
        msg=lambda message: f"{what}: {message}",
    )


@settings(max_examples=150)
@given(
    case=CASES,
    forms=st.tuples(st.sampled_from(GAP_FORMS), st.sampled_from(GAP_FORMS)),
    leading_gaps=st.sampled_from(LEADING_GAPS),
    name=st.sampled_from(["edit_similarity", "edit_distance"]),
)
def test_edit(
    compiled: ModuleType,
    device: torch.device,
    case: Case,
    forms: tuple[str, str],
    leading_gaps: str,
    name: str,
) -> None:
    shapes = [case.shape, *(gap_shape(form, case.batch, case.n, case.m) for form in forms)]
    if leading_gaps == "paid":
        shapes[1] = shapes[1] and (*shapes[1][:-2], 1, shapes[1][-1])
        shapes[2] = shapes[2] and (*shapes[2][:-1], 1)
    layouts = tuple(
        layout if len(shape) > 1 else "contiguous"
        for layout, shape in zip(case.layouts, shapes, strict=True)
    )
    memories = draw(case, shapes, layouts)
    poison_padding(case, memories[0], layouts[0])
    sides = []
    for module, dtype, place in (
        (compiled, case.dtype, device),
        (reference, torch.float64, torch.device("cpu")),
    ):
        potentials = leaves_on(memories, shapes, layouts, dtype, place)
        gamma = gamma_for(case, dtype, place)
        score = getattr(module, name)(
            *potentials,
            gamma=gamma,
            lengths=lengths_for(case),
            leading_gaps=leading_gaps,
        )
        sides.append((score, [*potentials, gamma]))
    (score, leaves), (wanted, reference_leaves) = sides
    names = ["match", "insert", "delete", "gamma"]
    assert_agree(case, names, (score, wanted), (leaves, reference_leaves))


@settings(max_examples=100)
@given(
    case=CASES,
    threshold_per_pair=st.booleans(),
    gate_width=st.sampled_from([0.0, 0.25, 2.0]),
)
def test_lcs(
    compiled: ModuleType,
    device: torch.device,
    case: Case,
    threshold_per_pair: bool,
    gate_width: float,
) -> None:
    shapes = [case.shape, case.batch if threshold_per_pair else ()]
    layouts = (case.layouts[0], "contiguous")
    memories = draw(case, shapes, layouts)
    poison_padding(case, memories[0], layouts[0])
    sides = []
    for module, dtype, place in (
        (compiled, case.dtype, device),
        (reference, torch.float64, torch.device("cpu")),
    ):
        similarity, threshold = leaves_on(memories, shapes, layouts, dtype, place)
        gamma = gamma_for(case, dtype, place)
        score = module.lcs(
            similarity,
            threshold,
            gamma=gamma,
            gate_width=gate_width,
            lengths=lengths_for(case),
        )
        sides.append((score, [similarity, threshold, gamma]))
    (score, leaves), (wanted, reference_leaves) = sides
    names = ["similarity", "threshold", "gamma"]
    assert_agree(case, names, (score, wanted), (leaves, reference_leaves))


@settings(max_examples=100)
@given(case=CASES)
def test_soft_dtw(compiled: ModuleType, device: torch.device, case: Case) -> None:
    memories = draw(case, [case.shape], case.layouts[:1])
    poison_padding(case, memories[0], case.layouts[0])
    sides = []
    for module, dtype, place in (
        (compiled, case.dtype, device),
        (reference, torch.float64, torch.device("cpu")),
    ):
        (cost,) = leaves_on(memories, [case.shape], case.layouts[:1], dtype, place)
        gamma = gamma_for(case, dtype, place)
        distance = module.soft_dtw(cost, gamma=gamma, lengths=lengths_for(case))
        sides.append((distance, [cost, gamma]))
    (distance, leaves), (wanted, reference_leaves) = sides
    assert_agree(case, ["cost", "gamma"], (distance, wanted), (leaves, reference_leaves))

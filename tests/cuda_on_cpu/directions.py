"""What is swept along a direction, by the CUDA kernels' own source and by the ops on the CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from softdp.arguments import GAPS
from softdp.derivatives import sum_to
from softdp.families import FAMILIES
from tests.cuda_on_cpu.kernels import Direction, Result, sweep
from tests.cuda_on_cpu.test_sweeps import DOUBLE, FLOAT
from tests.softdp.support import normal

# Of the norm of what is expected: each device rounds its own float32 weights to 16 bits, by which
# what is left of a sum over a whole pair differs most.
TOLERANCE = {FLOAT: 1e-3, DOUBLE: 1e-10}
NUMBER_TOLERANCE = {FLOAT: 3e-3, DOUBLE: 1e-10}


@dataclasses.dataclass
class Case:
    """A batch of problems with a direction for each; numbers are in the compute's dtype."""

    family: str
    tables: list[Tensor]
    gamma: Tensor
    direction: Direction
    upstream: Tensor
    parameter: Tensor | None = None
    border: Tensor | None = None
    border_upstream: Tensor | None = None
    lengths: tuple[Tensor, Tensor] | None = None
    band: Tensor | None = None
    leading_gaps: tuple[str, str] = ("free", "free")
    trailing_gaps: tuple[str, str] = ("paid", "paid")
    minimise: bool = False
    gate_width: float = 0.0

    def options(self) -> list[Any]:
        """Of the family's op."""
        if self.family == "lcs":
            return [self.gate_width]
        if self.family in ("local", "monotonic", "soft_dtw"):
            return []
        if self.family == "drop_dtw":
            return [True, True]
        leading = GAPS.index(self.leading_gaps[0]) + 3 * GAPS.index(self.leading_gaps[1])
        trailing = sum((gaps == "paid") << k for k, gaps in enumerate(self.trailing_gaps))
        return (
            [leading, trailing] if self.family == "affine" else [leading, trailing, self.minimise]
        )

    def by_cpu(self) -> list[Tensor]:
        """How the score, the border if it has a gradient, and the gradients change."""
        family = FAMILIES[self.family]
        numbers = [] if self.parameter is None else [self.parameter]
        n_lengths, m_lengths = self.lengths or (None, None)
        differentiable = [*self.tables, *numbers, self.gamma]
        inputs = [*differentiable, self.border, n_lengths, m_lengths, self.band, *self.options()]
        keep_border = self.border_upstream is not None
        score, weights, border = family.op(*inputs, True, keep_border)
        along = self.direction
        moved = [] if along.parameter is None else [along.parameter]
        found = family.tangent_op(
            self.upstream, self.border_upstream, score, weights, border,
            *along.tables, *moved, along.gamma, along.border, *inputs, ~0, keep_border,
        )  # fmt: skip
        tables = [sum_to(one, table) for one, table in zip(found[2:], self.tables, strict=False)]
        rest = found[2 + len(tables) :] if keep_border else found[2 + len(tables) : -1]
        return [found[0], *([found[1]] if keep_border else []), *tables, *rest]

    def by_kernels(self, **options: Any) -> list[Tensor]:
        tangent = self.swept(**options).tangent
        assert tangent is not None
        ends = [] if self.border_upstream is None else [tangent.border, tangent.border_gradient]
        numbers = [tangent.parameter] if self.family == "lcs" else []
        found = [tangent.scores, *ends[:1], *tangent.tables, *numbers, tangent.gamma, *ends[1:]]
        return [one for one in found if one is not None]

    def swept(self, **options: Any) -> Result:
        given = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        if self.family == "soft_dtw":
            given |= {"leading_gaps": "forbidden", "minimise": True}
        return sweep(**given, **options)


def drawn(
    family: str,
    n: int,
    m: int,
    compute: torch.dtype,
    *,
    batch: int = 4,
    gaps: str = "cell",
    bordered: bool = False,
    ragged: bool = True,
    **options: Any,
) -> Case:
    """gaps: `cell`, `step`, or `other`: the direction is broadcast in another way."""

    def numbers(*shape: int, seed: int) -> Tensor:
        return normal(*shape, seed=seed).to(compute)

    shape = (batch, n, m)
    shapes = {
        "cell": [shape, shape, (n, m)],
        "step": [shape, (1, m), (batch, n, 1)],
        "other": [shape, (batch, 1, m), (n, 1)],
    }[gaps]
    moved = {"cell": shapes, "step": shapes, "other": [(n, 1), (), shape]}[gaps]
    count = 3 if family == "edit" else 1
    tables = [numbers(*one, seed=k) for k, one in enumerate(shapes[:count])]
    lengths = None
    if ragged:
        generator = torch.Generator().manual_seed(n + m)
        lengths = tuple(
            torch.randint(0, size + 1, (batch,), generator=generator) for size in (n, m)
        )
        lengths[0][:3], lengths[1][:3] = torch.tensor([n, 0, n]), torch.tensor([m, m, 0])
    is_lcs = family == "lcs"
    border = normal(2, batch, m + 1 + n, seed=20)
    border[0, :, 2::5] = (
        torch.inf if family == "soft_dtw" or options.get("minimise") else -torch.inf
    )
    direction = Direction(
        [numbers(*one, seed=10 + k) for k, one in enumerate(moved[:count])],
        numbers(batch, seed=14),
        numbers(batch, seed=15) if is_lcs else None,
        border[1] if bordered else None,
    )
    return Case(
        family,
        [table.abs() for table in tables] if family == "soft_dtw" else tables,
        numbers(batch, seed=8).abs() + 0.3,
        direction,
        numbers(batch, seed=9),
        numbers(batch, seed=7) / 3 if is_lcs else None,
        border[0] if bordered else None,
        normal(batch, m + 1 + n, seed=21) if bordered else None,
        lengths,
        **options,
    )


def agree(
    found: list[Tensor], expected: list[Tensor], compute: torch.dtype, slack: float = 1
) -> None:
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == other.shape
        assert other.isfinite().all()
        apart = (one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-3)
        number = place > 0 and one.dim() == 1
        tolerance = (NUMBER_TOLERANCE if number else TOLERANCE)[compute]
        assert apart <= slack * tolerance, f"output {place}: {apart:.2e}"

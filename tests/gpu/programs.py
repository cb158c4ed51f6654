"""Dynamic programs of every family, on any device, from one seed."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import softdp

NAMES = ("numbers", "tables", "steps", "lcs", "soft lcs", "soft dtw")
SEVERAL_STATES = ("affine", "local", "drops")
# How many strips a table has (csrc/wavefront/cuda/plan.h): one, a few of many tables, many of one.
SHAPES = {"short": (70, 30, 28), "long": (150, 130, 97), "one long": (1, 1030, 1000)}


class Program(NamedTuple):
    """A function of softdp and its arguments, all of whose tensors are leaves."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def leaves(self) -> list[Tensor]:
        """What gradients are taken for."""
        values = (*self.arguments, *self.options.values())
        return [value for value in values if isinstance(value, Tensor) and value.requires_grad]

    def __call__(self) -> list[Tensor]:
        """The scores and the gradient of their sum for every leaf."""
        score = getattr(softdp, self.function)(*self.arguments, **self.options)
        return [score.detach(), *torch.autograd.grad(score.sum(), self.leaves)]


def program(
    name: str,
    shape: tuple[int, int, int],
    device: torch.device | str,
    *,
    dtype: torch.dtype = torch.float32,
    ragged: bool = False,
    strided: bool = False,
    banded: bool = False,
    seed: int = 0,
) -> Program:
    """The same values on every device.

    strided: tables are views with gaps, transposed; banded: paths pass a band of each pair's own.
    """
    batch, n, m = shape
    generator = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    def table(*size: int) -> Tensor:
        values = drawn(*size)
        if strided:
            memory = torch.empty(*size[:-2], size[-1] + 1, 2 * size[-2], dtype=torch.float64)
            values = memory[..., 1:, ::2].mT.copy_(values)
            memory = memory.to(device, dtype)
            return memory[..., 1:, ::2].mT.detach().requires_grad_()
        return values.to(device, dtype).requires_grad_()

    def number(value: float, *size: int) -> Tensor:
        compute = torch.promote_types(dtype, torch.float32)
        return torch.full(size, value, dtype=compute, device=device, requires_grad=True)

    options: dict[str, Any] = {"gamma": number(0.5, batch)}
    if ragged:
        options["lengths"] = tuple(
            torch.randint(0, side + 1, (batch,), generator=generator).to(device) for side in (n, m)
        )
    if banded and name not in ("local", "drops"):  # which have none
        drawn_bounds = torch.randint(0, m + 1, (batch, n, 2), generator=generator).sort(-2).values
        options["band"] = torch.stack(
            [drawn_bounds[..., 0] // 2, drawn_bounds[..., 1].clamp(min=m // 4)], -1
        ).to(device)
    if name == "numbers":
        return Program("edit_similarity", (table(batch, n, m), number(-0.3), number(-0.4)), options)
    if name == "tables":
        options["leading_gaps"] = "forbidden"
        return Program("edit_similarity", tuple(table(batch, n, m) for _ in range(3)), options)
    if name == "steps":
        return Program("edit_distance", (table(batch, n, m), table(1, m), table(n, 1)), options)
    if name in ("lcs", "soft lcs"):
        gate = 0.0 if name == "lcs" else 0.2
        options["gate_width"] = gate
        threshold = number(0.3, batch) if gate else 0.3
        return Program("lcs", (table(batch, n, m), threshold), options)
    if name in ("affine", "local"):
        options |= {"gap_open": number(0.5), "gap_extend": number(0.2)}
        function = "needleman_wunsch" if name == "affine" else "smith_waterman"
        return Program(function, (table(batch, n, m),), options)
    if name == "drops":
        return Program("drop_dtw", (table(batch, n, m), table(1, n), table(1, m)), options)
    return Program("soft_dtw", (table(batch, n, m),), options)

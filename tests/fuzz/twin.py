"""What the specification has to say of a call, and how near to it a result has to be."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from tests.fuzz.calls import GAP_COSTS, NUMBERS, TABLES

_MOST_STEPS = 200  # of a table that the specification is asked about
_TABLES = {*TABLES, "insert", "delete", *GAP_COSTS, "table"}


class Twin:
    """The specification's side of a call: in float64, without steps that no length counts."""

    def __init__(self, first: Tensor, lengths: Any) -> None:
        self.full = self.counted = tuple(first.shape[-2:])
        self.first, self.lengths = first, None
        if lengths is not None:
            self.lengths = [
                torch.as_tensor(size if length is None else length).expand(first.shape[:-2])
                for length, size in zip(lengths, self.full, strict=True)
            ]
        if self.lengths is not None and max(self.full) > _MOST_STEPS:
            self.counted = tuple(
                int(length.max()) if length.numel() else 0 for length in self.lengths
            )
        self.whole = self.counted == self.full
        # It takes n + m calls of torch, and memory that backward wants.
        self.knows = (
            first.device.type == "cpu"
            and (self.whole or first.numel() > 0)
            and max(self.counted) <= _MOST_STEPS
            and all(size <= 1000 for size in first.shape[:-2])
        )
        self.double = first.dtype == torch.float64
        self.largest = 1.0  # finite potential, border or gamma

    def of(self, name: str, item: Any) -> Any:
        """An argument in float64; a number as the dtype of the computation has it."""
        if isinstance(item, tuple) and name in GAP_COSTS:
            return tuple(self.of(name, each) for each in item)
        if isinstance(item, Tensor):
            if name == "lengths":
                return item
            exact = item.detach()
            if name in _TABLES:
                for place in (-1, -2):
                    exact = self._cut(exact, place)
            elif name == "border":
                corner_on = self.full[1] + 1
                parts = exact[..., :corner_on], exact[..., corner_on:]
                exact = torch.cat([self.side(part, -1 - k) for k, part in enumerate(parts)], -1)
            elif name in ("top", "left"):
                exact = self.side(exact, -1 if name == "top" else -2)
            elif name == "band":
                return self._cut(exact, -2)
            exact = exact.double()
            if name not in ("threshold", "number"):
                self._see(exact)
            return exact.requires_grad_(item.requires_grad)
        if isinstance(item, Real) and name in NUMBERS:
            dtype = torch.float64 if self.double else torch.float32
            exact = torch.tensor(float(item), dtype=dtype).double()
            if name != "threshold":
                self._see(exact)
            return exact
        return item

    def _cut(self, table: Tensor, place: int) -> Tensor:
        """Without the steps of one sequence that do not count; leading gaps may come first."""
        size = table.shape[place] if table.dim() >= -place else 1
        if self.whole or size == 1:
            return table
        return table.narrow(place, 0, self.counted[place] + (size - self.full[place]))

    def side(self, border: Tensor, place: int) -> Tensor:
        """A row from the corner on (-1), or a column below it, without those steps."""
        return border[..., : self.counted[place] + (place == -1)]

    def _see(self, exact: Tensor) -> None:
        finite = exact[exact.isfinite()]
        self.largest = max(self.largest, finite.abs().amax().item() if len(finite) else 0)

    def compare_scores(self, score: Tensor, wanted: Tensor) -> Tensor:
        """Which pairs have a score that is no NaN, and so gradients."""
        assert score.dtype == (torch.float64 if self.double else torch.float32)
        self._compare(score, wanted)
        return ~score.detach().isnan()

    def compare_borders(self, border: Tensor, wanted: Tensor) -> Tensor:
        """The same of scores on a border."""
        assert border.dtype == torch.float64
        if border.shape[0] > 0:  # of no pair nothing was cut
            self._compare(border, wanted)
        return ~border.detach().isnan().any(-1)

    def _compare(self, scores: Tensor, wanted: Tensor) -> None:
        close = 1e-9 if self.double else 1e-5
        assert scores.shape == wanted.shape
        torch.testing.assert_close(
            scores.detach().double(),
            wanted.detach(),
            rtol=close,
            atol=close / 10 * max(1, sum(self.counted)) * self.largest,
            equal_nan=True,
        )

    def compare_gradients(
        self, name: str, leaf: Tensor, got: Tensor | None, wanted: Tensor | None, known: Tensor
    ) -> None:
        """A gradient sums the errors of the cells that its element is broadcast to."""
        if got is None:
            assert wanted is None or not wanted.any()
            return
        assert got.shape == leaf.shape
        assert got.dtype == leaf.dtype
        if leaf is self.first and self.lengths is not None:
            n_lengths, m_lengths = (length[..., None, None] for length in self.lengths)
            i, j = (torch.arange(size) for size in self.full)
            beyond = (i[:, None] >= n_lengths) | (j >= m_lengths)
            assert (got[beyond] == 0).all()
        wanted = torch.zeros_like(leaf, dtype=torch.float64) if wanted is None else wanted
        batch = self.first.shape[:-2]
        if leaf.shape[: len(batch)] == batch and (batch or known):
            got, wanted = got[known], wanted[known]
        elif not known.all():
            return
        sums = max(1, self.first.numel() // max(1, leaf.numel()))
        steps = max(1, sum(self.full)) if name == "gamma" else 1
        close = 1e-8 if self.double else 3e-4
        torch.testing.assert_close(
            got.double(),
            wanted,
            rtol=max(close, torch.finfo(leaf.dtype).eps),
            atol=close * math.sqrt(sums) * steps,
            msg=lambda text: f"gradient of {name}: {text}",
        )

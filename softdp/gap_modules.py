"""Alignments by costs of gaps as torch.nn modules."""

from __future__ import annotations

from torch import Tensor

from softdp import gap_functions
from softdp.arguments import Band, GapCost, Gaps, GivenLengths
from softdp.modules import Recurrence


class _Gaps(Recurrence):
    """Holds linear or affine gaps."""

    _shown: tuple[str, ...] = ("gap", "gap_open", "gap_extend", "gamma")

    def __init__(
        self,
        gap: GapCost | None,
        gap_open: GapCost | None,
        gap_extend: GapCost | None,
        gamma: Tensor | float,
        learn_gamma: bool,
    ) -> None:
        super().__init__(gamma, learn_gamma)
        for name, cost in (("gap", gap), ("gap_open", gap_open), ("gap_extend", gap_extend)):
            if isinstance(cost, tuple | list):
                for place, each in enumerate(cost):
                    self._hold(f"_{name}_{place}", each)
            else:
                self._hold(f"_{name}", cost)

    def _cost(self, name: str) -> GapCost | None:
        if hasattr(self, f"_{name}_0"):
            return getattr(self, f"_{name}_0"), getattr(self, f"_{name}_1")
        cost: GapCost | None = getattr(self, f"_{name}")
        return cost

    @property
    def gap(self) -> GapCost | None:
        """Cost of a step of a gap, where gaps are linear."""
        return self._cost("gap")

    @property
    def gap_open(self) -> GapCost | None:
        """What a gap costs once."""
        return self._cost("gap_open")

    @property
    def gap_extend(self) -> GapCost | None:
        """What each step of a gap costs besides."""
        return self._cost("gap_extend")


class NeedlemanWunsch(_Gaps):
    """`softdp.needleman_wunsch` with its options held.

    Args:
        gap: cost of a step of a gap, or two for gaps in x and in y; each a number, a tensor, or an
            nn.Parameter, which is learned.
        gap_open: what a gap costs once, alike, with gap_extend in the place of gap.
        gap_extend: what each step of it costs besides.
        gamma: smoothing; may be an nn.Parameter, which is taken as it is.
        learn_gamma: learn it, and keep it positive.
        leading_gaps: as the function has it.
        trailing_gaps: as the function has it.
        band: as the function has it.

    Example:
        >>> opened, extended = (nn.Parameter(torch.tensor(cost)) for cost in (10.0, 1.0))
        >>> align = softdp.NeedlemanWunsch(gap_open=opened, gap_extend=extended, gamma=1.0)
        >>> align(torch.randn(8, 30, 40)).mean().backward()
    """

    _shown = ("gap", "gap_open", "gap_extend", "gamma", "leading_gaps", "trailing_gaps", "band")

    def __init__(
        self,
        *,
        gap: GapCost | None = None,
        gap_open: GapCost | None = None,
        gap_extend: GapCost | None = None,
        gamma: Tensor | float = 0.1,
        learn_gamma: bool = False,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
    ) -> None:
        super().__init__(gap, gap_open, gap_extend, gamma, learn_gamma)
        self.leading_gaps = leading_gaps
        self.trailing_gaps = trailing_gaps
        self._hold("band", band)

    def forward(self, similarity: Tensor, lengths: GivenLengths | None = None) -> Tensor:
        """Score, shape (...), of similarities of shape (..., n, m)."""
        return gap_functions.needleman_wunsch(
            similarity, gap=self.gap, gap_open=self.gap_open, gap_extend=self.gap_extend,
            gamma=self.gamma, lengths=lengths, leading_gaps=self.leading_gaps,
            trailing_gaps=self.trailing_gaps, band=self.band,
        )  # fmt: skip


class SmithWaterman(_Gaps):
    """`softdp.smith_waterman` with its options held; arguments as those of `NeedlemanWunsch`.

    Example:
        >>> align = softdp.SmithWaterman(gap=2.0, gamma=0.0)
        >>> align(2 * torch.eye(3, 5) - 1)
        tensor(3.)
    """

    def __init__(
        self,
        *,
        gap: GapCost | None = None,
        gap_open: GapCost | None = None,
        gap_extend: GapCost | None = None,
        gamma: Tensor | float = 0.1,
        learn_gamma: bool = False,
    ) -> None:
        super().__init__(gap, gap_open, gap_extend, gamma, learn_gamma)

    def forward(self, similarity: Tensor, lengths: GivenLengths | None = None) -> Tensor:
        """Score, shape (...), of similarities of shape (..., n, m)."""
        return gap_functions.smith_waterman(
            similarity, gap=self.gap, gap_open=self.gap_open, gap_extend=self.gap_extend,
            gamma=self.gamma, lengths=lengths,
        )  # fmt: skip

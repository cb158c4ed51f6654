"""The functions as torch.nn modules, which hold the options and learn those given as parameters.

Each has `learn_gamma=True`, by which it learns its gamma by the logarithm (the parameter
`log_gamma`): no step of an optimiser can take it to where there is no smoothing or below.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from softdp import functional
from softdp.arguments import Band, Gaps, GivenLengths


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    if not isinstance(value, Tensor):
        return str(value)
    return f"{value.item():.4g}" if value.dim() == 0 else f"shape {tuple(value.shape)}"


class Recurrence(nn.Module):
    """Holds gamma; `_shown` names what a representation tells."""

    _shown: tuple[str, ...] = ("gamma",)
    _gamma: Tensor | float
    band: Band | None

    def __init__(self, gamma: Tensor | float, learn_gamma: bool) -> None:
        super().__init__()
        self._learns = learn_gamma
        if not learn_gamma:
            self._hold("_gamma", gamma)
            return
        start = torch.as_tensor(gamma, dtype=torch.get_default_dtype()).detach()
        if not ((start > 0) & start.isfinite()).all():
            raise ValueError(
                f"{type(self).__name__}: a learned gamma must begin above 0, got {gamma}"
            )
        self.log_gamma = nn.Parameter(start.log())

    @property
    def gamma(self) -> Tensor | float:
        """Smoothing, a number or a tensor of shape () or (...); positive if it is learned."""
        return self.log_gamma.exp() if self._learns else self._gamma

    def _hold(self, name: str, value: object) -> None:
        """A parameter is learned, a tensor moves with the module, a number is a number."""
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def _given(self, name: str, given: Tensor | float | None) -> Tensor | float:
        """What comes with a table, or is held."""
        cost = getattr(self, name) if given is None else given
        if cost is None:
            raise TypeError(
                f"{type(self).__name__}: {name} must be given here or when the module is made"
            )
        return cost

    def extra_repr(self) -> str:
        """What the module holds."""
        return ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self._shown)


class _Edit(Recurrence):
    _shown = ("insert", "delete", "gamma", "leading_gaps", "trailing_gaps", "band")

    def __init__(
        self,
        insert: Tensor | float | None,
        delete: Tensor | float | None,
        gamma: Tensor | float,
        learn_gamma: bool,
        leading_gaps: Gaps,
        trailing_gaps: Gaps,
        band: Band | None,
    ) -> None:
        super().__init__(gamma, learn_gamma)
        self._hold("insert", insert)
        self._hold("delete", delete)
        self.leading_gaps = leading_gaps
        self.trailing_gaps = trailing_gaps
        self._hold("band", band)


class EditSimilarity(_Edit):
    """`softdp.edit_similarity` with its options held.

    Args:
        insert: potential of consuming y_j alone, if it is not given with each table: a number, a
            tensor, or an nn.Parameter, which is learned.
        delete: potential of consuming x_i alone, alike.
        gamma: smoothing; may be an nn.Parameter, which is taken as it is.
        learn_gamma: learn it, and keep it positive.
        leading_gaps: as the function has it.
        trailing_gaps: as the function has it.
        band: as the function has it.

    Example:
        >>> align = softdp.EditSimilarity(gap := nn.Parameter(torch.tensor(-1.0)), gap)
        >>> align(torch.randn(8, 30, 40)).mean().backward()
    """

    def __init__(
        self,
        insert: Tensor | float | None = None,
        delete: Tensor | float | None = None,
        *,
        gamma: Tensor | float = 0.1,
        learn_gamma: bool = False,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
    ) -> None:
        super().__init__(insert, delete, gamma, learn_gamma, leading_gaps, trailing_gaps, band)

    def forward(
        self,
        match: Tensor,
        insert: Tensor | float | None = None,
        delete: Tensor | float | None = None,
        lengths: GivenLengths | None = None,
    ) -> Tensor:
        """Score, shape (...), of potentials of shape (..., n, m)."""
        return functional.edit_similarity(
            match, self._given("insert", insert), self._given("delete", delete),
            gamma=self.gamma, lengths=lengths, leading_gaps=self.leading_gaps,
            trailing_gaps=self.trailing_gaps, band=self.band,
        )  # fmt: skip


class EditDistance(_Edit):
    """`softdp.edit_distance` with its options held; arguments as those of `EditSimilarity`.

    Example:
        >>> distance = softdp.EditDistance(1.0, 1.0, gamma=0.0)
        >>> distance(1 - torch.eye(4))
        tensor(0.)
    """

    def __init__(
        self,
        insert: Tensor | float | None = None,
        delete: Tensor | float | None = None,
        *,
        gamma: Tensor | float = 0.1,
        learn_gamma: bool = False,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
    ) -> None:
        super().__init__(insert, delete, gamma, learn_gamma, leading_gaps, trailing_gaps, band)

    def forward(
        self,
        substitute: Tensor,
        insert: Tensor | float | None = None,
        delete: Tensor | float | None = None,
        lengths: GivenLengths | None = None,
    ) -> Tensor:
        """Distance, shape (...), of costs of shape (..., n, m)."""
        return functional.edit_distance(
            substitute, self._given("insert", insert), self._given("delete", delete),
            gamma=self.gamma, lengths=lengths, leading_gaps=self.leading_gaps,
            trailing_gaps=self.trailing_gaps, band=self.band,
        )  # fmt: skip


class LCS(Recurrence):
    """`softdp.lcs` with its options held; `gamma` and `threshold` may be nn.Parameters.

    Example:
        >>> softdp.LCS(threshold=0.5, gamma=0.0)(torch.eye(4, 6))
        tensor(4.)
    """

    _shown = ("threshold", "gamma", "gate_width", "band")
    threshold: Tensor | float

    def __init__(
        self,
        threshold: Tensor | float,
        *,
        gamma: Tensor | float = 0.1,
        learn_gamma: bool = False,
        gate_width: float = 0.0,
        band: Band | None = None,
    ) -> None:
        super().__init__(gamma, learn_gamma)
        self._hold("threshold", threshold)
        self.gate_width = gate_width
        self._hold("band", band)

    def forward(self, similarity: Tensor, lengths: GivenLengths | None = None) -> Tensor:
        """Score, shape (...), of similarities of shape (..., n, m)."""
        return functional.lcs(
            similarity, self.threshold,
            gamma=self.gamma, gate_width=self.gate_width, lengths=lengths, band=self.band,
        )  # fmt: skip


class SoftDTW(Recurrence):
    """`softdp.soft_dtw` with its options held; `gamma` may be an nn.Parameter.

    Example:
        >>> softdp.SoftDTW(gamma=0.0, band=2)(torch.ones(5, 8))
        tensor(8.)
    """

    _shown = ("gamma", "open_begin", "open_end", "band")

    def __init__(
        self,
        *,
        gamma: Tensor | float = 1.0,
        learn_gamma: bool = False,
        open_begin: bool = False,
        open_end: bool = False,
        band: Band | None = None,
    ) -> None:
        super().__init__(gamma, learn_gamma)
        self.open_begin = open_begin
        self.open_end = open_end
        self._hold("band", band)

    def forward(self, cost: Tensor, lengths: GivenLengths | None = None) -> Tensor:
        """Distance, shape (...), of costs of shape (..., n, m), not of sequences.

        `softdp.pairwise_cost` makes them of two sequences; `softdp.DTWDivergence` takes these.
        """
        return functional.soft_dtw(
            cost, gamma=self.gamma, lengths=lengths,
            open_begin=self.open_begin, open_end=self.open_end, band=self.band,
        )  # fmt: skip


class DropDTW(Recurrence):
    """`softdp.drop_dtw` with its options held.

    Args:
        drop_x: cost of leaving out a step of x, if it is not given with each table: a number, a
            tensor, or an nn.Parameter, which is learned.
        drop_y: of a step of y, alike.
        gamma: smoothing; may be an nn.Parameter, which is taken as it is.
        learn_gamma: learn it, and keep it positive.
        one_to_many: as the function has it.
        many_to_one: as the function has it.

    Example:
        >>> softdp.DropDTW(drop_x=1.0, drop_y=0.25, gamma=0.0)(1 - torch.eye(3, 5))
        tensor(0.5000)
    """

    _shown = ("drop_x", "drop_y", "gamma", "one_to_many", "many_to_one")

    def __init__(
        self,
        drop_x: Tensor | float | None = None,
        drop_y: Tensor | float | None = None,
        *,
        gamma: Tensor | float = 1.0,
        learn_gamma: bool = False,
        one_to_many: bool = True,
        many_to_one: bool = True,
    ) -> None:
        super().__init__(gamma, learn_gamma)
        self._hold("drop_x", drop_x)
        self._hold("drop_y", drop_y)
        self.one_to_many = one_to_many
        self.many_to_one = many_to_one

    def forward(
        self,
        cost: Tensor,
        drop_x: Tensor | float | None = None,
        drop_y: Tensor | float | None = None,
        lengths: GivenLengths | None = None,
    ) -> Tensor:
        """Distance, shape (...), of costs of shape (..., n, m)."""
        return functional.drop_dtw(
            cost, self._given("drop_x", drop_x), self._given("drop_y", drop_y),
            gamma=self.gamma, lengths=lengths,
            one_to_many=self.one_to_many, many_to_one=self.many_to_one,
        )  # fmt: skip

"""The functions as torch.nn modules, which hold the options and learn those given as parameters."""

from __future__ import annotations

from torch import Tensor, nn

from softdp import functional
from softdp.validation import Lengths


def _shown(value: Tensor | float | str) -> str:
    if not isinstance(value, Tensor):
        return str(value)
    return f"{value.item():.4g}" if value.dim() == 0 else f"shape {tuple(value.shape)}"


class _Recurrence(nn.Module):
    def _hold(self, name: str, value: Tensor | float) -> None:
        """A parameter is learned, a tensor moves with the module, a number is a number."""
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self._shown)

    _shown: tuple[str, ...] = ()


class _Edit(_Recurrence):
    _shown = ("gamma", "leading_gaps")
    gamma: Tensor | float

    def __init__(self, *, gamma: Tensor | float = 0.1, leading_gaps: str) -> None:
        super().__init__()
        self._hold("gamma", gamma)
        self.leading_gaps = leading_gaps


class EditSimilarity(_Edit):
    """`softdp.edit_similarity` with its options held; `gamma` may be an nn.Parameter."""

    def __init__(self, *, gamma: Tensor | float = 0.1, leading_gaps: str = "free") -> None:
        super().__init__(gamma=gamma, leading_gaps=leading_gaps)

    def forward(
        self,
        match: Tensor,
        insert: Tensor | float,
        delete: Tensor | float,
        lengths: Lengths | None = None,
    ) -> Tensor:
        """Score, shape (...), of potentials of shape (..., n, m)."""
        return functional.edit_similarity(
            match, insert, delete,
            gamma=self.gamma, lengths=lengths, leading_gaps=self.leading_gaps,
        )  # fmt: skip


class EditDistance(_Edit):
    """`softdp.edit_distance` with its options held; `gamma` may be an nn.Parameter."""

    def __init__(self, *, gamma: Tensor | float = 0.1, leading_gaps: str = "paid") -> None:
        super().__init__(gamma=gamma, leading_gaps=leading_gaps)

    def forward(
        self,
        substitute: Tensor,
        insert: Tensor | float,
        delete: Tensor | float,
        lengths: Lengths | None = None,
    ) -> Tensor:
        """Distance, shape (...), of costs of shape (..., n, m)."""
        return functional.edit_distance(
            substitute, insert, delete,
            gamma=self.gamma, lengths=lengths, leading_gaps=self.leading_gaps,
        )  # fmt: skip


class LCS(_Recurrence):
    """`softdp.lcs` with its options held; `gamma` and `threshold` may be nn.Parameters."""

    _shown = ("threshold", "gamma", "gate_width")
    gamma: Tensor | float
    threshold: Tensor | float

    def __init__(
        self,
        threshold: Tensor | float,
        *,
        gamma: Tensor | float = 0.1,
        gate_width: float = 0.0,
    ) -> None:
        super().__init__()
        self._hold("threshold", threshold)
        self._hold("gamma", gamma)
        self.gate_width = gate_width

    def forward(self, similarity: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Score, shape (...), of similarities of shape (..., n, m)."""
        return functional.lcs(
            similarity, self.threshold,
            gamma=self.gamma, gate_width=self.gate_width, lengths=lengths,
        )  # fmt: skip


class SoftDTW(_Recurrence):
    """`softdp.soft_dtw` with its gamma held, which may be an nn.Parameter."""

    _shown = ("gamma",)
    gamma: Tensor | float

    def __init__(self, *, gamma: Tensor | float = 1.0) -> None:
        super().__init__()
        self._hold("gamma", gamma)

    def forward(self, cost: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Distance, shape (...), of costs of shape (..., n, m)."""
        return functional.soft_dtw(cost, gamma=self.gamma, lengths=lengths)

"""The alignments of two sequences by costs of gaps as distributions, of whole ones and of parts."""

from __future__ import annotations

import torch
from torch import Tensor

from softdp import affine, ends
from softdp.affine import ENDED, GapInputs, gap_inputs
from softdp.arguments import Band, GapCost, Gaps, GivenLengths
from softdp.memory import named_when_short
from softdp.path_distribution import PathDistribution, Swept
from softdp.paths import Rules, held_at, rules_of


class _GapAlignment(PathDistribution):
    """Of gaps that may cost something to open."""

    _inputs: GapInputs
    _arcs = "affine"

    def _gaps(self) -> tuple[affine.AffineGaps, affine.AffineGaps]:
        return affine.gap_potentials(self._inputs)

    def _tables(self) -> tuple[Tensor, ...]:
        gaps, _ = self._gaps()
        if self._arcs == "edit":
            return self._inputs.similarity, gaps.open_y, gaps.open_x
        return self._inputs.similarity, *gaps

    def _by_kind(self, arcs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self._arcs == "edit":
            return arcs
        match, open_x, extend_x, open_y, extend_y = arcs
        return match, open_y + extend_y, open_x + extend_x

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gaps, first = self._gaps()
        zero = torch.zeros_like(i)

        def in_x(inside: Tensor, leading: Tensor) -> Tensor:
            return torch.where(j < 0, held_at(leading, i, zero), held_at(inside, i, j))

        def in_y(inside: Tensor, leading: Tensor) -> Tensor:
            return torch.where(i < 0, held_at(leading, zero, j), held_at(inside, i, j))

        delete = torch.where(
            goes_on, in_x(gaps.extend_x, first.extend_x), in_x(gaps.open_x, first.open_x)
        )
        insert = torch.where(
            goes_on, in_y(gaps.extend_y, first.extend_y), in_y(gaps.open_y, first.open_y)
        )
        return held_at(self._inputs.similarity, i, j), delete, insert


class NeedlemanWunschAlignment(_GapAlignment):
    """The alignments of two sequences as a distribution: that of `softdp.needleman_wunsch`.

    A path has probability exp((sum of its similarities - its gaps' costs - score) / gamma).

    Source: Needleman, Wunsch 1970; Gotoh 1982; Mensch and Blondel, ICML 2018.

    Args:
        similarity: as in `softdp.needleman_wunsch`, shape (..., n, m).
        gap: as there.
        gap_open: as there.
        gap_extend: as there.
        gamma: as there.
        lengths: as there.
        leading_gaps: as there.
        trailing_gaps: as there.
        band: as there.

    Raises:
        TypeError, ValueError, RuntimeError: as the function; see `EditAlignment`, which says what
            there is to ask, too.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("GATTACA", "GCATA"))
        >>> similarity = torch.where(x[:, None] == y, 5.0, -4.0)
        >>> best = softdp.NeedlemanWunschAlignment(similarity, gap_open=10.0, gap_extend=0.5).best()
        >>> best.score, best.arcs[: best.lengths].tolist()
        (tensor(-2.), [0, 2, 0, 0, 1, 1, 1, 0])
    """

    @named_when_short
    def __init__(
        self,
        similarity: Tensor,
        *,
        gap: GapCost | None = None,
        gap_open: GapCost | None = None,
        gap_extend: GapCost | None = None,
        gamma: Tensor | float = 0.1,
        lengths: GivenLengths | None = None,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
    ) -> None:
        op = "NeedlemanWunschAlignment"
        inputs = gap_inputs(
            op, similarity, gap, gap_open, gap_extend, gamma, lengths, leading_gaps, trailing_gaps,
            band,
        )  # fmt: skip
        super().__init__(op, inputs, rules_of(inputs.leading_gaps, inputs.trailing_gaps))
        if inputs.open_x is None:
            self._arcs = "edit"

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return affine.needleman_wunsch(core, self._op, self._inputs._replace(gamma=gamma))

    def _border(self, swept: Swept) -> Tensor | None:
        leading, shape = self._rules.leading, self._inputs.similarity.shape
        if swept.border is not None or "paid" not in leading:
            return swept.border
        _, first = self._gaps()
        if self._arcs == "affine":
            return affine.laid_affine(shape, first, leading)
        return ends.laid(shape, first.open_y, first.open_x, leading, minimise=False)


class SmithWatermanAlignment(_GapAlignment):
    """The alignments of parts of two sequences as a distribution: that of `softdp.smith_waterman`.

    A path begins and ends with a match, and has probability exp((sum of its similarities - its
    gaps' costs - score) / gamma).

    Source: Smith, Waterman 1981; Gotoh 1982; Mensch and Blondel, ICML 2018.

    Args:
        similarity: as in `softdp.smith_waterman`, shape (..., n, m).
        gap: as there.
        gap_open: as there.
        gap_extend: as there.
        gamma: as there.
        lengths: as there.

    Raises:
        TypeError, ValueError, RuntimeError: as the function; see `EditAlignment`, which says what
            there is to ask, too.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("TTTGATTACA", "CCGATACA"))
        >>> similarity = torch.where(x[:, None] == y, 5.0, -4.0)
        >>> best = softdp.SmithWatermanAlignment(similarity, gap_open=3.0, gap_extend=1.0).best()
        >>> best.pairs[: best.lengths].tolist()
        [[3, 2], [4, 3], [5, 3], [6, 4], [7, 5], [8, 6], [9, 7]]
    """

    _arcs = "local"

    @named_when_short
    def __init__(
        self,
        similarity: Tensor,
        *,
        gap: GapCost | None = None,
        gap_open: GapCost | None = None,
        gap_extend: GapCost | None = None,
        gamma: Tensor | float = 0.1,
        lengths: GivenLengths | None = None,
    ) -> None:
        op = "SmithWatermanAlignment"
        inputs = gap_inputs(
            op, similarity, gap, gap_open, gap_extend, gamma, lengths, "free", "free", None
        )
        super().__init__(op, inputs, Rules(anywhere=True))

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return affine.smith_waterman(core, self._op, self._inputs._replace(gamma=gamma))

    def _options(self) -> tuple[()]:
        return ()

    def _end_values(self, swept: Swept) -> Tensor:
        return affine.local_end_values(swept.last, self._inputs.similarity.shape[-1])

    def _end_cells(self, place: Tensor) -> Tensor:
        _, m_lengths = self._lengths()
        cell = place + 1, m_lengths[..., None], torch.full_like(place, ENDED)
        return torch.stack(torch.broadcast_tensors(*cell), -1)

    def _on_border(self, at_ends: Tensor) -> Tensor:
        *batch, n, m = self._inputs.similarity.shape
        own = torch.cat([at_ends.new_zeros((*batch, m + 1)), at_ends[:n].movedim(0, -1)], -1)
        none, states = torch.zeros_like(own), self._family.states
        return torch.stack([own if state == ENDED else none for state in range(states)], -2)

"""The local alignments of two sequences as a distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from softdp import affine, ends
from softdp.affine import ENDED, LOCAL_STATES, NeedlemanWunschInputs, needleman_wunsch_inputs
from softdp.arguments import GapCost, Lengths
from softdp.memory import named_when_short
from softdp.path_distribution import PathDistribution, Swept
from softdp.paths import Rules, held_at


class SmithWatermanAlignment(PathDistribution):
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

    _inputs: NeedlemanWunschInputs
    _arcs, _states, _ends_in_one = "local", LOCAL_STATES, False

    @named_when_short
    def __init__(
        self,
        similarity: Tensor,
        *,
        gap: GapCost | None = None,
        gap_open: GapCost | None = None,
        gap_extend: GapCost | None = None,
        gamma: Tensor | float = 0.1,
        lengths: Lengths | None = None,
    ) -> None:
        op = "SmithWatermanAlignment"
        inputs = needleman_wunsch_inputs(
            op, similarity, gap, gap_open, gap_extend, gamma, lengths, "free", "free", None
        )
        super().__init__(op, inputs, Rules(anywhere=True))

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return affine.smith_waterman(core, self._op, self._inputs._replace(gamma=gamma))

    def _gaps(self) -> affine.AffineGaps:
        return affine.gap_potentials(self._inputs)[0]

    def _tables(self) -> tuple[Tensor, ...]:
        return self._inputs.similarity, *self._gaps()

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
        none = torch.zeros_like(own)
        return torch.stack([own if state == ENDED else none for state in range(LOCAL_STATES)], -2)

    def _by_kind(self, arcs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        match, open_x, extend_x, open_y, extend_y = arcs
        return match, open_y + extend_y, open_x + extend_x

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gaps = self._gaps()
        extend_x, open_x, extend_y, open_y = (
            held_at(gap, i, j) for gap in (gaps.extend_x, gaps.open_x, gaps.extend_y, gaps.open_y)
        )
        delete = torch.where(goes_on, extend_x, open_x)
        insert = torch.where(goes_on, extend_y, open_y)
        return held_at(self._inputs.similarity, i, j), delete, insert

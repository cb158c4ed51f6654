"""Alignments out of the weights of a sweep: probable, best, and drawn at random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softdp import ends
from softdp.arguments import Band, Gaps, GivenLengths, require_flags
from softdp.dtypes import converted
from softdp.memory import named_when_short
from softdp.path_distribution import PathDistribution, Swept
from softdp.paths import AlignmentPath, ExpectedAlignment, Rules, held_at, rules_of
from softdp.potentials import lcs_potentials
from softdp.validation import (
    EditInputs,
    LcsInputs,
    SoftDtwInputs,
    edit_inputs,
    lcs_inputs,
    soft_dtw_inputs,
)


class EditAlignment(PathDistribution):
    """The alignments of two sequences as a distribution: that of `softdp.edit_similarity`.

    A path has probability exp((sum of its potentials - score) / gamma). What is asked for is
    computed then, and once: all of it comes out of the weights of one sweep.

        a.score        (...), as the function has it          a.best()      the most probable path
        a.expected     three of (..., n, m), of each arc      a.sample(k)   k paths at random
        a.entropy()    (...), in nats                         a.log_prob(path)

    The scores, the expected arcs, entropies and logarithms of probabilities are differentiable.

    Source: Mensch and Blondel, Differentiable Dynamic Programming for Structured Prediction and
    Attention, ICML 2018.

    Args:
        match: as in `softdp.edit_similarity`, shape (..., n, m).
        insert: as there.
        delete: as there.
        gamma: as there; with 0 the best path has all of the probability.
        lengths: as there.
        leading_gaps: as there.
        trailing_gaps: as there.
        band: as there.
        minimise: match, insert and delete are costs, as in `softdp.edit_distance`, and a path has
            probability exp((distance - sum of its costs) / gamma).

    Raises:
        TypeError, ValueError, RuntimeError: as the function; there are second derivatives of the
            score, and so first ones of the rest, but no higher ones.

    Example:
        >>> a = softdp.EditAlignment(3 * torch.eye(3, 4), -1.0, -1.0, gamma=0.5)
        >>> a.best().pairs.tolist()
        [[0, 0], [1, 1], [2, 2], [2, 3], [-1, -1], [-1, -1], [-1, -1]]
        >>> path = a.sample(1000)
        >>> path.arcs.shape, a.log_prob(path).shape
        (torch.Size([1000, 7]), torch.Size([1000]))
    """

    _inputs: EditInputs

    @named_when_short
    def __init__(
        self,
        match: Tensor,
        insert: Tensor | float,
        delete: Tensor | float,
        *,
        gamma: Tensor | float = 0.1,
        lengths: GivenLengths | None = None,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
        minimise: bool = False,
    ) -> None:
        self._begin(
            "EditAlignment", match, insert, delete, gamma, lengths, leading_gaps, trailing_gaps,
            band, minimise=minimise,
        )  # fmt: skip

    def _begin(self, op: str, *arguments: Any, minimise: bool) -> None:
        require_flags(op, minimise=minimise)
        inputs = edit_inputs(op, "match", *arguments)
        super().__init__(op, inputs, rules_of(inputs.leading_gaps, inputs.trailing_gaps, minimise))
        n, m = inputs.match.shape[-2:]
        self._insert, self._first_insert = ends.without_first(self._inputs.insert, -2, n)
        self._delete, self._first_delete = ends.without_first(self._inputs.delete, -1, m)

    @classmethod
    def _of(cls, op: str, *arguments: Any, minimise: bool) -> EditAlignment:
        """One whose errors name a function."""
        made = cls.__new__(cls)
        made._begin(op, *arguments, minimise=minimise)
        return made

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        inputs = self._inputs._replace(gamma=gamma)
        return ends.edit(core, self._op, inputs, self._rules.minimise)[0]

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._inputs.match, self._insert, self._delete

    def _border(self, swept: Swept) -> Tensor | None:
        if swept.border is not None or "paid" not in self._rules.leading:
            return swept.border
        first = self._first_insert, self._first_delete
        leading, minimise = self._rules.leading, self._rules.minimise
        return ends.laid(self._inputs.match.shape, *first, leading, minimise)

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        match, delete, insert = (
            held_at(table, i, j) for table in (self._inputs.match, self._delete, self._insert)
        )
        if "paid" in self._rules.leading:
            zero = torch.zeros_like(i)
            delete = torch.where(j < 0, held_at(self._first_delete, i, zero), delete)
            insert = torch.where(i < 0, held_at(self._first_insert, zero, j), insert)
        return match, delete, insert


class LCSAlignment(PathDistribution):
    """The alignments of two sequences as a distribution: that of `softdp.lcs`.

    A path has probability exp((sum of its potentials - score) / gamma), with the potentials of
    match and gap that the function names; `best` is the path of the largest sum of these, for
    gamma = 0 that of the longest common subsequence.

    Source: Gao, Chen, Xu, FTCL, CVPR 2022; Mensch and Blondel, ICML 2018.

    Args:
        similarity: as in `softdp.lcs`, shape (..., n, m).
        threshold: as there.
        gamma: as there.
        gate_width: as there.
        lengths: as there.
        band: as there.

    Raises:
        TypeError, ValueError, RuntimeError: as the function; see `EditAlignment`, which says what
            there is to ask, too.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("alignment", "lament"))
        >>> best = softdp.LCSAlignment((x[:, None] == y).float(), 0.5, gamma=0.01).best()
        >>> "".join("alignment"[i] for i in best.pairs[best.arcs == 0, 0])
        'ament'
    """

    _inputs: LcsInputs

    @named_when_short
    def __init__(
        self,
        similarity: Tensor,
        threshold: Tensor | float,
        *,
        gamma: Tensor | float = 0.1,
        gate_width: float = 0.0,
        lengths: GivenLengths | None = None,
        band: Band | None = None,
    ) -> None:
        op = "LCSAlignment"
        inputs = lcs_inputs(op, similarity, threshold, gamma, gate_width, lengths, band)
        super().__init__(op, inputs, Rules())

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return ends.lcs(core, self._op, self._inputs._replace(gamma=gamma))[0]

    def _hard_score_by(self, core: ends.Core) -> Tensor:
        # A path's potentials are those of this gamma; the family has others where there is none.
        match, gap = self._potentials()
        inputs = EditInputs(
            match, gap, gap, self._inputs.gamma * 0, self._inputs.lengths,
            ("free", "free"), ("paid", "paid"), self._inputs.band,
        )  # fmt: skip
        return ends.edit(core, self._op, inputs, minimise=False)[0]

    def _potentials(self) -> tuple[Tensor, Tensor]:
        c, tau, gamma, gate_width, lengths, band = self._inputs
        c = converted(self._op, "similarity", c, self._dtype)
        if band is not None:  # what lies outside is not read
            columns = torch.arange(c.shape[-1], device=c.device)
            c = c.masked_fill((columns < band[..., :1]) | (columns >= band[..., 1:]), 0)
        tau, gamma = tau.to(self._dtype), gamma.to(self._dtype)
        return lcs_potentials(c, tau, gamma, gate_width, lengths)

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        match, gap = self._potentials()
        return match, gap, gap

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c, tau, gamma, gate_width, *_ = self._inputs
        held = held_at(c, i, j)[..., None, :]
        held, tau, gamma = (x.to(self._dtype) for x in (held, tau, gamma))
        match, gap = (arc[..., 0, :] for arc in lcs_potentials(held, tau, gamma, gate_width, None))
        return match, gap, gap


class SoftDTWAlignment(PathDistribution):
    """The alignments of two sequences as a distribution: that of `softdp.soft_dtw`.

    A path has probability exp((distance - sum of its costs) / gamma). With an open beginning the
    first step of x is a match of whatever step of y it is aligned with.

    Source: Cuturi and Blondel, Soft-DTW, ICML 2017; Mensch and Blondel, ICML 2018.

    Args:
        cost: as in `softdp.soft_dtw`, shape (..., n, m).
        gamma: as there.
        lengths: as there.
        band: as there.
        open_begin: as there.
        open_end: as there.

    Raises:
        TypeError, ValueError, RuntimeError: as the function; see `EditAlignment`, which says what
            there is to ask, too.

    Example:
        >>> x, y = torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0])
        >>> cost = (x[:, None] - y).square()
        >>> best = softdp.SoftDTWAlignment(cost, open_begin=True, open_end=True).best()
        >>> best.pairs[: best.lengths].tolist()
        [[0, 2], [1, 3], [1, 4], [2, 5]]
    """

    _inputs: SoftDtwInputs

    @named_when_short
    def __init__(
        self,
        cost: Tensor,
        *,
        gamma: Tensor | float = 1.0,
        lengths: GivenLengths | None = None,
        band: Band | None = None,
        open_begin: bool = False,
        open_end: bool = False,
    ) -> None:
        op = "SoftDTWAlignment"
        inputs = soft_dtw_inputs(op, cost, gamma, lengths, open_begin, open_end, band)
        leading = "forbidden", "free" if open_begin else "forbidden"
        paths = Rules(leading, (False, open_end), minimise=True, halves=open_begin)
        super().__init__(op, inputs, paths)

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        return ends.soft_dtw(core, self._op, self._inputs._replace(gamma=gamma))[0]

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return (self._inputs.cost,) * 3

    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (held_at(self._inputs.cost, i, j),) * 3


@named_when_short
def expected_alignment(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
    minimise: bool = False,
) -> ExpectedAlignment:
    """The probability of each arc into each cell: the gradient of `softdp.edit_similarity`.

        match[i, j]     x_i and y_j are aligned          match, for x = a b c and y = a c:
        delete[i, j]    x_i is consumed alone,                      a     c
                        after y_j                              a   0.97  0.00
        insert[i, j]    y_j is consumed alone,                 b   0.01  0.01
                        after x_i                              c   0.00  0.97

    Unlike a gradient it is there under torch.no_grad and torch.inference_mode, and outside of them
    it is differentiable itself. Arcs of leading gaps, along the border, are not in it.

    Source: Mensch and Blondel, Differentiable Dynamic Programming for Structured Prediction and
    Attention, ICML 2018.

    Args:
        match: as in `softdp.edit_similarity`, shape (..., n, m).
        insert: as there.
        delete: as there.
        gamma: as there; with 0 the arcs of the best path have 1.
        lengths: as there.
        leading_gaps: as there.
        trailing_gaps: as there.
        band: as there.
        minimise: match, insert and delete are costs, as in `softdp.edit_distance`.

    Returns:
        ExpectedAlignment(match, insert, delete), shape (..., n, m) each, float32, or float64 for
        float64 input; 0 beyond the lengths, outside the band, and where no alignment is possible.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `match`.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("abc", "ac"))
        >>> match = (x[:, None] == y).float() - 1
        >>> softdp.expected_alignment(match, -0.5, -0.5, gamma=0.2).match.round(decimals=2)
        tensor([[0.9700, 0.0000],
                [0.0100, 0.0100],
                [0.0000, 0.9700]])
    """
    return EditAlignment._of(
        "expected_alignment", match, insert, delete, gamma, lengths, leading_gaps, trailing_gaps,
        band, minimise=minimise,
    ).expected  # fmt: skip


@named_when_short
def best_alignment(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    lengths: GivenLengths | None = None,
    leading_gaps: Gaps = "paid",
    trailing_gaps: Gaps = "paid",
    band: Band | None = None,
    minimise: bool = False,
) -> AlignmentPath:
    """The alignment of two sequences whose potentials have the largest sum, exactly.

            s  i  t  t  i  n  g        pairs, arcs and lengths tell it step by step, from the
         k  ↘                          beginning:
         i     ↘
         t        ↘                    pairs    0 0   1 1   2 2   3 3   4 4   5 5   5 6
         t           ↘                 arcs      0     0     0     0     0     0     2
         e              ↘
         n                 ↘  →        lengths  7

    In ties a match is taken before a delete before an insert, from the end on. It has no gradient:
    that of `edit_similarity` with gamma = 0 is 1 along it.

    Args:
        match: as in `softdp.edit_similarity`, shape (..., n, m).
        insert: as there.
        delete: as there.
        lengths: as there.
        leading_gaps: as there; of free ones no step is told.
        trailing_gaps: as there.
        band: as there.
        minimise: match, insert and delete are costs, as in `softdp.edit_distance`.

    Returns:
        AlignmentPath(pairs, arcs, lengths, score), of pairs (..., n + m, 2) and arcs (..., n + m),
        int64 and -1 after the last step; lengths (...), int64, how many steps; score (...), float32
        or float64. Pairs count from 0; a gap before the first step of the other sequence has -1
        beside it. Where no alignment is possible there is no step, and the score says so.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `match`.

    Example:
        >>> x, y = (torch.tensor(list(word.encode())) for word in ("kitten", "sitting"))
        >>> best = softdp.best_alignment((x[:, None] != y).float(), 1.0, 1.0, minimise=True)
        >>> best.score, best.lengths, best.arcs.tolist()
        (tensor(3.), tensor(7), [0, 0, 0, 0, 0, 0, 2, -1, -1, -1, -1, -1, -1])
    """
    return EditAlignment._of(
        "best_alignment", match, insert, delete, 0.0, lengths, leading_gaps, trailing_gaps, band,
        minimise=minimise,
    ).best()  # fmt: skip

"""The paths of a table as a distribution, whatever family they are of: asked of softdp.alignments.

A forward sweep keeps of each state of a cell how the mass of its paths divides among the three arcs
into it, whatever family they are of. The backward sweep of the family that has a table for each arc
(edit, or affine where a cell has three states) puts mass on each arc apart; a walk goes back along
the arcs that it chooses. Both read the same weights, which are swept once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from softdp import _ops, derivatives, ends, registrations  # noqa: F401
from softdp._extension import require_kernels
from softdp.dtypes import computable, compute_dtype, converted
from softdp.families import FAMILIES, Family, past_its_rule
from softdp.memory import retold
from softdp.paths import (
    DELETE,
    MATCH,
    AlignmentPath,
    ExpectedAlignment,
    Rules,
    X,
    Y,
    check_path,
    is_path,
    op_options,
)
from softdp.smooth_max import shares
from softdp.values import captured, is_traced

V = TypeVar("V")


class Swept(NamedTuple):
    """A sweep, and what its backward begins with."""

    total: Tensor  # (...), the score over all ends
    score: Tensor  # (...), of the last cell
    weights: Tensor
    last: Tensor  # the last row and column, or nothing
    border: Tensor | None
    gamma: Tensor


def _asked(alignment: PathDistribution, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
    """What is asked of an alignment, whose own tensors may be as large as its shapes say."""
    return alignment._op, alignment._inputs._asdict()


_named = retold(_asked)


class PathDistribution(ABC):
    """What alignments of all families have in common. Nothing is swept before it is asked for."""

    _inputs: Any  # checked: a named tuple of softdp.validation
    _arcs = "edit"  # the family that has a table for each arc

    def __init__(self, op: str, inputs: Any, rules: Rules) -> None:
        require_kernels(op, inputs[0].device)
        self._op, self._rules = op, rules
        self._inputs, self._dtype = inputs, compute_dtype(inputs[0])
        self._band: Tensor | None = getattr(inputs, "band", None)  # not every family has one
        self._found: dict[str, tuple[bool, Any]] = {}
        self._best: AlignmentPath | None = None

    # ---- what a family says ----

    @abstractmethod
    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        """The score, by a core of softdp.ends."""

    def _hard_score_by(self, core: ends.Core) -> Tensor:
        """That of the best path."""
        return self._score_by(core, self._inputs.gamma * 0)

    @abstractmethod
    def _tables(self) -> tuple[Tensor, ...]:
        """Those of `_arcs`, broadcasting to shape (..., n, m)."""

    def _border(self, swept: Swept) -> Tensor | None:
        """What paths begin with."""
        return swept.border

    @abstractmethod
    def _worth(self, i: Tensor, j: Tensor, goes_on: Tensor) -> tuple[Tensor, ...]:
        """Of each kind of arc, match, delete and insert, into cells from 0.

        -1 is the border, where gaps are paid. goes_on: whether the step before was of its kind.
        """

    @property
    def _family(self) -> Family:
        return FAMILIES[self._arcs]

    # ---- what is swept ----

    def _once(self, name: str, make: Callable[[], V]) -> V:
        """What has been made; anew if gradients are wanted that it does not have."""
        wants = self._differentiates()
        has, value = self._found.get(name, (False, None))
        if name not in self._found or (wants and not has):
            value = make()
            self._found[name] = wants, value
        found: V = value
        return found

    def _differentiates(self) -> bool:
        """Whether somebody may want derivatives of what is computed now."""
        needs = any(x.requires_grad for x in self._inputs if isinstance(x, Tensor))
        if torch.compiler.is_compiling():
            return torch.is_grad_enabled() and (needs or captured())
        if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
            return True
        return torch.is_grad_enabled() and (needs or captured())

    @property
    def _batch(self) -> torch.Size:
        table: Tensor = self._inputs[0]
        return table.shape[:-2]

    def _lengths(self) -> tuple[Tensor, Tensor]:
        lengths: tuple[Tensor, Tensor] | None = self._inputs.lengths
        if lengths is not None:
            return lengths
        table = self._inputs[0]
        n_lengths, m_lengths = (
            torch.full(self._batch, size, device=table.device) for size in table.shape[-2:]
        )
        return n_lengths, m_lengths

    def _sweep(self, score_by: Callable[[ends.Core], Tensor]) -> Swept:
        kept: list[Any] = []

        def core(problem: ends.Problem) -> tuple[Tensor, Tensor]:
            tables, gamma = computable(problem.op, problem.tables, problem.gamma)
            given = (
                *tables, *problem.parameters, gamma, problem.border,
                *(problem.lengths or (None, None)), problem.band, *problem.options,
            )  # fmt: skip
            if not is_traced() and self._differentiates():
                function = derivatives.FUNCTIONS[problem.family].score
                score, weights, last = function.apply(*given, problem.keep_border)
            else:
                score, weights, last = past_its_rule(
                    FAMILIES[problem.family].op, *given, True, problem.keep_border
                )
            kept.extend((score, weights, last, problem.border, gamma))
            return score, last

        return Swept(score_by(core), *kept)

    @property
    def _swept(self) -> Swept:
        def score_by(core: ends.Core) -> Tensor:
            return self._score_by(core, self._inputs.gamma)

        return self._once("sweep", lambda: self._sweep(score_by))

    def _ends(self, swept: Swept) -> Tensor | None:
        """How probable it is that a path ends in each of the cells of ends.end_values."""
        if not any(self._rules.free) and self._family.ends_in_one:
            return None
        return shares(self._end_values(swept), swept.gamma.double())

    def _end_values(self, swept: Swept) -> Tensor:
        """V in each cell in which a path may end, shape (ends, ...)."""
        return ends.end_values(
            swept.last, swept.border, self._inputs[0].shape, self._inputs.lengths,
            self._rules.free, self._rules.minimise,
        )  # fmt: skip

    def _end_cells(self, place: Tensor) -> Tensor:
        """Row and column, counted from 1, and state of these places among them."""
        n_lengths, m_lengths = self._lengths()
        each = n_lengths[..., None], m_lengths[..., None]
        return ends.end_cells(place, each, self._inputs[0].shape, self._rules.free)

    def _options(self) -> tuple[Any, ...]:
        """Those of the ops of `_arcs`."""
        options = op_options(self._rules)
        return options if self._arcs == "edit" else options[:2]

    def _full_tables(self) -> tuple[Tensor, ...]:
        """Tables whose gradient has a number for each arc, in the dtype of the computation."""
        first = self._inputs[0]
        if not self._differentiates():  # nothing is read but their shape
            outline = first.new_empty((), dtype=self._dtype).expand(first.shape)
            return (outline,) * self._family.tables
        return tuple(
            converted(self._op, "a table", table, self._dtype).expand(first.shape)
            for table in self._tables()
        )

    def _on_border(self, at_ends: Tensor) -> Tensor:
        """Numbers of ends, as those of the last row and column."""
        each = [self._of_state(own) for own in at_ends.chunk(self._family.states)]
        return each[0] if len(each) == 1 else torch.stack(each, -2)

    def _of_state(self, at_ends: Tensor) -> Tensor:
        *_, n, m = self._inputs[0].shape
        bottom, right = (at_ends.new_zeros((size, *self._batch)) for size in (m + 1, n))
        if self._rules.free[Y]:
            bottom = at_ends[: m + 1]
        if self._rules.free[X]:
            right = at_ends[-n - 1 : -1]
        if not any(self._rules.free):
            bottom = bottom.scatter(0, self._lengths()[1][None], at_ends)
        return torch.cat([bottom, right]).movedim(0, -1)

    def _gradient(self, of_tables: bool) -> tuple[Tensor, ...]:
        """Of the score: by the potentials of each arc, or by gamma."""
        swept, tables = self._swept, self._family.tables
        score_gradient, border_gradient = torch.ones_like(swept.score), None
        at_ends = self._ends(swept)
        if at_ends is not None:
            score_gradient = torch.zeros_like(swept.score)
            border_gradient = self._on_border(at_ends)
        given = (
            score_gradient, border_gradient, swept.score, swept.weights, swept.last,
            *self._full_tables(), swept.gamma, self._border(swept),
            *(self._inputs.lengths or (None, None)), self._band,
            *self._options(),
            (1 << tables) - 1 if of_tables else 1 << tables,
        )  # fmt: skip
        if not is_traced() and self._differentiates():
            found = derivatives.FUNCTIONS[self._arcs].gradient.apply(*given)
        else:
            found = past_its_rule(self._family.backward_op, *given)
        return tuple(found[:tables] if of_tables else found[tables : tables + 1])

    # ---- what there is to ask ----

    @property
    @_named
    def score(self) -> Tensor:
        """The score, or the distance, shape (...): that of the function of this family."""
        return self._swept.total

    @property
    @_named
    def expected(self) -> ExpectedAlignment:
        """How probable each arc is, three tensors of shape (..., n, m); differentiable."""
        return self._once("expected", self._expect)

    def _expect(self) -> ExpectedAlignment:
        match, insert, delete = self._by_kind(self._gradient(of_tables=True))
        if self._rules.halves:  # both arcs into the first row are the beginning of one path
            first = torch.arange(match.shape[-2], device=match.device)[:, None] == 0
            match, delete = torch.where(first, match + delete, match), delete.masked_fill(first, 0)
        return ExpectedAlignment(match, insert, delete)

    def _by_kind(self, arcs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Match, insert and delete of what the tables of `_arcs` have."""
        return arcs

    @_named
    def best(self) -> AlignmentPath:
        """The most probable path, exactly; in ties match before delete before insert."""
        if self._best is None:
            with torch.no_grad():
                self._best = self._find_best()
        return self._best

    def _find_best(self) -> AlignmentPath:
        swept = self._sweep(self._hard_score_by)
        at_ends = self._ends(swept)
        place = None if at_ends is None else at_ends.argmax(0)[..., None]
        found = self._walk(swept, place, 1, None)
        pairs, arcs, lengths = (part.squeeze(-3 + k) for k, part in enumerate(found))
        return AlignmentPath(pairs, arcs, lengths, swept.total.detach())

    @_named
    def sample(self, k: int, generator: torch.Generator | None = None) -> AlignmentPath:
        """K paths of each pair, each as probable as the distribution says: shapes (k, ...).

        Which ones they are depends on the generator's state, not on threads or the table's device;
        where ends are free on the batch's shape and on k, too. Under torch.vmap they are drawn as
        its `randomness` says.
        """
        if not isinstance(k, int) or isinstance(k, bool):
            raise TypeError(f"{self._op}: k must be an integer, got {type(k).__name__}")
        if k < 0:
            raise ValueError(f"{self._op}: k must be at least 0, got {k}")
        options: dict[str, Any] = {"device": "cpu"}
        if generator is not None:
            options = {"device": generator.device, "generator": generator}
        with torch.no_grad():
            seeds = torch.randint(2**63 - 1, self._batch, **options)
            swept = self._swept
            at_ends = self._ends(swept)
            place = None
            if at_ends is not None:
                drawn = torch.rand((*self._batch, k), dtype=torch.float64, **options)
                until = at_ends.movedim(0, -1).cumsum(-1).contiguous()
                # Below the sum of all, or a cell beyond the last that is probable could be meant.
                drawn = drawn.to(until.device) * until[..., -1:] * (1 - 2**-52)
                place = torch.searchsorted(until, drawn, right=True)
            pairs, arcs, lengths = self._walk(swept, place, k, seeds.to(swept.weights.device))
            pairs, arcs, lengths = pairs.movedim(-3, 0), arcs.movedim(-2, 0), lengths.movedim(-1, 0)
            score = self._sum(pairs, arcs).to(swept.score.dtype)
            total, nothing = swept.total, math.inf if self._rules.minimise else -math.inf
            score = torch.where((total == nothing) | total.isnan(), total, score)
            return AlignmentPath(pairs, arcs, lengths, score)

    def _walk(
        self, swept: Swept, place: Tensor | None, k: int, seeds: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """K paths of each pair (place: where they end), as softdp::walk has them."""
        first = self._inputs[0].detach()
        cells = None
        if place is not None:
            cells = self._end_cells(place)
        leading, _, minimise = op_options(self._rules)
        pairs, arcs, steps = past_its_rule(
            _ops.walk.default, swept.weights, first,
            *(self._inputs.lengths or (None, None)), self._band, swept.total.detach(),
            cells, k, self._family.states, leading, minimise, seeds,
        )  # fmt: skip
        arcs = self._kinds(arcs)
        if self._rules.halves and arcs.shape[-1] > 0:
            arcs[..., 0] = torch.where(arcs[..., 0] == DELETE, MATCH, arcs[..., 0])
        return pairs, arcs, steps

    def _kinds(self, arcs: Tensor) -> Tensor:
        """Those of softdp::walk: the step of each arc, and 3 times the state it leads to."""
        return arcs if self._family.states == 1 else torch.where(arcs < 0, arcs, arcs % 3)

    def _sum(self, pairs: Tensor, arcs: Tensor) -> Tensor:
        """The potentials or costs of paths, summed in float64."""
        goes_on = arcs == F.pad(arcs[..., :-1], (1, 0), value=-1)
        i, j = pairs.unbind(-1)
        worth = i.new_zeros((), dtype=torch.float64)
        for kind, of_kind in enumerate(self._worth(i, j, goes_on)):
            worth = torch.where(arcs == kind, of_kind.double(), worth)
        return worth.sum(-1)

    @_named
    def log_prob(self, path: AlignmentPath) -> Tensor:
        """The logarithm of a path's probability, shape (...), or (k, ...) of k for each pair.

        -inf for what is no path here. Differentiable. A path without a step is one of several where
        both ends are free; without smoothing the best ones have 0.
        """
        check_path(self._op, path, self._inputs[0])
        total, gamma = self.score.double(), self._inputs.gamma.double()
        worth = self._sum(path.pairs, path.arcs)
        surplus = (total - worth) if self._rules.minimise else (worth - total)
        surplus = torch.where(total.isfinite(), surplus, 0)
        smooth = surplus / torch.where(gamma > 0, gamma, 1)
        rounding = 8 * torch.finfo(self.score.dtype).eps * total.abs()
        found = torch.where(gamma > 0, smooth, torch.where(surplus < -rounding, -math.inf, 0))
        there = self._is_path(path) & total.isfinite()
        return torch.where(there, found, -math.inf).to(self.score.dtype)

    def _is_path(self, path: AlignmentPath) -> Tensor:
        """Whether there is such a path, whatever it is worth."""
        return is_path(path, self._rules, self._lengths(), self._band)

    @_named
    def entropy(self) -> Tensor:
        """That of the distribution over paths, shape (...), in nats; differentiable."""
        return self._once("entropy", self._find_entropy)

    def _find_entropy(self) -> Tensor:
        (entropy,) = self._gradient(of_tables=False)
        if self._rules.minimise:
            entropy = 0 - entropy
        swept = self._swept
        at_ends = self._ends(swept)
        if at_ends is not None:
            taken = at_ends > 0
            logarithms = torch.where(taken, at_ends, 1).log()
            entropy = entropy - torch.where(taken, at_ends * logarithms, 0).sum(0).to(entropy.dtype)
        if self._rules.halves:
            n_lengths, _ = self._lengths()
            halved = (n_lengths > 0) & swept.total.detach().isfinite() & (swept.gamma > 0)
            entropy = entropy - math.log(2) * halved.to(entropy.dtype)
        return entropy

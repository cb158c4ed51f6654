"""Alignments out of the weights of a sweep: probable, best, and drawn at random.

A forward sweep keeps of each cell how the mass of its paths divides among the three arcs into it,
whatever family they are of. The backward sweep of the edit family puts mass on each arc apart; a
walk goes back along the arcs that it chooses. Both read the same weights, which are swept once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from softdp import derivatives, ends, registrations  # noqa: F401
from softdp._extension import require_kernels
from softdp.arguments import (
    Band,
    Gaps,
    Lengths,
    computable,
    compute_dtype,
    converted,
    require_flags,
)
from softdp.ends import ExpectedAlignment
from softdp.memory import is_short, named, named_when_short
from softdp.paths import (
    DELETE,
    INSERT,
    MATCH,
    AlignmentPath,
    Rules,
    X,
    Y,
    check_path,
    held_at,
    is_path,
    op_options,
)
from softdp.potentials import lcs_potentials
from softdp.smooth_max import shares
from softdp.validation import (
    EditInputs,
    LcsInputs,
    SoftDtwInputs,
    edit_inputs,
    lcs_inputs,
    soft_dtw_inputs,
)
from softdp.values import captured

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class _Swept(NamedTuple):
    """A sweep, and what its backward begins with."""

    total: Tensor  # (...), the score over all ends
    score: Tensor  # (...), of the last cell
    weights: Tensor
    last: Tensor  # the last row and column, or nothing
    border: Tensor | None
    gamma: Tensor


def _named(method: Callable[P, R]) -> Callable[P, R]:
    """What is asked of an alignment, whose own tensors may be as large as its shapes say."""

    @functools.wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (RuntimeError, TypeError) as error:
            if not is_short(error):
                raise
            alignment: Any = args[0]
            raise named(alignment._op, alignment._inputs._asdict(), error) from error

    return asked


class _Alignment:
    """What alignments of all families have in common. Nothing is swept before it is asked for."""

    _inputs: Any  # checked: of EditInputs, LcsInputs or SoftDtwInputs

    def __init__(self, op: str, inputs: Any, rules: Rules) -> None:
        require_kernels(op, inputs[0].device)
        self._op, self._rules = op, rules
        self._inputs, self._dtype = inputs, compute_dtype(inputs[0])
        self._found: dict[str, tuple[bool, Any]] = {}
        self._best: AlignmentPath | None = None

    # ---- what a family says ----

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        """The score, by a core of softdp.ends."""
        raise NotImplementedError

    def _hard_score_by(self, core: ends.Core) -> Tensor:
        """That of the best path."""
        return self._score_by(core, self._inputs.gamma * 0)

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Match, insert and delete of edit, broadcasting to shape (..., n, m)."""
        raise NotImplementedError

    def _border(self, swept: _Swept) -> Tensor | None:
        """What paths begin with."""
        return swept.border

    def _worth(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Match, delete and insert into cells, which may be beyond the table."""
        raise NotImplementedError

    def _worth_of_border(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        """Delete into (i, -1) and insert into (-1, j), where these are paid."""
        raise NotImplementedError

    # ---- what is swept ----

    def _once(self, name: str, make: Callable[[], V]) -> V:
        """What has been made; anew if gradients are wanted that it does not have."""
        wants = self._differentiates()
        has, value = self._found.get(name, (False, None))
        if name not in self._found or (wants and not has):
            value = make()
            self._found[name] = wants, value
        return value

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
        return self._inputs[0].shape[:-2]

    def _lengths(self) -> tuple[Tensor, Tensor]:
        if self._inputs.lengths is not None:
            return self._inputs.lengths
        table = self._inputs[0]
        n_lengths, m_lengths = (
            torch.full(self._batch, size, device=table.device) for size in table.shape[-2:]
        )
        return n_lengths, m_lengths

    def _sweep(self, score_by: Callable[[ends.Core], Tensor]) -> _Swept:
        kept: list[Any] = []

        def core(
            op: str,
            family: str,
            tables: tuple[Tensor, ...],
            parameters: tuple[Tensor, ...],
            gamma: Tensor,
            border: Tensor | None,
            lengths: Lengths | None,
            band: Tensor | None,
            options: tuple[Any, ...],
            keep_border: bool,
        ) -> tuple[Tensor, Tensor]:
            tables, gamma = computable(op, tables, gamma)
            given = *tables, *parameters, gamma, border, *(lengths or (None, None)), band, *options
            if not _recorded() and self._differentiates():
                function = derivatives.FUNCTIONS[family].score
                score, weights, last = function.apply(*given, keep_border)
            else:
                forward = getattr(torch.ops.softdp, family).default
                score, weights, last = _called(forward, *given, True, keep_border)
            kept.extend((score, weights, last, border, gamma))
            return score, last

        return _Swept(score_by(core), *kept)

    @property
    def _swept(self) -> _Swept:
        def score_by(core: ends.Core) -> Tensor:
            return self._score_by(core, self._inputs.gamma)

        return self._once("sweep", lambda: self._sweep(score_by))

    def _ends(self, swept: _Swept) -> Tensor | None:
        """How probable it is that a path ends in each of the cells of ends.end_values."""
        if not any(self._rules.free):
            return None
        shape, lengths = self._inputs[0].shape, self._inputs.lengths
        values = ends.end_values(
            swept.last, swept.border, shape, lengths, self._rules.free, self._rules.minimise
        )
        return shares(values, swept.gamma.double())

    def _full_tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tables whose gradient has a number for each arc, in the dtype of the computation."""
        first = self._inputs[0]
        if not self._differentiates():  # nothing is read but their shape
            outline = first.new_empty((), dtype=self._dtype).expand(first.shape)
            return outline, outline, outline
        names = "match", "insert", "delete"
        match, insert, delete = (
            converted(self._op, name, table, self._dtype).expand(first.shape)
            for name, table in zip(names, self._tables(), strict=True)
        )
        return match, insert, delete

    def _gradient(self, wanted: int) -> tuple[Tensor, ...]:
        """Of the score, by the edit family: the potentials' (match, insert, delete) and gamma's."""
        swept, (*_, n, m) = self._swept, self._inputs[0].shape
        score_gradient, border_gradient = torch.ones_like(swept.score), None
        at_ends = self._ends(swept)
        if at_ends is not None:
            score_gradient = torch.zeros_like(swept.score)
            parts = [at_ends.new_zeros((size, *self._batch)) for size in (m + 1, n)]
            if self._rules.free[Y]:
                parts[0] = at_ends[: m + 1]
            if self._rules.free[X]:
                parts[1] = at_ends[-n - 1 : -1]
            border_gradient = torch.cat(parts).movedim(0, -1)
        given = (
            score_gradient, border_gradient, swept.score, swept.weights, swept.last,
            *self._full_tables(), swept.gamma, self._border(swept),
            *(self._inputs.lengths or (None, None)), self._inputs.band,
            *op_options(self._rules), wanted,
        )  # fmt: skip
        if not _recorded() and self._differentiates():
            return derivatives.FUNCTIONS["edit"].gradient.apply(*given)
        return tuple(_called(torch.ops.softdp.edit_backward.default, *given))

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
        match, insert, delete = self._gradient(0b111)[:3]
        if self._rules.halves:  # both arcs into the first row are the beginning of one path
            first = torch.arange(match.shape[-2], device=match.device)[:, None] == 0
            match, delete = torch.where(first, match + delete, match), delete.masked_fill(first, 0)
        return ExpectedAlignment(match, insert, delete)

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

        Which ones they are depends on the generator's state alone, not on threads or the device.
        """
        if not isinstance(k, int) or isinstance(k, bool):
            raise TypeError(f"{self._op}: k must be an integer, got {type(k).__name__}")
        if k < 0:
            raise ValueError(f"{self._op}: k must be at least 0, got {k}")
        device = "cpu" if generator is None else generator.device
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        with torch.no_grad():
            swept = self._swept
            at_ends = self._ends(swept)
            place = None
            if at_ends is not None:
                options: dict[str, Any] = {"generator": generator, "device": device}
                drawn = torch.rand((*self._batch, k), dtype=torch.float64, **options)
                until = at_ends.movedim(0, -1).cumsum(-1).contiguous()
                # Below the sum of all, or a cell beyond the last that is probable could be meant.
                drawn = drawn.to(until.device) * until[..., -1:] * (1 - 2**-52)
                place = torch.searchsorted(until, drawn, right=True)
            pairs, arcs, lengths = self._walk(swept, place, k, seed)
            pairs, arcs, lengths = pairs.movedim(-3, 0), arcs.movedim(-2, 0), lengths.movedim(-1, 0)
            score = self._sum(pairs, arcs).to(swept.score.dtype)
            return AlignmentPath(pairs, arcs, lengths, self._where_defined(score, swept.total))

    def _where_defined(self, score: Tensor, total: Tensor) -> Tensor:
        nowhere = math.inf if self._rules.minimise else -math.inf
        return torch.where((total == nowhere) | total.isnan(), total, score)

    def _walk(
        self, swept: _Swept, place: Tensor | None, k: int, seed: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """K paths of each pair (place: where they end), as softdp::walk has them."""
        first = self._inputs[0].detach()
        lengths = self._lengths()
        if place is None:
            cells = torch.stack(lengths, -1)[..., None, :].expand(*self._batch, k, 2)
        else:
            each = lengths[0][..., None], lengths[1][..., None]
            cells = ends.end_cells(place, each, first.shape, self._rules.free)
        total = swept.total.detach()
        none = total.isnan() | (total == (math.inf if self._rules.minimise else -math.inf))
        cells = torch.where(none[..., None, None], -1, cells)
        pairs, arcs, steps = _called(
            torch.ops.softdp.walk.default, swept.weights, first,
            *(self._inputs.lengths or (None, None)), self._inputs.band, cells,
            op_options(self._rules)[0], seed,
        )  # fmt: skip
        if self._rules.halves and arcs.shape[-1] > 0:
            arcs[..., 0] = torch.where(arcs[..., 0] == DELETE, MATCH, arcs[..., 0])
        return pairs, arcs, steps

    def _sum(self, pairs: Tensor, arcs: Tensor) -> Tensor:
        """The potentials or costs of paths, summed in float64."""
        i, j = pairs.unbind(-1)
        inside = (i >= 0) & (j >= 0)
        by_arc = [worth.double() for worth in self._worth(i, j)]
        worth = torch.where(arcs == INSERT, by_arc[INSERT], by_arc[DELETE])
        worth = torch.where(arcs == MATCH, by_arc[MATCH], worth)
        worth = torch.where(inside & (arcs >= 0), worth, 0)
        if "paid" in self._rules.leading:
            of_x, of_y = self._worth_of_border(i, j)
            worth = torch.where((j < 0) & (arcs == DELETE), of_x.double(), worth)
            worth = torch.where((i < 0) & (arcs == INSERT), of_y.double(), worth)
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
        there = is_path(path, self._rules, self._lengths(), self._inputs.band) & total.isfinite()
        return torch.where(there, found, -math.inf).to(self.score.dtype)

    @_named
    def entropy(self) -> Tensor:
        """That of the distribution over paths, shape (...), in nats; differentiable."""
        return self._once("entropy", self._find_entropy)

    def _find_entropy(self) -> Tensor:
        entropy = self._gradient(0b1000)[3]
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


def _called(op: Any, *given: Any) -> Any:
    """What an op returns, which is not differentiated now: past its own rule, if nobody looks on.

    That rule costs as much time as a small table.
    """
    if _recorded():
        return op(*given)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*given)


def _recorded() -> bool:
    """Whether ops are wanted by their names, which differentiate by themselves."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class EditAlignment(_Alignment):
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
        lengths: Lengths | None = None,
        leading_gaps: Gaps = "paid",
        trailing_gaps: Gaps = "paid",
        band: Band | None = None,
        minimise: bool = False,
    ) -> None:
        self._begin(
            "EditAlignment", match, insert, delete, gamma, lengths, leading_gaps, trailing_gaps,
            band, minimise,
        )  # fmt: skip

    def _begin(
        self,
        op: str,
        match: Tensor,
        insert: Tensor | float,
        delete: Tensor | float,
        gamma: Tensor | float,
        lengths: Lengths | None,
        leading_gaps: Gaps,
        trailing_gaps: Gaps,
        band: Band | None,
        minimise: bool,
    ) -> None:
        require_flags(op, minimise=minimise)
        inputs = edit_inputs(
            op, "match", match, insert, delete, gamma, lengths, leading_gaps, trailing_gaps, band
        )
        trailing = inputs.trailing_gaps
        free = trailing[X] == "free", trailing[Y] == "free"
        closed = trailing[X] != "paid", trailing[Y] != "paid"
        super().__init__(op, inputs, Rules(inputs.leading_gaps, free, closed, minimise))
        n, m = inputs.match.shape[-2:]
        self._insert, self._first_insert = ends.without_first(self._inputs.insert, -2, n)
        self._delete, self._first_delete = ends.without_first(self._inputs.delete, -1, m)

    @classmethod
    def _of(cls, op: str, *arguments: Any) -> EditAlignment:
        """One whose errors name a function."""
        made = cls.__new__(cls)
        made._begin(op, *arguments)
        return made

    def _score_by(self, core: ends.Core, gamma: Tensor) -> Tensor:
        inputs = self._inputs._replace(gamma=gamma)
        return ends.edit(core, self._op, inputs, self._rules.minimise)[0]

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._inputs.match, self._insert, self._delete

    def _border(self, swept: _Swept) -> Tensor | None:
        if swept.border is not None or "paid" not in self._rules.leading:
            return swept.border
        first = self._first_insert, self._first_delete
        leading, minimise = self._rules.leading, self._rules.minimise
        return ends.laid(self._inputs.match.shape, *first, leading, minimise)

    def _worth(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (
            held_at(self._inputs.match, i, j),
            held_at(self._delete, i, j),
            held_at(self._insert, i, j),
        )

    def _worth_of_border(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(i)
        return held_at(self._first_delete, i, zero), held_at(self._first_insert, zero, j)


class LCSAlignment(_Alignment):
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
        lengths: Lengths | None = None,
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

    def _worth(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c, tau, gamma, gate_width, *_ = self._inputs
        held = held_at(c, i, j)[..., None, :]
        held, tau, gamma = (x.to(self._dtype) for x in (held, tau, gamma))
        match, gap = (arc[..., 0, :] for arc in lcs_potentials(held, tau, gamma, gate_width, None))
        return match, gap, gap


class SoftDTWAlignment(_Alignment):
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
        lengths: Lengths | None = None,
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

    def _worth(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (held_at(self._inputs.cost, i, j),) * 3


@named_when_short
def expected_alignment(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    gamma: Tensor | float = 0.1,
    lengths: Lengths | None = None,
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
        band, minimise,
    ).expected  # fmt: skip


@named_when_short
def best_alignment(
    match: Tensor,
    insert: Tensor | float,
    delete: Tensor | float,
    *,
    lengths: Lengths | None = None,
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
        AlignmentPath(pairs, arcs, lengths, score): pairs (..., n + m, 2) and arcs (..., n + m),
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
        minimise,
    ).best()  # fmt: skip

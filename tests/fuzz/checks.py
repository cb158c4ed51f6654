"""A call gives a right value or one line that says what is wrong; it never ends the process."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis
import pytest
import torch
from torch import Tensor

import softdp
from softdp import ends, memory, reference
from softdp.families import FAMILIES
from softdp.reference import anti_diagonals
from tests.fuzz.calls import (
    ALIGNMENTS,
    COPIES,
    SPOIL,
    FunctionCall,
    OpCall,
    PlainCall,
)
from tests.fuzz.tensors import Band, Spec
from tests.fuzz.twin import Twin

_REFUSALS = (TypeError, ValueError, RuntimeError)


def check_function(call: FunctionCall) -> None:
    """A call of a function of softdp, and of the gradients of all that wants one."""
    arguments = {name: _made(argument) for name, argument in call.arguments.items()}
    leaves = {
        name: item
        for name, item in arguments.items()
        if isinstance(item, Tensor) and item.requires_grad
    }
    outputs: tuple[Tensor, ...] = ()
    try:
        outputs = call.made(arguments)
        upstreams = [_upstream(output, call.seed) for output in outputs]
        gradients = _gradients(outputs, list(leaves.values()), upstreams)
    except _REFUSALS as error:
        if outputs and _is_huge(arguments.values()) and memory.is_short(error):
            return  # of torch's own gradients, of slices and sums
        # A block of a table is swept, and speaks of itself.
        inner = ("sweep: ",) if call.name == "blockwise" else ()
        _speaks_for(error, f"{call.name}: ", "softdp::", *inner)
        if not _is_huge(arguments.values()) and call.name != "blockwise":
            _refused_alike(error, lambda: call.specified(arguments))
        return
    twin = Twin(next(iter(arguments.values())), arguments.get("lengths"))
    if not twin.knows:
        return
    exact = {name: twin.of(name, item) for name, item in arguments.items()}
    wanted = call.specified(exact)
    known = twin.compare_scores(outputs[0], wanted[0])
    for place, (border, want) in enumerate(zip(outputs[1:], wanted[1:], strict=True)):
        known = known & twin.compare_borders(twin.side(border, -1 - place), want)
    if leaves and twin.whole and _decided(exact):
        exact_upstreams = [upstream.double() for upstream in upstreams]
        expected = _gradients(wanted, [exact[name] for name in leaves], exact_upstreams)
        for (name, leaf), got, want in zip(leaves.items(), gradients, expected, strict=True):
            twin.compare_gradients(name, leaf, got, want, known)


def check_plain(call: PlainCall) -> None:
    """A call of a function that is no recurrence: a value of the right kind, or what is wrong."""
    arguments = {name: _made(argument) for name, argument in call.arguments.items()}
    if call.name in ALIGNMENTS:
        return _check_alignment(call.name, arguments)
    if call.name == "monotonic_alignment" and _is_huge(arguments.values()):
        return  # its result would be as large
    try:
        result = getattr(softdp, call.name)(**arguments)
        if call.name == "monotonic_alignment":
            alignment, result = result
            assert alignment.shape == arguments["log_p"].shape
            known = alignment.isnan() | ((alignment >= -1e-3) & (alignment <= 1 + 1e-2))
            assert alignment.is_meta or known.all()
        if result.requires_grad and not _is_huge(arguments.values()):  # torch's own sums, then
            result.backward(_upstream(result, 0))
    except _REFUSALS as error:
        # Costs are swept, and a refusal of the sweep's names them.
        inner = ("soft_dtw: ", "softdp::") if call.name == "dtw_divergence" else ("softdp::",)
        _speaks_for(error, f"{call.name}: ", *inner)
        return
    if call.name in ("monotonic_alignment", "rnnt", "rnnt_loss"):
        return
    if "x" not in arguments:
        n, m = int(arguments["n"]), int(arguments["m"])
        assert result.shape == (n, 2)
        assert ((result >= 0) & (result <= m) & (result[:, :1] <= result)).all()
        assert (result.diff(dim=0) >= 0).all()
        return
    first = arguments["x"]
    if first.is_meta or _is_huge(arguments.values()):
        return
    exact = dict(arguments)
    for name in ("x", "y", "gamma"):
        if isinstance(item := arguments.get(name), Tensor):
            exact[name] = item.detach().double()
    wanted = getattr(reference, call.name)(**exact)
    assert result.shape == wanted.shape
    compared = result.isfinite() & wanted.isfinite()
    both = torch.cat([exact[name].flatten() for name in ("x", "y")]).nan_to_num(0, 0, 0)
    size = 1 + both.abs().amax().item() ** 2 if both.numel() else 1.0
    power = arguments.get("cost", 2)
    tame = isinstance(power, str) or power < 100 or power == math.inf
    if tame and size < 1e4:  # where float32 has some digits left
        close = (1e-9 if result.dtype == torch.float64 else 1e-3) * size * (1 + first.shape[-2])
        got = result.detach()[compared].double()
        torch.testing.assert_close(got, wanted[compared], rtol=1e-3, atol=close)


def _check_alignment(name: str, arguments: dict[str, Any]) -> None:
    """All that there is to ask: probabilities, and paths of the table's own cells."""
    first = next(iter(arguments.values()))
    try:
        made = getattr(softdp, name)(**arguments)
        if name == "expected_alignment":
            expected, paths, entropy = made, [], None
        elif name == "best_alignment":
            expected, paths, entropy = (), [made], None
        else:
            expected, paths, entropy = made.expected, [made.best(), made.sample(2)], made.entropy()
            for path in paths:
                made.log_prob(path)
        if expected and expected[0].requires_grad and not _is_huge(arguments.values()):
            sum(table.sum() for table in expected).backward()
    except _REFUSALS as error:
        _speaks_for(error, f"{name}: ", "softdp::")
        return
    if first.is_meta or _is_huge(arguments.values()):
        return
    n, m = first.shape[-2:]
    drops = name == "DropDTWAlignment"  # which has a number for each step, and arcs for drops
    shapes = [first.shape] * 3
    if drops:
        shapes = [first.shape, first.shape[:-1], (*first.shape[:-2], m)]
    for table, shape in zip(expected, shapes, strict=False):
        assert table.shape == shape
        known = table[~table.isnan()]
        assert ((known > -1e-3) & (known < 1 + 1e-3)).all()
    if entropy is not None:
        assert (entropy.isnan() | (entropy > -1e-2 * (n + m + 1))).all()
    for pairs, arcs, lengths, _ in paths:
        step = torch.arange(n + m) < lengths[..., None]
        assert ((arcs >= 0) == step).all()
        assert (arcs <= (4 if drops else 2)).all()
        assert ((pairs >= 0) & (pairs < torch.tensor([n, m])))[step].any(-1).all()
        assert (pairs[~step] == -1).all()


def _gradients(
    outputs: tuple[Tensor, ...], leaves: list[Tensor], upstreams: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """None for what the outputs do not depend on: they may do so on nothing but a threshold."""
    tied = [place for place, output in enumerate(outputs) if output.requires_grad]
    if not leaves or not tied:
        return (None,) * len(leaves)
    return torch.autograd.grad(
        [outputs[place] for place in tied],
        leaves,
        [upstreams[place] for place in tied],
        allow_unused=True,
    )


def check_op(call: OpCall) -> None:
    """A call of a family's op, then of its backward op with what it has returned."""
    family = call.family
    arguments = [_made(argument) for argument in call.arguments]
    places = family.tables, family.tables + family.parameters, family.differentiable
    *options, keep_weights, keep_border = arguments[family.differentiable + 3 :]
    op = getattr(torch.ops.softdp, family.name)

    def specification(item: Callable[[str, Any], Any]) -> tuple[Tensor, Tensor]:
        _require_sensible(family.name, options, arguments)
        tables = [item("table", table) for table in arguments[: places[0]]]
        numbers = [item("number", number) for number in arguments[places[0] : places[1]]]
        border, n_lengths, m_lengths, band = arguments[places[2] - 1 : places[2] + 3]
        border, band = item("border", border), item("band", band)
        problem = ends.Problem(
            family.name, family.name, tuple(tables), tuple(numbers),
            item("gamma", arguments[places[1]]), border,
            None if n_lengths is None else (n_lengths, m_lengths), band, tuple(options),
            bool(keep_border),
        )  # fmt: skip
        return anti_diagonals.core(problem)

    try:
        with torch.no_grad():
            outputs = op(*arguments)
    except _REFUSALS as error:
        _speaks_for(error, f"softdp::{family.name}")
        if call.well_formed and not _is_huge(arguments):
            try:
                specification(lambda name, item: item)
            except (*_REFUSALS, IndexError):
                return
            raise
        return
    score = outputs[0]
    first, lengths = arguments[0], arguments[family.differentiable :][:2]
    twin = Twin(first, tuple(lengths) if lengths[0] is not None else None)
    if twin.knows and call.well_formed:
        try:
            wanted, wanted_border = specification(twin.of)
        except _REFUSALS:  # what the op need not ask, such as a width that float32 does not hold
            return
        twin.compare_scores(score, wanted)
        if keep_border:
            twin.compare_borders(twin.of("border", outputs[2]), wanted_border)
    upstream = torch.ones_like(score), torch.ones_like(outputs[2]) if keep_border else None
    tensors = [*upstream, *outputs, *arguments[: family.differentiable + 3]]
    given = list(tensors)
    if call.spoilt is not None and given[call.spoilt[0]] is not None:
        place, way = call.spoilt
        if not (way in COPIES and _is_huge([given[place]])):
            given[place] = SPOIL[way](given[place])
    try:
        with torch.no_grad():
            outputs = getattr(torch.ops.softdp, f"{family.name}_backward")(
                *given, *options, call.wanted
            )
    except _REFUSALS as error:
        _speaks_for(error, f"softdp::{family.name}_backward")
        spoilt = any(a is not b for a, b in zip(given, tensors, strict=True))
        if keep_weights and not spoilt and not _is_huge(arguments):
            raise
        return
    assert len(outputs) == family.differentiable
    for place, output in enumerate(outputs):
        assert call.wanted >> place & 1 or output.numel() == 0
    if keep_weights:
        _check_tangent(call, tensors, keep_border)
        _check_walk(call, tensors)


def _check_walk(call: OpCall, tensors: list[Any]) -> None:
    """Paths by the weights of a forward call, with one of the op's tensors spoilt."""
    _, _, score, weights, _, *inputs = tensors
    first, of_pairs = inputs[0], inputs[-3:]
    paths, (*batch, n, m) = call.wanted & 3, first.shape
    states = call.family.states
    random, from_cells = bool(call.wanted & 4), states > 1 or bool(call.wanted & 8)
    cells = seeds = None
    if not _is_huge([first]):
        if random:
            seeds = torch.arange(math.prod(batch)).view(batch)
        if from_cells:
            # One outside on each side, and of states.
            limits = torch.tensor([n + 2, m + 2, states + 2])
            cells = torch.arange(math.prod(batch) * paths * 3).view(*batch, paths, 3) % limits - 1
    given = [weights, first, *of_pairs, score, cells, seeds]
    spoilt = False
    if call.spoilt is not None:
        place, way = call.spoilt[0] % len(given), call.spoilt[1]
        if given[place] is not None and not (way in COPIES and _is_huge([given[place]])):
            given[place], spoilt = SPOIL[way](given[place]), True
    *tensors_, seeds = given
    try:
        pairs, arcs, lengths = torch.ops.softdp.walk(
            *tensors_,
            paths,
            states,
            call.wanted % 9,
            call.family.name in ("drop_dtw", "soft_dtw"),
            seeds,
        )
    except _REFUSALS as error:
        _speaks_for(error, "softdp::walk")
        if not spoilt and not _is_huge(inputs):
            raise
        return
    if arcs.numel() == 0 or _is_huge([arcs]):
        return
    step = torch.arange(arcs.shape[-1]) < lengths[..., None]
    assert ((arcs >= 0) == step).all()
    assert (arcs < 3 * states).all()
    assert ((pairs >= -1) & (pairs < torch.tensor([n, m]))).all()
    assert (pairs[~step] == -1).all()


def _check_tangent(call: OpCall, tensors: list[Any], keep_border: bool) -> None:
    """The tangent op, along the inputs themselves, with one of its tensors spoilt."""
    family = call.family
    inputs, options = tensors[5:], [_made(each) for each in call.arguments[family.tensors : -2]]
    given = [*tensors[:5], *inputs[: family.differentiable], *inputs]
    spoilt = False
    if call.spoilt is not None:
        place, way = call.spoilt
        place = place * 2 % len(given)  # a direction or an input, by turns
        if given[place] is not None and not (way in COPIES and _is_huge([given[place]])):
            given[place], spoilt = SPOIL[way](given[place]), True
    try:
        with torch.no_grad():
            outputs = getattr(torch.ops.softdp, f"{family.name}_tangent")(
                *given, *options, call.wanted, keep_border
            )
    except _REFUSALS as error:
        _speaks_for(error, f"softdp::{family.name}_tangent")
        if not spoilt and not _is_huge(inputs):
            raise
        return
    assert len(outputs) == 2 + family.differentiable
    for place, output in enumerate(outputs[2:]):
        assert call.wanted >> place & 1 or output.numel() == 0


def _require_sensible(family: str, options: list[Any], arguments: list[Any]) -> None:
    """What the functions' checks keep from the ops."""
    dtype = arguments[0].dtype
    if (
        family in ("drop_dtw", "local", "monotonic")
        and arguments[FAMILIES[family].differentiable + 2] is not None
    ):
        raise ValueError("no band")
    if family in ("affine", "edit") and not (0 <= options[0] < 9 and 0 <= options[1] < 4):
        raise ValueError("no such gaps")
    if family == "lcs":
        least = torch.finfo(torch.float32).tiny
        largest = torch.finfo(torch.promote_types(dtype, torch.float32)).max
        if not (options[0] in (0, math.inf) or least <= options[0] <= largest):
            raise ValueError("no such width")


def _made(argument: Any) -> Any:
    if isinstance(argument, tuple) and not isinstance(argument, Spec | Band):
        return tuple(map(_made, argument))
    try:
        return argument.make() if isinstance(argument, Spec | Band) else argument
    except (RuntimeError, TypeError):  # torch has no such tensor
        hypothesis.reject()


def _is_huge(arguments: Iterable[Any]) -> bool:
    tensors = [item for item in arguments if isinstance(item, Tensor)]
    return any(size > 2**20 for tensor in tensors for size in (*tensor.shape, tensor.numel()))


def _speaks_for(error: Exception, *names: str) -> None:
    assert str(error).startswith(names), repr(error)


def _refused_alike(error: Exception, specification: Callable[[], Tensor]) -> None:
    """The specification refuses it too, in the same words: they share their checks."""
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
        specification()


def _upstream(score: Tensor, seed: int) -> Tensor:
    if score.numel() > 2**20:
        return torch.ones_like(score[(0,) * score.dim()]).expand(score.shape)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(score.shape, generator=generator).clamp(-1, 1).to(score)


def _decided(arguments: dict[str, Any]) -> bool:
    """Whether rounding decides nothing between arcs, so that two gradients can be compared.

    So it is under enough smoothing, or where every sum is exact.
    """
    width = arguments.get("gate_width", 0)
    if 0 < width < 0.05:
        return False
    flat = [x for item in arguments.values() for x in (item if isinstance(item, tuple) else [item])]
    numbers = [item for item in flat if isinstance(item, Tensor)]
    gamma = arguments.get("gamma", torch.ones(()))
    others = [item for item in numbers if item is not gamma]
    finite = [item[item.isfinite()] for item in others]
    if any((item.abs() > 1e3).any() for item in finite):
        return False
    exact = all((item * 4 == (item * 4).round()).all() for item in finite) and width == 0
    smooth = (gamma >= 0.05) & (gamma <= 1e6)  # beyond, sums of gamma * log drown the tables
    return bool((smooth | ((gamma == 0) & exact)).all())

"""The CUDA kernels of a family, called on CPU tensors as the ops would call them on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.cpp_extension import include_paths

from softdp import ends
from softdp.arguments import GAPS
from tests.cuda_on_cpu.build import Executable, compile_driver

_BITS = {torch.float16: torch.uint16, torch.bfloat16: torch.uint16}


class Direction(NamedTuple):
    """How the inputs change; what stays as it is may be left out of the border alone."""

    tables: Sequence[Tensor]  # that broadcast to the first table
    gamma: Tensor
    parameter: Tensor | None = None
    border: Tensor | None = None


class Result(NamedTuple):
    """What was put out, and gradients as autograd has them: each of its tensor's own shape.

    Where a recurrence has several states, a border has a dimension of these before its last.
    """

    scores: Tensor  # (batch...)
    border: Tensor | None  # (batch..., m + 1 + n)
    tables: list[Tensor | None]
    parameter: Tensor | None
    gamma: Tensor | None
    border_gradient: Tensor | None
    words: int  # that the weights take
    tangent: Result | None = None  # how all of it changes along the direction


@functools.cache
def driver(family: str, races: bool = False) -> Executable:
    flags = [f"-I{path}" for path in include_paths()]
    flags.append(f"-DSOFTDP_{family.upper()}")
    return Executable(compile_driver("sweeps.cpp", *flags, races=races))


def sweep(
    family: str,
    tables: Sequence[Tensor],
    gamma: Tensor,
    *,
    upstream: Tensor,
    parameter: Tensor | None = None,
    border: Tensor | None = None,
    border_upstream: Tensor | None = None,
    lengths: tuple[Tensor, Tensor] | None = None,
    band: Tensor | None = None,
    backward_band: Tensor | None = None,
    leading_gaps: str | tuple[str, str] = "free",
    trailing_gaps: str | tuple[str, str] = "paid",
    minimise: bool = False,
    gate_width: float = 0.0,
    wanted: int = ~0,
    direction: Direction | None = None,
    races: bool = False,
    **options: int,
) -> Result:
    """Forward and backward, and how both change along a direction.

    Args:
        tables: the family's, the first of shape (batch..., n, m), the others broadcasting to it.
        gamma, parameter: () or the batch's shape, in the dtype of the computation.
        border: the scores that the sweep begins from.
        band: int64, (n, 2) or (batch..., n, 2).
        backward_band: another one, of the same shape, in the backward sweep.
        border_upstream: the gradient of the border that is put out.
        wanted: bit k for the gradient of table k, then of the parameter, of gamma, of the border.
        options: of the plan (blocks), keep_border, keep_weights, keep_changes (of the weights: else
            the gradients' changes are not asked for), and of the execution layer (seed, resident,
            ...).
    """
    full = tables[0].shape
    batch = full[:-2]
    compute = torch.float64 if tables[0].dtype == torch.float64 else torch.float32
    arrays = {
        "sizes": np.array(full, np.int64),
        "gamma": gamma.detach().numpy(),
        "score_gradients": upstream.to(compute).reshape(-1).numpy(),
    }
    if parameter is not None:
        arrays["parameter0"] = parameter.detach().numpy()
    for name, given in (("border", border), ("border_gradients", border_upstream)):
        if given is not None:
            arrays[name] = given.detach().double().numpy()
    if lengths is not None:
        arrays["n_lengths"], arrays["m_lengths"] = (x.long().reshape(-1).numpy() for x in lengths)
    for name, given in (("band", band), ("backward_band", backward_band)):
        if given is not None:
            arrays[name] = given.numpy()
    options.setdefault("card_shared_bytes", 227 << 10)
    if border_upstream is not None:
        options["keep_border"] = 1
    texts: dict[str, str] = {}
    along = () if direction is None else direction.tables
    for prefix, all_tables in (("", tables), ("direction_", along)):
        for k, table in enumerate(all_tables):
            name = f"{prefix}table{k}"
            arrays[name], arrays[f"{name}_layout"] = _memory_and_layout(table.detach(), full)
            texts[f"{name}_element"] = str(table.dtype).removeprefix("torch.")
    if direction is not None:
        arrays["direction_gamma"] = direction.gamma.to(compute).numpy()
        if direction.parameter is not None:
            arrays["direction_parameter0"] = direction.parameter.to(compute).numpy()
        if direction.border is not None:
            arrays["direction_border"] = direction.border.double().numpy()
    leading, trailing = (
        (gaps, gaps) if isinstance(gaps, str) else gaps for gaps in (leading_gaps, trailing_gaps)
    )
    reply = driver(family, races).call(
        str(compute).removeprefix("torch."),
        arrays,
        leading_gaps=GAPS.index(leading[0]) + 3 * GAPS.index(leading[1]),
        trailing_gaps=sum((gaps == "paid") << k for k, gaps in enumerate(trailing)),
        minimise=int(minimise),
        gate_width=gate_width,
        wanted=wanted,
        **texts,
        **options,
    )

    def table_gradient(prefix: str, k: int) -> Tensor | None:
        name = f"{prefix}gradient_table{k}"
        if name not in reply:
            return None
        shape = (*batch, *reply[name].shape[1:])
        return _tensor(reply[name], tables[k].dtype, shape).sum_to_size(tables[k].shape)

    def number_gradient(name: str, like: Tensor | None) -> Tensor | None:
        if name not in reply or like is None:
            return None
        gradient = _tensor(reply[name], compute, batch)
        return gradient.sum() if like.dim() == 0 else gradient

    def border_like(name: str) -> Tensor | None:
        if name not in reply:
            return None
        _, states, length = reply[name].shape
        shape = (*batch, states, length) if states > 1 else (*batch, length)
        return _tensor(reply[name], torch.float64, shape)

    def result(prefix: str, tangent: Result | None) -> Result:
        return Result(
            _tensor(reply[f"{prefix}scores"], compute, batch),
            border_like(f"{prefix}border"),
            [table_gradient(prefix, k) for k in range(len(tables))],
            number_gradient(f"{prefix}gradient_parameter0", parameter),
            number_gradient(f"{prefix}gradient_gamma", gamma),
            border_like(f"{prefix}gradient_border"),
            reply["weights"].size,
            tangent,
        )

    return result("", None if direction is None else result("tangent_", None))


def core(**options: Any) -> ends.Core:
    """What softdp.ends sweeps with: the kernels, with these options of `sweep`."""

    def by_kernels(problem: ends.Problem) -> tuple[Tensor, Tensor]:
        call = {
            **options,
            "lengths": problem.lengths,
            "band": problem.band,
            "keep_border": int(problem.keep_border),
        }
        if problem.family == "edit":
            leading, trailing, call["minimise"] = problem.options
            call["leading_gaps"] = GAPS[leading % 3], GAPS[leading // 3]
            call["trailing_gaps"] = tuple("paid" if trailing >> k & 1 else "free" for k in (0, 1))
        elif problem.family == "lcs":
            (call["gate_width"],) = problem.options
        else:
            call |= {"leading_gaps": "forbidden", "minimise": True}
        call["parameter"] = problem.parameters[0] if problem.parameters else None
        tables, gamma = problem.tables, problem.gamma
        return swept(problem.family, tables, gamma, border=problem.border, **call)

    return by_kernels


def swept(
    family: str,
    tables: Sequence[Tensor],
    gamma: Tensor,
    *,
    parameter: Tensor | None = None,
    border: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Scores and border, which torch can differentiate: the arguments of `sweep`."""
    return _Sweep.apply(family, options, parameter, gamma, border, *tables)


class _Sweep(torch.autograd.Function):
    """Both outputs of `sweep`; each direction is a call of its own."""

    @staticmethod
    def forward(ctx, family, options, *tensors):
        ctx.family, ctx.options = family, options
        ctx.save_for_backward(*tensors)
        upstream = torch.zeros(tensors[3].shape[:-2])
        result = _Sweep.run(ctx, tensors, upstream=upstream, keep_weights=0)
        return result.scores, result.scores[:0] if result.border is None else result.border

    @staticmethod
    def run(ctx, tensors, **more) -> Result:
        parameter, gamma, border, *tables = tensors
        given = {"parameter": parameter, "border": border, **more}
        return sweep(ctx.family, tables, gamma, **ctx.options, **given)

    @staticmethod
    def backward(ctx, score_gradient, border_gradient):
        kept = border_gradient if ctx.options["keep_border"] else None
        result = _Sweep.run(ctx, ctx.saved_tensors, upstream=score_gradient, border_upstream=kept)
        border_gradient = result.border_gradient if ctx.needs_input_grad[4] else None
        return (None, None, result.parameter, result.gamma, border_gradient, *result.tables)


def _tensor(array: np.ndarray, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    tensor = torch.from_numpy(array.copy())
    return (tensor.view(dtype) if dtype in _BITS else tensor.to(dtype)).reshape(tuple(shape))


def _memory_and_layout(table: Tensor, full: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """All of the storage, and what sweeps.cpp wants to know of the view of it."""
    memory = torch.empty(0, dtype=table.dtype).set_(table.untyped_storage())
    sizes = (1,) * (len(full) - table.dim()) + tuple(table.shape)
    strides = (0,) * (len(full) - table.dim()) + table.stride()
    strides = tuple(0 if size == 1 else stride for size, stride in zip(sizes, strides, strict=True))
    layout = [table.storage_offset(), *strides, int(sizes[-2] == 1), int(sizes[-1] == 1)]
    bits = memory.view(_BITS[table.dtype]) if table.dtype in _BITS else memory
    return bits.numpy(), np.array(layout, np.int64)

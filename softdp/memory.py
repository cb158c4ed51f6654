"""Where torch gets no memory: one line that names the function and what it was called with."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

# How torch begins where it cannot allocate for sizes, or cannot count their product or their sum.
_SHORT = re.compile(
    r"\[enforce fail at alloc_cpu|CUDA out of memory|(Storage size|Stride) calculation overflowed"
    r"|numel: integer multiplication overflow|Trying to create tensor with negative dimension"
    r"|IntArrayRef contains an int that cannot|\w+\(\): argument '\w+' failed to unpack"
    r"|Tensor: invalid storage offset"
)
_AMOUNT = re.compile(r"allocate ([\d.]+ \w+)")


def named_when_short(function: Callable[P, R]) -> Callable[P, R]:
    """A public function, or a class's __init__, whose tensors may be as large as its arguments say.

    The ops speak for themselves (with_memory in csrc/ops/check.h).
    """

    def told(*args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        return function.__qualname__.removesuffix(".__init__"), given

    return retold(told)(function)


def retold(
    told: Callable[..., tuple[str, dict[str, Any]]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Functions whose errors of memory name what `told` makes of their arguments: op and inputs."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except (RuntimeError, TypeError) as error:
                if not is_short(error):
                    raise
                raise named(*told(*args, **kwargs), error) from error

        return called

    return decorated


def is_short(error: Exception) -> bool:
    """Whether torch got no memory."""
    return _SHORT.match(str(error)) is not None


def named(op: str, given: dict[str, Any], error: Exception) -> RuntimeError:
    """That error in the words of an op."""
    shapes = [f"{name} of shape {tuple(item.shape)}" for name, item in _tensors(given)]
    sizes = [f"{name} = {item}" for name, item in given.items() if isinstance(item, int)]
    amount = _AMOUNT.search(str(error))
    many = amount[1] if amount else "more bytes than can be counted"
    kind = type(error) if isinstance(error, torch.OutOfMemoryError) else RuntimeError
    beside = ", ".join(shapes or sizes)
    return kind(f"{op}: memory is short: a tensor beside {beside} would take {many}")


def _tensors(given: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, item in given.items():
        if isinstance(item, Tensor):
            yield name, item
        elif isinstance(item, tuple):
            yield from _tensors({f"{name}[{place}]": part for place, part in enumerate(item)})

"""The dtype that is computed in, and numbers and tensors in it."""

from __future__ import annotations

import torch
from torch import Tensor

COMPUTE_DTYPE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def compute_dtype(table: Tensor) -> torch.dtype:
    """The dtype in which a table's recurrence is computed."""
    return COMPUTE_DTYPE[table.dtype]


def as_float(op: str, name: str, number: float, dtype: torch.dtype) -> float:
    """A number as Python's float; an integer or a fraction may be beyond it."""
    if isinstance(number, float):
        return number
    try:
        return float(number)
    except OverflowError as error:
        raise ValueError(
            f"{op}: {name} must fit {name_of(dtype)}, got a number beyond 1.8e308"
        ) from error


def converted(op: str, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another dtype; where there is no memory for it, torch's words and whose it is."""
    if tensor.dtype == dtype:
        return tensor
    try:
        return tensor.to(dtype)
    except RuntimeError as error:
        raise type(error)(f"{op}: {name} does not convert to {name_of(dtype)}: {error}") from error


def computable(
    op: str, tables: tuple[Tensor, ...], gamma: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """A family's tables and gamma as its op takes them, of a dtype of two bytes above all."""
    first = tables[0]
    dtype = compute_dtype(first)
    if first.dtype != dtype:
        # A gap that pairs share, in the dtype in which its gradient can be summed over them.
        batch = first.shape[:-2]
        shared = [
            table if table.shape[:-2] == batch else converted(op, "a gap", table, dtype)
            for table in tables[1:]
        ]
        tables = first, *shared
    return tables, converted(op, "gamma", gamma, dtype)


def name_of(dtype: torch.dtype) -> str:
    """As users write it, without torch's name before it."""
    return str(dtype).removeprefix("torch.")

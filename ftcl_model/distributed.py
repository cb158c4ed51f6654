"""Cores, and training by several processes that share every batch, as `torchrun` starts them.

Alone, outside of `process_group`, every function here does what it does for one process of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ftcl_model.errors import InputError

_Value = TypeVar("_Value")
_Losses = TypeVar("_Losses", bound=Callable[..., dict[str, Tensor]])


def available_cores() -> int:
    """The number of cores that this process may use, at most as many as OMP_NUM_THREADS says."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    # It may have a number for each level of nested threads; torch too passes over what is none.
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else cores


def shared_cores(jobs: int | None) -> tuple[int, int]:
    """So many processes at a time, and the threads of each, that all together have a core each.

    Args:
        jobs: processes that are wanted; None wants as many as there are cores.
    """
    cores = available_cores()
    jobs = max(1, cores if jobs is None else min(jobs, cores))
    return jobs, cores // jobs


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started; yields the device of this one.

    On "cuda" without an index, each process of a machine takes the GPU of its LOCAL_RANK. Started
    without torchrun (no WORLD_SIZE in the environment) this is a process alone.

    Raises:
        InputError: there are more processes on this machine than GPUs.
    """
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device.type == "cuda" and device.index is None:
        index, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if index >= gpus:
            raise InputError(
                f"torchrun: expected at most one process for each of {gpus} GPUs, got process "
                f"{index + 1} on this machine"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()


def processes() -> int:
    """The number of processes that train together."""
    return torch.distributed.get_world_size() if _together() else 1


def rank() -> int:
    """The number of this process, from 0; the first one writes what is written."""
    return torch.distributed.get_rank() if _together() else 0


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def from_first(value: _Value) -> _Value:
    """The first process's value, a picklable object, in every process."""
    if processes() == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def on_first(action: Callable[[], _Value]) -> _Value:
    """What an action of the first process returns, a picklable object, or raises, in every one."""
    if processes() == 1:
        return action()
    outcome: _Value | Exception | None = None
    if rank() == 0:
        try:
            outcome = action()
        except Exception as error:  # else the others would wait for ever
            outcome = error
    outcome = from_first(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return cast(_Value, outcome)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a floating-point tensor over the processes, without gradient."""
    value = value.detach()
    if processes() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / processes()


def share_gradients(model: nn.Module, losses_of: _Losses) -> _Losses:
    """A method of a model that returns losses, so that each process gets the mean gradient.

    Args:
        model: whose gradients are averaged in the backward of the losses; weights that a loss does
            not use get none. It takes the weights of the first process's.
        losses_of: a method of the model that returns tensors by name.
    """
    if processes() == 1:
        return losses_of
    # The buffers follow the iteration, which is the same in every process.
    shared = DistributedDataParallel(
        _LossModule(model, losses_of), find_unused_parameters=True, broadcast_buffers=False
    )
    return cast(_Losses, shared)


class _LossModule(nn.Module):
    """A method of the model as the forward of a module, which is what DDP synchronises."""

    def __init__(self, model: nn.Module, losses_of: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        self.model, self.losses_of = model, losses_of

    def forward(self, *batch: Tensor) -> dict[str, Tensor]:
        return self.losses_of(*batch)


def batch_mean(values: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean over the batch that the processes share; 0 if nothing is chosen.

    Each process has some rows of it. A process gets the sum of its own rows divided by the mean
    number of rows of a process: the mean of that over the processes, which is what
    DistributedDataParallel makes of its gradient, is the mean over all rows, however they are
    distributed.

    Args:
        values: (rows, ...).
        where: (rows,) bool, the rows that count; None for all.

    Returns:
        (...), values without the first dimension.
    """
    if where is None:
        return values.sum(dim=0) / _mean_count(values.new_tensor(len(values)))
    chosen = where.reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(chosen, values, 0.0).sum(dim=0) / _mean_count(where.sum().to(values.dtype))


def _mean_count(count: Tensor) -> Tensor:
    return mean_over_processes(count).clamp(min=1 / processes())

"""When values of tensors are looked at: not while they are recorded, nor where that is to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_EVERYWHERE = ContextVar("_EVERYWHERE", default=False)


@contextmanager
def check_values() -> Iterator[None]:
    """Within it, lengths, gammas and bands on a GPU are looked at, too, before they are used.

        on the CPU, and what is no tensor     raises, at once
        on a GPU                              the score and the gradients of the pair are NaN
        on a GPU, within check_values()       raises; each call waits for the GPU

    To look at a value on a GPU is to wait for it, so that as a rule nobody does: a pair with a
    length outside of 0..n, a gamma that is negative, infinite or NaN, or a band that goes back has
    a score and gradients of NaN. Nothing outside of its tables is read, no other pair is touched,
    and the GPU's context lives on. Compiled code looks at values on the CPU alone.

    Returns:
        A context manager.

    Raises:
        ValueError: within it, by the functions: as on the CPU.

    Example:
        >>> n_lengths, m_lengths = torch.tensor([3, 2]), torch.tensor([1, 3])
        >>> with softdp.check_values():
        ...     score = softdp.soft_dtw(torch.ones(2, 3, 3), lengths=(n_lengths, m_lengths))
    """
    before = _EVERYWHERE.set(True)
    try:
        yield
    finally:
        _EVERYWHERE.reset(before)


def is_looked_at(values: Tensor) -> bool:
    """Whether values may be read now, without waiting for a device unless that is wanted."""
    if is_later():
        return False
    return values.device.type == "cpu" or (_EVERYWHERE.get() and values.device.type != "meta")


def require_within(values: Tensor, upper: float, message: Callable[[], str]) -> None:
    """Refuse values outside 0..upper where they can be looked at without waiting for them.

    While torch.compile, make_fx or a FakeTensorMode traces, values are not there to look at; the
    ops repeat these checks. A size in a message would then be a constant of the graph, so that none
    is made before it is needed.
    """
    if not is_looked_at(values) or values.numel() == 0:
        return
    if 0 in values.stride():  # expanded: a number need not be looked at 2^40 times
        values = values[tuple(slice(None) if stride else slice(1) for stride in values.stride())]
    lowest, highest = (bound.item() for bound in values.aminmax())
    if not (lowest >= 0 and highest <= upper):  # a NaN is both and fails
        raise ValueError(f"{message()}, got {lowest if not lowest >= 0 else highest}")


def is_later() -> bool:
    """Whether values are none yet, or not one call's: recorded, or mapped by torch.func."""
    return is_recorded() or torch._C._are_functorch_transforms_active()


def captured() -> bool:
    """Whether what is called now is recorded, to be called with other tensors later."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()  # torch.compile itself looks at requires_grad anew
    return is_recorded()


def is_recorded() -> bool:
    """Whether torch.compile, make_fx, a FakeTensorMode or jit.trace looks on."""
    return is_traced() or _modes() > 0  # make_fx and fake tensors are modes of dispatch


def is_traced() -> bool:
    """Whether torch.compile or jit.trace looks on: who wants ops by their names."""
    return _is_compiling() or _tracing_state() is not None


# Asked for each number that is an argument: names of their own take half as long.
_is_compiling = torch.compiler.is_compiling
_modes = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state

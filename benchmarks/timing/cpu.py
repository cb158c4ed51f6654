"""Time and memory of one call, measured beside others.

Times are of the wall clock. Implementations take turns, so that a change of the machine's mood
meets all of them: in each round every action is called for a slice of time (at least once), and
the median and the interquartile range over all rounds are reported.

Memory is the growth of the process's resident set at its highest point during one call. Linux
lets a process reset its own high-water mark (write 5 to /proc/self/clear_refs, then read VmHWM
from /proc/self/status), so each call is measured alone, in the process that is timed, and
everything counts: tensors, NumPy arrays, what compiled code takes from malloc. Before the call
the allocator gives its free pages back, or memory kept from earlier calls would be used again
unseen. It is exact to a few pages where malloc is glibc's; memory allocated and never touched
does not count. Where the mark cannot be reset (another system) the peak is not measured.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Action = Callable[[], object]


class Timing(NamedTuple):
    """Median and interquartile range of the calls' times, in seconds, and how many there were."""

    median: float
    spread: float
    calls: int


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        rounds: turns that every action gets.
        slice: seconds of calls in one turn; an action that takes longer is called once.
        limit: seconds after which an action that has been called three times gets no more turns.
    """

    rounds: int
    slice: float
    limit: float


FULL = Effort(rounds=7, slice=0.3, limit=10.0)
QUICK = Effort(rounds=1, slice=0.02, limit=0.0)


def measure_in_turn(actions: Sequence[Action], effort: Effort) -> list[Timing]:
    """Times each action, all of them taking turns. Warming up is the caller's.

    Args:
        actions: calls without arguments; what they return is dropped inside the timed span.
        effort: how long to measure.

    Returns:
        One Timing for each action, in their order.
    """
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(effort.rounds):
        for action, taken in zip(actions, times, strict=True):
            if len(taken) >= 3 and sum(taken) > effort.limit:
                continue
            end_of_turn = time.perf_counter() + effort.slice
            while True:
                start = time.perf_counter()
                action()
                end = time.perf_counter()
                taken.append(end - start)
                if end > end_of_turn:
                    break
    return [_summary(taken) for taken in times]


def _summary(times: list[float]) -> Timing:
    if len(times) < 2:
        return Timing(times[0], 0.0, len(times))
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, upper - lower, len(times))


def peak_memory(action: Action) -> int | None:
    """Bytes by which the resident set grows at its highest point during one call.

    Call the action once before, so that code that is loaded or compiled on first use does not
    count. The action's result is included.

    Returns:
        Bytes, or None where this system cannot tell.
    """
    status = Path("/proc/self/status")
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _high_water_mark(status)
    except (OSError, AttributeError):
        return None
    action()
    return _high_water_mark(status) - before


def _high_water_mark(status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{status}: no line VmHWM")

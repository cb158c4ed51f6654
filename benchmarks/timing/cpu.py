"""On the processor: times are of the wall clock, memory is the process's.

Memory is the growth of the process's resident set at its highest point during one call. Linux
lets a process reset its own high-water mark (write 5 to /proc/self/clear_refs, then read VmHWM
from /proc/self/status), so each call is measured alone, in the process that is timed, and
everything counts: tensors, NumPy arrays, what compiled code takes from malloc. Before the call
the allocator gives its free pages back, and during it every large block is a mapping of its own,
or memory kept from earlier calls would be used again unseen. Where malloc is glibc's it is exact
to the kernel's own error, some hundred KiB; memory allocated and never touched does not count.
Where the mark cannot be reset (another system) the peak is not measured.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.timing import Action, Effort, Sampler, Timing, take_turns

FULL = Effort(rounds=7, slice=0.3, limit=10.0)

# glibc's mallopt: from which size a block is mapped, and how much free memory its heap keeps. The
# large ones are what it comes to by itself in a process that has freed a large block.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SMALL_BLOCK, _LARGE_BLOCK = 2**17, 2**25


def measure_in_turn(actions: Sequence[Action], effort: Effort) -> list[Timing]:
    """Times each action, all of them taking turns. Warming up is the caller's.

    Args:
        actions: calls without arguments; what they return is dropped inside the timed span.
        effort: how long to measure.

    Returns:
        One Timing for each action, in their order.
    """
    return take_turns([Sampler(_stopwatch(action)) for action in actions], effort)


def _stopwatch(action: Action) -> Callable[[], float]:
    def seconds() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return seconds


def peak_memory(action: Action) -> int | None:
    """Bytes by which the resident set grows at its highest point during one call.

    Call the action once before, so that code that is loaded or compiled on first use does not
    count. The action's result is included.

    Returns:
        Bytes, or None where this system cannot tell.
    """
    status = Path("/proc/self/status")
    libc = ctypes.CDLL(None)
    gc.collect()
    try:
        libc.mallopt(_M_MMAP_THRESHOLD, _SMALL_BLOCK)
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _high_water_mark(status)
    except (OSError, AttributeError):
        return None
    try:
        action()
        return _high_water_mark(status) - before
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE_BLOCK)


def _high_water_mark(status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{status}: no line VmHWM")

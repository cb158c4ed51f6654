"""On a GPU: times are between two events on the current stream, memory is of torch's allocator.

A sample is several calls made one after the other from Python, long enough together for events to
be exact. It is what a loop in Python gets: where launching takes longer than computing, it is
Python's time; `graph_time` has the GPU's alone. Inputs rotate over copies that are larger together
than the cache (`copies_beyond_cache`), or a small case would find its input there.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.timing import Action, Effort, Sampler, Timing, take_turns

FULL = Effort(rounds=5, slice=0.08, limit=2.0)

_SAMPLE = 2e-3  # seconds between two events
_MOST_CALLS = 256
_MOST_COPIES = 64
_COPY = Effort(rounds=5, slice=0.01, limit=1.0)


def measure_in_turn(actions: Sequence[Action], effort: Effort) -> list[Timing]:
    """Times each action, all of them taking turns. Warming up is the caller's."""
    return take_turns([_sampler(action) for action in actions], effort)


def _sampler(action: Action) -> Sampler:
    calls = calls_in_a_sample(elapsed(action, 1))
    return Sampler(lambda: elapsed(action, calls) / calls, calls)


def calls_in_a_sample(seconds: float) -> int:
    """How many calls of `seconds` each to put between two events."""
    return min(_MOST_CALLS, max(1, math.ceil(_SAMPLE / max(seconds, 1e-9))))


def elapsed(action: Action, calls: int) -> float:
    """Seconds between an event before and an event after so many calls."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        action()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def graph_time(action: Action, calls: int, effort: Effort) -> Timing:
    """The GPU's time of one call: `calls` of them captured into one CUDA graph and replayed."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # whatever is set up on first use on another stream
        action()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            action()
    graph.replay()
    replays = calls_in_a_sample(elapsed(graph.replay, 1))
    sampler = Sampler(lambda: elapsed(graph.replay, replays) / (replays * calls), replays * calls)
    return take_turns([sampler], effort)[0]


def peak_memory(action: Action) -> int | None:
    """Bytes that torch's allocator hands out beyond now, at the highest point of one call."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = action()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    del result
    return peak - before


def copies_beyond_cache(input_bytes: int, cache_bytes: int) -> int:
    """How many copies of an input take twice the cache together; 64 at most."""
    return min(_MOST_COPIES, max(1, math.ceil(2 * cache_bytes / max(1, input_bytes))))


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy from device memory to device memory."""
    free, _ = torch.cuda.mem_get_info(device)
    size = min(4 << 30, free // 4)
    source = torch.empty(size // 4, dtype=torch.int32, device=device).random_()
    target = torch.empty_like(source)
    target.copy_(source)
    (timing,) = measure_in_turn([lambda: target.copy_(source)], _COPY)
    return 2 * source.numel() * source.element_size() / timing.median


def facts(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    card = torch.cuda.get_device_properties(device)
    return {
        "gpu": card.name,
        "capability": f"{card.major}.{card.minor}",
        "multiprocessors": card.multi_processor_count,
        "cache_bytes": card.L2_cache_size,
        "memory_bytes": card.total_memory,
        "cuda": torch.version.cuda,
    }

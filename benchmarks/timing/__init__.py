"""Time and memory of one call, measured beside others: a room for each kind of device.

Implementations take turns, so that a change of the machine's mood meets all of them: in each
round every action is measured for a slice of time (at least once), and the median, the
interquartile range and the least over all rounds are reported.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import torch

Action = Callable[[], object]


class Timing(NamedTuple):
    """Of a call's times, in seconds: median, interquartile range, least; how many were timed."""

    median: float
    spread: float
    fastest: float
    calls: int


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        rounds: turns that every action gets.
        slice: seconds of calls in one turn; an action that takes longer is called once.
        limit: seconds after which an action that has been timed three times gets no more turns.
    """

    rounds: int
    slice: float
    limit: float


QUICK = Effort(rounds=1, slice=0.02, limit=0.0)


class Room(Protocol):
    """What benchmarks.timing.cpu and benchmarks.timing.cuda both have."""

    FULL: Effort

    def measure_in_turn(self, actions: Sequence[Action], effort: Effort) -> list[Timing]:
        """Time each action, all of them taking turns. Warming up is the caller's."""

    def peak_memory(self, action: Action) -> int | None:
        """Bytes that one call adds at its highest point; None where this system cannot tell."""


def room(device: torch.device) -> Room:
    """The room that measures on this device."""
    return cast(Room, importlib.import_module(f"benchmarks.timing.{device.type}"))


class Sampler(NamedTuple):
    """How one action is timed: `sample` returns the seconds of a call, the mean of `calls`."""

    sample: Callable[[], float]
    calls: int = 1


def take_turns(samplers: Sequence[Sampler], effort: Effort) -> list[Timing]:
    """Samples of each sampler, all of them taking turns, summed up in their order."""
    times: list[list[float]] = [[] for _ in samplers]
    for _ in range(effort.rounds):
        for sampler, taken in zip(samplers, times, strict=True):
            if len(taken) >= 3 and sum(taken) * sampler.calls > effort.limit:
                continue
            spent = 0.0
            while spent <= effort.slice:
                taken.append(sampler.sample())
                spent += taken[-1] * sampler.calls
    return [_summary(taken, sampler.calls) for sampler, taken in zip(samplers, times, strict=True)]


def _summary(times: list[float], calls: int) -> Timing:
    if len(times) < 2:
        return Timing(times[0], 0.0, times[0], calls)
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, upper - lower, min(times), len(times) * calls)

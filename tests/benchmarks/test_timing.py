"""The stop-watch takes turns and the memory gauge sees what is allocated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import timing
from benchmarks.timing import Effort, Sampler, cpu, cuda, take_turns
from benchmarks.timing.cpu import measure_in_turn, peak_memory

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000


class Clock:
    """A clock that only the actions advance."""

    def __init__(self):
        self.now = 0.0
        self.calls: list[str] = []

    def action(self, name, *seconds):
        """An action that takes these seconds in its calls, the last of them ever after."""
        pending = list(seconds)

        def act():
            self.calls.append(name)
            self.now += pending.pop(0) if len(pending) > 1 else pending[0]

        return act


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cpu.time, "perf_counter", lambda: clock.now)
    return clock


def test_actions_take_turns_and_fill_their_slices(clock):
    actions = [clock.action("slow", 8.0), clock.action("fast", 0.5)]
    slow, fast = measure_in_turn(actions, Effort(rounds=2, slice=1.0, limit=100.0))
    turn = ["slow", "fast", "fast", "fast"]
    assert clock.calls == turn + turn
    assert (slow.median, slow.calls) == (8.0, 2)
    assert (fast.median, fast.calls) == (0.5, 6)


def test_a_very_slow_action_stops_after_three_calls(clock):
    actions = [clock.action("slow", 8.0), clock.action("fast", 2.0)]
    measure_in_turn(actions, Effort(rounds=5, slice=1.0, limit=20.0))
    assert clock.calls.count("slow") == 3
    assert clock.calls.count("fast") == 5


def test_median_and_interquartile_range(clock):
    action = clock.action("uneven", 4.0, 1.0, 2.0, 64.0, 3.0)
    (result,) = measure_in_turn([action], Effort(rounds=5, slice=0.5, limit=1000.0))
    assert result == (3.0, 2.0, 1.0, 5)


def test_a_single_call_has_no_spread(clock):
    (result,) = measure_in_turn([clock.action("one", 2.0)], Effort(1, 1.0, 0.0))
    assert result == (2.0, 0.0, 2.0, 1)


def test_a_sample_of_several_calls_counts_as_several():
    clock = iter([0.25] * 5)
    (result,) = take_turns([Sampler(lambda: next(clock), calls=4)], Effort(2, 1.5, 100.0))
    assert result == (0.25, 0.0, 0.25, 16)  # two samples of a second to a turn


def test_each_kind_of_device_has_its_room():
    assert timing.room(torch.device("cpu")) is cpu
    assert timing.room(torch.device("cuda", 1)) is cuda


@pytest.mark.parametrize(("seconds", "calls"), [(1.0, 1), (2e-3, 1), (0.5e-3, 4), (1e-9, 256)])
def test_calls_between_two_events_are_long_enough_together(seconds, calls):
    assert cuda.calls_in_a_sample(seconds) == calls


def test_on_a_gpu_actions_take_turns_in_samples_of_several_calls(monkeypatch):
    monkeypatch.setattr(cuda, "elapsed", lambda seconds, calls: calls * seconds())
    actions = [lambda: 0.5e-3, lambda: 5e-3]
    short, long = cuda.measure_in_turn(actions, Effort(rounds=2, slice=3e-3, limit=100.0))
    assert short == pytest.approx(
        (0.5e-3, 0.0, 0.5e-3, 16)
    )  # four calls a sample, two samples a turn
    assert long == pytest.approx((5e-3, 0.0, 5e-3, 2))


@pytest.mark.parametrize(("size", "copies"), [(1000, 1), (200, 1), (90, 3), (1, 64), (0, 64)])
def test_copies_of_an_input_take_twice_the_cache(size, copies):
    assert cuda.copies_beyond_cache(size, 100) == copies


@pytest.fixture
def resettable():
    if peak_memory(lambda: None) is None:
        pytest.skip("this system cannot reset a process's memory high-water mark")


def measured(prepare: str, action: str) -> int:
    """In a process whose heap has none of the large pages that a sweep asks for."""
    code = f"""
import torch
from benchmarks.timing.cpu import peak_memory

def ones(megabytes):
    return torch.ones(megabytes * {MEGABYTE}, dtype=torch.uint8)

{prepare}
print(peak_memory(lambda: {action}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.usefixtures("resettable")
@pytest.mark.parametrize("megabytes", [4, 64])
def test_peak_memory_is_what_the_call_allocates(megabytes):
    peak = measured(f"ones({megabytes})", f"ones({megabytes})")
    assert peak == pytest.approx(megabytes * MEGABYTE, abs=0.5 * MEGABYTE)


@pytest.mark.usefixtures("resettable")
def test_peak_memory_does_not_remember_or_reuse_earlier_calls():
    earlier = """
for _ in range(3):
    ones(16)
    ones(128)
    small = [torch.ones(10_000, dtype=torch.uint8) for _ in range(3000)]
    del small
"""
    assert measured(earlier, "ones(16)") == pytest.approx(16 * MEGABYTE, abs=0.5 * MEGABYTE)


@pytest.mark.usefixtures("resettable")
def test_peak_memory_is_the_peak_and_not_what_is_left():
    peak = measured("ones(32)", "[ones(32) is None for _ in range(2)]")
    assert peak == pytest.approx(32 * MEGABYTE, abs=0.5 * MEGABYTE)


def test_peak_memory_is_none_where_the_mark_cannot_be_reset(monkeypatch):
    def refuse(self, data):
        raise PermissionError(self)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert peak_memory(lambda: None) is None

"""Runs commands within a budget, keeps their logs, and says what became of each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

_PAUSE = 0.05  # seconds between two looks at what runs


class Verdict(NamedTuple):
    """What became of a step, and why."""

    state: Literal["pass", "fail", "left out"]
    note: str = ""


def by_exit_status(status: int, log: str) -> Verdict:
    """Passed if the command ended with 0; else its last line is the reason."""
    if status == 0:
        return Verdict("pass")
    lines = log.strip().splitlines() or ["no output"]
    return Verdict("fail", f"exit status {status}: {lines[-1].strip()[:200]}")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        timeout: seconds after which it and its children are killed, which is a failure.
        environment: beside this process's.
        needs: names of steps without whose passing there is nothing to run.
        judge: from exit status and log to a verdict.
        left_out: why it is not run at all, or "".
    """

    name: str
    command: Sequence[str]
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    judge: Callable[[int, str], Verdict] = by_exit_status
    left_out: str = ""


class Outcome(NamedTuple):
    """A step's verdict, the seconds that it took and its log."""

    step: Step
    verdict: Verdict
    seconds: float = 0.0
    log: Path | None = None


def run(
    groups: Sequence[Sequence[Step]],
    folder: Path,
    logs: Path,
    seconds: float,
    told: Callable[[Outcome], object] = lambda outcome: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run groups one after the other, the steps of a group at once, `seconds` for everything.

    folder: where the commands run.
    told: called with every outcome as it is known.
    """
    logs.mkdir(parents=True, exist_ok=True)
    deadline = clock() + seconds
    outcomes: list[Outcome] = []
    for group in groups:
        started: list[_Command] = []
        done: list[Outcome] = []
        passed = {item.step.name for item in outcomes if item.verdict.state == "pass"}
        for step in group:
            refusal = _refusal(step, passed, deadline - clock())
            if refusal is None:
                started.append(_Command(step, folder, logs, clock))
            else:
                done.append(Outcome(step, refusal))
                told(done[-1])
        try:
            while started:
                for command in [item for item in started if item.over(deadline)]:
                    started.remove(command)
                    done.append(command.outcome())
                    told(done[-1])
                time.sleep(_PAUSE)
        except BaseException:  # interrupted: nothing runs on behind
            for command in started:
                command.kill()
            raise
        outcomes += sorted(done, key=lambda item: list(group).index(item.step))
    return outcomes


def _refusal(step: Step, passed: set[str], left: float) -> Verdict | None:
    if step.left_out:
        return Verdict("left out", step.left_out)
    missing = [need for need in step.needs if need not in passed]
    if missing:
        return Verdict("left out", f"{', '.join(missing)} did not pass")
    return Verdict("fail", "no time was left for it") if left <= 0 else None


class _Command:
    """A step that is running."""

    def __init__(self, step: Step, folder: Path, logs: Path, clock: Callable[[], float]) -> None:
        self.step = step
        self.clock = clock
        self.stopped = False
        self.log = logs / f"{step.name.replace(' ', '-')}.log"
        self.start = clock()
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                step.command,
                cwd=folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **step.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def over(self, deadline: float) -> bool:
        """Whether it has ended, or has been ended because its time or everybody's is over."""
        if self.process.poll() is not None:
            return True
        if self.clock() < min(self.start + self.step.timeout, deadline):
            return False
        self.stopped = True
        self.kill()
        return True

    def outcome(self) -> Outcome:
        """What became of it."""
        seconds = self.clock() - self.start
        if self.stopped:
            verdict = Verdict("fail", f"stopped after {seconds:.0f} s")
        else:
            text = self.log.read_text(errors="replace")
            verdict = self.step.judge(self.process.returncode, text)
        return Outcome(self.step, verdict, seconds, self.log)

    def kill(self) -> None:
        """The whole session of the command; a process stuck in a driver is not waited for long."""
        for pid in _session(self.process.pid) or [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)


def _session(leader: int) -> list[int]:
    """The processes of a session, whatever group they are in: ninja gives each command its own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()  # state, parent, group, session
            if int(fields[3]) == leader:
                found.append(int(status.parent.name))
    return found


def summary(outcomes: Sequence[Outcome]) -> str:
    """A line for every step, and how it went as a whole."""
    width = max(len(item.step.name) for item in outcomes)
    lines = [line(item, width) for item in outcomes]
    states = [item.verdict.state for item in outcomes]
    passed, failed = states.count("pass"), states.count("fail")
    left_out = states.count("left out")
    return "\n".join([*lines, f"{passed} passed, {failed} failed, {left_out} left out"])


def line(outcome: Outcome, width: int = 0) -> str:
    """One step in one line."""
    name = outcome.step.name.ljust(width)
    text = f"{outcome.verdict.state:8}  {name}  {outcome.seconds:5.0f} s"
    return f"{text}  {outcome.verdict.note}".rstrip()

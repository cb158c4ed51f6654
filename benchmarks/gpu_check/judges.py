"""From a log to a verdict: pytest and the four tools of compute-sanitizer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu_check.runner import Verdict, by_exit_status

_NOT_THERE = re.compile(r"Device not supported|not supported on this (?:device|system|platform)")
_ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error")
_HAZARDS = re.compile(r"RACECHECK SUMMARY: (\d+) hazard")


def sanitizer(status: int, log: str) -> Verdict:
    """By the tool's own summary; no summary means that it did not come to its end."""
    found = _ERRORS.findall(log) + _HAZARDS.findall(log)
    if not found:
        refused = _NOT_THERE.search(log)
        if refused:
            return Verdict("left out", f"compute-sanitizer: {refused.group()}")
        return Verdict("fail", f"no summary; {by_exit_status(status or 1, log).note}")
    total = sum(map(int, found))
    if total:
        first = next((text for text in log.splitlines() if _is_finding(text)), "")
        return Verdict("fail", f"{total} found, first: {first.lstrip('= ').strip()[:160]}")
    return by_exit_status(status, log)


def _is_finding(text: str) -> bool:
    """A line of the tool that is neither its banner nor its summary."""
    plain = text.lstrip("= ").strip()
    return text.startswith("=====") and bool(plain) and "COMPUTE-SANITIZER" not in plain


def pytest_report(report: Path) -> Callable[[int, str], Verdict]:
    """By the junit file that pytest writes: what failed, and why what was skipped was."""

    def judge(status: int, log: str) -> Verdict:
        if not report.exists():
            return Verdict("fail", f"no report; {by_exit_status(status or 1, log).note}")
        counts: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        failures = []
        for case in ElementTree.parse(report).iter("testcase"):
            outcome = next(
                (child for child in case if child.tag in ("failure", "error", "skipped")), None
            )
            counts["passed" if outcome is None else outcome.tag] += 1
            if outcome is not None and outcome.tag == "skipped":
                reasons[outcome.get("message", "")] += 1
            elif outcome is not None:
                failures.append(f"{case.get('classname', '')}::{case.get('name', '')}")
        note = f"{counts['passed']} passed"
        if failures:
            note += f", {len(failures)} failed, first: {failures[0]}"
        note += "".join(f"; {number} left out: {why}" for why, number in reasons.items())
        if status != 0 or failures or not counts["passed"]:
            return Verdict("fail", note if status == 0 or failures else f"{note}, exit {status}")
        return Verdict("pass", note)

    return judge

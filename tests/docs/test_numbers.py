"""Figures in tables are those of the record that the page names before them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, name_of

PAGES = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
_RECORD = re.compile(r"\]\(([^)]*results/[^)]*\.json)\)")
_FIGURE = re.compile(r"(\d+(?:\.(\d+))?) (ms|s|MB|GB)\b")
_UNITS = {"ms": ("ms", 1.0), "s": ("ms", 1e3), "MB": ("mb", 1.0), "GB": ("mb", 1e3)}


def _tables(page: Path) -> Iterator[tuple[Path, list[str]]]:
    """The rows of each table, and the record that was named last."""
    record: Path | None = None
    rows: list[str] = []
    for line in [*page.read_text(encoding="utf-8").split("\n"), ""]:
        if line.startswith("|"):
            rows.append(line)
            continue
        if rows and record is not None:
            yield record, rows[2:]
        rows = []
        for link in _RECORD.findall(line):
            record = (page.parent / link).resolve()


def _measured(record: Path) -> dict[str, list[float]]:
    """Its milliseconds and megabytes."""
    found: dict[str, list[float]] = {"ms": [], "mb": []}
    case: dict[str, Any]
    for case in json.loads(record.read_text(encoding="utf-8")):
        for key, value in case.items():
            unit = key.rpartition("_")[2]
            if unit in found and isinstance(value, float):
                found[unit].append(value)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_they_are_in_the_record(page: Path) -> None:
    checked = 0
    for record, rows in _tables(page):
        measured = _measured(record)
        for row in rows:
            for figure, decimals, unit in _FIGURE.findall(row):
                kind, scale = _UNITS[unit]
                half = 0.5000001 * 10.0 ** -len(decimals)
                near = [abs(value / scale - float(figure)) <= half for value in measured[kind]]
                assert any(near), f"{figure} {unit} is not in {record.name}: {row}"
                checked += 1
    assert checked > 8

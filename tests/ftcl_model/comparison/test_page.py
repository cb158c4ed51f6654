from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ftcl_model.comparison.page import report_comparison
from ftcl_model.comparison.statistics import compare_runs, comparison_content, comparison_text
from ftcl_model.errors import InputError
from ftcl_model.files import write_json
from tests.ftcl_model.readers import Page


def report(folder: Path) -> None:
    report_comparison(folder, folder / "report.html")


def test_folder_of_a_comparison(tmp_path: Path) -> None:
    averages = {"backbone": [0.25, 0.5], "both": [0.4, 0.5]}
    scores = {
        name: [{"average_map": value, "map": [value + 0.1, value - 0.1]} for value in values]
        for name, values in averages.items()
    }
    rows = compare_runs(scores)
    write_json(tmp_path / "compare.json", comparison_content(rows, [0, 1], [0.3, 0.5]))
    report(tmp_path)
    page = Page(tmp_path / "report.html")
    assert not page.open
    assert all(source and source.startswith("data:") for source in page.sources)
    assert "both 45.0 7.1 +7.5 +0.0 to +15.0 1, 0" in page.words
    assert "variant 0.3 0.5 backbone 47.5 27.5 both 55.0 35.0" in page.words
    assert page.images[0]["alt"].endswith("Means: backbone 37.5 %, both 45.0 %.")
    # One seed has neither spread nor interval.
    one = compare_runs({name: runs[:1] for name, runs in scores.items()})
    write_json(tmp_path / "compare.json", comparison_content(one, [0], [0.3, 0.5]))
    report(tmp_path)
    assert "both 40.0 +15.0 1, 0" in Page(tmp_path / "report.html").words


@pytest.mark.filterwarnings("error")
def test_a_comparison_of_any_names(tmp_path: Path) -> None:
    names = ("$\\frac$|<script>", "_跑步\n", "W" * 3000)
    scores = {name: [{"average_map": 0.5, "map": [0.5]}] * 2 for name in names}
    rows = compare_runs(scores)
    write_json(tmp_path / "compare.json", comparison_content(rows, [0, 1], [0.5]))
    report(tmp_path)
    page = Page(tmp_path / "report.html")
    assert not page.open
    assert "script" not in page.tags
    for name in (names[0], r"_跑步\n", names[2]):
        assert name in page.words
    lines = comparison_text(rows, [0, 1], [0.5]).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 2 * (2 + len(names))
    cells = [re.split(r" (?<!\\)\| ", line) for line in table]
    assert {len(row) for row in cells} == {7, 2}
    assert table[2].startswith(r"| \$\\frac\$\|\<script\> | 50.0 | ")
    assert table[3].startswith(r"| \_跑步\\n | 50.0 | ")


@pytest.mark.parametrize(
    "damage",
    [
        {"seeds": []},
        {"seeds": [0.5, 1]},
        {"seeds": [0]},
        {"tiou_thresholds": [0.3, "0.5"]},
        {"tiou_thresholds": [0.3]},
        {"variants": {}},
        {"variants": {"both": {}}},
        {"variants": []},
    ],
)
def test_a_broken_comparison_is_named(tmp_path: Path, damage: dict) -> None:
    scores = {"both": [{"average_map": 0.5, "map": [0.5, 0.4]}] * 2}
    content = comparison_content(compare_runs(scores), [0, 1], [0.3, 0.5])
    (tmp_path / "compare.json").write_text(json.dumps(content | damage))
    with pytest.raises(InputError, match=r"compare\.json: expected what compare writes: "):
        report(tmp_path)

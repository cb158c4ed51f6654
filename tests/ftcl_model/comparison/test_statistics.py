from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from ftcl_model.comparison.statistics import (
    compare_runs,
    comparison_content,
    comparison_text,
    draw_comparison,
    read_comparison,
    read_scores,
    summary_table,
    tiou_table,
)
from ftcl_model.errors import InputError
from ftcl_model.files import write_json


def scores(*averages: float) -> list[dict[str, object]]:
    return [{"average_map": value, "map": [value + 0.1, value - 0.1]} for value in averages]


def test_statistics_are_paired_by_seed() -> None:
    first, second = compare_runs({"one": scores(0.2, 0.4, 0.6), "two": scores(0.3, 0.5, 0.5)})
    assert first.difference is None
    assert (first.mean, first.deviation) == pytest.approx((0.4, 0.2))
    assert first.by_tiou == pytest.approx([0.5, 0.3])
    assert second.difference is not None
    assert second.difference.by_seed == pytest.approx([0.1, 0.1, -0.1])
    assert second.difference.mean == pytest.approx(0.1 / 3)
    assert second.difference.interval == pytest.approx((-0.1, 0.1))
    with pytest.raises(ValueError, match="expected 3 seeds of two, got 2"):
        compare_runs({"one": scores(0.2, 0.4, 0.6), "two": scores(0.3, 0.5)})


def test_resampled_videos_are_paired_too() -> None:
    runs = {"one": scores(0.2, 0.4), "two": scores(0.3, 0.5)}
    on_videos = np.array([[0.1, 0.3], [0.5, 0.2], [0.4, 0.4]])
    resampled = {"one": on_videos, "two": on_videos + 0.1}
    one, two = compare_runs(runs, resampled)
    assert one.difference is None
    assert two.difference is not None
    assert two.difference.nested == pytest.approx((0.1, 0.1))
    assert "+10.0 to +10.0" in summary_table([one, two])[2]
    alone = compare_runs(
        {name: some[:1] for name, some in runs.items()},
        {name: some[:, :1] for name, some in resampled.items()},
    )
    assert alone[1].difference is not None
    assert alone[1].difference.nested is None


def test_one_seed_has_no_spread() -> None:
    rows = compare_runs({"one": scores(0.2), "two": scores(0.3)})
    text = comparison_text(rows, [0], [0.3, 0.5])
    assert "| one | 20.0 |  |  |  |  |  |" in text
    assert "| two | 30.0 |  | +10.0 |  |  | 1, 0 |" in text


def rows_of(**averages: list[float]) -> list:
    return compare_runs({name: scores(*values) for name, values in averages.items()})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    resampled = {"one": np.array([[0.1, 0.2]] * 3), "two": np.array([[0.2, 0.2]] * 3)}
    for rows in (
        rows_of(one=[0.2, 0.4], two=[0.3, 0.3]),
        rows_of(one=[0.2], two=[0.3]),
        compare_runs({"one": scores(0.2, 0.4), "two": scores(0.3, 0.3)}, resampled),
    ):
        seeds = list(range(len(rows[0].values)))
        write_json(tmp_path / "compare.json", comparison_content(rows, seeds, [0.3, 0.5]))
        again, seeds_again, tious = read_comparison(tmp_path / "compare.json")
        assert (seeds_again, tious) == (seeds, [0.3, 0.5])
        assert comparison_text(again, seeds, tious) == comparison_text(rows, seeds, tious)
        assert comparison_content(again, seeds, tious) == comparison_content(rows, seeds, tious)


def test_the_tables_are_in_percent() -> None:
    rows = rows_of(one=[0.2, 0.4], two=[0.3, 0.3])
    head, one, two = summary_table(rows)
    assert head[3:5] == ["difference to one", "95 % over seeds"]
    assert head[5:] == ["over seeds and videos", "seeds above, below"]
    assert one == ["one", "30.0", "14.1", "", "", "", ""]
    assert two == ["two", "30.0", "0.0", "+0.0", "-10.0 to +10.0", "", "1, 1"]
    assert tiou_table(rows, [0.3, 0.5]) == [
        ["variant", "0.3", "0.5"], ["one", "40.0", "20.0"], ["two", "40.0", "20.0"],
    ]  # fmt: skip


@pytest.mark.parametrize("width", [None, 4.6])
def test_the_picture_is_as_wide_as_asked_for(tmp_path: Path, width: float | None) -> None:
    rows = rows_of(one=[0.2, 0.4], two=[0.3, 0.3], three=[0.1, 0.2])
    draw_comparison(tmp_path / "compare.png", rows, [0, 1], width=width)
    inches = 1.6 + 1.5 * 3 if width is None else width
    assert imread(tmp_path / "compare.png").shape[1] == pytest.approx(150 * inches, abs=1)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"average_map": null, "map": []}', '{"average_map": 0.5, "map": 0.5}']
)
def test_broken_scores_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"scores\.json: expected what evaluate writes: "):
        read_scores(path)
    path.write_text(json.dumps({"average_map": 0.5, "map": [0.5], "more": 1}))
    assert read_scores(path)["average_map"] == 0.5

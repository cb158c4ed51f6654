from __future__ import annotations

from pathlib import Path

import pytest

from ftcl_model.report import html
from ftcl_model.report.html import bar_table, chart, columns, curve
from tests.ftcl_model.readers import Page


def shown(folder: Path, body: str) -> Page:
    path = folder / "page.html"
    path.write_text(html.page("title", body), encoding="utf-8")
    page = Page(path)
    assert not page.open
    return page


def test_text_means_itself(tmp_path: Path) -> None:
    name = "<b>&amp;\n\"'"
    body = html.section(name, html.paragraph(name, "muted"), html.facts([(name, name)]))
    body += html.number_table([name, name], [[name, "1"]]) + html.stack(
        [1, 0, 0, 0, 0, 0], [name] * 6
    )
    page = shown(tmp_path, body)
    assert "b" not in page.tags
    assert page.words.count("<b>&amp;\\n\"'") == 7


def test_numbers_are_percentages_with_one_decimal() -> None:
    assert [html.percent(value) for value in (0.1234, 0.0, float("nan"))] == ["12.3", "0.0", "-"]
    said = [html.signed(value) for value in (0.012, -0.0001, -0.05, float("nan"))]
    assert said == ["+1.2", "+0.0", "-5.0", "-"]


def test_a_stack_says_its_shares() -> None:
    names = ("a", "b", "c", "d", "e", "f")
    stack = html.stack([3, 1, 0, 0, 0, 0], names)
    assert 'aria-label="a 75.0 %, b 25.0 %"' in stack
    assert stack.count("<span") == 2
    assert 'aria-label="no predictions"' in html.stack([0] * 6, names)


def test_a_picture_is_drawn_in_two_widths_into_the_page(tmp_path: Path) -> None:
    widths = []

    def draw(path: Path, width: float) -> None:
        widths.append(width)
        path.write_bytes(b"drawn")

    page = shown(tmp_path, html.picture(draw, "what it shows", "what it is"))
    assert widths == [html.WIDE, html.NARROW]
    assert page.images[0]["alt"] == "what it shows"
    assert "what it is" in page.words
    assert all(source and source.startswith("data:") for source in page.sources)


@pytest.mark.parametrize("rows", [[["a", "1", "2"]], []])
def test_a_table_of_numbers(tmp_path: Path, rows: list[list[str]]) -> None:
    page = shown(tmp_path, html.number_table(["name", "x", "y"], rows))
    assert page.words.endswith(" ".join(["name x y", *(" ".join(row) for row in rows)]))


def test_classes_without_truth_are_left_out() -> None:
    table = bar_table("AP", "class", [("Jump", 0.5), ("Run", float("nan"))])
    assert "Jump" in table
    assert "width:50.00%" in table
    assert "Run" not in table
    assert columns(table, folded=True).startswith("<details><summary>")


def test_curve_of_one_epoch_is_a_line() -> None:
    assert 'points="0.0,6.0 200,6.0"' in curve("total", [2.0])


def test_chart_of_two_stages() -> None:
    drawn = chart("mAP", {"backbone": {50: 0.25, 150: 0.5}, "contrast": {200: 0.45}}, kept=150)
    # 20 to 50 %: the first value lies a sixth up; the stage ends, and the dot is, at 150 of 200.
    assert 'points="25.00,83.33 75.00,0.00 100.00,16.67"' in drawn
    assert '<line x1="75.00" x2="75.00"' in drawn
    assert '<path d="M75.00,0.00h0"' in drawn
    assert "50 %</span>" in drawn
    assert "20 %</span>" in drawn
    # One value that never changes, and a step kept that was not looked at.
    flat = chart("mAP", {"backbone": {50: 1.0}}, kept=40)
    assert 'points="100.00,0.00"' in flat
    assert "90 %</span>" in flat
    assert "<path" not in flat

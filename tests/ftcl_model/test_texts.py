from __future__ import annotations

import pytest

from ftcl_model.texts import brief, counted, examples, markdown, markdown_table, one_line, shortened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe 跑步 عربي", "größe 跑步 عربي"),
        ("🏃\u200d♂️", "🏃\u200d♂️"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31m\0\x7f", r"\x1b[31m\x00\x7f"),
        ("\u202eevil\u2028\u2066", r"\u202eevil\u2028\u2066"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        (r"\n", r"\n"),
    ],
)
def test_one_line_shows_what_is_seen_and_names_the_rest(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_shortened_keeps_both_ends() -> None:
    assert shortened("video_test_0000004") == "video_test_0000004"
    assert shortened("video_test_0000004", 10) == "video_…004"
    assert shortened("abcde", 4) == "ab…e"
    assert len(shortened("\n" * 5000)) == 60


def test_brief_is_short_whatever_comes() -> None:
    assert brief(True) == "True"
    assert brief("a\nb") == r"'a\nb'"
    nested: list = []
    for _ in range(5000):
        nested = [nested] * 3
    for value in (nested, "x" * 10**6, list(range(10**5)), {i: i for i in range(10**5)}, 10**400):
        assert len(brief(value)) < 400


def test_examples_are_counted() -> None:
    names = [f"v{index}" for index in range(7)]
    assert examples(names[:2]) == "v0, v1"
    assert examples(names) == "v0, v1, v2, v3, v4, and 2 more"
    assert counted("videos", names[:1]) == ["1 videos: v0"]
    assert counted("videos", []) == []


def test_names_mean_themselves_in_markdown() -> None:
    assert markdown("backbone + aligned, 0.5") == "backbone + aligned, 0.5"
    assert markdown("a|b\n<script>") == r"a\|b\\n\<script\>"
    assert markdown("$_$ *x* `y` [z](u) & ~~") == r"\$\_\$ \*x\* \`y\` \[z\](u) \& \~\~"
    lines = markdown_table(["", "0.5"], [[markdown("a|b"), "1.0"]])
    assert lines == ["|  | 0.5 |", "| --- | ---: |", r"| a\|b | 1.0 |"]

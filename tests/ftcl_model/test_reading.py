from __future__ import annotations

import math
from pathlib import Path

import pytest

from ftcl_model.cli.main import main
from ftcl_model.reading import (
    DEEPEST,
    as_count,
    as_list,
    as_mapping,
    as_number,
    as_text,
    member,
    parse_json,
    parse_yaml,
)

# Nine lines that stand for 10^9 texts.
BILLION = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(10 * ['*' + before])}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_what_is_sound_is_read() -> None:
    text = '{"a": [1, -2.5, 1e3, true, null, "gr\\u00f6\\u00dfe"], "b": {"a": {}}}'
    expected = {"a": [1, -2.5, 1000.0, True, None, "größe"], "b": {"a": {}}}
    assert parse_json(text) == expected
    assert parse_yaml(text) == expected
    assert parse_yaml("a: 1e-4\nb: [1e3, 5E+2, .5e1]\nc: text # note\n") == {
        "a": 1e-4, "b": [1000.0, 500.0, 5.0], "c": "text",
    }  # fmt: skip
    assert parse_json('"\\ud83c\\udfc3"') == "🏃"  # two halves make one


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' is given twice"),
        ('{"a": "\\ud800"}', r"the text '\\ud800' holds half a character"),
        ('{"x\\udfff": 1}', r"the text 'x\\udfff' holds half a character"),
        (1001 * "1", "a number of 1001 digits"),
        ((DEEPEST + 1) * "[" + (DEEPEST + 1) * "]", "lists and mappings nest deeper than 64"),
        (5000 * "[" + 5000 * "]", "lists and mappings nest deeper than 64"),
        (100_000 * "[" + 100_000 * "]", "lists and mappings nest deeper than 64"),
        (50_000 * '{"a":' + "1" + 50_000 * "}", "lists and mappings nest deeper than 64"),
        ('{"a": [1, }', "Expecting value: line 1 column 11|but found '}' in line 1, column 11"),
    ],
)
def test_json_and_yaml_are_refused_in_one_line(parse, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        parse(text)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


def test_the_deepest_and_the_longest_that_is_taken() -> None:
    deepest = DEEPEST * "[" + DEEPEST * "]"
    assert parse_json(deepest) == parse_yaml(deepest)
    assert parse_json(1000 * "1") == parse_yaml(1000 * "1") == int(1000 * "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION, r"aliases \(\*a\) are not taken, write the value out in line 2, column 8"),
        ("a: &a\n  b: *a\n", r"aliases \(\*a\) are not taken"),
        ("".join(f"{' ' * level}-\n" for level in range(5000)), "nest deeper than 64"),
        ("a: !!int ''", r"tags \(!!int\) are not taken in line 1, column 4"),
        ("a: !!timestamp x", r"tags \(!!timestamp\) are not taken"),
        ("a: !!set {b}", r"tags \(!!set\) are not taken"),
        ("a: !mine x", r"tags \(!mine\) are not taken"),
        ("a: 2001-13-45", "month must be in 1..12"),
        ("a: 0x" + 5000 * "f", "a number of 5002 digits"),
        ("a: !!python/object/apply:os.getcwd []", r"tags \(!!python/"),
        ('a: "\\U00110000"', "chr"),
        ("a: \x07", "special characters are not allowed"),
        ("? [a, b]\n: 1", r"expected a text as a key, got \['a', 'b'\]"),
        ("3: 1", "expected a text as a key, got 3 in line 1, column 1"),
        ("a: 1\n---\na: 1\n", "but found another document"),
        ("a: [", "expected the node content"),
    ],
)
def test_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        parse_yaml(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", [BILLION, "a: " + 5000 * "[", "a: !!int ''"])
def test_the_command_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    words = ["check-data", "--config", str(tmp_path / "model.yaml"), "--data", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"model\.yaml: not readable as YAML: ") as refusal:
        main(words)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "value", [True, "1", None, [], math.nan, math.inf, -math.inf, 10**400, -(10**400), {}]
)
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(ValueError, match="expected a finite number, got "):
        as_number(value)


def test_numbers_in_their_range() -> None:
    assert as_number(3) == 3.0
    assert as_number(-2.5, -2.5, 0) == -2.5
    with pytest.raises(ValueError, match=r"expected a number in \[0, 1\], got 1\.5"):
        as_number(1.5, 0, 1)
    assert as_count(7, 1) == 7
    for value in (7.0, True, "7", 0, 10**19):
        with pytest.raises(ValueError, match="expected a whole number from 1 to "):
            as_count(value, 1)


def test_what_is_no_text_list_or_mapping() -> None:
    assert as_text("a") == "a"
    for value in ("", None, 3, ["a"]):
        with pytest.raises(ValueError, match="expected a text that is not empty, got "):
            as_text(value)
    for value in ("ab", None, {"a": 1}):
        with pytest.raises(ValueError, match="expected a list, got "):
            as_list(value)
    with pytest.raises(ValueError, match=r"expected an object, got \[\]"):
        as_mapping([])
    assert member({"a": None}, "a") is None
    with pytest.raises(ValueError, match='"b" is missing'):
        member({"a": None}, "b")

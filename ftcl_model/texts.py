"""How names and values that others chose are said: on one line, in little room, in Markdown."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

SHOWN = 5
"""Examples in a sentence that counts."""
LONGEST = 60
"""Characters of a name in a table or a sentence."""

_JOINERS = "\u200c\u200d"  # shape the letters and pictures beside them, and are not seen

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxlong, _REPR.maxother = 3, 80, 40, 80


def one_line(text: str) -> str:
    """The text with an escape for what breaks lines, steers a terminal or is half a character."""
    if text.isprintable():
        return text
    return "".join(
        character if _is_seen(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_seen(character: str) -> bool:
    return (
        character.isprintable()
        or character in _JOINERS
        or unicodedata.category(character) == "Zs"  # spaces
    )


def shortened(text: str, most: int = LONGEST) -> str:
    """At most `most` (4 or more) characters of a text on one line, its beginning and its end."""
    text = one_line(text)
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


def brief(value: Any) -> str:
    """The repr of any value on one line, with dots for what is long or deep."""
    return one_line(_REPR.repr(value))


def examples(found: Sequence[str]) -> str:
    """Some of the names found, and how many more there are."""
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return ", ".join([*map(shortened, found[:SHOWN]), *more])


def counted(what: str, found: Sequence[str]) -> list[str]:
    """A line that counts what was found and shows some; none for nothing."""
    return [f"{len(found)} {what}: {examples(found)}"] if found else []


def markdown(text: str) -> str:
    """A text on one line that means itself in Markdown, also in a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|&$~#!])", r"\\\1", one_line(text))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table of Markdown: names in the first column, numbers in the others."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]

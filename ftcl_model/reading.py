"""JSON and YAML that others wrote, read strictly: what is ambiguous or beyond bounds is refused."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import yaml

from ftcl_model.errors import InputError
from ftcl_model.texts import brief, one_line

DEEPEST = 64
"""Levels of lists and mappings in each other; the files that are read here have less than ten."""
LONGEST_NUMBER = 1000
"""Digits of a whole number, whose conversion takes the square of their number in time."""

_STANDARD = "tag:yaml.org,2002:"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> Any:
    """What a JSON document holds.

    Raises:
        InputError: it is not JSON, an object has a key twice, lists and objects nest deeper than
            `DEEPEST`, a whole number is longer than `LONGEST_NUMBER`, or a text holds half a
            character (a lone surrogate). NaN and Infinity are read as Python does, see `as_number`.
    """
    try:
        content = json.loads(text, object_pairs_hook=_mapping, parse_int=_whole_number)
    except RecursionError:
        raise InputError(_TOO_DEEP) from None
    except ValueError as error:
        raise InputError(str(error)) from error
    return _checked(content)


@contextmanager
def expecting(path: str | os.PathLike[str], expected: str) -> Iterator[None]:
    """Say of an InputError in the block which file it is about, and what that should hold."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: expected {expected}: {error}") from error


def parse_yaml(text: str) -> Any:
    """What a YAML document holds; 1e-4 is a number, as in YAML 1.2.

    Raises:
        InputError: as `parse_json` of JSON; also for aliases, by which a few lines stand for more
            than fits in memory, for tags, and for keys that are not texts.
    """
    try:
        # The loader is a SafeLoader.
        return _checked(yaml.load(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{error.problem}{place}") from error
    except Exception as error:  # a constructor raises whatever an odd value leads it to
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error


def as_number(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A number that was read, as a float.

    Raises:
        InputError: it is none, as a text and true are not, not finite, or not in [low, high].
    """
    real = isinstance(value, int | float) and not isinstance(value, bool)
    # What is beyond every float is beyond the largest one; NaN compares as false.
    if not (real and abs(value) <= sys.float_info.max):
        raise InputError(f"expected a finite number, got {brief(value)}")
    if not low <= value <= high:
        raise InputError(f"expected a number in [{low:g}, {high:g}], got {brief(value)}")
    return float(value)


def as_count(value: Any, low: int = 0, high: int = 10**18) -> int:
    """A whole number that was read; InputError if it is none, or not in [low, high]."""
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"expected a whole number from {low} to {high}, got {brief(value)}")
    return value


def as_text(value: Any) -> str:
    """A text that was read; InputError if it is none, or empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"expected a text that is not empty, got {brief(value)}")
    return value


def as_list(value: Any) -> list[Any]:
    """A list that was read; InputError if it is none."""
    if not isinstance(value, list):
        raise InputError(f"expected a list, got {brief(value)}")
    return value


def as_mapping(value: Any) -> dict[str, Any]:
    """A mapping that was read, a JSON object; InputError if it is none."""
    if not isinstance(value, dict):
        raise InputError(f"expected an object, got {brief(value)}")
    return value


def member(value: Any, key: str) -> Any:
    """What an object that was read has under a key; InputError if it has none, or is no object."""
    if key not in as_mapping(value):
        raise InputError(f'"{key}" is missing')
    return value[key]


_TOO_DEEP = f"lists and mappings nest deeper than {DEEPEST} levels"


def _checked(content: Any) -> Any:
    """The content, refused for its depth and its texts."""
    level = [content]
    for _ in range(DEEPEST + 1):
        for value in level:
            if isinstance(value, str) and _HALF_CHARACTER.search(value):
                raise InputError(f"the text {brief(value)} holds half a character")
        holders = [value for value in level if isinstance(value, dict | list)]
        if not holders:
            return content
        level = [child for holder in holders for child in _children(holder)]
    raise InputError(_TOO_DEEP)


def _children(holder: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return (*holder.keys(), *holder.values()) if isinstance(holder, dict) else holder


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InputError(f"the key {brief(key)} is given twice")
            seen.add(key)
    return mapping


def _whole_number(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise InputError(f"a number of {len(digits)} digits")
    return int(digits)


class _Loader(yaml.SafeLoader):
    """A SafeLoader of plain values within bounds, which reads 1e-4 as a number.

    It refuses repeated keys, aliases and tags.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            _refuse(f"aliases (*{event.anchor}) are not taken, write the value out", event)
        if event.tag is not None:
            _refuse(f"tags ({event.tag.replace(_STANDARD, '!!')}) are not taken", event)
        holds = isinstance(event, yaml.CollectionStartEvent)
        self.depth += holds
        if self.depth > DEEPEST:
            _refuse(_TOO_DEEP, event)
        node = super().compose_node(parent, index)
        self.depth -= holds
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                _refuse(f"expected a text as a key, got {brief(key)}", key_node)
            if key in keys:
                _refuse(f"the key {brief(key)} is given twice", key_node)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > LONGEST_NUMBER:
            _refuse(f"a number of {len(node.value)} digits", node)
        return super().construct_yaml_int(node)


def _refuse(problem: str, place: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=one_line(problem), problem_mark=place.start_mark)


_Loader.add_constructor(f"{_STANDARD}int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(
    f"{_STANDARD}float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)

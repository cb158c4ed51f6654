"""Nested mappings, as a file holds them, as frozen dataclasses with every key and value checked."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ftcl_model.errors import InputError
from ftcl_model.texts import brief, shortened

_Settings = TypeVar("_Settings")

SMALLEST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""Of the numbers that float32 holds to its full precision."""


def build(kind: type[_Settings], content: Any, source: str, path: str = "") -> _Settings:
    """Fill a dataclass of settings; nested ones, texts, numbers, tuples and literals may be in it.

    Args:
        kind: the dataclass. A field that is a union takes None, or what its first type takes.
        content: the mapping.
        source: what the messages call it, a file's name.
        path: of the mapping in the source.

    Raises:
        InputError: a key is unknown or missing; a value has the wrong type; a number is NaN,
            infinite, beyond what float32 holds, in which the model computes, or, if whole, 2**31 or
            more; or the dataclass refuses a value. The message names the source, the path of the
            key, what was expected and what came.
    """
    if not isinstance(content, Mapping):
        raise InputError(
            f"{source}: {path or 'the file'}: expected a mapping, got {brief(content)}"
        )
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in fields:
            raise InputError(
                f"{source}: {_join(path, shortened(str(key)))}: unknown key, expected one of "
                f"{', '.join(fields)}"
            )
        values[key] = _convert(hints[key], value, source, _join(path, key))
    for name, item in fields.items():
        optional = (item.default, item.default_factory) != (dataclasses.MISSING,) * 2
        if name not in values and not optional:
            raise InputError(f"{source}: {_join(path, name)}: expected a value, got none")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {path + ': ' if path else ''}{error}") from error


def _convert(kind: Any, value: Any, source: str, path: str) -> Any:
    """`value` as the annotated type `kind`, which is one of those that `build` names."""
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, source, path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _convert(arguments[0], value, source, path)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(
            _convert(arguments[0], item, source, f"{path}[{index}]")
            for index, item in enumerate(value)
        )
    if origin is Literal and value in arguments:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        # What is beyond every float is beyond the largest one; NaN compares as false.
        if not abs(value) <= sys.float_info.max:
            raise InputError(f"{source}: {path}: expected a finite number, got {brief(value)}")
        if value != 0 and not SMALLEST <= abs(value) <= LARGEST:
            expected = f"0 or a number from {SMALLEST:.1e} to {LARGEST:.1e}, as float32 holds"
            raise InputError(f"{source}: {path}: expected {expected}, got {brief(value)}")
        return float(value)
    if type(value) is int is kind and abs(value) >= 2**31:
        raise InputError(f"{source}: {path}: expected less than 2**31, got {brief(value)}")
    if type(value) is kind:
        return value
    if origin is Literal:
        expected = f"one of {', '.join(arguments)}"
    elif origin is tuple:
        expected = f"a list of {_NAMES[arguments[0]]}s"
    else:
        expected = f"a {_NAMES[kind]}"
    raise InputError(f"{source}: {path}: expected {expected}, got {brief(value)}")


_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)

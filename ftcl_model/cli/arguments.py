"""What the words of a command line stand for; argparse says which option a refused one was for."""

from __future__ import annotations

import argparse
import math

import torch

from ftcl_model.comparison.variants import COMPARED, Overrides
from ftcl_model.settings import FASTEST_RATE
from ftcl_model.texts import brief


def seed(text: str) -> int:
    """A whole number of 0 or more."""
    return _whole_number(text, 0, 10**18)


def count(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole_number(text, 1, 10**6)


def _whole_number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or (len(text) < 20 and int(text) < least):
        raise argparse.ArgumentTypeError(
            f"expected a whole number of {least} or more, got {brief(text)}"
        )
    if len(text) >= 20 or int(text) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most}, got {brief(text)}")
    return int(text)


def variants(text: str) -> dict[str, Overrides]:
    """Variants of a comparison by name, from their names between commas."""
    names = text.split(",")
    for name in names:
        if name not in COMPARED or names.count(name) > 1:
            raise argparse.ArgumentTypeError(
                f"expected different names of {', '.join(COMPARED)}, got {name!r}"
            )
    return {name: COMPARED[name] for name in names}


def device(text: str) -> torch.device:
    """A device that can be computed on."""
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).tolist()
    except Exception as error:  # every backend has its own way to say that it is not there
        reason = str(error).partition("\n")[0]
        raise argparse.ArgumentTypeError(f"cannot compute on {text!r}: {reason}") from error
    return device


def default_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def thresholds(text: str) -> tuple[float, ...]:
    """Sorted thresholds of tIoU, from numbers between commas."""
    try:
        values = tuple(sorted({float(value) for value in text.split(",")}))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"expected numbers in (0, 1], as in 0.1,0.2, got {text!r}")
    return values


def rate(text: str) -> float:
    """A number of frames a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= FASTEST_RATE:
        raise argparse.ArgumentTypeError(
            f"expected a number in (0, {FASTEST_RATE:g}], got {brief(text)}"
        )
    return value


def share(text: str) -> float:
    """A part of a whole."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {brief(text)}")
    return value


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {brief(text)}")
    return value

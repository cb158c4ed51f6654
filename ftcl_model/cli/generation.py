"""The options of `generate`: a setting of the streams each."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ftcl_model.cli import arguments
from ftcl_model.data.datasets.generated import StreamSettings

_HELP = {
    "n_train": "training streams",
    "n_test": "test streams",
    "snippets": "mean length of a stream",
    "classes": "number of classes",
    "scripts": "number of scripts, each a few classes in order",
    "actions": "of a stream, each of another class of its script",
    "share": "of the snippets, that are action",
    "overlap": "share of the actions that begin before the last one ends",
    "specific": "how far an action's first and last phase tell its class, 0 to 1",
    "decoys": "first and last phases in the background, for each action",
    "noise": "deviation of a feature's noise, where the prototypes' is 1",
    "width": "of the features",
    "seed": "of all that is drawn",
}


def add_generate(command: argparse.ArgumentParser) -> None:
    """Add the options of `generate`."""
    command.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder")
    for name, text in _HELP.items():
        default: Any = getattr(StreamSettings, name)
        command.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="COUNT" if isinstance(default, int) else "NUMBER",
            type=arguments.seed if isinstance(default, int) else arguments.number,
            default=default,
            help=f"{text} ({default})",
        )
    command.add_argument(
        "--unordered", dest="ordered", action="store_false",
        help="actions and their phases in random order",
    )  # fmt: skip
    command.add_argument(
        "--validation", action="store_true",
        help="test on other streams of the same kind, to choose settings by",
    )  # fmt: skip


def stream_settings(options: argparse.Namespace) -> StreamSettings:
    """The settings that the options say.

    Raises:
        InputError: one is out of range.
    """
    fields = dataclasses.fields(StreamSettings)
    return StreamSettings(**{field.name: getattr(options, field.name) for field in fields})

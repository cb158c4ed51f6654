"""Draws calls and makes them, the same for the same seed; a file holds the one that is running."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, given, seed, settings

import softdp
from tests.fuzz.calls import KINDS, FunctionCall, OpCall, PlainCall
from tests.fuzz.checks import check_function, check_op, check_plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", type=Path, required=True, help="where the running call is told")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of call, not all")
    options = parser.parse_args()
    torch.set_num_threads(2)
    made = sum(run(kind, options) for kind in options.kinds)
    print(f"{made} calls of {softdp.__file__}")


CHECKS: dict[type, Callable[[Any], None]] = {
    FunctionCall: check_function,
    PlainCall: check_plain,
    OpCall: check_op,
}


def run(kind: str, options: argparse.Namespace) -> int:
    """Makes a share of the calls, of one kind; returns how many."""
    made = 0

    @seed(options.seed)
    @settings(
        max_examples=options.cases // len(KINDS),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(call=KINDS[kind])
    def check(call: FunctionCall | PlainCall | OpCall) -> None:
        nonlocal made
        made += 1
        options.last.write_text(f"{kind}: {call}\n")
        CHECKS[type(call)](call)

    check()
    return made


if __name__ == "__main__":
    main()

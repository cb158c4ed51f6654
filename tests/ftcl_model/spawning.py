"""Real processes that run a command, forked from one that has torch loaded, which takes seconds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess

from ftcl_model.__main__ import main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ftcl_model.__main__", "torch._dynamo"])


def started(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """`python -m ftcl_model ARGUMENTS` with variables added to the environment."""
    process = _CONTEXT.Process(target=_run, args=(arguments, dict(environment or {})))
    process.start()
    return process


def _run(arguments: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    main(arguments)


def ended(process: ForkServerProcess) -> None:
    """Wait for a command that must succeed."""
    process.join(timeout=120)
    assert process.exitcode == 0

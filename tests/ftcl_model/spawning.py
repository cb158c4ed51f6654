"""Commands in real processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess

from ftcl_model.cli.main import main
from ftcl_model.comparison.runs import workers


def started(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """`python -m ftcl_model ARGUMENTS` with variables added to the environment."""
    process = workers().Process(target=_run, args=(arguments, dict(environment or {})))
    process.start()
    return process


def _run(arguments: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    main(arguments)


def ended(process: ForkServerProcess) -> None:
    """Wait for a command that must succeed."""
    process.join(timeout=120)
    assert process.exitcode == 0

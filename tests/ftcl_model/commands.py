"""Commands as a user types them, without a process of their own."""

from __future__ import annotations

import pytest

from ftcl_model.cli.main import main


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """What a command says that ends with an error."""
    with pytest.raises(SystemExit) as refusal:
        run(*arguments)
    assert refusal.value.code not in (0, None)
    return str(refusal.value)

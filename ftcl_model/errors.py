"""What a user did wrong, told apart from what the program does wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ftcl_model.texts import one_line


class InputError(ValueError):
    """A file, a folder, a setting or an argument of a command is not as it has to be.

    The message is one line: what is wrong, what was expected, what came. The command line prints it
    without a traceback; any other ValueError is a mistake of the program and keeps its own.
    """


@contextmanager
def refused_in_one_line() -> Iterator[None]:
    """End with a message of one line where what a user brought, or the machine, does not do.

    Raises:
        SystemExit: for an InputError, an OSError, a package that is not installed, and a training
            that diverges.
    """
    try:
        yield
    except (InputError, OSError, ModuleNotFoundError, FloatingPointError) as error:
        said = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            said = f"{error.filename}: {error.strerror}"
        raise SystemExit(f"ftcl_model: {one_line(said)}") from error

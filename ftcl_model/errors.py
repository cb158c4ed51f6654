"""What a user did wrong, told apart from what the program does wrong."""

from __future__ import annotations


class InputError(ValueError):
    """A file, a folder, a setting or an argument of a command is not as it has to be.

    The message is one line: what is wrong, what was expected, what came. The command line prints it
    without a traceback; any other ValueError is a mistake of the program and keeps its own.
    """

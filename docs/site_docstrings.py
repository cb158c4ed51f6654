"""A Griffe extension: a docstring's Example section is shown as its Examples."""

from __future__ import annotations

from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """What is under it is Python with its results, and no quotation."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Look at each function and class."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

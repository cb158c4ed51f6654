"""A Griffe extension: what docstrings say in softdp's form becomes what the site shows.

An Example section is one of its Examples, Python with its results and no quotation; a public name
in backticks leads to where it is documented.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object

_PACKAGE = Path(__file__).parents[1] / "softdp" / "__init__.py"


def _public_names() -> set[str]:
    for node in ast.parse(_PACKAGE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value)) - {"reference"}
    raise ValueError(f"{_PACKAGE}: no __all__")


class Docstrings(Extension):
    """Changes each as it is read."""

    def __init__(self) -> None:
        super().__init__()
        names = "|".join(sorted(_public_names()))
        self._name = re.compile(rf"`(?:softdp\.)?({names})`")

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Look at each function and class."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = self._name.sub(r"[`\1`][softdp.\1]", text)

"""The pages that the repository keeps, and the blocks of code in them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SET_UP = "<!-- set-up"
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"\s*([-*+]|\d+\.) ")
_ADMONITION = re.compile(r"(!!!|\?\?\?|===|:::) ?")


class Block(NamedTuple):
    """Code of a page, with the line that it begins in."""

    line: int
    language: str
    code: str


def pages() -> list[Path]:
    """Every tracked page, or, where the checkout has no git, every one but those of builds."""
    try:
        found = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        names = [name for name in found.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        built = "build", "dist", "runs"
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*.md")
            if not any(part.startswith(".") or part in built for part in path.parts)
        ]
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def name_of(page: Path) -> str:
    """As the tests are named."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks and set-up comments, in the order of the page.

    Raises:
        ValueError: a block that no test would see: one that is indented only, or never closed.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    opened: tuple[int, str, str] | None = None  # its line, how it ends, its language
    code: list[str] = []
    before = ""
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if opened is not None:
            if bare == opened[1]:
                yield Block(opened[0], opened[2], _dedented(code))
                opened, before = None, ""
            else:
                code.append(line)
        elif bare.startswith("```"):
            opened, code = (number, "```", bare[3:].strip()), []
        elif bare == SET_UP:
            opened, code = (number, "-->", "set-up"), []
        else:
            if line.startswith("    ") and bare and not before:
                raise ValueError(
                    f"{name_of(page)}:{number}: a block that is indented only; fence it with its "
                    "language (```python, ```sh, ```text), so that the tests see it"
                )
            if bare and not line.startswith("    "):
                before = line if _ITEM.match(line) or _ADMONITION.match(line) else ""
    if opened is not None:
        raise ValueError(f"{name_of(page)}:{opened[0]}: a block that never ends")


def without_blocks(page: Path) -> str:
    """The text of a page, less its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def _dedented(code: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in code if line.strip()), default=0)
    return "\n".join(line[margin:] for line in code) + "\n"

"""Files and folders that appear whole or not at all, and text files that say which is broken."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s name when the block succeeds.

    The block may make a file or a folder. A reader never sees half of it: on an exception what was
    written is removed and an existing `path` stays as it was. An existing file is replaced; an
    existing folder is not (OSError), unless it is empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SCRATCH, dir=path.parent))
    try:
        # Made inside a private folder, so that the file or folder itself gets the usual mode.
        yield scratch / path.name
        os.replace(scratch / path.name, path)
    finally:
        shutil.rmtree(scratch)


_SCRATCH = ".partial"


def remove_scratch(folder: str | os.PathLike[str]) -> None:
    """Remove what `written_whole` could not, being killed; nobody may be writing there now."""
    for left in Path(folder).glob(f".*{_SCRATCH}"):
        shutil.rmtree(left)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file, whole or not at all; ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, without the mark that some editors begin it with.

    Raises:
        ValueError: it is missing, no file, not readable or in another encoding; it is named.
    """
    try:
        mode = os.stat(path).st_mode
        # A pipe is what a shell's <(...) is.
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            kind = "folder" if stat.S_ISDIR(mode) else "device"
            raise ValueError(f"{path}: expected a file, got a {kind}")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: the file is missing") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as UTF-8 text ({error})") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error

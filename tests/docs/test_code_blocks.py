"""Every block of code of every page runs.

A page is one program: its Python blocks run in their order, in a folder of their own, with the
names of those before them. What a block needs and a reader does not want to see stands before it in
a comment of its own, which runs as a block does:

    <!-- set-up
    residues = torch.randint(0, 20, (8, 50))
    -->

Languages: `python` runs; `pycon` runs as a doctest, with what comes out; of `sh` every program,
target, option and file exists; `json`, `yaml` and `toml` are read; `text` and others that nothing
runs are for what is no code.
"""

from __future__ import annotations

import doctest
import importlib.util
import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs import commands
from tests.docs.pages import Block, blocks, name_of, pages, without_blocks

STILL = {"text", "bibtex", "cpp"}
PAGES = pages()


def test_there_are_pages() -> None:
    names = {name_of(page) for page in PAGES}
    assert {"README.md", "ftcl_model/README.md", "benchmarks/README.md", "docs/maths.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for block in blocks(page):
        try:
            _run(block, names, page, monkeypatch)
        except Exception as error:
            error.args = (f"{name_of(page)}:{block.line}: {error}",)
            raise


def _run(block: Block, names: dict[str, Any], page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, language, code = block
    if language in {"python", "set-up"}:
        exec(compile("\n" * line + code, str(page), "exec"), names)
    elif language == "pycon":
        _doctest(code, names, page, line)
    elif language == "sh":
        for words in commands.commands(code):
            commands.check(words, monkeypatch)
    elif language in _READERS:
        _READERS[language](code)
    else:
        assert language in STILL, f"{language!r} is no language of these: {__doc__}"


def _doctest(code: str, names: dict[str, Any], page: Path, line: int) -> None:
    test = doctest.DocTestParser().get_doctest(code, names, name_of(page), str(page), line)
    test.globs = names  # not a copy: the blocks of a page share their names
    said = io.StringIO()
    with redirect_stdout(said):
        found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
            test, out=said.write, clear_globs=False
        )
    assert found.attempted
    assert not found.failed, said.getvalue()


def _yaml(code: str) -> None:
    pytest.importorskip("yaml").safe_load(code)


def _toml(code: str) -> None:
    if sys.version_info >= (3, 11):
        import tomllib

        tomllib.loads(code)


_READERS: dict[str, Callable[[str], object]] = {"json": json.loads, "yaml": _yaml, "toml": _toml}


def test_commands_in_sentences_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        " ".join(command.split())
        for page in PAGES
        for command in re.findall(r"`((?:make|python3? -m) [^`]+)`", without_blocks(page))
    }
    assert found
    for command in sorted(found):
        (words,) = commands.commands(command)
        if words[0] == "make":
            commands.check(words, monkeypatch)
        else:
            assert importlib.util.find_spec(words[2]) is not None, command


@pytest.mark.parametrize(
    "words",
    [
        "make no-such-target",
        "make test NO_SUCH=1",
        "python -m ftcl_model train --no-such-option",
        "python -m ftcl_model no-such-command",
        "python -m benchmarks.run --no-such-option",
        "python -m no_such_module",
        "python no_such_script.py",
        "python -c 'from softdp import no_such_function'",
        "python -m pytest tests/no_such_test.py",
        "pip install ./no_such_folder",
        "pip install softdp[no-such-extra]",
        "no-such-program",
    ],
)
def test_a_command_that_would_fail_is_found(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands.commands(words)
    with pytest.raises((AssertionError, ImportError, AttributeError)):
        commands.check(command, monkeypatch)


@pytest.mark.parametrize("text", ["Words.\n\n    python -m softdp\n", "```python\nx = 1\n"])
def test_a_block_that_nothing_would_run_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page.md:\d: a block that"):
        list(blocks(page))

"""Whether a command of a page would run: its programs, files, targets and options exist."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

_RUNS_AT_ONCE = {"softdp"}  # modules without options, which are done in seconds
_OTHERS = {"build", "venv"}  # of other people


class Parsed(Exception):
    """The arguments were understood, and nothing has been done yet."""


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block, without comments and variables."""
    joined = code.replace("\\\n", " ")
    found = []
    for line in joined.split("\n"):
        for command in re.split(r"\s&&\s", line):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(words)
    return found


def check(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a command would not run as it stands.

    Raises:
        AssertionError: something that it names is not there; or a program that is not known here.
    """
    program, *rest = words
    if program == "make":
        _make(rest)
    elif Path(program).name in {"python", "python3", "torchrun"}:
        _python(rest, monkeypatch)
    elif program == "pip":
        _pip(rest)
    elif program == "git":
        assert rest[:1] == ["clone"], words
    elif program == ".ci/run":
        assert (ROOT / program).is_file()
    elif program != "cd":
        raise AssertionError(f"{program}: teach tests/docs/commands.py how to look at it")


def _make(words: list[str]) -> None:
    for variable in (word.partition("=")[0] for word in words if "=" in word):
        assert re.search(rf"\b{variable}\b", (ROOT / "Makefile").read_text()), variable
    own = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", "--dry-run", *words],
        cwd=ROOT, env=own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if "-m" in words:
        module, *rest = words[words.index("-m") + 1 :]
        if module == "pip":
            _pip(rest)
        elif module == "pytest":
            for word in rest:
                assert "/" not in word or (ROOT / word.partition("::")[0]).exists(), word
        elif module not in _OTHERS:
            _parse(module, rest, monkeypatch)
    elif words[0] == "-c":
        _imports(words[1])
    else:
        script = ROOT / words[0]
        assert script.is_file(), words[0]
        if "argparse" in script.read_text(encoding="utf-8"):
            _parse(str(script), words[1:], monkeypatch)


def _parse(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program's own parser read the words, and stop it there."""
    understood = argparse.ArgumentParser.parse_args

    def stops(self: argparse.ArgumentParser, *given: object, **options: object) -> None:
        understood(self, *given, **options)  # type: ignore[call-overload]
        raise Parsed

    said = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", [module, *words])
        patch.setattr(argparse.ArgumentParser, "parse_args", stops)
        try:
            if module.endswith(".py"):
                runpy.run_path(module, run_name="__main__")
            else:
                for name in (module, f"{module}.__main__"):  # what runs is no import
                    if not hasattr(sys.modules.get(name), "__path__"):
                        patch.delitem(sys.modules, name, raising=False)
                runpy.run_module(module, run_name="__main__")
        except Parsed:
            return
        except SystemExit as ended:
            runs = module in _RUNS_AT_ONCE and not words and not ended.code
            assert runs, said.getvalue()
            return
    raise AssertionError(f"{module} has no options")


def _pip(words: list[str]) -> None:
    assert words[0] in {"install", "uninstall"}, words
    extras = (ROOT / "pyproject.toml").read_text()
    for word in words[1:]:
        if word.startswith("."):
            assert (ROOT / word.partition("[")[0] / "pyproject.toml").is_file(), word
        if found := re.fullmatch(r"softdp\[(.+)\]", word):
            assert re.search(rf"^{found[1]} = \[", extras, re.MULTILINE), word


def _imports(code: str) -> None:
    """What it imports is there; the rest only compiles."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)

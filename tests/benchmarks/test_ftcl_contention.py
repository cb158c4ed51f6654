"""Trainings beside busy processes: what is timed, and the records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import ftcl_contention
from benchmarks.ftcl_contention import Command, commands, seconds
from ftcl_model.cli.main import main


def test_each_command_is_timed_alone_and_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = 0

    @contextmanager
    def busy(count: int) -> Iterator[None]:
        nonlocal beside
        beside = count
        yield
        beside = 0

    monkeypatch.setattr(ftcl_contention, "busy_processes", busy)
    monkeypatch.setattr(ftcl_contention, "seconds", lambda command: 2.0 + beside)
    file = tmp_path / "new" / "record.json"
    ftcl_contention.main(["--data", "data", "--busy", "3", "--runs", "4", "--json", str(file)])
    head, *records = json.loads(file.read_text())
    assert head["machine"]["device"] == "cpu"
    names = (
        *("comparison of 4 runs", "training"),
        *("training on one core", "training, threads that spin"),
    )
    assert records == [
        {"what": name, "busy": count, "seconds": 2.0 + count} for name in names for count in (0, 3)
    ]
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == 4 * ["2.50"]


def test_the_commands_are_those_of_the_model(tmp_path: Path) -> None:
    for command in commands("gestures", tmp_path / "none", 2):
        with pytest.raises(SystemExit, match=r"none/gt\.json: the file is missing"):
            main([*command.words, "--output", str(tmp_path / "out")])


def test_a_command_is_run_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = {}

    def run(words: list[str], env: dict[str, str], **others: object) -> None:
        said.update(words=words[1:-1], threads=env["OMP_NUM_THREADS"], others=others)

    monkeypatch.setattr(ftcl_contention.subprocess, "run", run)
    assert seconds(Command("", ("train", "--seed", "1"), {"OMP_NUM_THREADS": "1"})) >= 0
    assert said["words"] == ["-m", "ftcl_model", "train", "--seed", "1", "--output"]
    assert said["threads"] == "1"
    assert said["others"]["check"]

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ftcl_model.training.logs import Logs, check_installed


class FakeRun:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.written, self.finished = settings, [], False

    def log(self, values: dict[str, float], step: int) -> None:
        self.written.append((step, values))

    def finish(self) -> None:
        self.finished = True


def test_wandb_gets_the_numbers_and_a_run_goes_on_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[FakeRun] = []
    service = ModuleType("wandb")
    service.__spec__ = ModuleSpec("wandb", None)
    service.init = lambda **settings: runs.append(FakeRun(settings)) or runs[-1]  # type: ignore
    monkeypatch.setitem(sys.modules, "wandb", service)
    check_installed(tensorboard=False, wandb="ftcl")
    for seed, step in ((0, 1), (0, 2), (1, 1)):
        with Logs(tmp_path / "run", {"seed": seed}, first_step=step, wandb="ftcl") as logs:
            logs.write(step, {"train/total": 2.5})
    assert [run.written for run in runs] == [
        [(1, {"train/total": 2.5})], [(2, {"train/total": 2.5})], [(1, {"train/total": 2.5})]
    ]  # fmt: skip
    assert all(run.finished for run in runs)
    assert runs[0].settings["project"] == "ftcl"
    assert runs[0].settings["config"] == {"seed": 0}
    assert runs[0].settings["id"] == runs[1].settings["id"] != runs[2].settings["id"]


def test_nothing_is_imported_that_was_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it fails
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    check_installed(tensorboard=False, wandb=None)
    with Logs(tmp_path, {}, first_step=1) as logs:
        logs.write(1, {"train/total": 2.5})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked: dict[str, Any] = {"tensorboard": False, "wandb": None} | {package: "ftcl"}
    with pytest.raises(ImportError, match=f"{package} is not installed: pip install {package}"):
        check_installed(**asked)

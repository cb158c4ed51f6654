"""python -m softdp, and python -m softdp.collect_env."""

from __future__ import annotations

import math
import platform
import runpy
import subprocess
import sys
from importlib import metadata

import pytest
import torch

import softdp
from softdp import __main__, _build, collect_env

pytestmark = pytest.mark.host


def test_the_self_test_passes_and_facts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main() == 0
    told = capsys.readouterr().out
    assert told.startswith(collect_env.report())
    assert "self-test    passed on 1 thread: errors of scores" in told


@pytest.mark.parametrize("errors", [(1e-3, 1e-7), (1e-7, 1e-3), (math.nan, 0.0), (0.0, math.nan)])
def test_wrong_kernels_fail_it(
    errors: tuple[float, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_build, "self_test", lambda threads: errors)
    assert __main__.main() == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_build_without_the_module_of_this_python_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "softdp._C", None)
    path = _build.__file__
    without = runpy.run_path(path)
    for name in ("compiler", "instruction_set", "self_test", "torch_version"):
        monkeypatch.setattr(_build, name, without[name])
    assert __main__.main() == 1
    told = capsys.readouterr().out
    lacks = f"this build has no softdp._C for Python {platform.python_version()}"
    assert f"\ncompiler     unknown: {lacks}\n" in told
    assert told.endswith(f"\nself-test    none: {lacks}\n")


def test_a_report_has_what_a_problem_may_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTDP_INSTRUCTIONS", "baseline")
    monkeypatch.setenv("SECRET_TOKEN", "of nobody's business")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    facts = collect_env.facts()
    assert facts["softdp"].startswith(softdp.__version__)
    assert "libsoftdp_cpu.so" in facts["libraries"]
    assert ".pyi" not in facts["libraries"]
    assert facts["torch"] == f"{torch.__version__}, built against {_build.torch_version}"
    assert facts["Python"].startswith(platform.python_version())
    assert facts["instructions"] == _build.instruction_set()
    assert facts["threads"].startswith("77 of ")
    assert "SOFTDP_INSTRUCTIONS=baseline" in facts["environment"]
    assert "SECRET_TOKEN" not in facts["environment"]
    assert all("\n" not in value for value in facts.values())
    assert collect_env.report().count("\n") == len(facts) - 1


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_env, "_BESIDE", ("torch", "no_such_package"))
    beside = collect_env.facts()["beside it"]
    assert beside == f"torch {metadata.version('torch')}, no_such_package absent"


def test_it_is_a_command() -> None:
    command = [sys.executable, "-m", "softdp.collect_env"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"softdp       {softdp.__version__}")
    assert not done.stderr

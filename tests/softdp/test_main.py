"""python -m softdp."""

from __future__ import annotations

import math

import pytest
import torch

from softdp import _C, __main__

pytestmark = pytest.mark.host


def test_the_self_test_passes_and_facts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main() == 0
    told = capsys.readouterr().out
    assert torch.__version__ in told
    assert f"instructions {_C.instruction_set()}" in told
    assert "self-test    passed on 1 thread: errors of scores" in told


@pytest.mark.parametrize("errors", [(1e-3, 1e-7), (1e-7, 1e-3), (math.nan, 0.0), (0.0, math.nan)])
def test_wrong_kernels_fail_it(
    errors: tuple[float, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_C, "self_test", lambda threads: errors)
    assert __main__.main() == 1
    assert "FAILED" in capsys.readouterr().out

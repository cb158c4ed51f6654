"""Every public function and every op under the sanitizers, whatever it is called with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="hypothesis, which draws the calls, is not installed")

from tests.fuzz import sanitized

CASES = os.environ.get("CASES", "600")
SEED = os.environ.get("SEED", "0")


@pytest.mark.slow
@pytest.mark.skipif(sanitized.why_not() is not None, reason=str(sanitized.why_not()))
def test_a_right_value_or_a_clear_error(tmp_path: Path) -> None:
    sanitized.build()
    last = tmp_path / "last"
    done = sanitized.run("tests.fuzz.run", "--cases", CASES, "--seed", SEED, "--last", str(last))
    told = last.read_text() if last.exists() else "before the first call"
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{told}"
    print(done.stdout)

"""Threads that wait for each other leave the cores to others, unless the environment objects."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("said", "policy"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_waiting_threads_sleep(said: str | None, policy: str) -> None:
    """As the library of threads itself tells when it is loaded, with torch."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": said} if said else {})
    done = subprocess.run(
        [sys.executable, "-m", "ftcl_model", "--help"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this torch's library of threads does not tell its settings")
    assert set(re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", done.stderr)) == {policy}

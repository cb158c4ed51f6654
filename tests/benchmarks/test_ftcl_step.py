from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import ftcl_step


def test_the_shares_of_a_step_are_written_and_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "step.json"
    ftcl_step.main(["--quick", "--steps", "1", "--config", "thumos14", "--json", str(file)])
    facts, record = json.loads(file.read_text())
    assert facts["machine"]["device"] == "cpu"
    assert (record["config"], record["variant"], record["pairs"]) == ("thumos14", "paper", 4)
    shares = record["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    # Each of these happens in the step, so a group without time has lost its operations' names.
    assert all(share > 0 for share in shares.values())
    assert ftcl_step.PROGRAMS in capsys.readouterr().out

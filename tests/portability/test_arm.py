"""The sweeps on another processor: compiled for ARM and run by an emulator, beside this one's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from torch.utils.cpp_extension import include_paths

from tests.cuda_on_cpu.build import compile_program, why_not

HERE = Path(__file__).parent
FLAGS = (
    *("-std=c++20", "-O1", "-pthread"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", f"-I{HERE.parents[1]}"),
    *(f"-I{path}" for path in include_paths()),
)
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"  # of g++-aarch64-linux-gnu, qemu-user
# Of float32 the weights have 16 bits.
TOLERANCES = {"4": {"rtol": 1e-3, "atol": 1e-3}, "8": {"rtol": 1e-10, "atol": 1e-10}}


def told(*command: str | Path) -> list[list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_arm_computes_what_this_processor_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in (COMPILER, EMULATOR):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    reason = why_not("-O1")
    if reason is not None:
        pytest.skip(reason)
    # For one instruction set, which takes a third of the time.
    here = told(compile_program(HERE / "sweeps.cpp", *FLAGS, "-march=native"))
    monkeypatch.setenv("CXX", COMPILER)
    there = told(EMULATOR, compile_program(HERE / "sweeps.cpp", *FLAGS, "-static"))
    for _, *errors in (here.pop(0), there.pop(0)):  # of the self-test
        assert all(float(error) < 1e-4 for error in errors)
    assert len(here) == len(there)
    for ours, its in zip(here, there, strict=True):
        assert ours[:2] == its[:2]
        numbers = (np.array(line[2:], dtype=float) for line in (its, ours))
        np.testing.assert_allclose(*numbers, **TOLERANCES[ours[1]], err_msg=" ".join(ours[:2]))

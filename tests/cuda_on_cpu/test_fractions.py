"""The fractions in which a GPU keeps weights, where its inverse is as far off as it may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cuda_on_cpu.build import compile_program, run_program, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

HERE = Path(__file__).resolve().parent


def test_weights_of_0_and_1_are_exact() -> None:
    as_on_a_gpu = '-DSOFTDP_DEVICE_HEADER="tests/cuda_on_cpu/device.h"'
    flags = ("-std=c++20", "-O2", f"-I{HERE.parents[1]}", as_on_a_gpu)
    run_program(compile_program(HERE / "fractions.cpp", *flags))

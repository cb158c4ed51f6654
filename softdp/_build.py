"""Facts of this build, and its self-test: softdp._C, which a wheel has for some Pythons."""

from __future__ import annotations

import platform

__all__ = ["compiler", "instruction_set", "self_test", "torch_version"]

try:
    from softdp._C import compiler, instruction_set, self_test, torch_version
except ModuleNotFoundError:
    _ABSENT = f"unknown: this build has no softdp._C for Python {platform.python_version()}"
    compiler = torch_version = _ABSENT

    def instruction_set() -> str:
        return _ABSENT

    def self_test(threads: int = 1) -> tuple[float, float]:
        raise RuntimeError(_ABSENT.removeprefix("unknown: "))

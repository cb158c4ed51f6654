"""Facts of this build, and its self-test, without torch: csrc/self_test."""

from __future__ import annotations

import ctypes
from pathlib import Path

_library = ctypes.CDLL(str(Path(__file__).with_name("libsoftdp_self_test.so")))


def _text(name: str) -> str:
    """What a function of no arguments says."""
    function = getattr(_library, f"softdp_{name}")
    function.restype = ctypes.c_char_p
    told: bytes = function()
    return told.decode()


torch_version = _text("torch_version")  # that it was built against
compiler = _text("compiler")


def instruction_set() -> str:
    """What the sweeps use of this processor."""
    return _text("instruction_set")


def self_test(threads: int = 1) -> tuple[float, float]:
    """Largest errors of soft-DTW's scores and gradients in float32, beside float64."""
    score, gradient = ctypes.c_double(), ctypes.c_double()
    _library.softdp_self_test(threads, ctypes.byref(score), ctypes.byref(gradient))
    return score.value, gradient.value

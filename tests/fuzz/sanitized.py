"""softdp compiled under the address and undefined-behaviour sanitizers, and a Python to load it."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cuda_on_cpu.build import fixed_addresses

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ROOT / "build" / "sanitized"


@functools.cache
def _runtime() -> list[str]:
    """What has to be in the process before anything else: the sanitizer, and what it looks into."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    if shutil.which(compiler[0]) is None:
        return []
    found = [
        subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    return found if all(map(os.path.isabs, found)) else []  # the bare name: not found


def why_not() -> str | None:
    """Why there can be no such build here; None where there can."""
    return (
        None if _runtime() else f"{os.environ.get('CXX', 'g++')} is missing, or has no libasan.so"
    )


def build() -> None:
    """Compile what has changed into a folder of its own, with the Python files beside it."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(_PACKAGES)],
        cwd=ROOT,
        env={**os.environ, "SOFTDP_SANITIZE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{done.stdout}\n{done.stderr}")


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m module` with that build for softdp."""
    options = {
        "detect_leaks": 0,
        # What asks for more is refused, as it would be where there is no more: sizes may be huge.
        "max_allocation_size_mb": 256,
        "allocator_may_return_null": 1,
    }
    return subprocess.run(
        [*fixed_addresses(), sys.executable, "-m", module, *arguments],
        cwd=_PACKAGES,  # first among the places that modules come from
        env={
            **os.environ,
            "LD_PRELOAD": " ".join(_runtime()),
            "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in options.items()),
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )

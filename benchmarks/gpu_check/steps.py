"""The steps of the check, for the machine at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_check import judges
from benchmarks.gpu_check.runner import Step

ROOT = Path(__file__).parents[2]
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")

_BUILD_SECONDS = 200
_TEST_SECONDS = 170
_SANITIZER_SECONDS = 110
_CASES_SECONDS = 180  # after which the benchmark begins no further case
_BENCHMARK_SECONDS = 300  # or what is left

_LOOK = """
import importlib.util, json, torch
there = torch.cuda.is_available()
cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count() if there else 0)]
names = ("pytest", "hypothesis", "xdist", "pytest_timeout", "setuptools", "ninja", "pybind11")
print(json.dumps({
    "gpus": [card.name for card in cards],
    "capabilities": sorted({f"{card.major}{card.minor}" for card in cards}),
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "modules": [name for name in names if importlib.util.find_spec(name)],
}))
"""  # noqa: E501


class Machine(NamedTuple):
    """What is at hand.

    Attributes:
        gpus: their names.
        capabilities: compute capabilities without a point, e.g. "90".
        modules: of the Python packages that the check can use, those that are installed.
        sanitizer: path of compute-sanitizer, or None.
    """

    gpus: list[str]
    capabilities: list[str]
    torch: str
    cuda: str | None
    modules: list[str]
    sanitizer: str | None = None


def look() -> Machine:
    """At this machine, in another process: this one takes no memory of the GPU.

    Raises:
        RuntimeError: this interpreter has no torch that works.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"{sys.executable} cannot look at the GPU: {last}")
    return Machine(**json.loads(done.stdout.splitlines()[-1]), sanitizer=_sanitizer())


def _sanitizer() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    places = ["compute-sanitizer", *(f"{home}/bin/compute-sanitizer" for home in homes if home)]
    return next((found for place in places if (found := shutil.which(place))), None)


def steps(machine: Machine, logs: Path, records: Path) -> list[list[Step]]:
    """Groups, one after the other; what takes long and needs quiet comes last."""
    python = sys.executable
    build = Step(
        "build",
        [python, "setup.py", "build_ext", "--inplace"],
        _BUILD_SECONDS,
        {"SOFTDP_CUDA": "1", "SOFTDP_CUDA_ARCHITECTURES": ";".join(machine.capabilities)},
    )
    benchmarks = Step(
        "benchmarks",
        [
            *(python, "-m", "benchmarks.run", "--device", "cuda", "--bars"),
            *("--seconds", str(_CASES_SECONDS), "--json", str(records)),
        ],
        _BENCHMARK_SECONDS,
        needs=("build",),
    )
    tests = [
        _pytest("tests", ["tests/softdp"], machine, logs, parallel=True),
        _pytest("gpu tests", ["tests/gpu"], machine, logs, parallel=False),
    ]
    sanitizers = [_sanitize(tool, machine) for tool in SANITIZERS]
    return [[build], tests, sanitizers, [benchmarks]]


def _pytest(name: str, paths: list[str], machine: Machine, logs: Path, parallel: bool) -> Step:
    report = logs / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)  # an earlier run's
    command = [sys.executable, "-m", "pytest", "-v", f"--junitxml={report}", "--maxfail=20", *paths]
    if parallel and "xdist" in machine.modules:
        command += ["-n", "4"]
    if "pytest_timeout" in machine.modules:
        command += ["--timeout=100"]  # a test that hangs does not hide the others
    return Step(
        name,
        command,
        _TEST_SECONDS,
        {"SOFTDP_TEST_DEVICE": "cuda"},
        needs=("build",),
        judge=judges.pytest_report(report),
        left_out="" if "pytest" in machine.modules else "pytest is not installed",
    )


def _sanitize(tool: str, machine: Machine) -> Step:
    return Step(
        tool,
        [
            *(machine.sanitizer or "compute-sanitizer", "--tool", tool, "--error-exitcode", "86"),
            *(sys.executable, str(ROOT / "tests" / "gpu" / "sanitizer_cases.py")),
        ],
        _SANITIZER_SECONDS,
        # Every tensor an allocation of its own, or an access beyond one would hit its neighbour.
        {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "PYTHONPATH": str(ROOT)},
        needs=("build",),
        judge=judges.sanitizer,
        left_out="" if machine.sanitizer else "no compute-sanitizer (CUDA_HOME may name its place)",
    )

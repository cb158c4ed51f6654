"""What figures were measured on and with."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks import peers


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on and with."""
    packages = {}
    for name in sorted(
        {"numpy", *(need for peer in peers.peers_on(device) for need in peer.needs)}
    ):
        try:
            packages[name] = metadata.version(name.replace("_", "-"))
        except metadata.PackageNotFoundError:
            continue
    gpu: dict[str, Any] = {}
    if device.type == "cuda":
        from benchmarks.timing import cuda

        gpu = cuda.facts(device) | {"copy_bandwidth": cuda.copy_bandwidth(device)}
    return {
        "device": device.type,
        **gpu,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": packages,
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this checkout, with -dirty where tracked files differ.

    Outside git what SOFTDP_COMMIT says, or None.
    """
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SOFTDP_COMMIT") or None

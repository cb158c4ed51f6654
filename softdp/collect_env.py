"""What a report of a problem has to tell of the machine: ``python -m softdp.collect_env``.

Nothing is swept, and nothing is printed of a machine's or a user's name but the folder of softdp.
``python -m softdp`` prints the same, and then tests the kernels.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

import softdp
from softdp import _build, _ops
from softdp._extension import kernel_devices

# What decides about threads, instructions and GPUs, of softdp and of what torch computes with.
_PREFIXES = ("SOFTDP_", "OMP_", "MKL_", "KMP_", "GOMP_", "CUDA_", "PYTORCH_", "TORCH_")
_BESIDE = ("numpy", "scipy", "numba", "triton")


def facts() -> dict[str, str]:
    """Name and value of each, as texts of one line."""
    return {
        "softdp": f"{softdp.__version__}, {softdp.__path__[0]}",
        "libraries": _libraries(),
        "torch": f"{torch.__version__}, built against {_build.torch_version}",
        "Python": f"{platform.python_version()}, {platform.python_implementation()}",
        "system": f"{platform.platform()}, {' '.join(platform.libc_ver())}",
        "compiler": _build.compiler,
        "processor": _processor(),
        "instructions": _build.instruction_set(),
        "threads": f"{torch.get_num_threads()} of {_cores()} cores",
        "CUDA": _cuda(),
        "environment": _environment(),
        "beside it": ", ".join(f"{name} {_version(name)}" for name in _BESIDE),
    }


def report() -> str:
    """The facts, a line each."""
    return "\n".join(f"{name:12} {value}" for name, value in facts().items())


def _libraries() -> str:
    folder = Path(softdp.__path__[0])
    sizes = ((path.name, path.stat().st_size / 2**20) for path in sorted(folder.glob("lib*.so")))
    return ", ".join(f"{name} {size:.1f} MB" for name, size in sizes)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([platform.machine(), *names[:1]])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cuda() -> str:
    if torch.version.cuda is None:
        return "a torch without CUDA"
    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    kernels = "no kernels in this build"
    if "cuda" in kernel_devices():
        kernels = f"kernels for {_ops.cuda_architectures()}"
    return f"torch's {torch.version.cuda}; {kernels}; {', '.join(devices) or 'no device'}"


def _environment() -> str:
    names = sorted(name for name in os.environ if name.startswith(_PREFIXES))
    return ", ".join(f"{name}={os.environ[name]}" for name in names) or "nothing set"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    print(report())

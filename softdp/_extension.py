"""Loads the compiled libraries, which register torch.ops.softdp."""

from __future__ import annotations

from pathlib import Path

import torch

_LIBRARY, _CUDA_LIBRARY = map(Path(__file__).with_name, ("libsoftdp_cpu.so", "libsoftdp_cuda.so"))

try:
    torch.ops.load_library(str(_LIBRARY))
    if torch.version.cuda is not None and _CUDA_LIBRARY.exists():
        torch.ops.load_library(str(_CUDA_LIBRARY))
except (ImportError, OSError) as error:
    raise ImportError(
        f"softdp: its compiled library does not load ({error}). Build it against the torch of this "
        f"environment ({torch.__version__}): pip install --no-build-isolation --force-reinstall "
        "--no-deps . in the source tree (make build for a checkout)."
    ) from error


def kernel_devices() -> frozenset[str]:
    """The types of devices that there are kernels for."""
    return frozenset(_devices - {"meta"})


def require_kernels(op: str, device: torch.device) -> None:
    """Raise RuntimeError where `device` has no kernels; its message says how to have some.

    An error and no silent fallback: softdp.reference is slower by orders of magnitude.
    """
    if device.type in _devices:
        return
    remedy = (
        "build them where an nvcc is found (NVCC or CUDA_HOME may name it), in the source tree: "
        "SOFTDP_CUDA=1 pip install --no-build-isolation --force-reinstall --no-deps . "
        "(softdp.reference runs anywhere, slowly)"
        if device.type == "cuda"
        else "move the tensors, or use softdp.reference, which runs anywhere"
    )
    raise RuntimeError(
        f"{op}: no kernels for device {device}, only for {', '.join(sorted(kernel_devices()))}; "
        f"{remedy}"
    )


_devices = {"cpu", "meta"}
if torch._C._dispatch_has_kernel_for_dispatch_key("softdp::edit", "CUDA"):
    _devices.add("cuda")

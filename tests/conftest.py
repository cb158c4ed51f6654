"""What every test shares: the devices that this machine has, reproducible examples."""

from __future__ import annotations

import os

import pytest

# Before torch is loaded: tests run beside each other, and threads that wait would spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

try:
    import hypothesis
except ImportError:  # the tests that draw examples skip themselves
    pass
else:
    hypothesis.settings.register_profile("softdp", deadline=None, derandomize=True, print_blob=True)
    hypothesis.settings.load_profile("softdp")


def _devices() -> list[str]:
    """Those with kernels here, or the one that SOFTDP_TEST_DEVICE asks for."""
    found = ["cpu"]
    if torch.cuda.is_available():
        import softdp  # noqa: F401  registers the ops

        if torch._C._dispatch_has_kernel_for_dispatch_key("softdp::edit", "CUDA"):
            found.append("cuda")
    asked = os.environ.get("SOFTDP_TEST_DEVICE")
    if asked is None:
        return found
    if asked not in found:
        raise pytest.UsageError(f"SOFTDP_TEST_DEVICE={asked}, but there are kernels for {found}")
    return [asked]


@pytest.fixture(scope="session", params=_devices())
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that has kernels here."""
    return torch.device(request.param)

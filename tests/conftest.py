"""What every test shares: the devices that this machine has, reproducible examples."""

from __future__ import annotations

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("softdp", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("softdp")


def _devices() -> list[str]:
    if not torch.cuda.is_available():
        return ["cpu"]
    import softdp  # noqa: F401  registers the ops

    has_kernels = torch._C._dispatch_has_kernel_for_dispatch_key("softdp::edit", "CUDA")
    return ["cpu", "cuda"] if has_kernels else ["cpu"]


@pytest.fixture(scope="session", params=_devices())
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that has kernels here."""
    return torch.device(request.param)

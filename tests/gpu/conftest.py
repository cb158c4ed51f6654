"""What is here is about a GPU, and is skipped where there is none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    """The current GPU."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    import softdp  # noqa: F401  registers the ops

    if not torch._C._dispatch_has_kernel_for_dispatch_key("softdp::edit", "CUDA"):
        pytest.skip("softdp was built without CUDA kernels")
    return torch.device("cuda", torch.cuda.current_device())

"""The ops of torch.ops.softdp, with types: ``_ops.walk`` is ``torch.ops.softdp.walk``.

These are in _ops.pyi, which tests/softdp/test_ops.py writes from the schemas.
"""

from __future__ import annotations

from typing import Any

import torch

from softdp import _extension  # noqa: F401  (registers the ops)


def __getattr__(name: str) -> Any:
    return getattr(torch.ops.softdp, name)

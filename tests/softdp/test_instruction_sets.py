"""The kernels as compiled for lesser processors than this one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import torch, softdp

def results(module, dtype):
    torch.manual_seed(0)
    found = []
    for batch, n, m in ((1, 70, 45), (5, 33, 64), (40, 9, 31)):
        leaves = [torch.randn(s) for s in ((batch, n, m), (1, m), (n, 1), (batch,))]
        leaves[3] = leaves[3].abs() + 0.1
        leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
        match, insert, delete, gamma = leaves
        score = module.edit_similarity(match, insert, delete, gamma=gamma, leading_gaps="paid")
        score = score + module.lcs(match, 0.3, gate_width=0.2)
        found += [score, *torch.autograd.grad(score.sum(), leaves)]
    return found

for dtype in (torch.float32, torch.float64):
    pairs = zip(results(softdp, dtype), results(softdp.reference, torch.float64))
    print(max(((a - b).abs() / (1 + b.abs())).max().item() for a, b in pairs))
"""


@pytest.mark.host
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the choice is x86-64's")
@pytest.mark.parametrize("instructions", ["baseline", "avx2", "best"])
def test_every_instruction_set_agrees_with_the_reference(instructions: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "SOFTDP_INSTRUCTIONS": instructions},
        capture_output=True,
        text=True,
        check=True,
    )
    single, double = map(float, done.stdout.split())
    assert single < 3e-4
    assert double < 1e-10

"""autocast, tables of more cells than 32 bits count, and which kernels the cases go through."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

import softdp
from tests.gpu import sanitizer_cases


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_inputs_are_half_and_the_program_is_not(
    gpu: torch.device, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    embed = nn.Linear(16, 8, device=gpu)
    x, y = torch.randn(4, 60, 16, device=gpu), torch.randn(4, 50, 16, device=gpu)
    with torch.autocast("cuda", dtype=dtype):
        match = embed(x) @ embed(y).mT
        score = softdp.edit_similarity(match, -0.5, -0.4)
        gated = softdp.lcs(match, 0.3, gate_width=0.1)
    assert match.dtype == dtype
    assert score.dtype == gated.dtype == torch.float32
    half = match.detach()
    assert score.equal(softdp.edit_similarity(half.float(), -0.5, -0.4))
    assert gated.equal(softdp.lcs(half.float(), 0.3, gate_width=0.1))
    (score + gated).sum().backward()
    assert embed.weight.grad.dtype == torch.float32
    assert embed.weight.grad.isfinite().all()
    assert embed.weight.grad.abs().sum() > 0


def test_more_cells_than_32_bits_count(gpu: torch.device) -> None:
    batch, n, m = 2200, 1000, 1000
    if torch.cuda.mem_get_info(gpu)[0] < 30 << 30:
        pytest.skip("needs 30 GiB of free memory")
    generator = torch.Generator(gpu).manual_seed(0)
    table = torch.randn(n, m, generator=generator, device=gpu, requires_grad=True)
    tables = table.expand(batch, n, m)  # one table, read in place; weights and gradients are not
    score = softdp.edit_similarity(tables, -0.5, -0.5)
    (alignment,) = torch.autograd.grad(score.sum(), tables)
    alone = softdp.edit_similarity(table[None], -0.5, -0.5)
    (wanted,) = torch.autograd.grad(alone.sum(), table)
    torch.testing.assert_close(score, alone.expand(batch), rtol=1e-6, atol=0)
    for pair in (0, batch // 2, -1):
        torch.testing.assert_close(alignment[pair], wanted, rtol=0, atol=2e-4)


def test_the_sanitizer_s_cases_are_right_and_go_through_every_kernel(gpu: torch.device) -> None:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        sanitizer_cases.main()
        torch.cuda.synchronize()
    ran = {_template(event.key) for event in profile.key_averages() if "softdp" in event.key}
    built = _built()
    print(f"{len(ran)} of {len(built)} kernels ran: {sorted(ran)}")
    assert built - ran == set()


def _built() -> set[str]:
    """The names of the library's kernels, without template arguments."""
    tool = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
    filt = shutil.which("c++filt")
    if tool is None or filt is None:
        pytest.skip("cuobjdump or c++filt, which name what the library holds, is not there")
    library = Path(softdp.__file__).with_name("libsoftdp_cuda.so")
    report = subprocess.run(
        [tool, "-res-usage", library], capture_output=True, text=True, check=True
    )
    mangled = set(re.findall(r"Function (\w+):", report.stdout + report.stderr))
    assert mangled
    named = subprocess.run([filt, *mangled], capture_output=True, text=True, check=True)
    return {_template(line) for line in named.stdout.splitlines()}


def _template(name: str) -> str:
    """softdp::cuda::forward_kernel of void softdp::cuda::forward_kernel<...>(...)."""
    return re.sub(r"^void ", "", name).split("<")[0].split("(")[0]

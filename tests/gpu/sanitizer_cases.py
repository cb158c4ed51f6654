"""A small set of shapes that goes through every kernel, to be run under compute-sanitizer.

Around the boundaries of csrc/wavefront/cuda/plan.h: strips of 8, 16 and 32 lanes of two rows (one
in float64), pieces of 16 columns, several strips, more of them than blocks. Results are compared
with the CPU's, so that it is a test of its own without the tool.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

import softdp
from tests.gpu.programs import NAMES, SEVERAL_STATES, Program, program

SHORT = ((33, 5, 5), (9, 16, 17), (5, 17, 15), (40, 30, 30), (3, 33, 31), (2, 64, 33))
MANY = (1100, 130, 20)
LONG = (
    (3, 65, 64),
    (140, 130, 49),
    (1, 520, 600),
    (2, 1030, 140),
    (1, 70, 900),
    (1, 1030, 1000),
    MANY,
)
FEW = ((9, 17, 31), (2, 130, 66), (1, 1030, 1000))
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def cases() -> Iterator[tuple[str, Program, Program]]:
    """A name, the program on the GPU and on the CPU."""
    settings = [(shape, {}) for shape in (*SHORT, *LONG)]
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        settings += [(shape, {"dtype": dtype}) for shape in FEW]
    settings += [(shape, {"ragged": True}) for shape in FEW]
    settings += [(shape, {"strided": True}) for shape in FEW]
    for dtype in (torch.float32, torch.float64):
        settings += [(shape, {"banded": True, "ragged": True, "dtype": dtype}) for shape in FEW]
    for shape, options in settings:
        of_few = shape in FEW and "strided" not in options
        for name in (*NAMES, *SEVERAL_STATES) if of_few else NAMES:
            pair = (program(name, shape, device, **options) for device in ("cuda", "cpu"))
            yield f"{name} {shape} {options or ''}", *pair


def check(on_gpu: Program, on_cpu: Program) -> None:
    """Scores and gradients within what the dtype holds, relative to the largest."""
    for got, wanted in zip(on_gpu(), on_cpu(), strict=True):
        finite = wanted.double().abs().nan_to_num(posinf=0.0, neginf=0.0)
        size = finite.max().item() if wanted.numel() else 0.0
        tolerance = TOLERANCE[on_gpu.leaves[0].dtype]
        torch.testing.assert_close(got.cpu(), wanted, rtol=tolerance, atol=tolerance * (1 + size))


def check_paths(shape: tuple[int, int, int], dtype: torch.dtype, banded: bool) -> None:
    """Expected arcs, the best paths and, where no rounding decides, those that are drawn."""
    pairs, n, m = shape
    generator = torch.Generator().manual_seed(n + m)
    match = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    lengths = n - torch.arange(pairs) % n, m - torch.arange(pairs) % m
    band = softdp.sakoe_chiba(n, m, 9, lengths=lengths) if banded else None
    found = []
    for device in ("cuda", "cpu"):
        alignment = softdp.EditAlignment(
            match.to(device), -0.5, -0.5, gamma=0.5, lengths=lengths, trailing_gaps="free",
            band=None if band is None else band.to(device),
        )  # fmt: skip
        drawn = alignment.sample(3, torch.Generator().manual_seed(1))
        found.append((alignment.expected, alignment.best().arcs, drawn.arcs))
    for got, wanted in zip(*(expected for expected, _, _ in found), strict=True):
        torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=TOLERANCE[dtype])
    assert found[0][1].cpu().equal(found[1][1])
    if dtype == torch.float64:
        assert found[0][2].cpu().equal(found[1][2])


def main() -> None:
    """Run every case; its name stands in the log before what a tool says of it."""
    count = 0
    for name, on_gpu, on_cpu in cases():
        print(name, flush=True)
        check(on_gpu, on_cpu)
        torch.cuda.synchronize()
        count += 1
    for shape in FEW:
        for dtype in (torch.float64, torch.float32):
            for banded in (False, True):
                print(f"paths {shape} {dtype} {banded}", flush=True)
                check_paths(shape, dtype, banded)
                count += 1
    print(f"{count} cases")


if __name__ == "__main__":
    main()

"""What the compiler says each CUDA kernel takes of a multiprocessor."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

OBJECTS = Path(__file__).parents[2] / "build" / f"objects-{sys.implementation.cache_tag}"
REPORTS = sorted(OBJECTS.glob("cuda/*_cuda.log"))
FORWARD = ("lay_band", "lay_border", "forward", "put_out_border")
BACKWARD = ("seed_border", "backward", "sum_strips", "finish")
TANGENT = ("lay_tangent", "tangent", "put_out_tangent")
# Whether they are swept along a direction; the backward's kernels are either.
KERNELS = {(f"{name}_kernel", False) for name in (*FORWARD, *BACKWARD)}
KERNELS |= {(f"{name}_kernel", True) for name in (*TANGENT, *BACKWARD)}
SEVERAL_STATES = {"AffineGaps<Affine>", "AffineGaps<Local>", "DropDtw"}
FAMILIES = {*SEVERAL_STATES, "Edit", "Lcs<false>", "Lcs<true>", "Monotonic", "SoftDtw"}
ARCHITECTURES = {80, 90, 100}  # those that the bounds are for; more may be built, or one alone

pytestmark = pytest.mark.skipif(not REPORTS, reason="the CUDA library was not built here (no nvcc)")


class Kernel(NamedTuple):
    """A kernel as compiled for an architecture; bytes are of local memory, a thread."""

    name: str
    along: bool
    family: str
    dtype: str
    architecture: int
    registers: int
    stack: int
    spilled: int


def kernels() -> list[Kernel]:
    """Read the report of `ptxas -v`; names are mangled: N6softdp4cuda14forward_kernelI..."""
    found = []
    report = "".join(path.read_text() for path in REPORTS)
    for entry in report.split("Compiling entry function ")[1:]:
        mangled = re.match(r"'(\w+)' for 'sm_(\d+)'", entry)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        assert mangled
        assert stack
        assert registers
        name = re.search(r"\d+([a-z_]+_kernel)I", mangled[1])
        arguments = re.search(
            r"_kernelINS_\d+(AffineGaps|DropDtw|Edit|Monotonic|SoftDtw|Lcs)(?:ILb([01])E|INS_\d+(Affine|Local)E)?"
            r"\w*?E?([fd])((?:Lb[01]E)*)",
            mangled[1],
        )
        assert name
        assert arguments
        short = name[1].removesuffix("_kernel")
        gated = {"0": "<false>", "1": "<true>", None: ""}[arguments[2]]
        over = f"<{arguments[3]}>" if arguments[3] else ""
        found.append(
            Kernel(
                name[1],
                short in TANGENT or (short in BACKWARD and arguments[5].endswith("Lb1E")),
                arguments[1] + gated + over,
                {"f": "float32", "d": "float64"}[arguments[4]],
                int(mangled[2]),
                int(registers[1]),
                int(stack[1]),
                int(stack[2]),
            )
        )
    return found


def test_every_kernel_is_compiled_for_every_architecture() -> None:
    found = {(k.name, k.along, k.family, k.dtype, k.architecture) for k in kernels()}
    architectures = {k.architecture for k in kernels()}
    assert len(architectures) == 1 or architectures >= ARCHITECTURES
    for name, along in KERNELS:
        for family in FAMILIES:
            for dtype in ("float32", "float64"):
                for architecture in architectures:
                    assert (name, along, family, dtype, architecture) in found
    for dtype in ("float32", "float64"):  # by the weights of every family of the same topology
        for architecture in architectures:
            for family in (*SEVERAL_STATES, "Edit"):
                assert ("walk_kernel", False, family, dtype, architecture) in found


def test_kernels_keep_everything_in_registers() -> None:
    # 128 registers let four blocks of 128 threads into a multiprocessor. A backward sweep in
    # float64 along a direction, and cells of several states, have so much in shared memory that
    # no registers decide what fits.
    for kernel in kernels():
        few = kernel.along and kernel.name == "backward_kernel" and kernel.dtype == "float64"
        few = few or kernel.family in SEVERAL_STATES
        assert kernel.registers <= (255 if few else 128), kernel
        if kernel.architecture in ARCHITECTURES:
            assert kernel.stack == 0, kernel
            assert kernel.spilled == 0, kernel

"""Counts the machine code of the CUDA sweeps: ``python -m benchmarks.machine_code``.

No GPU is needed, and nothing here is a measurement. Each kernel is compiled for one architecture by
nvcc and disassembled by nvdisasm (``pip install 'softdp[machine-code]'``); what is printed of it is
what it takes of a multiprocessor, and of each innermost loop how many instructions it has, by the
unit that executes them. A loop's count has all of its branches, those that few lanes or strips take
too: what is executed a cell is less. Cells are those of a lane: its rows, for the steps that are
unrolled. The bound is what all schedulers of the card would sweep if each issued an instruction of
the loop in every cycle, and waited for nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, TypedDict

CSRC = Path(__file__).resolve().parents[1] / "csrc"
RESULTS = Path(__file__).parent / "results"
NVCC_OPTIONS = ("-O3", "-std=c++20", "--expt-relaxed-constexpr", "-Xptxas", "-v")  # as setup.py's

FAMILIES = {
    "edit": ("edit", "Edit"),
    "lcs, hard gate": ("lcs", "Lcs<false>"),
    "lcs, smooth gate": ("lcs", "Lcs<true>"),
    "soft_dtw": ("soft_dtw", "SoftDtw"),
}
TYPES = {"float32": "float", "float64": "double"}
SWEEPS = {
    "forward": "forward_kernel<F, T, Scaled<T>, false>(ForwardWork<F, T, Scaled<T>>)",
    "forward, exact": "forward_kernel<F, T, Exact<T>, false>(ForwardWork<F, T, Exact<T>>)",
    "backward": "backward_kernel<F, T, false, false>(BackwardWork<F, T, false>)",
    "tangent": "tangent_kernel<F, T, false>(TangentWork<F, T>)",
    "backward, tangent": "backward_kernel<F, T, false, true>(BackwardWork<F, T, true>)",
}


class Kernel(NamedTuple):
    """A sweep's kernel, without a band."""

    sweep: str
    family: str
    dtype: str

    @property
    def source(self) -> str:
        """What compiles to it alone."""
        header, family = FAMILIES[self.family]
        name, _, work = f"{SWEEPS[self.sweep]};".partition("(")
        return "\n".join(
            [
                f'#include "{CSRC}/recurrence/families/{header}.h"',
                f'#include "{CSRC}/wavefront/cuda/run.cuh"',
                "namespace softdp::cuda {",
                f"using F = {family};",
                f"using T = {TYPES[self.dtype]};",
                f"template __global__ void {name}(const __grid_constant__ {work}",
                "}",
            ]
        )


class Loop(TypedDict):
    """An innermost loop, and how many instructions it has by the unit that executes them."""

    does: str
    instructions: int
    units: dict[str, int]


class Count(TypedDict):
    """What a kernel is compiled to."""

    sweep: str
    family: str
    dtype: str
    registers: int
    stack: int  # bytes of local memory, in which arrays are that a loop's counter points into
    spilled: int
    instructions: int
    loops: list[Loop]


class Card(NamedTuple):
    """What bounds how fast instructions are issued."""

    multiprocessors: int
    clock: float  # Hz
    schedulers: int = 4


CARDS = {"H100": Card(132, 1.755e9), "H200": Card(132, 1.785e9)}

UNITS = {
    "shuffle": ("SHFL", "VOTE", "REDUX", "MATCH"),
    "shared": ("LDS", "STS", "LD", "ST"),
    "global": ("LDG", "STG", "ATOM", "ATOMG", "RED"),
    "copy": ("LDGSTS", "LDGDEPBAR", "DEPBAR"),
    "constant": ("LDC", "ULDC"),
    "special": ("MUFU", "F2I", "I2F", "F2F", "I2FP"),
    "fma": ("FFMA", "FMUL", "FADD", "IMAD", "HFMA2"),
    "float64": ("DADD", "DMUL", "DFMA", "DSETP"),
    "uniform": ("UMOV", "UIADD3", "USHF", "ULOP3", "UISETP", "UIMAD", "R2UR", "USEL", "ULEA"),
    "branch": ("BRA", "BRX", "BSSY", "BSYNC", "WARPSYNC", "CALL", "RET", "BREAK", "NOP", "EXIT"),
}
_UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names}


class Instruction(NamedTuple):
    """One, and of a branch to where it may lead, and whether it always does."""

    name: str
    target: str | None
    always: bool


def instructions(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """Those of one kernel, as `nvdisasm -c` prints it, and at which of them each label stands."""
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = len(found)
            continue
        one = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+)?\s*([A-Z][\w.]*)(.*);", line)
        if one:
            target = re.search(r"`\((\.L_\w+)\)", one[3]) if one[2] == "BRA" else None
            always = one[1] is None and not re.match(r"\s+!?U?P\d", one[3])
            found.append(Instruction(one[2], target and target[1], always))
    return found, labels


def loops(found: Sequence[Instruction], labels: dict[str, int]) -> list[Loop]:
    """Its innermost loops that do something, in their order.

    What always leads back returns from code that stands aside, for lanes that have parted.
    """
    ranges = []
    for end, instruction in enumerate(found):
        begin = labels.get(instruction.target or "")
        if begin is not None and begin <= end and not instruction.always:
            ranges.append((begin, end))
    told: list[Loop] = []
    for begin, end in sorted(ranges):
        if any((begin, end) != (a, b) and begin <= a and b <= end for a, b in ranges):
            continue
        names = [each.name.partition(".")[0] for each in found[begin : end + 1]]
        units = collections.Counter(_UNIT_OF.get(name, "integer") for name in names)
        if does := _purpose(names):
            told.append(Loop(does=does, instructions=len(names), units=dict(sorted(units.items()))))
    return told


def _purpose(names: Iterable[str]) -> str | None:
    present = set(names)
    if "SHFL" in present:
        return "steps"
    if "LDGSTS" in present:
        return "stages"
    return "writes" if "STG" in present else None


def cells(count: Count) -> int:
    """How many cells a lane does in a turn of a loop over steps."""
    plan = (CSRC / "wavefront/cuda/plan.h").read_text()
    product = 1
    for name in ("kRows", "kStepsAtOnce"):
        by_size = re.search(rf"{name} = sizeof\(T\) == 4 \? (\d+) : (\d+);", plan)
        assert by_size, f"plan.h says otherwise what {name} is"
        product *= int(by_size[1 if count["dtype"] == "float32" else 2])
    one_step = count["sweep"] == "backward, tangent" and count["family"] == "lcs, smooth gate"
    return product // 2 if one_step and count["dtype"] == "float32" else product


def issue_bound(count: Count, loop: Loop, card: Card) -> float:
    """10^9 cells a second, if every scheduler issues one of the loop's instructions a cycle."""
    a_cell = loop["instructions"] / cells(count)
    return card.multiprocessors * card.schedulers * card.clock * 32 / a_cell / 1e9


def nvcc() -> str | None:
    """Where it is, as setup.py looks for it."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    names = [os.environ.get("NVCC"), *(f"{home}/bin/nvcc" for home in homes)]
    return next(
        filter(shutil.which, [*filter(None, names), "nvcc", "/usr/local/cuda/bin/nvcc"]), None
    )


def nvdisasm() -> str | None:
    """That of the package, or of the toolkit."""
    try:
        files = metadata.files("nvidia-cuda-nvdisasm") or []
    except metadata.PackageNotFoundError:
        files = []
    packaged = [str(file.locate()) for file in files if file.name == "nvdisasm"]
    return next(filter(shutil.which, [*packaged, "nvdisasm"]), None)


def why_not() -> str | None:
    """What is missing here."""
    if nvcc() is None:
        return "no nvcc: set NVCC or CUDA_HOME"
    return "no nvdisasm: pip install nvidia-cuda-nvdisasm" if nvdisasm() is None else None


def compiler() -> str:
    """Its release, by which counts differ."""
    told = subprocess.run([str(nvcc()), "--version"], capture_output=True, text=True, check=True)
    return re.findall(r"V(\d+\.\d+\.\d+)", told.stdout)[-1]


def count(kernel: Kernel, architecture: int) -> Count:
    """Compile a kernel and count."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.cu"), Path(folder, "kernel.cubin")
        source.write_text(kernel.source)
        command = [str(nvcc()), *NVCC_OPTIONS, f"-arch=sm_{architecture}", "-cubin"]
        report = _output([*command, "-o", str(cubin), str(source)])
        found, labels = instructions(_output([str(nvdisasm()), "-c", str(cubin)]))
    registers = re.search(r"Used (\d+) registers", report)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", report)
    assert registers
    assert stack
    return Count(
        sweep=kernel.sweep,
        family=kernel.family,
        dtype=kernel.dtype,
        registers=int(registers[1]),
        stack=int(stack[1]),
        spilled=int(stack[2]),
        instructions=len(found),
        loops=loops(found, labels),
    )


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def counts(kernels: Sequence[Kernel], architecture: int) -> list[Count]:
    """Those of several, compiled side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda kernel: count(kernel, architecture), kernels))


def lines(counted: Count, card: str) -> list[str]:
    """A kernel as text, and its loops under it."""
    name = f"{counted['sweep']}, {counted['family']}, {counted['dtype']}"
    told = [
        f"{name:44} {counted['instructions']:6} instructions, {counted['registers']:3} registers, "
        f"{counted['stack']} bytes of stack, {counted['spilled']} spilled"
    ]
    for loop in counted["loops"]:
        units = ", ".join(f"{many} {unit}" for unit, many in sorted(loop["units"].items()))
        bound = ""
        if loop["does"] == "steps":
            bound = (
                f", {loop['instructions'] / cells(counted):.0f} a cell: at most "
                f"{issue_bound(counted, loop, CARDS[card]):.0f} GCUPS on an {card}"
            )
        told.append(f"    {loop['does']:7} {loop['instructions']:5}{bound} ({units})")
    return told


def record(architecture: int) -> Path:
    """Where the counts of an architecture are kept."""
    return RESULTS / f"machine-code-sm_{architecture}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.machine_code",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--architecture", type=int, default=90, help="of compute capability 9.0: 90"
    )
    parser.add_argument("--card", choices=CARDS, default="H100", help="of the bounds")
    parser.add_argument("--only", metavar="TEXT", default="", help="kernels with it in the name")
    parser.add_argument("--keep", action="store_true", help="write the record that a test reads")
    options = parser.parse_args(arguments)
    if (missing := why_not()) is not None:
        parser.error(missing)
    kernels = [Kernel(s, f, d) for d in TYPES for f in FAMILIES for s in SWEEPS]
    kernels = [kernel for kernel in kernels if options.only in ", ".join(kernel)]
    found = counts(kernels, options.architecture)
    for counted in found:
        print("\n".join(lines(counted, options.card)))
    if options.keep:
        kernels_as_text = ",\n  ".join(map(json.dumps, found))
        record(options.architecture).write_text(
            f'{{\n "nvcc": "{compiler()}",\n "kernels": [\n  {kernels_as_text}\n ]\n}}\n'
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Counts the machine code of the CUDA sweeps: ``python -m benchmarks.machine_code``.

No GPU is needed, and nothing here is a measurement. Each kernel is compiled for one architecture by
nvcc and disassembled by nvdisasm (``pip install 'softdp[machine-code]'``); what is printed of it is
what it takes of a multiprocessor, and of each innermost loop how many instructions it has, by the
unit that executes them.

Of a loop over steps the path is followed on which no branch is taken that may not be. Full strips
take loops that have no such branches: what they do is known when they are compiled, so their path
is the only one, and its instructions a cell are what is executed. Other loops, of edges, bands,
sums and tangents, have several paths; the one that is followed leaves out what stands after an
`else`, and logarithms, which gamma's gradient alone asks for. Cells are those of a lane: its rows,
for the steps that are unrolled, which are told by their shuffles. Cycles a step are those of a warp
alone (benchmarks.sass).

Last come predictions (benchmarks.predictions) of what some cases would do on a card.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks.predictions import CARDS, Count, cells, predicted, steps, warps
from benchmarks.sass import Loop, instructions, loops

CSRC = Path(__file__).resolve().parents[1] / "csrc"
RESULTS = Path(__file__).parent / "results"
NVCC_OPTIONS = ("-O3", "-std=c++20", "--expt-relaxed-constexpr", "-Xptxas", "-v")  # as setup.py's

FAMILIES = {
    "affine": ("affine", "AffineEdit"),
    "drop_dtw": ("drop_dtw", "DropDtw"),
    "edit": ("edit", "Edit"),
    "lcs, hard gate": ("lcs", "Lcs<false>"),
    "lcs, smooth gate": ("lcs", "Lcs<true>"),
    "local": ("affine", "LocalEdit"),
    "monotonic": ("monotonic", "Monotonic"),
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


_SHARED_MEMORY = """
#include <cstdio>
{includes}
namespace softdp::cuda {{
template <class F, class T>
void tell(const char* family, const char* dtype) {{
  for (int full = 1; full <= F::kTables; ++full) {{
    Problem<F, T> problem;
    problem.n = problem.m = 1024;
    for (int k = full; k < F::kTables; ++k)
      problem.tables[k].one_row = problem.tables[k].one_column = true;
    const Along<F, T, true> along{{problem}};
    const int rows = strip_rows(problem);
    const unsigned wanted = (1u << full) - 1;
    const auto line = [&](const char* sweep, int bytes) {{
      std::printf("%s|%s|%s|%d|%d\\n", sweep, family, dtype, full, bytes);
    }};
    line("forward", ForwardMemory<F, typename Scaled<T>::Value>::of(problem, rows).bytes);
    line("forward, exact", ForwardMemory<F, typename Exact<T>::Value>::of(problem, rows).bytes);
    line("backward", BackwardMemory<F, T, false>::of(problem, {{}}, rows, wanted).bytes);
    line("tangent", TangentMemory<F, T>::of(problem, along, rows).bytes);
    line("backward, tangent", BackwardMemory<F, T, true>::of(problem, along, rows, wanted).bytes);
  }}
}}
}}
int main() {{
{calls}
}}
"""


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
        found, labels = instructions(_output([str(nvdisasm()), "-c", "-hex", str(cubin)]))
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
        shared=shared_memory()[kernel],
        instructions=len(found),
        loops=loops(found, labels),
    )


@functools.cache
def shared_memory() -> dict[Kernel, dict[str, int]]:
    """Bytes that a strip of a long table takes, by how many of its tables are full.

    Those have gradients; the others are numbers.
    """
    headers = sorted({header for header, _ in FAMILIES.values()})
    includes = [f"recurrence/families/{header}.h" for header in headers]
    program = _SHARED_MEMORY.format(
        includes="\n".join(f'#include "{CSRC}/{i}"' for i in [*includes, "wavefront/cuda/run.cuh"]),
        calls="\n".join(
            f'  softdp::cuda::tell<softdp::{family}, {number}>("{name}", "{dtype}");'
            for name, (_, family) in FAMILIES.items()
            for dtype, number in TYPES.items()
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        source, executable = Path(folder, "memory.cu"), str(Path(folder, "memory"))
        source.write_text(program)
        _output([str(nvcc()), *NVCC_OPTIONS[1:3], "-o", executable, str(source)])
        told = _output([executable])
    found: dict[Kernel, dict[str, int]] = {}
    for line in told.splitlines():
        sweep, family, dtype, full, taken = line.split("|")
        found.setdefault(Kernel(sweep, family, dtype), {})[full] = int(taken)
    return found


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def counts(kernels: Sequence[Kernel], architecture: int) -> list[Count]:
    """Those of several, compiled side by side."""
    shared_memory()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda kernel: count(kernel, architecture), kernels))


def lines(counted: Count) -> list[str]:
    """A kernel as text, and its loops under it."""
    name = f"{counted['sweep']}, {counted['family']}, {counted['dtype']}"
    told = [
        f"{name:44} {counted['instructions']:6} instructions, {counted['registers']:3} registers, "
        f"{counted['stack']} bytes of stack, {counted['spilled']} spilled"
    ]
    for full, taken in counted["shared"].items():
        told.append(
            f"    full tables {full}: {taken / 1024:5.1f} KB of shared memory a strip, "
            f"{warps(counted, full)} warps a multiprocessor"
        )
    for loop in counted["loops"]:
        units = ", ".join(f"{many} {unit}" for unit, many in sorted(loop["units"].items()))
        if loop["does"] == "steps":
            told += _lines_of_steps(counted, loop)
        else:
            told.append(f"    {loop['does']:7} {loop['instructions']:5} ({units})")
    return told


def _lines_of_steps(counted: Count, loop: Loop) -> list[str]:
    path, each = loop["path"], cells(counted, loop)
    units = ", ".join(f"{many / each:.1f} {unit}" for unit, many in sorted(path["units"].items()))
    which = "full strips" if path["alone"] else "one path of several"
    if path["gamma"]:
        which += ", gamma's gradient"
    return [
        f"    steps   {loop['instructions']:5}, of which {which}: "
        f"{path['instructions'] / each:.1f} a cell, "
        f"{path['cycles'] / steps(counted, loop):.0f} cycles a step alone",
        f"                  a cell: {units}",
    ]


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
        print("\n".join(lines(counted)))
    print("\n".join(predicted(found, options.card)))
    if options.keep:
        kernels_as_text = ",\n  ".join(map(json.dumps, found))
        record(options.architecture).write_text(
            f'{{\n "nvcc": "{compiler()}",\n "kernels": [\n  {kernels_as_text}\n ]\n}}\n'
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What is measured: the cases, their inputs, and the bars that softdp sets itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softdp import sakoe_chiba

GAP = -0.2
"""Potential of both gap arcs in the cases that give them as a number."""

LCS_THRESHOLD = 0.5
"""Low enough for cosines of random features to pass now and then (about one in ten)."""

FEATURES = 8


class ProgramInputs(NamedTuple):
    """The data of one dynamic program.

    Attributes:
        tables: match, shape (batch, n, m), alone or followed by insert and delete of its shape.
        lengths: None or (n_lengths, m_lengths), int64, shape (batch,) each.
    """

    tables: tuple[Tensor, ...]
    lengths: tuple[Tensor, Tensor] | None

    def to(self, dtype: torch.dtype) -> ProgramInputs:
        """The same values in another dtype."""
        return ProgramInputs(tuple(table.to(dtype) for table in self.tables), self.lengths)

    def clone(self) -> ProgramInputs:
        """The same values in other memory."""
        return ProgramInputs(tuple(table.clone() for table in self.tables), self.lengths)


@dataclass(frozen=True)
class Program:
    """One batch of dynamic programs.

    kind says which recurrence it is and how the gap potentials are given:
        "dtw"      soft-DTW of a table of costs
        "numbers"  edit similarity, both gaps a number
        "tables"   edit similarity, three full tables
        "lcs"      longest common subsequence, the threshold a number
    """

    kind: Literal["dtw", "numbers", "tables", "lcs"]
    batch: int
    n: int
    m: int
    ragged: bool = False
    width: int | None = None  # of a band along the diagonal

    @property
    def gamma(self) -> float:
        """Temperature: 1 for squared distances, 0.1 for cosines."""
        return 1.0 if self.kind == "dtw" else 0.1

    def lengths(self) -> tuple[Tensor, Tensor] | None:
        """Lengths between a quarter of the table's side and all of it, or None."""
        if not self.ragged:
            return None
        generator = torch.Generator().manual_seed(1)
        n_lengths, m_lengths = (
            torch.randint(side // 4, side + 1, (self.batch,), generator=generator)
            for side in (self.n, self.m)
        )
        return n_lengths, m_lengths

    def cells(self) -> int:
        """Cells that have to be computed: what lies inside the band or the lengths."""
        if self.width is not None:
            bounds = sakoe_chiba(self.n, self.m, self.width)
            return self.batch * int(bounds.diff().sum())
        lengths = self.lengths()
        if lengths is None:
            return self.batch * self.n * self.m
        return int((lengths[0] * lengths[1]).sum())

    def bytes_moved(self, dtype: torch.dtype, gradient: bool) -> int:
        """Bytes that no implementation that keeps its weights can help moving, for its cells.

        Forward: every table is read and the weights of every cell are written, 4 bytes, in
        float64 16 (csrc/recurrence/weights.h). Backward: the weights are read and a gradient is
        written for every table.
        """
        tables = dtype.itemsize * (3 if self.kind == "tables" else 1)
        weights = 16 if dtype == torch.float64 else 4
        return self.cells() * (2 * (tables + weights) if gradient else tables)

    def inputs(self, dtype: torch.dtype, device: torch.device) -> ProgramInputs:
        """The same random inputs at every call, drawn in float64 and rounded to dtype.

        DTW's table is the squared Euclidean distance of standard normal features, every
        other match table their cosine; gap tables are uniform in (-0.5, 0).
        """
        generator = torch.Generator().manual_seed(0)
        rows, columns = (
            torch.randn(self.batch, side, FEATURES, generator=generator, dtype=torch.float64).to(
                device
            )
            for side in (self.n, self.m)
        )
        if self.kind == "dtw":
            tables = [torch.cdist(rows, columns).square()]
        else:
            tables = [
                torch.nn.functional.normalize(rows, dim=-1)
                @ torch.nn.functional.normalize(columns, dim=-1).mT
            ]
        if self.kind == "tables":
            shape = (self.batch, self.n, self.m)
            tables += [
                -0.5 * torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2)
            ]
        lengths = self.lengths()
        return ProgramInputs(
            tuple(table.to(device, dtype) for table in tables),
            None if lengths is None else (lengths[0].to(device), lengths[1].to(device)),
        )


@dataclass(frozen=True)
class Case:
    """One line of the benchmark: the programs that are run together.

    Attributes:
        gradient: False measures the score alone, with nothing that requires a gradient.
        reference: whether the pure-PyTorch reference takes a sensible time.
        devices: where it is measured unless cases are named.
    """

    name: str
    programs: tuple[Program, ...]
    dtype: torch.dtype = torch.float32
    gradient: bool = True
    reference: bool = True
    devices: tuple[str, ...] = ("cpu",)

    @property
    def largest(self) -> Program:
        """The program whose shape the record gives."""
        return max(self.programs, key=Program.cells)

    def cells(self) -> int:
        """Cells of all programs."""
        return sum(program.cells() for program in self.programs)

    def bytes_moved(self) -> int:
        """Bytes that must move, of all programs, forward and (with a gradient) backward."""
        return sum(program.bytes_moved(self.dtype, self.gradient) for program in self.programs)

    def inputs(self, device: torch.device) -> tuple[ProgramInputs, ...]:
        """Inputs of each program, in the case's dtype."""
        return tuple(program.inputs(self.dtype, device) for program in self.programs)


def _case(
    kind: Literal["dtw", "numbers", "tables"],
    batch: int,
    n: int,
    m: int,
    *,
    prefix: str | None = None,
    ragged: bool = False,
    width: int | None = None,
    dtype: torch.dtype = torch.float32,
    gradient: bool = True,
    reference: bool = True,
    device: str = "cpu",
) -> Case:
    program = Program(kind, batch, n, m, ragged, width)
    name = f"{prefix or kind}-{batch}x{n}x{m}"
    return Case(name, (program,), dtype, gradient, reference, (device,))


_ALL = (
    _case("dtw", 32, 256, 256),
    _case("numbers", 32, 256, 256),
    _case("tables", 32, 256, 256),
    _case("dtw", 1, 4096, 4096),
    _case("numbers", 1, 4096, 4096),
    _case("dtw", 1024, 30, 30),
    _case("numbers", 1024, 30, 30),
    # One training step of FTCL: proposals against proposals, snippets against snippets.
    Case(
        "ftcl-step",
        (Program("tables", 16, 5, 5), Program("lcs", 16, 30, 30)),
        devices=("cpu", "cuda"),
    ),
    _case("numbers", 32, 256, 256, prefix="score-only", gradient=False),
    _case("dtw", 32, 256, 256, prefix="dtw-float64", dtype=torch.float64),
    _case("dtw", 32, 256, 256, prefix="dtw-ragged", ragged=True),
    # On a GPU what the bars are about comes first, and last what peers need minutes for.
    _case("numbers", 512, 256, 256, device="cuda"),
    _case("numbers", 64, 1024, 1024, device="cuda"),
    _case("numbers", 1, 16384, 16384, reference=False, device="cuda"),
    _case("numbers", 65536, 30, 30, device="cuda"),
    _case("tables", 512, 256, 256, device="cuda"),
    _case("numbers", 512, 256, 256, prefix="score-only", gradient=False, device="cuda"),
    _case("numbers", 512, 256, 256, prefix="float64", dtype=torch.float64, device="cuda"),
    _case("numbers", 512, 256, 256, prefix="float16", dtype=torch.float16, device="cuda"),
    _case("numbers", 512, 256, 256, prefix="bfloat16", dtype=torch.bfloat16, device="cuda"),
    _case("numbers", 512, 256, 256, prefix="ragged", ragged=True, device="cuda"),
    _case("numbers", 64, 1024, 1024, prefix="band", width=50, device="cuda"),
    _case("dtw", 512, 256, 256, device="cuda"),
    _case("dtw", 65536, 30, 30, device="cuda"),
    _case("dtw", 64, 1024, 1024, device="cuda"),
    _case("dtw", 1, 16384, 16384, reference=False, device="cuda"),
)

CASES: Mapping[str, Case] = {case.name: case for case in _ALL}


@dataclass(frozen=True)
class Bar:
    """A bound that softdp's own record of a case should keep.

    quantity:
        "gcups"           at least the bound
        "times_best_peer" GCUPS over those of the fastest peer on the same shape, at least the bound
        "microseconds"    forward and backward, at most the bound
        "gpu_microseconds" the GPU's time of both, at most the bound
        "bytes_a_cell"    peak memory beyond inputs and gradients, at most the bound
    """

    case: str
    quantity: Literal[
        "gcups", "times_best_peer", "microseconds", "gpu_microseconds", "bytes_a_cell"
    ]
    bound: float
    device: str = "cpu"

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.quantity in ("gcups", "times_best_peer")


# The weights take 4 bytes a cell; what is above that is scratch of a row's size and the page
# granularity of the measurement. The smallest table would be one of 2 bytes a cell.
BARS = (
    Bar("numbers-32x256x256", "gcups", 0.35),
    Bar("tables-32x256x256", "gcups", 0.2),
    Bar("dtw-32x256x256", "times_best_peer", 15),
    Bar("numbers-1x4096x4096", "gcups", 0.25),
    Bar("numbers-1024x30x30", "gcups", 0.3),
    Bar("ftcl-step", "microseconds", 300),
    Bar("numbers-32x256x256", "bytes_a_cell", 4.2),
    Bar("tables-32x256x256", "bytes_a_cell", 4.2),
    Bar("numbers-1x4096x4096", "bytes_a_cell", 4.2),
    Bar("score-only-32x256x256", "bytes_a_cell", 0.5),
    # On an H200.
    Bar("numbers-512x256x256", "gcups", 100, "cuda"),
    Bar("numbers-64x1024x1024", "gcups", 70, "cuda"),
    Bar("numbers-1x16384x16384", "gcups", 40, "cuda"),
    Bar("numbers-65536x30x30", "gcups", 70, "cuda"),
    Bar("ftcl-step", "gpu_microseconds", 60, "cuda"),
    Bar("ftcl-step", "microseconds", 250, "cuda"),
    Bar("dtw-512x256x256", "times_best_peer", 50, "cuda"),
    Bar("dtw-64x1024x1024", "times_best_peer", 50, "cuda"),
    Bar("dtw-1x16384x16384", "times_best_peer", 50, "cuda"),
    Bar("dtw-65536x30x30", "times_best_peer", 50, "cuda"),
    Bar("numbers-512x256x256", "bytes_a_cell", 4.5, "cuda"),
    Bar("numbers-64x1024x1024", "bytes_a_cell", 4.5, "cuda"),
    Bar("numbers-1x16384x16384", "bytes_a_cell", 4.5, "cuda"),
    Bar("numbers-65536x30x30", "bytes_a_cell", 4.5, "cuda"),
)

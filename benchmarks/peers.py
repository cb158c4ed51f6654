"""Who runs a case: softdp, its pure-PyTorch reference, and the peers that are installed.

Peers compute soft-DTW only, of the same table of costs as softdp, whose gradient is the expected
alignment.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import softdp
import softdp.reference
from benchmarks.cases import GAP, LCS_THRESHOLD, Case, Program, ProgramInputs


class Prepared(NamedTuple):
    """A case bound to an implementation and to inputs, ready to be called again and again.

    Attributes:
        leaves: tensors that gradients are taken for, in the same order for every implementation.
        scores: the forward pass, one tensor for each program.
        weights: what the backward pass starts from: the sum over pairs of each program's scores.
    """

    leaves: tuple[Tensor, ...]
    scores: Callable[[], tuple[Tensor, ...]]
    weights: tuple[Tensor, ...]

    def gradients(self) -> tuple[Tensor, ...]:
        """Forward and backward: the gradient of the summed scores, one for each leaf."""
        return torch.autograd.grad(self.scores(), self.leaves, self.weights)


class Implementation(NamedTuple):
    """One way to compute a case.

    Attributes:
        runs: whether it can run the case.
        prepare: binds the case's inputs; whatever a user would do once happens here.
        needs: packages without which it cannot run.
    """

    name: str
    runs: Callable[[Case], bool]
    prepare: Callable[[Case, Sequence[ProgramInputs]], Prepared]
    needs: tuple[str, ...] = ()


def peers_on(device: torch.device) -> tuple[Implementation, ...]:
    """The peers that there are for a device, installed or not."""
    return CUDA_PEERS if device.type == "cuda" else PEERS


def implementations(device: torch.device) -> list[Implementation]:
    """Everything that is present, softdp first, peers last, all with PyTorch's thread count."""
    installed = [peer for peer in peers_on(device) if all(map(_present, peer.needs))]
    if any("numba" in peer.needs for peer in installed):
        import numba

        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, numba.get_num_threads()))
        # Numba starts its threads here, and over OpenMP that changes PyTorch's count as well.
        torch.set_num_threads(threads)
    return [SOFTDP, REFERENCE, *installed]


def _present(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _prepare_ours(functions: Any, case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    """functions: the package or module that holds edit_similarity, lcs and soft_dtw."""
    bound = [
        item._replace(
            tables=tuple(table.detach().requires_grad_(case.gradient) for table in item.tables)
        )
        for item in inputs
    ]
    calls = [
        _score(functions, program, item) for program, item in zip(case.programs, bound, strict=True)
    ]

    def scores() -> tuple[Tensor, ...]:
        return tuple(call() for call in calls)

    weights = tuple(item.tables[0].new_ones(item.tables[0].shape[0]) for item in bound)
    return Prepared(tuple(table for item in bound for table in item.tables), scores, weights)


def _score(functions: Any, program: Program, inputs: ProgramInputs) -> Callable[[], Tensor]:
    tables = inputs.tables
    options: dict[str, Any] = {
        "gamma": program.gamma,
        "lengths": inputs.lengths,
        "band": program.width,
    }
    if program.kind == "lcs":
        return lambda: functions.lcs(tables[0], LCS_THRESHOLD, **options)
    if program.kind == "dtw":
        return lambda: functions.soft_dtw(tables[0], **options)
    match = tables[0]
    insert, delete = (GAP, GAP) if program.kind == "numbers" else tables[1:]
    options["leading_gaps"] = "free"
    return lambda: functions.edit_similarity(match, insert, delete, **options)


SOFTDP = Implementation(
    "softdp",
    runs=lambda case: True,
    prepare=lambda case, inputs: _prepare_ours(softdp, case, inputs),
)
REFERENCE = Implementation(
    "reference",
    runs=lambda case: case.reference,
    prepare=lambda case, inputs: _prepare_ours(softdp.reference, case, inputs),
)


def _is_dtw(case: Case) -> bool:
    return all(program.kind == "dtw" for program in case.programs)


def _is_dtw_of_full_tables(case: Case) -> bool:
    return _is_dtw(case) and not any(program.ragged for program in case.programs)


def _cost(case: Case, inputs: Sequence[ProgramInputs]) -> Tensor:
    """The cost table, shape (batch, n, m), of a case with one program."""
    (program,) = inputs
    return program.tables[0].detach().requires_grad_(case.gradient)


def _prepare_ddtw(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from ddtw import SDTW

    cost = _cost(case, inputs)
    lengths = inputs[0].lengths
    n_lengths, m_lengths = (None, None) if lengths is None else lengths
    loss = SDTW(
        gamma=case.programs[0].gamma,
        normalization="none",
        backend="cuda_cpp" if cost.is_cuda else "cpu_numba",
        dtype_float=cost.dtype,
        cuda_device=str(cost.device) if cost.is_cuda else None,
    )
    # Its loss is the mean over the batch.
    return Prepared(
        (cost,),
        lambda: (loss(C=cost, list_N=n_lengths, list_M=m_lengths),),
        (cost.new_tensor(float(cost.shape[0])),),
    )


def _prepare_pysdtw(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from pysdtw import SoftDTWcpu, SoftDTWcuda

    cost = _cost(case, inputs)
    batch, n, m = cost.shape
    lengths = torch.tensor([[n, m]], device=cost.device).expand(batch, 2).contiguous()
    gamma = case.programs[0].gamma
    function = SoftDTWcuda if cost.is_cuda else SoftDTWcpu
    unbanded = 0
    return Prepared(
        (cost,),
        lambda: (function.apply(cost, lengths, gamma, unbanded),),
        (cost.new_ones(batch),),
    )


def _prepare_tslearn(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from tslearn.metrics import SoftDTWLossPyTorch

    cost = _cost(case, inputs)
    batch, n, m = cost.shape
    # It wants two sequences and a distance between them; the distance is the table.
    loss = SoftDTWLossPyTorch(gamma=case.programs[0].gamma, dist_func=lambda rows, columns: cost)
    rows, columns = cost.new_empty(batch, n, 1), cost.new_empty(batch, m, 1)
    return Prepared((cost,), lambda: (loss(rows, columns),), (cost.new_ones(batch),))


def _prepare_maghoumi(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from dtw_loss_functions.soft_dtw_implementations.soft_dtw_cuda_mag import _SoftDTWCUDA

    cost = _cost(case, inputs)
    gamma, unbanded = case.programs[0].gamma, 0.0
    return Prepared(
        (cost,),
        lambda: (_SoftDTWCUDA.apply(cost, gamma, unbanded),),
        (cost.new_ones(cost.shape[0]),),
    )


def _prepare_bgu(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from dtw_loss_functions.soft_dtw_implementations.soft_dtw_cuda_ron.autograd import (
        SoftDTWAutograd,
    )

    cost = _cost(case, inputs)
    gamma = case.programs[0].gamma
    return Prepared(
        (cost,),
        lambda: (SoftDTWAutograd.apply(cost, gamma, None),),
        (cost.new_ones(cost.shape[0]),),
    )


# pysdtw takes lengths, but then the gradient of a pair that is shorter on both sides is 1 at a
# cell of the padding; tslearn's loss takes none.
PEERS = (
    Implementation("ddtw", _is_dtw, _prepare_ddtw, ("ddtw", "numba")),
    Implementation("pysdtw", _is_dtw_of_full_tables, _prepare_pysdtw, ("pysdtw", "numba")),
    Implementation("tslearn", _is_dtw_of_full_tables, _prepare_tslearn, ("tslearn", "numba")),
)


def _short(case: Case) -> bool:
    """A diagonal in one block: a thread for each of its cells."""
    return all(max(program.n, program.m) <= 1024 for program in case.programs)


def _float32(case: Case) -> bool:
    return case.dtype == torch.float32


def _few(case: Case) -> bool:
    """For pysdtw: it gathers a square table of scores, and its backward loops over pairs."""
    return all(program.batch <= 4096 for program in case.programs)


CUDA_PEERS = (
    Implementation(
        "ddtw", lambda case: _is_dtw(case) and _short(case) and _float32(case), _prepare_ddtw,
        ("ddtw", "ninja"),
    ),
    Implementation(
        "pysdtw", lambda case: _is_dtw_of_full_tables(case) and _few(case), _prepare_pysdtw,
        ("pysdtw", "numba"),
    ),
    Implementation(
        "maghoumi", lambda case: _is_dtw_of_full_tables(case) and _short(case), _prepare_maghoumi,
        ("dtw_loss_functions", "numba"),
    ),
    Implementation(
        "sdtw-cuda-torch", _is_dtw_of_full_tables, _prepare_bgu, ("dtw_loss_functions", "numba")
    ),
)  # fmt: skip

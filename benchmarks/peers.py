"""Who runs a case: softdp, its pure-PyTorch reference, and the peers that are installed.

Peers compute soft-DTW only. They get the cost table whose negative softdp gets as the potential
of all three arcs, so their gradient with respect to the cost and softdp's with respect to the
potential are the same table, the expected alignment.
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
    """

    name: str
    runs: Callable[[Case], bool]
    prepare: Callable[[Case, Sequence[ProgramInputs]], Prepared]


def implementations() -> list[Implementation]:
    """Everything that is present, softdp first, peers last, all with PyTorch's thread count."""
    installed = [peer for peer in PEERS if _present(peer.name) and _present("numba")]
    if installed:
        import numba

        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, numba.get_num_threads()))
        # Numba starts its threads here, and over OpenMP that changes PyTorch's count as well.
        torch.set_num_threads(threads)
    return [SOFTDP, REFERENCE, *installed]


def _present(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _prepare_ours(functions: Any, case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    """functions: the package or module that holds edit_similarity and lcs."""
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
    gamma, tables, lengths = program.gamma, inputs.tables, inputs.lengths
    if program.kind == "lcs":
        return lambda: functions.lcs(tables[0], LCS_THRESHOLD, gamma=gamma, lengths=lengths)
    leading_gaps = "forbidden" if program.kind == "dtw" else "free"
    match = tables[0]
    insert, delete = {
        "dtw": (match, match),
        "numbers": (GAP, GAP),
        "tables": tables[1:],
    }[program.kind]
    return lambda: functions.edit_similarity(
        match, insert, delete, gamma=gamma, lengths=lengths, leading_gaps=leading_gaps
    )


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
    return (-program.tables[0]).requires_grad_(case.gradient)


def _prepare_ddtw(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from ddtw import SDTW

    cost = _cost(case, inputs)
    lengths = inputs[0].lengths
    n_lengths, m_lengths = (None, None) if lengths is None else lengths
    loss = SDTW(
        gamma=case.programs[0].gamma,
        normalization="none",
        backend="cpu_numba",
        dtype_float=cost.dtype,
    )
    # Its loss is the mean over the batch.
    return Prepared(
        (cost,),
        lambda: (loss(C=cost, list_N=n_lengths, list_M=m_lengths),),
        (cost.new_tensor(float(cost.shape[0])),),
    )


def _prepare_pysdtw(case: Case, inputs: Sequence[ProgramInputs]) -> Prepared:
    from pysdtw import SoftDTWcpu

    cost = _cost(case, inputs)
    batch, n, m = cost.shape
    lengths = torch.tensor([[n, m]]).expand(batch, 2).contiguous()
    gamma = case.programs[0].gamma
    unbanded = 0
    return Prepared(
        (cost,),
        lambda: (SoftDTWcpu.apply(cost, lengths, gamma, unbanded),),
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


# pysdtw takes lengths, but then the gradient of a pair that is shorter on both sides is 1 at a
# cell of the padding; tslearn's loss takes none.
PEERS = (
    Implementation("ddtw", _is_dtw, _prepare_ddtw),
    Implementation("pysdtw", _is_dtw_of_full_tables, _prepare_pysdtw),
    Implementation("tslearn", _is_dtw_of_full_tables, _prepare_tslearn),
)

"""The transducer lattice of speech recognition (Graves 2012)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softdp._extension import require_kernels
from softdp.arguments import GivenLengths, Lengths, check_lengths, check_table
from softdp.dtypes import compute_dtype, name_of
from softdp.ends import at, edit
from softdp.functional import core
from softdp.memory import named_when_short
from softdp.validation import EditInputs
from softdp.values import is_looked_at


@named_when_short
def rnnt(log_blank: Tensor, log_label: Tensor, *, lengths: GivenLengths | None = None) -> Tensor:
    """Negative log-likelihood of labels under a transducer: -log of the sum over all its paths.

        u  ▲ log_label[t, u]: label u + 1 is emitted at frame t
           │
           └──► log_blank[t, u]: on to frame t + 1, with u labels emitted

    A path begins at frame 0 without a label, and ends by the blank at the last frame with all of
    the labels. The gradients are, with a minus sign, how probable it is that a path takes an arc.

    Source: Graves, Sequence Transduction with Recurrent Neural Networks, 2012.

    Args:
        log_blank: log-probability of the blank, shape (..., T, U + 1) of T frames and U labels;
            float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        log_label: log-probability of label u + 1, shape (..., T, U), of the same dtype.
        lengths: (T_lengths, U_lengths), how many frames, at least 1, and labels count: two integer
            tensors of shape (...). What lies beyond is not read and has gradient 0.

    Returns:
        Shape (...), float32, or float64 for float64 input; inf, without gradient, where there is no
        path of probability above 0.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `log_blank`.

    Example:
        >>> log_blank, log_label = torch.full((4, 3), 0.5).log(), torch.full((4, 2), 0.5).log()
        >>> softdp.rnnt(log_blank, log_label).neg().exp()  # 10 paths of 6 steps
        tensor(0.1562)
    """
    log_blank, log_label, checked = _lattice_inputs("rnnt", log_blank, log_label, lengths)
    require_kernels("rnnt", log_blank.device)
    return negative_log_likelihood("rnnt", log_blank, log_label, checked)


def _lattice_inputs(
    op: str, log_blank: Tensor, log_label: Tensor, lengths: GivenLengths | None
) -> tuple[Tensor, Tensor, Lengths | None]:
    log_blank = check_table(op, "log_blank", log_blank)
    log_label = check_table(op, "log_label", log_label)
    *batch, frames, states = log_blank.shape
    if frames < 1 or states < 1:
        raise ValueError(
            f"{op}: log_blank must have shape (..., T, U + 1) with T >= 1 frames, got "
            f"{tuple(log_blank.shape)}"
        )
    if tuple(log_label.shape) != (*batch, frames, states - 1):
        raise ValueError(
            f"{op}: log_label must have shape {(*batch, frames, states - 1)} beside log_blank of "
            f"shape {tuple(log_blank.shape)}, got {tuple(log_label.shape)}"
        )
    if log_label.dtype != log_blank.dtype or log_label.device != log_blank.device:
        raise TypeError(
            f"{op}: log_label must be {name_of(log_blank.dtype)} on {log_blank.device} as log_blank"
            f" is, got {name_of(log_label.dtype)} on {log_label.device}"
        )
    counted = check_lengths(op, lengths, "log_label", log_label)
    if counted is not None and is_looked_at(counted[0]) and (counted[0] < 1).any():
        raise ValueError(f"{op}: lengths[0] must be in 1..{frames}, got 0")
    return log_blank, log_label, counted


def negative_log_likelihood(
    op: str, log_blank: Tensor, log_label: Tensor, lengths: Lengths | None
) -> Tensor:
    """By the edit recurrence: a blank consumes a frame, a label a label, and nothing matches.

    An arc there is worth what it says in the cell that it leads into; here, in the one that it
    leaves. So the cells are those of the frames after the first, the first frame is the border
    above them, and the last blank comes after the last cell.
    """
    *batch, frames, states = log_blank.shape
    blank, last_blank = log_blank[..., :-1, :], log_blank[..., -1, :]
    impossible = log_blank.new_full((), -math.inf).expand(*batch, frames - 1, states - 1)
    gamma = log_blank.new_ones((), dtype=compute_dtype(log_blank))
    ends = ("paid", "paid"), ("paid", "paid")
    if lengths is None:
        counted, end = None, last_blank[..., -1]
    else:
        counted = (lengths[0] - 1).clamp(min=0), lengths[1]
        row = counted[0][..., None, None].expand(*batch, 1, states)
        end = at(log_blank.gather(-2, row)[..., 0, :], lengths[1])
        end = torch.where(lengths[0] > 0, end, math.nan)  # on a GPU nobody has looked
    inputs = EditInputs(impossible, log_label, blank, gamma, counted, *ends, None)
    score = edit(core, op, inputs, minimise=False)[0]
    total = score + end.to(score.dtype)
    return 0 - torch.where(total == -math.inf, -math.inf, total)  # without a path, no gradient

"""The transducer loss from logits, of which the lattice takes two classes a cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from softdp._extension import require_kernels
from softdp.arguments import NUMBERS, as_integers, check_table, require_flags
from softdp.dtypes import as_float, compute_dtype
from softdp.memory import named_when_short
from softdp.transducer import negative_log_likelihood
from softdp.values import is_later, is_looked_at, require_within

_REDUCTIONS = ("none", "mean", "sum")


@named_when_short
def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = -1,
    clamp: float = -1,
    reduction: str = "mean",
    fused_log_softmax: bool = True,
    *,
    reuse_logits: bool = False,
) -> Tensor:
    """The transducer loss of a joint network's logits, with the arguments of torchaudio's function.

    The log-softmax is taken where the lattice needs it, of two classes a cell: beside the logits
    there is no tensor of their size but their gradient, which is written once. (Under torch.compile
    and torch.func, and for second derivatives, it is torch's own log-softmax, of all classes.)

    Source: Graves, Sequence Transduction with Recurrent Neural Networks, 2012.

    Args:
        logits: of the joint network, shape (B, T, U + 1, V); or packed, shape (sum over b of
            T_b (U_b + 1), V), each sample's cells one after the other, those of a frame together.
            float16, bfloat16 (both computed in float32), float32 or float64.
        targets: labels in 0..V - 1, none of them `blank`, shape (B, U), integers; what lies beyond
            the length of a target may be anything.
        logit_lengths: frames of each sample, 1..T, shape (B,), integers.
        target_lengths: labels of each sample, 0..U, shape (B,), integers.
        blank: the class of the blank; negative ones count from the last.
        clamp: if above 0, what the gradient of a sample's loss with respect to a logit is clamped
            to, before it is multiplied with the gradient of that loss. Then there are no second
            derivatives, and no torch.func, as with reuse_logits.
        reduction: "none", "mean" over the samples, or "sum".
        fused_log_softmax: whether `logits` are logits; False: they are log-probabilities already.
        reuse_logits: whether the backward may write the gradient into the logits, which are lost
            then: there is one backward.

    Returns:
        Shape (B,) or (), float32, or float64 for float64 input.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it.
        RuntimeError: no kernels for the device of `logits`.
        NotImplementedError: a second derivative was asked for with clamp or reuse_logits.

    Example:
        >>> logits = torch.zeros(1, 4, 3, 2, requires_grad=True)
        >>> loss = softdp.rnnt_loss(
        ...     logits, torch.tensor([[1, 1]]), torch.tensor([4]), torch.tensor([2]), blank=0
        ... )
        >>> loss.detach().neg().exp()  # 10 paths of 6 steps of 1/2
        tensor(0.1562)
    """
    op = "rnnt_loss"
    given = _loss_inputs(
        op, logits, targets, logit_lengths, target_lengths, blank, clamp, reduction,
        fused_log_softmax, reuse_logits,
    )  # fmt: skip
    require_kernels(op, given.logits.device)
    if is_later() and not (given.clamp > 0 or reuse_logits):
        # What looks on differentiates by itself.
        arcs = _two_classes(given.logits, given.label, given.blank, fused_log_softmax)
    else:
        last = given.last_rows() if given.clamp > 0 else None
        options = given.blank, given.clamp, fused_log_softmax, reuse_logits
        arcs = _TwoClasses.apply(given.logits, given.label, last, *options)
    log_blank, log_label = (given.in_lattice(arc) for arc in arcs)
    lengths = given.frames, given.labels
    loss = negative_log_likelihood(op, log_blank, log_label[..., :-1], lengths)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


class RNNTLoss(nn.Module):
    """`softdp.rnnt_loss` with its options held.

    Example:
        >>> loss = softdp.RNNTLoss(blank=0)
        >>> logits = torch.zeros(1, 4, 3, 2)
        >>> loss(logits, torch.tensor([[1, 1]]), torch.tensor([4]), torch.tensor([2]))
        tensor(1.8563)
    """

    def __init__(
        self,
        blank: int = -1,
        clamp: float = -1,
        reduction: str = "mean",
        fused_log_softmax: bool = True,
    ) -> None:
        super().__init__()
        self.blank = blank
        self.clamp = clamp
        self.reduction = reduction
        self.fused_log_softmax = fused_log_softmax

    def extra_repr(self) -> str:
        """What the module holds."""
        return f"blank={self.blank}, clamp={self.clamp}, reduction={self.reduction!r}"

    def forward(
        self, logits: Tensor, targets: Tensor, logit_lengths: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Loss, shape (B,) or (), of logits of shape (B, T, U + 1, V), or packed."""
        return rnnt_loss(
            logits, targets, logit_lengths, target_lengths, self.blank, self.clamp,
            self.reduction, self.fused_log_softmax,
        )  # fmt: skip


def _loss_inputs(
    op: str,
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    clamp: float,
    reduction: str,
    fused_log_softmax: bool,
    reuse_logits: bool,
) -> _Loss:
    logits = check_table(op, "logits", logits)
    if logits.dim() not in (2, 4):
        raise ValueError(
            f"{op}: logits must have shape (B, T, U + 1, V), or (cells, V) packed, got "
            f"{tuple(logits.shape)}"
        )
    classes = logits.shape[-1]
    targets, frames, labels = (
        as_integers(op, name, given, logits.device).to(logits.device, torch.int64)
        for name, given in (
            ("targets", targets),
            ("logit_lengths", logit_lengths),
            ("target_lengths", target_lengths),
        )
    )
    if not isinstance(blank, int) or not -classes <= blank < classes:
        raise ValueError(f"{op}: blank must be one of the {classes} classes, got {blank!r}")
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f"{op}: reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}"
        )
    if not isinstance(clamp, NUMBERS):
        raise TypeError(f"{op}: clamp must be a number, got {type(clamp).__name__}")
    clamp = as_float(op, "clamp", clamp, compute_dtype(logits))
    require_flags(op, fused_log_softmax=fused_log_softmax, reuse_logits=reuse_logits)
    if targets.dim() != 2:
        raise ValueError(f"{op}: targets must have shape (B, U), got {tuple(targets.shape)}")
    samples, most_labels = targets.shape
    for name, length in (("logit_lengths", frames), ("target_lengths", labels)):
        if length.shape != (samples,):
            raise ValueError(
                f"{op}: {name} must have shape ({samples},) beside targets of shape "
                f"{tuple(targets.shape)}, got {tuple(length.shape)}"
            )
    blank %= classes
    if logits.dim() == 4:
        batch, most_frames, states, _ = logits.shape
        if batch != samples or states != most_labels + 1 or most_frames < 1:
            raise ValueError(
                f"{op}: logits must have shape (B, T, U + 1, V) with T >= 1 beside targets (B, U) "
                f"of shape {tuple(targets.shape)}, got {tuple(logits.shape)}"
            )
    elif not is_looked_at(frames):
        raise ValueError(f"{op}: packed logits need lengths that can be looked at: on the CPU")
    else:
        most_frames = max(frames.tolist(), default=1)
    require_within(frames, most_frames, lambda: f"{op}: logit_lengths must be in 1..{most_frames}")
    require_within(labels, most_labels, lambda: f"{op}: target_lengths must be in 0..{most_labels}")
    if is_looked_at(frames) and (frames < 1).any():
        raise ValueError(
            f"{op}: logit_lengths must be in 1..{most_frames}, got {int(frames.min())}"
        )
    there = torch.arange(most_labels, device=logits.device) < labels[:, None]
    if is_looked_at(targets):
        amiss = there & ((targets < 0) | (targets >= classes) | (targets == blank))
        if amiss.any():
            raise ValueError(
                f"{op}: targets must be classes in 0..{classes - 1} but the blank {blank}, got "
                f"{int(targets[amiss][0])}"
            )
    # A number beyond the classes would be read beyond the logits.
    targets = torch.where(there, targets.clamp(0, classes - 1), 0)
    own = torch.cat([targets, targets.new_zeros(samples, 1)], 1)
    own = own[:, None].expand(samples, most_frames, most_labels + 1)
    if logits.dim() == 4:
        rows, label = logits.flatten(0, 2), own.flatten()
        return _Loss(rows, label, None, own.shape, frames, labels, blank, clamp)
    each = frames * (labels + 1)
    if int(each.sum()) != logits.shape[0]:
        raise ValueError(
            f"{op}: packed logits must have the sum of T_b (U_b + 1) rows, {int(each.sum())}, got "
            f"{logits.shape[0]}"
        )
    t, u = (torch.arange(size, device=logits.device) for size in own.shape[1:])
    first, of_sample, most = (x[:, None, None] for x in (each.cumsum(0) - each, frames, labels))
    inside = (t[:, None] < of_sample) & (u <= most)
    cells = torch.where(inside, first + t[:, None] * (most + 1) + u, 0)
    return _Loss(logits, own[inside], cells, own.shape, frames, labels, blank, clamp)


class _Loss(NamedTuple):
    """Checked arguments of rnnt_loss."""

    logits: Tensor  # (rows, V): a row for each cell
    label: Tensor  # (rows,), int64: the class of the next label, any where there is none
    cells: Tensor | None  # (B, T, U + 1): in which row a cell is; None: row after row
    shape: torch.Size  # (B, T, U + 1)
    frames: Tensor  # (B,)
    labels: Tensor  # (B,)
    blank: int
    clamp: float

    def in_lattice(self, of_rows: Tensor) -> Tensor:
        """What rows have, by cells: (B, T, U + 1)."""
        return of_rows.view(self.shape) if self.cells is None else of_rows[self.cells]

    def last_rows(self) -> Tensor:
        """For each row that of the cell in which its sample's paths end."""
        if self.cells is None:
            samples, frames, states = self.shape
            first = torch.arange(samples, device=self.labels.device) * frames * states
            last = first + (self.frames - 1).clamp(min=0) * states + self.labels
            return last.repeat_interleave(frames * states)
        each = self.frames * (self.labels + 1)
        return (each.cumsum(0) - 1).repeat_interleave(each)


class _TwoClasses(torch.autograd.Function):
    """Log-probabilities of the blank and of a label, of rows of logits; a piece at a time.

    A piece stays in a processor's cache, and what is as large as the logits is their gradient
    alone.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        label: Tensor,
        last: Tensor | None,
        blank: int,
        clamp: float,
        normalises: bool,
        reuse: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype = compute_dtype(logits)
        rows = logits.shape[0]
        of_blank, of_label, total = (logits.new_empty(rows, dtype=dtype) for _ in range(3))
        for piece in _pieces(logits):
            own = logits[piece].to(dtype)
            torch.gather(own, 1, label[piece, None], out=of_label[piece, None])
            of_blank[piece] = own[:, blank]
            if normalises:
                total[piece] = own.logsumexp(-1)
        if normalises:
            of_blank -= total
            of_label -= total
        ctx.save_for_backward(logits, label, last, total if normalises else None)
        ctx.options = blank, clamp, reuse
        return of_blank, of_label

    @staticmethod
    def backward(ctx: Any, blank_gradient: Tensor, label_gradient: Tensor) -> Any:
        logits, label, last, total = ctx.saved_tensors
        blank, clamp, reuse = ctx.options
        if torch.is_grad_enabled():  # somebody differentiates once more
            if reuse or last is not None:  # what is clamped is no gradient of anything
                raise NotImplementedError(
                    "rnnt_loss: with clamp or reuse_logits there are no second derivatives"
                )
            arcs = _two_classes(logits, label, blank, total is not None)
            given = blank_gradient, label_gradient
            (gradient,) = torch.autograd.grad(arcs, logits, given, create_graph=True)
            return gradient, *(None,) * 6
        gradient = logits.detach() if reuse else torch.empty_like(logits)
        factor = -(blank_gradient + label_gradient)
        nothing = factor == 0  # whatever the logits are there
        # All paths of a sample go through its last blank, whose gradient is that of its loss.
        bound = None if last is None else clamp * blank_gradient[last].abs()[:, None]
        for piece in _pieces(logits):
            if total is None:
                own = torch.zeros_like(logits[piece], dtype=factor.dtype)
            else:
                own = (logits[piece] - total[piece, None]).exp_().mul_(factor[piece, None])
                own.masked_fill_(nothing[piece, None], 0)
            own[:, blank] += blank_gradient[piece]
            own.scatter_add_(1, label[piece, None], label_gradient[piece, None])
            if bound is not None:
                own = own.clamp(-bound[piece], bound[piece])
            gradient[piece] = own
        return gradient, *(None,) * 6


def _pieces(logits: Tensor) -> Iterator[slice]:
    rows, classes = logits.shape
    numbers = 2**17 if logits.is_cpu else 2**26
    step = max(1, numbers // max(1, classes))
    return (slice(first, first + step) for first in range(0, rows, step))


def _two_classes(
    logits: Tensor, label: Tensor, blank: int, normalises: bool
) -> tuple[Tensor, Tensor]:
    """As _TwoClasses has them, in torch's own functions."""
    logits = logits.to(compute_dtype(logits))
    if normalises:
        logits = logits.log_softmax(-1)
    return logits[:, blank], logits.gather(1, label[:, None])[:, 0]

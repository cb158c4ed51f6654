"""The transducer lattice and its loss: a recurrence and every path, padding, packing, clamping."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import softdp
from tests.softdp.support import gradients, normal

SIZES = [(1, 0), (1, 1), (1, 3), (2, 0), (2, 1), (3, 1), (4, 3), (2, 5), (5, 2)]
FRAMES, LABELS = torch.tensor([6, 3, 1]), torch.tensor([4, 2, 0])  # of three samples of 6 x 4
B, T, U, V = 3, 6, 4, 7
BLANK = 2


def by_recurrence(log_blank: Tensor, log_label: Tensor) -> Tensor:
    """Graves's alpha, a cell at a time."""
    frames, states = log_blank.shape
    alpha = {(0, 0): log_blank.new_zeros(())}
    for t, u in itertools.product(range(frames), range(states)):
        if t == u == 0:
            continue
        terms = [alpha[t - 1, u] + log_blank[t - 1, u]] if t else []
        terms += [alpha[t, u - 1] + log_label[t, u - 1]] if u else []
        alpha[t, u] = torch.stack(terms).logsumexp(0)
    return -(alpha[frames - 1, states - 1] + log_blank[-1, -1])


def by_paths(log_blank: Tensor, log_label: Tensor) -> Tensor:
    """Every order of blanks and labels of which the last is a blank."""
    frames, labels = log_label.shape
    found = []
    for places in itertools.combinations(range(frames - 1 + labels), labels):
        t = u = 0
        path = log_blank.new_zeros(())
        for step in range(frames - 1 + labels):
            if step in places:
                path, u = path + log_label[t, u], u + 1
            else:
                path, t = path + log_blank[t, u], t + 1
        found.append(path + log_blank[t, u])
    return -torch.stack(found).logsumexp(0)


def drawn(batch: int, frames: int, labels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    log_blank = normal(batch, frames, labels + 1, seed=1, device=device)
    log_label = normal(batch, frames, labels, seed=2, device=device) - 1
    return log_blank.requires_grad_(), log_label.requires_grad_()


@pytest.mark.parametrize(("frames", "labels"), SIZES)
def test_every_path(device: torch.device, frames: int, labels: int) -> None:
    leaves = drawn(2, frames, labels, device)
    for oracle in (by_recurrence, by_paths):
        found = softdp.rnnt(*leaves)
        wanted = torch.stack([oracle(*(leaf[k] for leaf in leaves)) for k in range(2)])
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(gradients(found, leaves), gradients(wanted, leaves))
    assert gradcheck(softdp.rnnt, leaves)
    assert gradgradcheck(softdp.rnnt, leaves)


def test_lengths_and_what_lies_beyond(device: torch.device) -> None:
    leaves = drawn(B, T, U, device)
    with torch.no_grad():
        for k, (frames, labels) in enumerate(zip(FRAMES.tolist(), LABELS.tolist(), strict=True)):
            for leaf, states in zip(leaves, (labels + 1, labels), strict=True):
                leaf[k, frames:] = math.nan
                leaf[k, :, states:] = math.inf
    found = softdp.rnnt(*leaves, lengths=(FRAMES, LABELS))
    parts = [
        (leaves[0][k, :t, : u + 1], leaves[1][k, :t, :u])
        for k, (t, u) in enumerate(zip(FRAMES.tolist(), LABELS.tolist(), strict=True))
    ]
    wanted = torch.stack([by_recurrence(*part) for part in parts])
    torch.testing.assert_close(found, wanted)
    for got, want in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(got, want)


def test_gradients_are_the_probabilities_of_arcs(device: torch.device) -> None:
    log_blank, log_label = drawn(4, 9, 5, device)
    loss = softdp.rnnt(log_blank, log_label)
    blank, label = (-x for x in gradients(loss, (log_blank, log_label)))
    ones = torch.ones(4, dtype=torch.float64, device=device)
    torch.testing.assert_close(blank.sum(-1), ones[:, None].expand(4, 9))  # each frame is left once
    torch.testing.assert_close(label.sum(-2), ones[:, None].expand(4, 5))  # each label emitted once
    torch.testing.assert_close(blank[:, -1, -1], ones)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in drawn(3, 50, 20, device)]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    found, wanted = softdp.rnnt(*leaves), softdp.rnnt(*exact)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    tolerance = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    for got, want in zip(gradients(found, leaves), gradients(wanted, exact), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


def test_labels_that_cannot_be(device: torch.device) -> None:
    log_blank, log_label = drawn(2, 3, 2, device)
    with torch.no_grad():
        log_label[0, :, 1] = -math.inf
        log_blank[1, -1, -1] = -math.inf
    loss = softdp.rnnt(log_blank, log_label)
    assert loss.tolist() == [math.inf, math.inf]
    assert all((gradient == 0).all() for gradient in gradients(loss, (log_blank, log_label)))
    with torch.no_grad():
        log_label[0, 0, 0] = math.nan
        log_label[0, :, 1] = 0
    assert softdp.rnnt(log_blank, log_label)[0].isnan()


def test_func_and_compile(device: torch.device) -> None:
    log_blank, log_label = (leaf.detach() for leaf in drawn(3, 5, 4, device))
    loss = softdp.rnnt(log_blank, log_label)
    torch.testing.assert_close(torch.vmap(softdp.rnnt)(log_blank, log_label), loss)
    leaf = log_blank.clone().requires_grad_()
    (wanted,) = gradients(softdp.rnnt(leaf, log_label), [leaf])
    torch.testing.assert_close(
        torch.vmap(torch.func.grad(softdp.rnnt))(log_blank, log_label), wanted
    )
    compiled = torch.compile(softdp.rnnt, fullgraph=True)
    torch.testing.assert_close(compiled(leaf, log_label), loss)


# ---- the loss ----


def logits_and_targets(device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(0, V - 1, (B, U), generator=generator)
    targets += targets >= BLANK
    return normal(B, T, U + 1, V, seed=1, device=device), targets.to(device)


def specified(logits: Tensor, targets: Tensor, normalises: bool = True) -> Tensor:
    """The loss of each sample, shape (B,)."""
    log_p = logits.log_softmax(-1) if normalises else logits
    found = []
    for k, (t, u) in enumerate(zip(FRAMES.tolist(), LABELS.tolist(), strict=True)):
        own = log_p[k, :t, : u + 1]
        labels = targets[k, :u].expand(t, u)[..., None]
        found.append(by_recurrence(own[..., BLANK], own[:, :u].gather(-1, labels)[..., 0]))
    return torch.stack(found)


def loss(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    options = {"blank": BLANK, "reduction": "none", **options}
    return softdp.rnnt_loss(logits, targets, FRAMES, LABELS, **options)


def packed(logits: Tensor) -> Tensor:
    sizes = zip(FRAMES.tolist(), LABELS.tolist(), strict=True)
    return torch.cat([logits[k, :t, : u + 1].flatten(0, 1) for k, (t, u) in enumerate(sizes)])


def test_the_loss_and_its_reductions(device: torch.device) -> None:
    logits, targets = logits_and_targets(device)
    logits.requires_grad_()
    wanted = specified(logits, targets)
    assert gradcheck(lambda x: loss(x, targets), logits)
    assert gradgradcheck(lambda x: loss(x, targets), logits)
    torch.testing.assert_close(loss(logits, targets), wanted)
    torch.testing.assert_close(loss(logits, targets, reduction="sum"), wanted.sum())
    torch.testing.assert_close(loss(logits, targets, reduction="mean"), wanted.mean())
    torch.testing.assert_close(loss(logits, targets, blank=BLANK - V), wanted)
    log_p = logits.detach().log_softmax(-1).requires_grad_()
    found = loss(log_p, targets, fused_log_softmax=False)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        gradients(found, [log_p]), gradients(specified(log_p, targets, False), [log_p])
    )
    packed_loss = loss(packed(logits), targets)
    torch.testing.assert_close(packed_loss, wanted)
    torch.testing.assert_close(gradients(packed_loss, [logits]), gradients(wanted, [logits]))


def test_padding_is_not_read(device: torch.device) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.clone().requires_grad_()
    (wanted,) = gradients(specified(leaf, targets), [leaf])
    for k, (t, u) in enumerate(zip(FRAMES.tolist(), LABELS.tolist(), strict=True)):
        logits[k, t:] = math.nan
        logits[k, :, u + 1 :] = math.inf
        targets[k, u:] = -100
    logits.requires_grad_()
    (gradient,) = gradients(loss(logits, targets), [logits])
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("form", ["padded", "packed"])
def test_what_is_clamped_is_the_gradient_of_a_samples_loss(device: torch.device, form: str) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.clone().requires_grad_()
    upstream = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64, device=device)
    each = [gradients(specified(leaf, targets)[k], [leaf])[0][k] for k in range(B)]
    wanted = torch.stack([x.clamp(-0.1, 0.1) * w for x, w in zip(each, upstream, strict=True)])
    assert not torch.stack(each).abs().le(0.1).all()
    given = logits.clone().requires_grad_()
    found = loss(packed(given) if form == "packed" else given, targets, clamp=0.1)
    torch.testing.assert_close(gradients(found, [given], upstream)[0], wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_gradient_may_take_the_place_of_the_logits(
    device: torch.device, dtype: torch.dtype
) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.to(dtype).requires_grad_()
    (wanted,) = gradients(loss(leaf, targets), [leaf])
    made = leaf * 1
    before = made.data_ptr()
    found = loss(made, targets, reuse_logits=True)
    (gradient,) = torch.autograd.grad(found.sum(), [made])
    assert gradient.data_ptr() == before
    assert gradient.equal(wanted)


@pytest.mark.parametrize("options", [{"clamp": 0.1}, {"reuse_logits": True}])
def test_what_is_clamped_or_overwritten_has_no_second_derivative(
    device: torch.device, options: dict[str, Any]
) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.requires_grad_()
    found = loss(leaf * 1, targets, **options).sum()
    with pytest.raises(NotImplementedError, match=r"^rnnt_loss: with clamp or reuse_logits"):
        torch.autograd.grad(found, leaf, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_loss_in_other_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.to(dtype).requires_grad_()
    exact = leaf.detach().double().requires_grad_()
    found, wanted = loss(leaf, targets), specified(exact, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    (got,), (want,) = gradients(found, [leaf]), gradients(wanted, [exact])
    assert got.dtype == dtype
    tolerance = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


def test_many_classes_in_pieces(device: torch.device) -> None:
    logits, targets = (
        normal(2, 9, 5, 5000, seed=1, device=device),
        torch.tensor([[1, 7, 4999, 3]] * 2),
    )
    lengths = torch.tensor([9, 7]), torch.tensor([4, 3])
    leaf = logits.requires_grad_()
    found = softdp.rnnt_loss(leaf, targets, *lengths, blank=0)
    log_p = leaf.log_softmax(-1)
    label = targets.to(device)[:, None, :, None].expand(2, 9, 4, 1)
    arcs = log_p[..., 0], log_p[:, :, :-1].gather(-1, label)[..., 0]
    wanted = softdp.rnnt(*arcs, lengths=lengths).mean()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, [leaf]), gradients(wanted, [leaf]))


def test_the_loss_compiled_and_under_func(device: torch.device) -> None:
    logits, targets = logits_and_targets(device)
    leaf = logits.clone().requires_grad_()
    (wanted,) = gradients(loss(leaf, targets), [leaf])
    compiled = torch.compile(lambda x: loss(x, targets), fullgraph=True)
    torch.testing.assert_close(compiled(leaf), loss(leaf, targets))
    torch.testing.assert_close(gradients(compiled(leaf), [leaf])[0], wanted)
    torch.testing.assert_close(torch.func.grad(lambda x: loss(x, targets).sum())(logits), wanted)


@pytest.mark.host
@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 3)), {}, ValueError, r"log_label must have shape"),
        ((torch.zeros(0, 3), torch.zeros(0, 2)), {}, ValueError, "T >= 1 frames"),
        ((torch.zeros(2, 0), torch.zeros(2, 0)), {}, ValueError, "T >= 1 frames"),
        ((torch.zeros(2, 3), torch.zeros(2, 2).double()), {}, TypeError, "log_label must be"),
        ((torch.zeros(2, 3), 1.0), {}, TypeError, "log_label must be a tensor"),
        (
            (torch.zeros(1, 2, 3), torch.zeros(1, 2, 2)),
            {"lengths": ([0], [1])}, ValueError, r"lengths\[0\] must be in 1\.\.2, got 0",
        ),
        (
            (torch.zeros(1, 2, 3), torch.zeros(1, 2, 2)),
            {"lengths": ([1], [3])}, ValueError, r"lengths\[1\] must be in 0\.\.2, got 3",
        ),
    ],
)  # fmt: skip
def test_lattices_that_are_refused(
    given: tuple[Any, Any], options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=f"^rnnt: .*{message}"):
        softdp.rnnt(*given, **options)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"logits": torch.zeros(3, 6, 5)},
            ValueError,
            r"logits must have shape \(B, T, U \+ 1, V\)",
        ),
        (
            {"logits": torch.zeros(3, 6, 4, 7)},
            ValueError,
            "logits must have shape .* beside targets",
        ),
        ({"logits": torch.zeros(7, 7)}, ValueError, "must have the sum of .* rows, 40, got 7"),
        ({"targets": torch.zeros(3, 4)}, TypeError, "targets must be of integers"),
        (
            {"targets": torch.full((3, 4), 7)},
            ValueError,
            r"targets must be classes in 0\.\.6 .* got 7",
        ),
        ({"targets": torch.full((3, 4), BLANK)}, ValueError, "but the blank 2, got 2"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, ValueError, r"shape \(B, U\), got \(3,\)"),
        (
            {"logit_lengths": torch.tensor([6, 3])},
            ValueError,
            r"logit_lengths must have shape \(3,\)",
        ),
        ({"logit_lengths": torch.tensor([7, 3, 1])}, ValueError, r"must be in 1\.\.6, got 7"),
        ({"logit_lengths": torch.tensor([6, 3, 0])}, ValueError, r"must be in 1\.\.6, got 0"),
        ({"target_lengths": torch.tensor([5, 2, 0])}, ValueError, r"must be in 0\.\.4, got 5"),
        ({"blank": 7}, ValueError, "blank must be one of the 7 classes, got 7"),
        ({"blank": 1.5}, ValueError, "blank must be one of the 7 classes"),
        ({"clamp": "1"}, TypeError, "clamp must be a number"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of none, mean, sum"),
        ({"fused_log_softmax": 1}, TypeError, "fused_log_softmax must be True or False"),
    ],
)
def test_losses_that_are_refused(changes: dict[str, Any], error: type, message: str) -> None:
    logits, targets = logits_and_targets(torch.device("cpu"))
    given: dict[str, Any] = {"logits": logits, "targets": targets, "blank": BLANK}
    given |= {"logit_lengths": FRAMES, "target_lengths": LABELS, **changes}
    with pytest.raises(error, match=f"^rnnt_loss: .*{message}"):
        softdp.rnnt_loss(**given)

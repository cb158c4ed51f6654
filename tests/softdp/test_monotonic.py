"""Monotonic alignment: every path, and the search by the plain loop."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import softdp
from tests.softdp.support import gradients, normal

SIZES = [(1, 1), (1, 5), (3, 3), (3, 6), (4, 2), (0, 0), (2, 0), (0, 2)]


def tokens_of_every_path(n: int, m: int) -> list[tuple[int, ...]]:
    """The token of each frame."""
    if m < n or n == 0:
        return [()] if n == m == 0 else []
    found = []
    for starts in itertools.combinations(range(1, m), n - 1):
        found.append(tuple(sum(start <= j for start in starts) for j in range(m)))
    return found


def worth(log_p: Tensor, path: tuple[int, ...]) -> Tensor:
    return sum((log_p[i, j] for j, i in enumerate(path)), log_p.new_zeros(()))


def table_of(path: tuple[int, ...], n: int, m: int) -> Tensor:
    table = torch.zeros(n, m, dtype=torch.float64)
    for j, i in enumerate(path):
        table[i, j] = 1
    return table


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_every_path(device: torch.device, n: int, m: int) -> None:
    log_p, gamma = normal(3, n, m, seed=1), torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    leaf = log_p.to(device).requires_grad_()
    hard = softdp.monotonic_alignment(leaf)
    soft = softdp.monotonic_alignment(leaf, gamma=gamma.to(device))
    assert not hard.alignment.requires_grad
    for k in range(3):
        paths = tokens_of_every_path(n, m)
        if not paths:
            assert hard.score[k] == soft.score[k] == -math.inf
            assert (hard.alignment[k] == 0).all()
            assert (soft.alignment[k] == 0).all()
            continue
        values = torch.stack([worth(log_p[k], path) for path in paths])
        tables = torch.stack([table_of(path, n, m) for path in paths])
        best = int(values.argmax())
        torch.testing.assert_close(hard.score[k].cpu(), values[best])
        assert hard.alignment[k].cpu().equal(tables[best])
        shares = (values / gamma[k]).softmax(0)
        torch.testing.assert_close(
            soft.score[k].detach().cpu(), gamma[k] * (values / gamma[k]).logsumexp(0)
        )
        posterior = (shares[:, None, None] * tables).sum(0)
        torch.testing.assert_close(soft.alignment[k].detach().cpu(), posterior)
    (gradient,) = gradients(soft.score, [leaf])
    torch.testing.assert_close(gradient, soft.alignment.detach())


def test_lengths_and_what_lies_beyond(device: torch.device) -> None:
    lengths = torch.tensor([4, 2, 1, 3]), torch.tensor([7, 5, 1, 2])
    log_p = normal(4, 4, 7, seed=1).to(device)
    padded = log_p.clone()
    for k, (n, m) in enumerate(zip(*(x.tolist() for x in lengths), strict=True)):
        padded[k, n:] = padded[k, :, m:] = math.nan
    for gamma in (0.0, 0.7):
        found = softdp.monotonic_alignment(padded, gamma=gamma, lengths=lengths)
        for k, (n, m) in enumerate(zip(*(x.tolist() for x in lengths), strict=True)):
            alone = softdp.monotonic_alignment(log_p[k, :n, :m], gamma=gamma)
            torch.testing.assert_close(found.score[k], alone.score)
            torch.testing.assert_close(found.alignment[k, :n, :m], alone.alignment)
            assert found.alignment[k].sum() == alone.alignment.sum()


@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_the_reference(device: torch.device, gamma: float) -> None:
    lengths = torch.tensor([20, 9, 1, 3]), torch.tensor([33, 33, 5, 2])
    log_p = normal(4, 20, 33, seed=1).to(device)
    found = softdp.monotonic_alignment(log_p, gamma=gamma, lengths=lengths)
    wanted = softdp.reference.monotonic_alignment(log_p, gamma=gamma, lengths=lengths)
    torch.testing.assert_close(found, wanted)
    assert not wanted.alignment.requires_grad
    assert not wanted.score.requires_grad
    leaf = log_p.clone().requires_grad_()
    wanted = softdp.reference.monotonic_alignment(leaf, gamma=gamma, lengths=lengths)
    found = softdp.monotonic_alignment(leaf, gamma=gamma, lengths=lengths)
    assert wanted.score.requires_grad == found.score.requires_grad == (gamma > 0)
    if gamma:
        both = (
            gradients(x.score + x.alignment.square().sum((-2, -1)), [leaf]) for x in (found, wanted)
        )
        torch.testing.assert_close(*both)


def by_loop(log_p: Tensor) -> Tensor:
    """Glow-TTS's search; in ties the token before."""
    n, m = log_p.shape
    best = torch.full((n, m), -math.inf, dtype=torch.float64)
    for j in range(m):
        for i in range(min(n, j + 1)):
            before = [best[i, j - 1]] if j else []
            before += [best[i - 1, j - 1]] if i and j else []
            best[i, j] = log_p[i, j] + (max(before) if before else (0.0 if i == 0 else -math.inf))
    found, i = torch.zeros_like(log_p), n - 1
    for j in range(m - 1, -1, -1):
        found[i, j] = 1
        if i and (i == j or best[i, j - 1] <= best[i - 1, j - 1]):
            i -= 1
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_search_of_glow_tts(device: torch.device, dtype: torch.dtype) -> None:
    log_p = (normal(3, 37, 90, seed=1) * 8).round() / 8  # sums are exact, and ties real
    found = softdp.monotonic_alignment(log_p.to(device, dtype)).alignment
    assert found.dtype == dtype
    for k in range(3):
        assert found[k].cpu().double().equal(by_loop(log_p[k]))


def test_posteriors_have_derivatives(device: torch.device) -> None:
    log_p = normal(2, 3, 5, seed=1).to(device).requires_grad_()
    gamma = torch.tensor(0.8, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x, g: softdp.monotonic_alignment(x, gamma=g), (log_p, gamma))
    x = log_p.detach()
    together = softdp.monotonic_alignment(x, gamma=0.8)
    for one, other in zip(
        torch.vmap(lambda x: softdp.monotonic_alignment(x, gamma=0.8))(x), together, strict=True
    ):
        torch.testing.assert_close(one, other)


def test_it_compiles(device: torch.device) -> None:
    log_p = normal(2, 3, 5, seed=1).to(device)
    for gamma in (0.0, 0.8):
        compiled = torch.compile(
            lambda x, gamma=gamma: softdp.monotonic_alignment(x, gamma=gamma), fullgraph=True
        )
        wanted = softdp.monotonic_alignment(log_p, gamma=gamma)
        for one, other in zip(compiled(log_p), wanted, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.host
@pytest.mark.parametrize(
    ("log_p", "options", "error", "message"),
    [
        (torch.zeros(3), {}, ValueError, "log_p must have shape"),
        (torch.zeros(2, 3, dtype=torch.int64), {}, TypeError, "log_p must be float16"),
        (torch.zeros(2, 3), {"gamma": -1.0}, ValueError, "gamma must be >= 0"),
        (torch.zeros(2, 3), {"lengths": (3, 3)}, ValueError, r"lengths\[0\] must be in 0\.\.2"),
    ],
)
def test_what_does_not_fit_is_refused(
    log_p: Tensor, options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=f"^monotonic_alignment: .*{message}"):
        softdp.monotonic_alignment(log_p, **options)

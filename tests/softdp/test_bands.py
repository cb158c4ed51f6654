"""Bands: paths that pass only some columns of each row."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import softdp
from softdp import reference
from tests.softdp.path_enumeration import Rules, Table, score
from tests.softdp.support import gradients, normal


def bounds(*shape: int, m: int, seed: int) -> Tensor:
    """Bounds that no path could follow everywhere: some rows are empty, some pairs blocked."""
    drawn = torch.randint(0, m + 1, (*shape, 2), generator=torch.Generator().manual_seed(seed))
    drawn = drawn.sort(-2).values
    return torch.stack([drawn[..., 0] // 2, drawn[..., 1]], -1)


@pytest.mark.parametrize("seed", range(6))
def test_a_band_against_every_path(
    implementation: ModuleType, device: torch.device, seed: int
) -> None:
    n, m = 4, 4
    band = bounds(n, m=m, seed=seed)
    shapes = (n, m), (n + 1, m), (n, m + 1)
    leaves = [normal(*each, seed=k).to(device).requires_grad_() for k, each in enumerate(shapes)]
    result = implementation.edit_similarity(
        *leaves, gamma=0.7, band=band.to(device),
        leading_gaps=("free", "paid"), trailing_gaps=("paid", "free"),
    )  # fmt: skip
    table = Table(*(leaf.detach().cpu().numpy() for leaf in leaves))
    wanted = score(table, 0.7, Rules(("free", "paid"), ("paid", "free"), band.numpy()))
    np.testing.assert_allclose(result.item(), wanted.score, rtol=1e-10)
    for gradient, expected in zip(gradients(result, leaves), wanted.table, strict=True):
        np.testing.assert_allclose(gradient.cpu().numpy(), expected, atol=1e-10)


SHAPES = [(1, 5, 5), (3, 40, 40), (5, 70, 33), (17, 30, 90), (2, 33, 200), (1, 200, 31)]
FORMS: dict[str, Any] = {
    "edit_similarity": ((-0.3, -0.2), {"leading_gaps": ("paid", "free"), "trailing_gaps": "free"}),
    "edit_distance": ((0.3, 0.2), {}),
    "lcs": ((0.5,), {"gate_width": 0.2}),
    "soft_dtw": ((), {"open_end": True}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMS)
def test_bands_agree_with_the_reference(
    compiled: ModuleType,
    device: torch.device,
    name: str,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
) -> None:
    batch, n, m = shape
    rest, options = FORMS[name]
    table = torch.sigmoid(normal(*shape, seed=1)).to(device, dtype).requires_grad_()
    gamma = torch.full((batch,), 0.3, dtype=dtype, device=device, requires_grad=True)
    ragged = torch.arange(batch) % n + 1, (torch.arange(batch) * 5) % m + 1
    for band in (0, 3, m // 4, bounds(batch, n, m=m, seed=1), bounds(n, m=m, seed=2)):
        for lengths in (None, ragged):
            outcomes = []
            for module in (compiled, reference):
                result = getattr(module, name)(
                    table, *rest, gamma=gamma, lengths=lengths,
                    band=band if isinstance(band, int) else band.to(device), **options,
                )  # fmt: skip
                finite = result.masked_fill(result.isinf(), 0)
                outcomes.append((result, *gradients(finite, [table, gamma])))
            tolerance = 1e-10 if dtype == torch.float64 else 5e-4
            for got, wanted in zip(*outcomes, strict=True):
                torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def test_nothing_outside_a_band_is_read(compiled: ModuleType, device: torch.device) -> None:
    inside = torch.zeros(40, 60, dtype=torch.bool)
    for row, (first, last) in enumerate(softdp.sakoe_chiba(40, 60, 4).tolist()):
        inside[row, first:last] = True
    cost = normal(40, 60, seed=1).to(device)
    poisoned = cost.masked_fill(~inside.to(device), float("nan")).requires_grad_()
    result = compiled.soft_dtw(poisoned, gamma=0.2, band=4)
    walled = cost.masked_fill(~inside.to(device), float("inf"))
    torch.testing.assert_close(result, compiled.soft_dtw(walled, gamma=0.2))
    (gradient,) = gradients(result, [poisoned])
    assert (gradient[~inside.to(device)] == 0).all()
    assert gradient.isfinite().all()


def test_weights_are_kept_for_the_band_alone(compiled: ModuleType, device: torch.device) -> None:
    cost = torch.zeros(3000, 3000, device=device)
    number = torch.ones((), device=device)
    band = softdp.sakoe_chiba(3000, 3000, 60, device=device)
    _, weights, _ = torch.ops.softdp.soft_dtw(cost, number, None, None, None, band, True, False)
    _, whole, _ = torch.ops.softdp.soft_dtw(cost, number, None, None, None, None, True, False)
    assert weights.numel() < whole.numel() / 12


@pytest.mark.host
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 17), (17, 3), (100, 101)])
def test_the_narrowest_band_has_a_path(shape: tuple[int, int]) -> None:
    n, m = shape
    assert softdp.soft_dtw(torch.zeros(n, m), band=0).isfinite()
    assert softdp.soft_dtw(torch.zeros(n, m), band=softdp.itakura(n, m, 2.0)).isfinite()


@pytest.mark.host
def test_a_square_band_is_that_of_sakoe_and_chiba() -> None:
    i, j = torch.arange(9)[:, None], torch.arange(9)
    for width in range(4):
        first, last = softdp.sakoe_chiba(9, 9, width).unbind(-1)
        inside = (first[:, None] <= j) & (j < last[:, None])
        assert inside.equal((i - j).abs() <= width)


@pytest.mark.host
def test_each_pair_has_the_band_of_its_lengths() -> None:
    lengths = torch.tensor([4, 7, 0]), torch.tensor([9, 3, 5])
    bands = softdp.sakoe_chiba(8, 10, 1, lengths=lengths)
    for pair, (n, m) in enumerate(zip(*(x.tolist() for x in lengths), strict=True)):
        assert bands[pair, :n].equal(softdp.sakoe_chiba(n, m, 1))


@pytest.mark.host
@pytest.mark.parametrize(
    ("band", "error", "message"),
    [
        (-1, ValueError, "band must be a width of at least 0 or bounds, got -1"),
        (1.5, TypeError, "band must be an integer or an integer tensor of bounds, got float"),
        (torch.zeros(3, 2), TypeError, "band must be an integer .* got float32"),
        (torch.zeros(4, 2, dtype=torch.int64), ValueError, r"band must have shape \(3, 2\)"),
        (
            torch.tensor([[0, 2], [1, 4], [0, 5]]),
            ValueError,
            "the first column does from row 1 to 2",
        ),
    ],
)
def test_bands_that_do_not_fit_are_refused(
    implementation: ModuleType, band: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^soft_dtw: .*{message}"):
        implementation.soft_dtw(torch.zeros(3, 5), band=band)


@pytest.mark.host
def test_the_op_refuses_a_band_that_goes_back() -> None:
    number = torch.ones(())
    band = torch.tensor([[0, 3], [0, 2]])
    with pytest.raises(RuntimeError, match="neither end of a band may go back"):
        torch.ops.softdp.soft_dtw(torch.zeros(2, 3), number, None, None, None, band, True, False)


def test_a_nan_outside_a_band_is_in_no_gradient(
    implementation: ModuleType, device: torch.device
) -> None:
    similarity = torch.full((2, 2), torch.nan, device=device)
    similarity[0, 0] = similarity[1, 1] = 0.8
    leaves = [similarity.requires_grad_(), torch.tensor(0.3, device=device, requires_grad=True)]
    found = implementation.lcs(leaves[0], 0.1, gamma=leaves[1], gate_width=0.2, band=0)
    for gradient in gradients(found, leaves):
        assert gradient.isfinite().all()


def test_a_nan_on_no_path_is_in_no_gradient(
    implementation: ModuleType, device: torch.device
) -> None:
    similarity = torch.full((2, 3), torch.nan, device=device)
    leaves = [similarity.requires_grad_(), torch.tensor(0.3, device=device, requires_grad=True)]
    nowhere = torch.tensor([[0, 2], [2, 2]], device=device)  # the second row has no cell
    for gate_width in (0, 0.2):
        options = dict(gamma=leaves[1], gate_width=gate_width, band=nowhere)
        found = implementation.lcs(leaves[0], 0.1, **options)
        assert found == -torch.inf
        for gradient in gradients(found, leaves):
            assert (gradient == 0).all()


def test_a_nan_is_handed_on_to_no_cell_outside_a_band(
    implementation: ModuleType, device: torch.device
) -> None:
    # Pair 0 has a NaN in its first cell, from which its band leads nowhere; pair 1's band is wide,
    # and the cells of both are swept side by side.
    cost = normal(2, 3, 6, seed=1).abs()
    cost[0, 0, 0] = torch.nan
    band = torch.tensor([[[0, 1], [2, 6], [2, 6]], [[0, 6], [0, 6], [0, 6]]])
    together = implementation.soft_dtw(cost.to(device), band=band.to(device))
    assert together[0] == torch.inf
    torch.testing.assert_close(together[1], implementation.soft_dtw(cost[1].to(device)))
    shut = torch.tensor([[0, 1]], device=device)
    similarity = torch.full((1, 3), torch.nan, device=device)
    for options in ({}, {"gamma": 0.0}):
        assert implementation.soft_dtw(similarity, band=shut, **options) == torch.inf
        assert implementation.lcs(similarity, 0.1, band=shut, **options) == -torch.inf
        assert implementation.soft_dtw(similarity[:, :1], band=shut, **options).isnan()


@pytest.mark.host
def test_a_width_beyond_every_column_is_no_band() -> None:
    cost = normal(4, 3, 5, seed=1)
    lengths = torch.tensor([3, 2, 1, 0]), torch.tensor([5, 4, 0, 3])
    for width in (5, 2**31, 2**61, 2**63 - 1, 2**100):
        for module in (softdp, reference):
            for given in (None, lengths):
                banded = module.soft_dtw(cost, band=width, lengths=given)
                torch.testing.assert_close(banded, module.soft_dtw(cost, lengths=given))


@pytest.mark.host
def test_parallelograms_of_the_steepest_slopes_take_in_all() -> None:
    for slope in (1e300, 10**400, float("inf")):
        assert softdp.itakura(3, 4, slope)[:, 1].tolist() == [4, 4, 4]
        assert softdp.itakura(3, 0, slope).tolist() == [[0, 0]] * 3


@pytest.mark.host
@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("sakoe_chiba", (-1, 3, 1), ValueError, "n must be at least 0, got -1"),
        ("sakoe_chiba", (2, 3, -1), ValueError, "width must be at least 0, got -1"),
        ("sakoe_chiba", (2, 3, 1.5), TypeError, "width must be an integer, got float"),
        ("sakoe_chiba", ("2", 3, 1), TypeError, "n must be an integer, got str"),
        ("sakoe_chiba", (3, 2**62, 1), ValueError, r"n m must be below 2\^61, got 3 x 46"),
        ("itakura", (3, -1), ValueError, "m must be at least 0, got -1"),
        ("itakura", (3, 2**70), ValueError, r"n m must be below 2\^61, got 3 x 11"),
        ("itakura", (3, 3, 0.5), ValueError, "slope must be at least 1, got 0.5"),
        ("itakura", (3, 3, float("nan")), ValueError, "slope must be at least 1, got nan"),
        ("itakura", (3, 3, "2"), TypeError, "slope must be a number, got str"),
    ],
)
def test_sizes_that_no_band_has_are_refused(
    name: str, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        getattr(softdp, name)(*arguments)


@pytest.mark.host
def test_lengths_of_a_band_are_tensors() -> None:
    with pytest.raises(TypeError, match=r"^sakoe_chiba: lengths must be two integer tensors$"):
        softdp.sakoe_chiba(2, 3, 1, lengths=(2, 3))

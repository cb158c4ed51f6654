"""Values that nobody looks at before they are used, as on a GPU: their pair is undefined, no other.

The kernels' own source does the same in tests/cuda_on_cpu/test_values.py.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import softdp
from softdp import reference
from softdp import values as looked
from tests.softdp.support import gradients, normal

pytestmark = pytest.mark.host

BATCH, N, M = 6, 5, 7
GOOD = torch.tensor([5, 0, 3, 5, 2, 4]), torch.tensor([7, 7, 1, 0, 6, 3])


def values(**changes: Any) -> dict[str, Any]:
    """Options of a function, those of pair 4 changed to what does not fit."""
    lengths = [length.clone() for length in GOOD]
    for k, name in enumerate(("n_length", "m_length")):
        if name in changes:
            lengths[k][4] = changes[name]
    gamma = torch.full((BATCH,), 0.5, dtype=torch.float64)
    gamma[4] = changes.get("gamma", 0.5)
    band = softdp.sakoe_chiba(N, M, 2).expand(BATCH, N, 2).clone()
    if "band" in changes:
        band[4] = band[4].flip(0)
    return {"lengths": tuple(lengths), "gamma": gamma, "band": band}


BAD: list[dict[str, Any]] = [
    *({"n_length": value} for value in (-1, 6, 2**40, -(2**62))),
    *({"m_length": value} for value in (-3, 8, 2**33)),
    *({"gamma": value} for value in (-0.5, -1e-30, math.inf, -math.inf, math.nan)),
    {"band": True},
]
FUNCTIONS: dict[str, tuple[tuple[float, ...], dict[str, Any]]] = {
    "edit_similarity": ((-0.3, -0.2), {}),
    "edit_distance": ((0.3, 0.2), {"leading_gaps": "free", "trailing_gaps": "free"}),
    "lcs": ((0.1,), {"gate_width": 0.3}),
    "soft_dtw": ((), {"open_begin": True, "open_end": True}),
}


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_nobody_has_looked_at_makes_its_pair_undefined(
    name: str, bad: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, options = FUNCTIONS[name]

    def outcome(given: dict[str, Any]) -> tuple[Tensor, Tensor]:
        table = normal(BATCH, N, M, seed=1).requires_grad_()
        score = getattr(reference, name)(table, *rest, **given, **options)
        return score.detach(), *gradients(score.nansum(), [table])

    wanted = outcome(values())
    monkeypatch.setattr(looked, "is_looked_at", lambda values: False)
    got = outcome(values(**bad))
    others = torch.arange(BATCH) != 4
    assert got[0][4].isnan()
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one[others], other[others], rtol=0, atol=0)


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_the_cpu_they_are_refused(compiled: ModuleType, name: str, bad: dict[str, Any]) -> None:
    rest, options = FUNCTIONS[name]
    table, given = normal(BATCH, N, M, seed=1), values(**bad)
    message = rf"{name}: (lengths\[[01]\]|gamma) must be|{name}: neither bound of a band"
    with pytest.raises(ValueError, match=message):
        getattr(compiled, name)(table, *rest, **given, **options)
    with softdp.check_values(), pytest.raises(ValueError, match=message):
        getattr(compiled, name)(table, *rest, **given, **options)


def test_whether_values_are_looked_at_everywhere_is_for_the_time_inside() -> None:
    class Elsewhere:
        """What is on a device that has to be waited for."""

        device = torch.device("cuda")

    assert looked.is_looked_at(torch.zeros(1))
    assert not looked.is_looked_at(Elsewhere())  # type: ignore[arg-type]
    with softdp.check_values():
        assert looked.is_looked_at(Elsewhere())  # type: ignore[arg-type]
        assert not looked.is_looked_at(torch.zeros(1, device="meta"))
    assert not looked.is_looked_at(Elsewhere())  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError), softdp.check_values():
        raise ZeroDivisionError
    assert not looked.is_looked_at(Elsewhere())  # type: ignore[arg-type]

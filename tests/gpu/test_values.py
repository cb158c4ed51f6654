"""Lengths and gammas that do not fit: their pair is undefined, and the GPU goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import softdp
from tests.softdp.support import gradients, normal
from tests.softdp.test_values import BAD, FUNCTIONS, values


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_pair_is_undefined_and_the_context_lives_on(
    name: str, bad: dict[str, Any], compiled: bool
) -> None:
    rest, options = FUNCTIONS[name]
    function = getattr(softdp, name)
    function = torch.compile(function, backend="aot_eager") if compiled else function
    table = normal(6, 5, 7, seed=1).cuda().requires_grad_()

    def on_gpu(given: dict[str, Any]) -> dict[str, Any]:
        lengths = tuple(length.cuda() for length in given["lengths"])
        return {"lengths": lengths, **{key: given[key].cuda() for key in ("gamma", "band")}}

    wanted = function(table, *rest, **on_gpu(values()), **options)
    score = function(table, *rest, **on_gpu(values(**bad)), **options)
    others = torch.arange(6) != 4
    assert score[4].isnan()
    torch.testing.assert_close(score[others], wanted[others], rtol=0, atol=0)
    got, expected = (gradients(x, [table])[0] for x in (score, wanted))
    torch.testing.assert_close(got[others], expected[others], rtol=0, atol=0)
    with softdp.check_values(), pytest.raises(ValueError, match=f"^{name}: "):
        getattr(softdp, name)(table, *rest, **on_gpu(values(**bad)), **options)
    torch.cuda.synchronize()

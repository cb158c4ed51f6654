"""The examples in the documentation of what is public."""

from __future__ import annotations

import doctest
import inspect

import pytest
import torch
from torch import nn

import softdp

pytestmark = pytest.mark.host

RESULTS = "Sweep", "ExpectedAlignment", "ExpectedDrops", "AlignmentPath", "MonotonicAlignment"
NAMES = [name for name in softdp.__all__ if name not in (*RESULTS, "reference")]


@pytest.mark.parametrize("name", NAMES)
def test_each_has_one_that_says_what_happens(name: str) -> None:
    documented = getattr(softdp, name)
    (found,) = doctest.DocTestFinder(recurse=False).find(
        documented, name, globs={"torch": torch, "softdp": softdp, "nn": nn}
    )
    assert found.examples
    torch.manual_seed(0)
    assert doctest.DocTestRunner().run(found).failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_comes_back(name: str) -> None:
    documented = getattr(softdp, name)
    if inspect.isfunction(documented):
        assert "Returns:" in str(documented.__doc__)
        assert "Raises:" in str(documented.__doc__)

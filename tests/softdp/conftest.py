"""Run a test against the specification and against the kernels."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(scope="session", params=["reference", "compiled"])
def implementation(request: pytest.FixtureRequest) -> ModuleType:
    """A module with edit_similarity, edit_distance and lcs."""
    return importlib.import_module(
        {"reference": "softdp.reference", "compiled": "softdp"}[request.param]
    )


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """The compiled functions only."""
    return importlib.import_module("softdp")

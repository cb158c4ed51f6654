"""Run a test against the specification and against the kernels."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs on every device, or says by its mark that it is about none."""
    amiss = {
        item.nodeid.partition("[")[0]
        for item in items
        if item.path.parent == Path(__file__).parent
        and isinstance(item, pytest.Function)
        and ("device" in item.fixturenames) == (item.get_closest_marker("host") is not None)
    }
    if amiss:
        raise pytest.UsageError(
            f"either take the fixture `device` or carry the mark host: {sorted(amiss)}"
        )


@pytest.fixture(scope="session", params=["reference", "compiled"])
def implementation(request: pytest.FixtureRequest) -> ModuleType:
    """A module with edit_similarity, edit_distance, lcs and soft_dtw."""
    return importlib.import_module(
        {"reference": "softdp.reference", "compiled": "softdp"}[request.param]
    )


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """The compiled functions only."""
    return importlib.import_module("softdp")

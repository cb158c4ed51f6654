"""The pictures of the documentation are drawn by softdp, and are small."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import ROOT, pages


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_is_drawn_and_kept_and_shown(figures: ModuleType, tmp_path: Path) -> None:
    figures.draw(tmp_path, dpi=20)
    drawn = {path.name for path in tmp_path.iterdir()}
    kept = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert drawn == set(kept)
    assert max(kept.values()) < 100_000
    texts = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert all(f"images/{name})" in texts for name in drawn)

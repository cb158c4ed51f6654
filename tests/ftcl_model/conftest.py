import os
from pathlib import Path

import pytest


@pytest.fixture
def thumos14() -> Path:
    """The folder of the real THUMOS14 annotations; skips where they are not at hand."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SOFTDP_SHARED_DATA", beside)) / "thumos14"
    if not folder.is_dir():
        pytest.skip(
            "the THUMOS14 annotations are not at hand (SOFTDP_SHARED_DATA names their folder)"
        )
    return folder

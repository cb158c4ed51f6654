import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path):
    """Two training videos, a (7, 4) and b (3, 4)."""
    (tmp_path / "train").mkdir()
    (tmp_path / "split_train.txt").write_text("b\na\n")
    rng = np.random.default_rng(0)
    for name, length in (("a", 7), ("b", 3)):
        np.save(tmp_path / "train" / f"{name}.npy", rng.normal(size=(length, 4)).astype("f4"))
    return tmp_path

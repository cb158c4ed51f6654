from __future__ import annotations

from pathlib import Path

import pytest

from ftcl_model.comparison.variants import COMPARED, override
from ftcl_model.config.config import load_config
from tests.ftcl_model.tiny_folder import CONFIG


def test_variants_are_overrides_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    # The teacher of `aligned` is the moving average.
    path.write_text(CONFIG + "  moving_average: 0.9\n")
    config = load_config(path)
    for name, overrides in COMPARED.items():
        changed = override(config, overrides, name)
        assert (changed == config) == (name in ("both", "paper"))
    assert override(config, COMPARED["fsd"], "fsd").contrast.lcs_weight == 0
    assert override(config, COMPARED["official"], "official").variant == "official"
    with pytest.raises(ValueError, match=r"mine: contrast\.weight: unknown key"):
        override(config, {"contrast.weight": 1.0}, "mine")

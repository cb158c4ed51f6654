"""Features as other programs leave them: what they say of a model is what its own features said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftcl_model.detection.predictions import read_predictions
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.tiny_folder import CONFIG, write_tiny_folder

BRIEF = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 6")


def test_archives_with_a_leading_axis_and_channels_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(BRIEF)
    form = "layout: channels_first\n  array: feats\n  snippets:"
    (tmp_path / "other.yaml").write_text(BRIEF.replace("snippets:", form))
    _, other = (write_tiny_folder(tmp_path / name) for name in ("own", "other"))
    for path in (*other.glob("train/*"), *other.glob("test/*")):
        np.savez_compressed(path.with_suffix(".npz"), feats=np.load(path).T[None], rate=np.ones(1))
        path.unlink()
    settings = "--config", tmp_path / "other.yaml", "--data", other
    run("check-data", *settings)
    assert capsys.readouterr().out.endswith("0 errors, 0 notes\n")

    found = {}
    for name in ("own", "other"):
        data = "--config", tmp_path / f"{name}.yaml", "--data", tmp_path / name
        run("train", *data, "--output", tmp_path / f"{name} run", "--no-progress")
        run("predict", "--data", tmp_path / name, "--output", tmp_path / f"{name}.json",
            "--checkpoint", tmp_path / f"{name} run" / "model.pt", "--device", "cpu")  # fmt: skip
        found[name] = read_predictions(tmp_path / f"{name}.json")
    assert found["own"] == found["other"]

    # A model is not bound to the form of its own features: a configuration says that of others.
    model = "--checkpoint", tmp_path / "own run" / "model.pt", "--device", "cpu"
    run("predict", *settings, *model, "--output", tmp_path / "again.json")
    assert read_predictions(tmp_path / "again.json") == found["own"]
    said = refused("predict", "--data", other, *model, "--output", tmp_path / "none.json")
    assert said.endswith("test_0.npz: expected one array, or the name of one of them in "
                         "dataset.array, got feats, rate")  # fmt: skip

"""`dataset.standardise`: what is trained and found is that of features standardised beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.config.config import load_config
from ftcl_model.data.moments import Moments, snippet_moments
from ftcl_model.detection.predictions import Detection, read_predictions
from ftcl_model.model.ftcl import FTCL, load_checkpoint
from ftcl_model.training.validation import set_apart
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.tiny_folder import CONFIG, WIDTH, open_tiny_split, write_tiny_folder

# Nine steps of each kind, and a small rate, so that rounding stays rounding.
BRIEF = (
    CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 3")
    .replace("attention_warmup: 10", "attention_warmup: 2")
    .replace("1e-2", "1e-3\n  moving_average: 0.5")
)
ALIGNED = f"{BRIEF}variant: aligned\n"
APART = "validation: {share: 0.3, choose: classification}\n"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A second one would mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def standardising(text: str) -> str:
    return text.replace("snippets: 30", "snippets: 30\n  standardise: true")


def change(data: Path, scale: np.ndarray, offset: np.ndarray) -> None:
    for path in (*(data / "train").iterdir(), *(data / "test").iterdir()):
        np.save(path, (np.load(path) * scale + offset).astype(np.float32))


def train(folder: Path, name: str, text: str) -> FTCL:
    (folder / f"{name}.yaml").write_text(text)
    run("train", "--config", folder / f"{name}.yaml", "--data", folder / name,
        "--output", folder / f"{name} run", "--no-progress")  # fmt: skip
    return load_checkpoint(folder / f"{name} run" / "model.pt").model


def predictions(folder: Path, name: str) -> dict[str, list[Detection]]:
    output = folder / f"{name}.json"
    run("predict", "--data", folder / name, "--checkpoint", folder / f"{name} run" / "model.pt",
        "--output", output, "--device", "cpu")  # fmt: skip
    return read_predictions(output)


@pytest.mark.parametrize("text", [BRIEF, ALIGNED, BRIEF + APART], ids=["", "aligned", "apart"])
def test_a_training_is_that_on_standardised_features(tmp_path: Path, text: str) -> None:
    rng = np.random.default_rng(0)
    beforehand, within = (write_tiny_folder(tmp_path / name) for name in ("beforehand", "within"))
    change(within, rng.uniform(1, 4, WIDTH), rng.uniform(-20, 20, WIDTH))
    split = open_tiny_split(beforehand, "train")
    if APART in text:  # what is set apart is not looked at
        split = set_apart(split, 0.3, seed=0).training
    found = snippet_moments(split)
    change(beforehand, 1 / found.deviation, -found.mean / found.deviation)

    ours, theirs = (
        train(tmp_path, "within", standardising(text)),
        train(tmp_path, "beforehand", text),
    )
    weights = ours.state_dict()
    assert weights.keys() - theirs.state_dict().keys() == {
        "standardise.mean", "standardise.deviation"
    }  # fmt: skip
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=name)
    one, two = (predictions(tmp_path, name) for name in ("within", "beforehand"))
    assert sum(map(len, one.values())) > 50
    for name, rows in one.items():
        best, others = max(rows, key=lambda r: r.score), max(two[name], key=lambda r: r.score)
        assert best.label == others.label
        assert best.score == pytest.approx(others.score, abs=1e-3)


def test_a_dimension_that_never_changes_loses_its_mean_alone(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(standardising(CONFIG))
    model = FTCL(load_config(tmp_path / "model.yaml"), ("Jump", "Run", "Turn"))
    assert model.standardise is not None
    features = torch.randn(2, 5, WIDTH)
    assert torch.equal(model.standardise(features), features)
    deviation = np.full(WIDTH, 2.0)
    deviation[3] = 0
    model.standardise.settle(Moments(np.arange(WIDTH, dtype=float), deviation))
    expected = (features - torch.arange(WIDTH)) / 2
    expected[..., 3] *= 2
    torch.testing.assert_close(model.standardise(features), expected)


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_is_not_evaluated_otherwise_than_it_was_trained(
    tmp_path: Path, trained: bool
) -> None:
    texts = {False: BRIEF, True: standardising(BRIEF)}
    write_tiny_folder(tmp_path / "data")
    train(tmp_path, "data", texts[trained])
    (tmp_path / "other.yaml").write_text(texts[not trained])
    said = refused("evaluate", "--data", tmp_path / "data", "--config", tmp_path / "other.yaml",
                   "--checkpoint", tmp_path / "data run" / "model.pt")  # fmt: skip
    assert f"was trained with dataset.standardise {trained}, but " in said
    assert said.endswith(f" say {not trained}")

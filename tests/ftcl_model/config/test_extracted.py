from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ftcl_model.cli.main import main
from ftcl_model.config.config import load_config, save_config
from ftcl_model.config.extracted import read_extraction, with_extraction
from ftcl_model.model.ftcl import FTCL, load_checkpoint, save_checkpoint
from ftcl_model.settings import ExtractionSettings
from ftcl_model.training.check_data import check_data
from tests.ftcl_model.commands import refused
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, SECONDS, WIDTH, write_tiny_folder

MADE = ExtractionSettings("torchvision:s3d", "none", "0123456789abcdef", 16, 8, 8 / SECONDS, 224)


def describe(data: Path, made: ExtractionSettings = MADE, width: int = WIDTH) -> None:
    content = {"extraction": asdict(made), "feature_width": width}
    (data / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_tiny_folder(tmp_path / "data")
    describe(folder)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 7"))
    return path


def test_a_model_knows_what_made_its_features(tmp_path: Path, data: Path, config: Path) -> None:
    output = tmp_path / "run"
    main(["train", "--config", str(config), "--data", str(data), "--output", str(output),
          "--no-progress"])  # fmt: skip
    model = load_checkpoint(output / "model.pt").model
    assert model.config.dataset.extraction == MADE
    assert load_config(output / "config.yaml").dataset.extraction == MADE


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("told", [False, True])
def test_features_of_another_encoder_are_refused(
    tmp_path: Path, data: Path, config: Path, command: str, told: bool
) -> None:
    model = FTCL(with_extraction(load_config(config), data), CLASSES)
    checkpoint, output = tmp_path / "model.pt", tmp_path / "out.json"
    save_checkpoint(checkpoint, model, 0)
    words = [command, "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output)]
    main([*words, "--device", "cpu"])
    output.unlink()
    describe(data, replace(MADE, encoder="timm:resnet50"))
    said = refused(*words, *(("--config", config) if told else ()))
    assert said == (
        f"ftcl_model: {data / 'dataset.json'}: features of another encoder: expected encoder "
        "'torchvision:s3d', not 'timm:resnet50'"
    )
    assert not output.exists()
    # Where nobody knows, nothing is refused.
    (data / "dataset.json").unlink()
    main(words)


def test_train_refuses_features_of_another_encoder(
    tmp_path: Path, data: Path, config: Path
) -> None:
    save_config(config, with_extraction(load_config(config), data))
    describe(data, replace(MADE, digest="fedcba9876543210"))
    words = ("train", "--config", config, "--data", data, "--output", tmp_path / "run")
    said = refused(*words)
    assert "expected digest '0123456789abcdef', not 'fedcba9876543210'" in said
    report = check_data(data, load_config(config), progress=False)
    assert [error for error in report.errors if "another encoder" in error]


@pytest.mark.parametrize(
    ("made", "width", "message"),
    [
        (MADE, 13, "features of another make: dataset.feature_width is 12, expected 13"),
        (replace(MADE, stride=4), WIDTH, "dataset.seconds_per_snippet is 0.5, expected 0.25"),
    ],
)
def test_a_configuration_of_another_make_is_refused(
    data: Path, config: Path, made: ExtractionSettings, width: int, message: str
) -> None:
    describe(data, made, width)
    with pytest.raises(ValueError, match=message):
        with_extraction(load_config(config), data)


def test_what_was_extracted_has_time_first(data: Path, config: Path) -> None:
    text = config.read_text().replace("snippets:", "layout: channels_first\n  snippets:")
    config.write_text(text)
    message = "dataset.layout is 'channels_first', expected 'time_first'"
    with pytest.raises(ValueError, match=message):
        with_extraction(load_config(config), data)


def test_the_seed_of_the_same_weights_does_not_matter(data: Path, config: Path) -> None:
    settings = with_extraction(load_config(config), data)
    describe(data, replace(MADE, seed=3))
    with_extraction(settings, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "dataset.json: expected a JSON object"),
        ('{"extraction": {"encoder": 3}}', "extraction: encoder: expected a text, got 3"),
        ('{"extraction": {"frame": 3}}', "extraction: frame: unknown key, expected one of encoder"),
        (json.dumps({"extraction": asdict(MADE) | {"rate": 0.0}}), "rate must be in (0, 1000], g"),
        (json.dumps({"extraction": asdict(MADE) | {"size": 0}}), "size must be in 1..2048, got 0"),
        (json.dumps({"extraction": asdict(MADE)}), 'dataset.json: expected "feature_width"'),
    ],
)
def test_a_broken_description_is_refused(data: Path, config: Path, text: str, message: str) -> None:
    (data / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=r"dataset.json") as refusal:
        with_extraction(load_config(config), data)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_descriptions_of_others_say_nothing(data: Path, config: Path) -> None:
    (data / "dataset.json").write_text('{"source": "somewhere"}')
    assert read_extraction(data) is None
    assert with_extraction(load_config(config), data) == load_config(config)

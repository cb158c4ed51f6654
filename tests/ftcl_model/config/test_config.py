from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from ftcl_model.config.config import Config, config_from_mapping, load_config, presets, save_config
from tests.ftcl_model.tiny_folder import CONFIG


def write(directory: Path, text: str) -> Path:
    path = directory / "model.yaml"
    path.write_text(text)
    return path


def test_values_defaults_and_nested_settings_are_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONFIG + "tious: [0.3, 0.5]\n"))
    assert config.variant == "paper"
    assert config.dataset.classes == ("Jump", "Run", "Turn")
    assert config.backbone.width == 16
    assert config.contrast.fsd_weight == 0.8
    assert config.detection.nms_threshold == 0.55
    assert config.tious == (0.3, 0.5)


def test_numbers_may_be_written_as_in_yaml_1_2(tmp_path: Path) -> None:
    text = CONFIG.replace("learning_rate: 1e-2", "learning_rate: 5e-4")
    assert load_config(write(tmp_path, text)).training.learning_rate == 5e-4
    text = CONFIG.replace("learning_rate: 1e-2", "learning_rate: 1")
    assert type(load_config(write(tmp_path, text)).training.learning_rate) is float


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name: str) -> None:
    assert isinstance(load_config(name), Config)


def test_the_official_preset_has_the_authors_settings() -> None:
    config = load_config("thumos14_official")
    assert config.variant == "official"
    assert config.backbone.attention_warmup == 0
    assert config.dataset.classes is not None
    assert len(config.dataset.classes) == 20
    assert config.dataset.seconds_per_snippet == 16 / 25
    assert config.contrast == load_config("thumos14").contrast


@pytest.mark.parametrize(("version", "count"), [("12", 100), ("13", 200)])
def test_the_activitynet_presets_have_acm_nets_settings(version: str, count: int) -> None:
    config = load_config(f"activitynet{version}")
    classes = config.dataset.classes
    assert classes is not None
    assert len(set(classes)) == len(classes) == count
    assert list(classes) == sorted(classes)
    assert config.dataset.snippets == 75
    backbone = config.backbone
    divisors = (backbone.instance_divisor, backbone.context_divisor, backbone.background_divisor)
    weights = (backbone.instance_weight, backbone.guide_weight, backbone.norm_weight)
    assert divisors == (2, 10, 10)
    assert weights == (5.0, 5e-3, 5e-5)
    assert backbone.sparsity_weight == 0
    assert config.detection.nms_threshold == 0.9
    assert config.tious == tuple(round(0.05 * i, 2) for i in range(10, 20))


def test_activitynet_1_3_extends_1_2_but_for_the_class_it_split() -> None:
    smaller, larger = (
        set(load_config(f"activitynet{version}").dataset.classes or ()) for version in (12, 13)
    )
    assert smaller - larger == {"Playing volleyball"}
    assert {"Volleyball", "Playing beach volleyball"} <= larger - smaller


def test_a_config_survives_the_way_through_plain_mappings(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONFIG))
    assert config_from_mapping(dataclasses.asdict(config), "here") == config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width: 16", "widht: 16", r"backbone\.widht: unknown key, expected one of width, dropout"),
        ("width: 16", "width: wide", r"backbone\.width: expected a whole number, got 'wide'"),
        ("width: 16", "width: 16.5", r"backbone\.width: expected a whole number, got 16\.5"),
        ("width: 16", "width: true", r"backbone\.width: expected a whole number, got True"),
        ("dropout: 0.1", "dropout: yes", r"backbone\.dropout: expected a number, got True"),
        ("dropout: 0.1", "dropout: .nan", r"backbone\.dropout: expected a finite number, got nan"),
        ("1e-2", ".inf", r"training\.learning_rate: expected a finite number, got inf"),
        ("1e-2", "1" + 400 * "0", r"training\.learning_rate: expected a finite number, got 1000"),
        ("dropout: 0.1", "dropout: 1.0", r"backbone: dropout must be in \[0, 1\), got 1\.0"),
        ("[Jump, Run, Turn]", "Jump", r"dataset\.classes: expected a list of texts, got 'Jump'"),
        ("[Jump, Run, Turn]", "[Jump, 3]", r"dataset\.classes\[1\]: expected a text, got 3"),
        ("  feature_width: 12\n", "", r"dataset\.feature_width: expected a value, got none"),
        ("width: 16", "width: 16\n  width: 17", r"the key 'width' is given twice"),
        ("width: 16", "width: [", r"not readable as YAML"),
        ("batch_size: 4", "batch_size: 0", r"training: batch_size must be at least 1, got 0"),
        ("batch_size: 4", "gradient_clip: 0", r"training: gradient_clip must be positive, got 0"),
        ("batch_size: 4", "moving_average: 1", r"moving_average must be in \[0, 1\), got 1"),
        ("width: 16", "width: 1000000000000", r"\.width: expected less than 2\*\*31, got 100"),
        ("width: 16", "width: 70000", r"width must be in 1\.\.65536, for its weights to fit"),
        ("width: 16", "width: 1e12", r"\.width: expected a whole number, got 10000000"),
        ("feature_width: 12", "feature_width: 99999", r"width must be in 1\.\.65536, for its"),
        ("projection: 8", "projection: 99999", r"projection must be in 1\.\.65536, for its weigh"),
        ("fsd_length: 3", "fsd_length: 1001", r"contrast: fsd_length must be in 1\.\.1000, the"),
        ("lcs_length: 6", "lcs_length: 0", r"lcs_length must be in 1\.\.1000, the side of a table"),
        ("pairs_per_epoch: 8", "pairs_per_epoch: 10000001", r"must be in 2\.\.10000000, which"),
        ("dropout: 0.1", "norm_margin: 1e39", r"norm_margin: expected 0 or a number from 1\.2e-38"),
        ("lcs_threshold: 0.5", "gamma: 1e-39", r"gamma: expected 0 or a number from 1\.2e-38 to 3"),
        ("snippet: 0.5", "snippet: 1e-7", r"per_snippet must be in \[1e-6, 1e6\], got 1e-07"),
        ("snippet: 0.5", "snippet: 2e6", r"per_snippet must be in \[1e-6, 1e6\], got 2000000"),
        ("[Jump, Run, Turn]", "[]", r"dataset: classes must be one or more names, got \(\)"),
        ("[Jump, Run, Turn]", "[Jump, '']", r"classes must be one or more names, got \('Jump', ''"),
        ("[Jump, Run, Turn]", "[Run, Jump, Run]", r"classes must be different names, 'Run' is"),
        ("[Jump, Run, Turn]", '["\\ud800"]', r"the text '\\ud800' holds half a character"),
        ("[Jump, Run, Turn]", "&a [Jump, *a]", r"aliases \(\*a\) are not taken"),
        ("batch_size: 4", "schedule: step", r"schedule: expected one of constant, cosine, got"),
        ("batch_size: 4", "precision: half", r"expected one of float32, bfloat16, float16, got"),
    ],
)  # fmt: skip
def test_refusals_name_the_file_the_key_and_what_came(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, CONFIG.replace(old, new))
    with pytest.raises(ValueError, match=message) as refusal:
        load_config(path)
    assert str(refusal.value).startswith(str(path))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("variant: offical\n", "variant must be one of paper, official, aligned, got 'offical'"),
        ("variant: official\n", "attention_warmup must be 0 under `variant: official`"),
        ("tious: [0.5, 1.5]\n", r"tious must be one or more thresholds in \(0, 1\], got"),
        ("tious: [0.5, .nan]\n", r"tious\[1\]: expected a finite number, got nan"),
        (
            "detection: {video_score_weight: -.inf}\n",
            r"detection\.video_score_weight: expected a finite number, got -inf",
        ),
        ("tious: []\n", "tious must be one or more thresholds"),
        (
            "detection: {upsampling: 100000000000}\n",
            r"upsampling: expected less than 2\*\*31, got 10",
        ),
        (
            "detection: {upsampling: 1001}\n",
            "upsampling must be at most 1000, as all the points of",
        ),
        ("detection: {outer_ratio: 1e9}\n", "outer_ratio must be at most 1000, a flank ends with"),
        ("detection: {nms_threshold: 2}\n", r"detection: nms_threshold must be in \[0, 1\], got 2"),
        ("aligned: {own_share: 1}\n", r"aligned: own_share must be in \[0, 1\), got 1"),
        ("detection: 3\n", "detection: expected a mapping, got 3"),
    ],
)
def test_refusals_at_the_top_level(tmp_path: Path, extra: str, message: str) -> None:
    path = write(tmp_path, CONFIG + extra)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_a_model_that_fits_in_no_memory_is_refused(tmp_path: Path) -> None:
    text = CONFIG.replace("feature_width: 12", "feature_width: 30000")
    load_config(write(tmp_path, text.replace("width: 16", "width: 5000")))
    with pytest.raises(
        ValueError, match=r"backbone\.width must keep the model below 536870912 weig"
    ):
        load_config(write(tmp_path, text.replace("width: 16", "width: 30000")))


def test_a_refusal_of_a_large_value_is_short(tmp_path: Path) -> None:
    for value in (f"[{'x, ' * 10**4}x]", f"{{{', '.join(f'k{i}: 1' for i in range(10**4))}}}"):
        with pytest.raises(
            ValueError, match=r"backbone\.width: expected a whole number"
        ) as refusal:
            load_config(write(tmp_path, CONFIG.replace("width: 16", f"width: {value}")))
        assert len(str(refusal.value)) < 500


def test_a_preset_is_found_beside_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("demo").dataset.feature_width == 72
    with pytest.raises(ValueError, match="runs: expected a file, got a folder"):
        load_config("runs")


@pytest.mark.parametrize("name", presets())
def test_a_saved_configuration_is_read_back(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    config = replace(config, training=replace(config.training, learning_rate=3e-17))
    save_config(tmp_path / "config.yaml", config)
    assert load_config(tmp_path / "config.yaml") == config


def test_a_name_that_is_neither_file_nor_preset_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"thumos: neither a file nor a preset \(.*demo, .*thumos14"
    ):
        load_config("thumos")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes("# Größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"model\.yaml: not readable as UTF-8 text"):
        load_config(path)

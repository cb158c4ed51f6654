"""`variant: official` against a restatement of the authors' arithmetic in plain loops."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ftcl_model.cli.main import main
from ftcl_model.config.config import Config, config_from_mapping, load_config
from ftcl_model.detection.official import detect_official, sample_evenly
from ftcl_model.detection.predictions import Detection, read_predictions
from ftcl_model.model.ftcl import FTCL
from ftcl_model.settings import DetectionSettings
from tests.ftcl_model import authors
from tests.ftcl_model.tiny_folder import CLASSES, SECONDS, WIDTH, write_tiny_folder

PROJECTION, FSD, LCS, TAU = 6, 3, 7, 0.6
DIVISORS = (8, 3, 3)


def settings(**detection: object) -> dict:
    """The preset of the authors' settings, on the tiny folder's features."""
    preset = load_config("thumos14_official")
    return {
        "variant": "official",
        "dataset": {
            "classes": list(CLASSES),
            "feature_width": WIDTH,
            "seconds_per_snippet": SECONDS,
            "snippets": 30,
        },
        "backbone": {"attention_warmup": 0},
        "contrast": {
            "projection": PROJECTION, "fsd_length": FSD, "lcs_length": LCS, "lcs_threshold": TAU
        },
        "detection": asdict(preset.detection) | detection,
    }  # fmt: skip


def model_with(weights: authors.Weights, config: Config) -> FTCL:
    """A model with the authors' weights put in by hand, apart from `convert_checkpoint`."""
    model = FTCL(config, CLASSES)
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    layers = {
        "backbone.embed": "feature_embedding.0",
        "backbone.attend": "att_branch",
        "backbone.classify": "snippet_cls",
        "contrast.project": "feature_trans",
    }
    with torch.no_grad():
        for ours, theirs in layers.items():
            layer = model.get_submodule(ours)
            for kind in ("weight", "bias"):
                value = state[f"{theirs}.{kind}"]
                getattr(layer, kind).copy_(value.squeeze(-1) if ours.endswith("attend") else value)
    return model.eval()


@pytest.fixture(scope="module")
def weights() -> authors.Weights:
    return authors.random_weights(WIDTH, len(CLASSES), PROJECTION, seed=3, scale=0.6)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Eight videos of 40 snippets, the first ones of four pairs and then the second ones."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((8, 40, WIDTH)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 0, 2, 2, 1]]
    labels[0, 1] = labels[4, 1] = 1  # a pair with two classes
    return features, labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward(
    weights: authors.Weights, pairs: tuple[np.ndarray, np.ndarray], dtype: torch.dtype
) -> None:
    features, _ = pairs
    model = model_with(weights, config_from_mapping(settings(), "here")).to(dtype)
    with torch.no_grad():
        output = model(torch.from_numpy(features).to(dtype), torch.full((8,), 40))
    for video in range(8):
        expected = authors.forward(weights, features[video], DIVISORS)
        close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-10}
        for name, values in (
            ("embedding", output.embedding),
            ("attention", output.attention),
            ("instance_scores", output.instance_scores),
            ("video", output.video_log_scores.exp()),
            ("branch_features", output.branch_features),
        ):
            np.testing.assert_allclose(values[video], expected[name], **close, err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses(
    weights: authors.Weights, pairs: tuple[np.ndarray, np.ndarray], dtype: torch.dtype
) -> None:
    features, labels = pairs
    config = config_from_mapping(settings(), "here")
    backbone, contrast = config.backbone, config.contrast
    model = model_with(weights, config).to(dtype)
    batch = (torch.from_numpy(features).to(dtype), torch.full((8,), 40))
    with torch.no_grad():
        first_stage = model.video_losses(*batch, torch.from_numpy(labels).to(dtype))
        second_stage = model.pair_losses(*batch, torch.from_numpy(labels).to(dtype))

    outputs = [authors.forward(weights, video, DIVISORS) for video in features]
    scale = {
        "guide": backbone.guide_weight, "norm": backbone.norm_weight,
        "sparsity": backbone.sparsity_weight,
        "fsd": contrast.fsd_weight, "lcs": contrast.lcs_weight,
    }  # fmt: skip
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    for losses, floor in ((first_stage, 1e-45), (second_stage, 1e-10)):
        terms = [
            authors.acm_terms(output, label.tolist(), backbone.norm_margin, floor)
            for output, label in zip(outputs, labels, strict=True)
        ]
        expected = {name: sum(term[name] for term in terms) / 8 for name in terms[0]}
        if floor == 1e-10:
            expected |= authors.contrast_terms(
                weights, list(zip(outputs[:4], outputs[4:], strict=True)),
                [True, False, True, False],
                fsd_length=FSD, lcs_length=LCS, tau=TAU,
            )  # fmt: skip
            assert expected["lcs"] != 0
        assert losses.keys() == expected.keys()
        for name, value in expected.items():
            found = losses[name].item()
            assert found == pytest.approx(scale.get(name, 1.0) * value, rel=tolerance), name


def test_the_second_stage_bounds_the_logarithm(weights: authors.Weights) -> None:
    """A probability far below 1e-10, which the authors' sum with 1e-10 hides."""
    weights = weights | {"snippet_cls.bias": np.array([-500, 500, 0, 0], np.float32)}
    features = np.random.default_rng(1).standard_normal((2, 40, WIDTH)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[[0, 0]]
    model = model_with(weights, config_from_mapping(settings(), "here"))
    batch = (torch.from_numpy(features), torch.full((2,), 40), torch.from_numpy(labels))
    outputs = [authors.forward(weights, video, DIVISORS) for video in features]
    terms = [authors.acm_terms(output, [1, 0, 0], 50, 1e-10) for output in outputs]
    expected = sum(term["instance"] for term in terms) / 2
    assert expected == pytest.approx(-np.log(1e-10))
    assert model.pair_losses(*batch)["instance"].item() == pytest.approx(expected, rel=1e-6)
    assert model.video_losses(*batch)["instance"].item() > 50


@pytest.mark.parametrize("count", [30, 75, 750])
def test_snippets_are_sampled_as_by_the_authors(count: int) -> None:
    for length in [*range(1, 40), *range(count - 2, 2500, 7)]:
        assert sample_evenly(length, count).tolist() == authors.uniform_sample(length, count)


@pytest.mark.parametrize(
    ("scale", "detection"),
    [
        (0.6, {}),
        (0.3, {"class_threshold": 0.1, "video_score_weight": 0.25, "outer_ratio": 0.15}),
        (1.0, {"nms_threshold": 0.9, "upsampling": 7, "activation_thresholds": [0.3]}),
    ],
)
def test_converted_weights_predict_the_segments_of_the_authors_script(
    tmp_path: Path, scale: float, detection: dict
) -> None:
    data = write_tiny_folder(tmp_path / "data")
    np.save(data / "test" / "test_4.npy", np.load(data / "test" / "test_4.npy")[:1])
    theirs = authors.random_weights(WIDTH, len(CLASSES), PROJECTION, seed=3, scale=scale)
    state = {name: torch.from_numpy(value) for name, value in theirs.items()}
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "theirs.pth")
    content = settings(**detection)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
    config = ["--config", str(tmp_path / "model.yaml")]
    checkpoint, output = str(tmp_path / "ours.pt"), tmp_path / "segments.json"
    main(["convert-checkpoint", str(tmp_path / "theirs.pth"), checkpoint, *config])
    main(["predict", *config, "--data", str(data), "--checkpoint", checkpoint,
          "--output", str(output)])  # fmt: skip

    found, n_segments = read_predictions(output), 0
    names = {"upsampling": "scale", "outer_ratio": "ratio", "video_score_weight": "weight"}
    changed = {names.get(key, key): value for key, value in detection.items()}
    for name in (data / "split_test.txt").read_text().split():
        expected = authors.detect(
            theirs, np.load(data / "test" / f"{name}.npy"), divisors=DIVISORS, sampled=30,
            seconds_per_snippet=SECONDS, **changed,
        )  # fmt: skip
        n_segments += sum(map(len, expected.values()))
        assert {one.label for one in found[name]} == {CLASSES[label] for label in expected}
        for label, rows in expected.items():
            ours = [
                (one.score, one.start, one.end)
                for one in found[name]
                if one.label == CLASSES[label]
            ]
            np.testing.assert_allclose(ours, rows, rtol=1e-5, atol=1e-4)
    assert n_segments >= 20


def test_disjoint_segments_drop_each_other_as_of_pixels() -> None:
    """[0.5, 1) and [1.1, 1.6): pixels of 1 s would share 0.9 s of 2.1, a tIoU of 0.43."""
    scores = np.zeros(20)
    scores[5:10], scores[11:16] = 1.0, 0.9
    plain = DetectionSettings(
        activation_thresholds=(0.8,), attention_thresholds=(), outer_ratio=0, upsampling=1,
        video_score_weight=0.0, nms_threshold=0.43,
    )  # fmt: skip

    def found(settings: DetectionSettings) -> list[Detection]:
        return detect_official(
            scores[:, None], np.zeros(20), np.ones(1), classes="A", seconds_per_snippet=0.1,
            settings=settings,
        )  # fmt: skip

    overlap = 0.9 / 2.1
    assert 0.42 < overlap < 0.43
    assert [one.score for one in found(plain)] == pytest.approx([1.0, 0.9])
    assert [one.score for one in found(replace(plain, nms_threshold=0.42))] == [1.0]
    # Soft-NMS is not theirs, and measures seconds.
    soft = replace(plain, nms_threshold=0.42, soft_nms_sigma=0.5)
    assert [one.score for one in found(soft)] == pytest.approx([1.0, 0.9])

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.evaluation.inference import detect_all, score_split, score_video
from ftcl_model.model.ftcl import FTCL
from ftcl_model.report.alignments import align
from ftcl_model.training.stages import new_model
from tests.ftcl_model.model.test_ftcl import VARIANTS
from tests.ftcl_model.tiny_folder import CLASSES, WIDTH, open_tiny_split, write_tiny_folder


def make(variant: str, snippets: int = 30) -> FTCL:
    config = VARIANTS[variant]
    config = replace(config, dataset=replace(config.dataset, snippets=snippets))
    model = new_model(config, CLASSES, seed=0).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(model.backbone.attend.weight)
    model.backbone.attention_scale.fill_(1.0)
    return model


FEATURES = np.random.default_rng(0).standard_normal((41, WIDTH)).astype(np.float32)


@torch.no_grad()
def test_the_paper_variant_scores_every_snippet_and_takes_what_is_not_background() -> None:
    model = make("paper")
    scores = score_video(model, FEATURES, 0.5)
    output = model(torch.from_numpy(FEATURES)[None], torch.tensor([41]))
    action = output.attention[0, :, :2].sum(dim=1)
    np.testing.assert_allclose(scores.attention, action, rtol=1e-5)
    classes = output.class_logits[0].softmax(dim=1)[:, :3]
    np.testing.assert_allclose(scores.class_scores, classes, rtol=1e-5)
    video = output.video_log_scores[0, 0].exp()
    np.testing.assert_allclose(scores.video_scores, video[:3], rtol=1e-5)
    assert scores.video_scores.sum() < 1  # the background has its share
    assert scores.seconds_per_snippet == 0.5


@torch.no_grad()
def test_the_official_variant_samples_evenly_and_takes_the_instance_branch() -> None:
    model = make("official", snippets=10)
    scores = score_video(model, FEATURES, 0.5)
    rows = [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]  # floor(41 / 10 * i)
    output = model(torch.from_numpy(FEATURES[rows])[None], torch.tensor([10]))
    np.testing.assert_allclose(scores.attention, output.attention[0, :, 0], rtol=1e-5)
    np.testing.assert_allclose(scores.class_scores, output.instance_scores[0, :, :3], rtol=1e-5)
    # Ten snippets stand for the 41 * 0.5 seconds of the video.
    assert scores.seconds_per_snippet == pytest.approx(2.05)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_every_video_gets_detections_inside_it(variant: str, tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "test")
    model = make(variant)
    scores = score_split(model, split, progress=False)
    assert tuple(scores) == split.names
    detections = detect_all(model, scores)
    assert tuple(detections) == split.names
    for index, name in enumerate(split.names):
        assert detections[name]
        for detection in detections[name]:
            assert detection.label in CLASSES
            assert 0 <= detection.start < detection.end <= split.lengths[index] * 0.5 + 1e-9


def test_an_alignment_of_a_video_with_itself_is_the_diagonal() -> None:
    model = make("paper")
    # One-hot embeddings: a snippet is like itself only.
    scores = score_video(model, FEATURES, 0.5)._replace(
        embedding=np.eye(41, dtype=np.float32), attention=np.full(41, 0.9, np.float32)
    )
    alignment = align(scores, scores)
    np.testing.assert_allclose(alignment.similarity, 0.9 * np.eye(41), atol=1e-6)
    assert alignment.path == [(index, index) for index in range(41)]
    assert alignment.score == pytest.approx((0.9 - 0.4) * 41, rel=1e-3)
    assert np.diag(alignment.expected).min() > 0.9


def test_videos_with_nothing_in_common_have_no_alignment() -> None:
    scores = score_video(make("paper"), FEATURES, 0.5)
    embeddings = np.eye(82, dtype=np.float32)
    alignment = align(
        scores._replace(embedding=embeddings[:41]), scores._replace(embedding=embeddings[41:])
    )
    assert alignment.score == pytest.approx(0, abs=1e-3)
    assert alignment.path == []
    assert alignment.expected.max() < 0.01


def test_the_path_of_an_alignment_lies_where_the_matches_are_likely() -> None:
    # What three snippets have in common is far from the diagonal.
    scores = score_video(make("paper"), FEATURES, 0.5)
    first, second = np.eye(82, dtype=np.float32)[:41], np.eye(82, dtype=np.float32)[41:]
    second[36:39] = first[2:5]
    attention = np.full(41, 0.9, np.float32)
    alignment = align(
        scores._replace(embedding=first, attention=attention),
        scores._replace(embedding=second, attention=attention),
    )
    assert alignment.path == [(2, 36), (3, 37), (4, 38)]
    assert min(alignment.expected[place] for place in alignment.path) > 0.9
    assert alignment.expected.sum() == pytest.approx(3, abs=0.1)

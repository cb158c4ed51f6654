from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.moments import Moments, snippet_moments


def split_of(folder: Path, videos: list[NDArray[np.floating]]) -> FeatureSplit:
    paths = [folder / f"{index}.npy" for index in range(len(videos))]
    for path, features in zip(paths, videos, strict=True):
        np.save(path, features)
    return FeatureSplit(
        tuple(path.stem for path in paths), tuple(paths), np.ones((len(videos), 1), np.float32),
        np.array([len(features) for features in videos]), videos[0].shape[1], 1.0,
    )  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_they_are_those_of_all_snippets_together(tmp_path: Path, offset: float) -> None:
    rng = np.random.default_rng(0)
    videos = [
        (rng.normal(offset + index, 1 + index, (length, 3))).astype(np.float32)
        for index, length in enumerate((1, 40, 7, 300))
    ]
    every = np.concatenate(videos).astype(np.float64)
    found = snippet_moments(split_of(tmp_path, videos))
    np.testing.assert_allclose(found.mean, every.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.deviation, every.std(axis=0), rtol=1e-9)


def test_what_is_constant_up_to_rounding_does_not_deviate(tmp_path: Path) -> None:
    features = np.full((50, 4), np.float32(1e5) / 3, np.float32)
    features[:, 1], features[25, 2] = 0, np.nextafter(features[25, 2], np.float32(np.inf))
    features[25, 3] += 100
    found = snippet_moments(split_of(tmp_path, [features[:25], features[25:]]))
    assert found.deviation.tolist()[:3] == [0, 0, 0]
    assert found.deviation[3] == pytest.approx(14, rel=1e-3)


def test_the_offset_is_relative_to_the_deviation() -> None:
    assert Moments(np.array([3.0, 4.0]), np.array([0.0, 2.0])).offset == 2.5
    assert Moments(np.zeros(2), np.ones(2)).offset == 0

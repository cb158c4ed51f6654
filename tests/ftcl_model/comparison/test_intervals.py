from __future__ import annotations

import numpy as np
import pytest

from ftcl_model.comparison.intervals import (
    VIDEO_RESAMPLES,
    bootstrap_interval,
    nested_interval,
    resample_videos,
)

SEEDS, VIDEOS = 10, 60


def test_the_interval_covers_a_known_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.normal(2.0, 1.0, 30)) for _ in range(100)]
    covered = np.mean([low < 2.0 < high for low, high in intervals])
    assert 0.88 < covered < 0.98  # a percentile interval of 30 values covers a little less
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_a_resample_has_as_many_videos_as_there_are() -> None:
    counts = resample_videos(VIDEOS)
    assert counts.shape == (VIDEO_RESAMPLES, VIDEOS)
    assert (counts.sum(axis=1) == VIDEOS).all()
    assert np.array_equal(counts, resample_videos(VIDEOS))
    assert (counts == 0).mean() == pytest.approx((1 - 1 / VIDEOS) ** VIDEOS, abs=0.01)


def of_means(seeds: float, videos: float, single: float, draw: int) -> tuple[float, float]:
    """The interval of a mean of 2, by deviations of seeds, of videos, and of each of both."""
    rng = np.random.default_rng(draw)
    values = 2 + rng.normal(0, single, (SEEDS, VIDEOS))
    values += rng.normal(0, seeds, SEEDS)[:, None] + rng.normal(0, videos, VIDEOS)
    return nested_interval(resample_videos(VIDEOS) @ values.T / VIDEOS, float(values.mean()))


@pytest.mark.parametrize(
    ("seeds", "videos", "single"), [(1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.5, 2.0, 2.0)]
)
def test_the_nested_interval_is_as_wide_as_both_chances_together(
    seeds: float, videos: float, single: float
) -> None:
    intervals = np.array([of_means(seeds, videos, single, draw) for draw in range(100)])
    # A bootstrap's variance is that of n values with n, not n - 1, in the denominator.
    variance = seeds**2 * (SEEDS - 1) / SEEDS**2 + videos**2 * (VIDEOS - 1) / VIDEOS**2
    variance += 3 * single**2 / (SEEDS * VIDEOS)
    width = (intervals[:, 1] - intervals[:, 0]).mean()
    assert width == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.06)
    covered = ((intervals[:, 0] < 2) & (intervals[:, 1] > 2)).mean()
    assert 0.85 < covered < 0.99


def test_what_only_videos_decide_is_invisible_to_seeds_alone() -> None:
    videos = np.random.default_rng(0).normal(2, 2, VIDEOS)
    assert np.ptp(bootstrap_interval(np.full(SEEDS, videos.mean()))) < 1e-12
    resampled = np.repeat(resample_videos(VIDEOS) @ videos[:, None] / VIDEOS, SEEDS, axis=1)
    low, high = nested_interval(resampled, float(videos.mean()))
    assert high - low > 0.7


def test_resamples_without_truth_are_left_out() -> None:
    differences = np.full((VIDEO_RESAMPLES, 2), 0.5)
    differences[::7] = np.nan
    assert nested_interval(differences, 0.5) == (0.5, 0.5)


def test_the_interval_lies_about_the_difference_and_not_about_the_resamples() -> None:
    differences = np.random.default_rng(0).normal(0.5, 0.1, (VIDEO_RESAMPLES, 4))
    assert nested_interval(differences + 0.2, 0.5) == pytest.approx(
        nested_interval(differences, 0.5)
    )

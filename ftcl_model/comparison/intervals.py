"""How surely a difference is known: intervals over seeds, and over seeds and test videos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
"""Of the seeds alone."""
VIDEO_RESAMPLES = 1000
"""Of the test videos, each of which needs the mean average precision of every run."""


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of the mean of values (n,), always by the same resamples."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return _percentiles(means)


def resample_videos(count: int) -> NDArray[np.int64]:
    """(VIDEO_RESAMPLES, count): how often each video is drawn, always the same."""
    rng = np.random.default_rng(0)
    return rng.multinomial(count, np.full(count, 1 / count), size=VIDEO_RESAMPLES)


def nested_interval(differences: NDArray[np.float64], mean: float) -> tuple[float, float]:
    """95 % percentile interval of a mean difference over seeds and videos, both resampled.

    Every seed is evaluated on the same videos, so seeds and videos are drawn apart from each other,
    and the videos of a resample are those of all its seeds. The share of the variance that is of a
    single seed on a single video, which their number makes small, counts three times (Owen, The
    pigeonhole bootstrap, 2007). As with any bootstrap, few seeds make the interval too narrow.

    Average precision is no mean over videos, and copies of a video move it a little. The interval
    is moved back by what the resamples' mean is off.

    Args:
        differences: (resamples, seeds), of the same seeds on resampled videos; NaN where these had
            no truth.
        mean: the difference on the videos as they are.
    """
    rng = np.random.default_rng(1)
    seeds = rng.integers(differences.shape[1], size=differences.shape)
    means = np.take_along_axis(differences, seeds, axis=1).mean(axis=1)
    means = means[~np.isnan(means)]
    return _percentiles(means - means.mean() + mean)


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)

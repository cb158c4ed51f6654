"""Where the features of a split lie, and how far apart they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.features import FeatureSplit


class Moments(NamedTuple):
    """The mean and the standard deviation (width,) of all snippets of a split, in float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def offset(self) -> float:
        """How long the mean is, relative to the deviation, which must not be 0 throughout."""
        return float(np.linalg.norm(self.mean) / np.linalg.norm(self.deviation))


def snippet_moments(split: FeatureSplit) -> Moments:
    """Read a split's features once. A dimension that is constant up to rounding deviates by 0."""
    count, mean, squares = 0, np.zeros(split.width), np.zeros(split.width)
    for index in range(len(split)):
        features = split.load(index).astype(np.float64)
        own = features.mean(axis=0)
        # As Chan et al. join the moments of two sets, so that a large mean costs no digits.
        before, count = count, count + len(features)
        squares += np.square(features - own).sum(axis=0)
        squares += np.square(own - mean) * (before * len(features) / count)
        mean += (own - mean) * (len(features) / count)
    deviation = np.sqrt(squares / count)
    deviation[deviation <= 1e-6 * np.abs(mean)] = 0.0
    return Moments(mean, deviation)

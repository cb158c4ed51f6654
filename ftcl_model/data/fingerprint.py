"""What is read of the data, so that nothing goes on with other data than it began with."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit


def feature_digests(split: FeatureSplit) -> dict[str, str]:
    """By video the shape of its features and the CRC-32 of all their float32 values.

    Whatever changes a value that training reads changes it, but for one change in 2^32; when and by
    whom a file was written does not. It reads all features once, as every epoch does.
    """
    digests = {}
    for index, name in enumerate(split.names):
        features = np.ascontiguousarray(split.load(index))
        snippets, width = features.shape
        digests[name] = f"{snippets} x {width}, CRC-32 {zlib.crc32(features.data):08x}"
    return digests


def fingerprint(
    split: FeatureSplit,
    annotations: Annotations,
    features: Mapping[str, str],
    segments_of: Iterable[str] = (),
) -> dict[str, Any]:
    """The labels and features of a split by video, and their order, as JSON holds them.

    Args:
        split: the videos.
        annotations: with their segments.
        features: the split's `feature_digests`.
        segments_of: videos whose segments are read too.
    """
    return {
        "labels": {
            name: [annotations.classes[column] for column in np.flatnonzero(row)]
            for name, row in zip(split.names, split.labels, strict=True)
        },
        "features": dict(features),
        "segments": {
            name: [list(segment) for segment in annotations.videos[name].segments]
            for name in segments_of
        },
        "videos": list(split.names),
    }


def difference(theirs: Any, ours: Any, path: str = "") -> str:
    """What differs first between two JSON values, in words; empty if nothing does."""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        theirs, ours = dict(enumerate(theirs)), dict(enumerate(ours))
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            found = difference(theirs.get(key), ours.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return ""
    return "" if theirs == ours else f"{path} was {theirs!r} and is {ours!r}"

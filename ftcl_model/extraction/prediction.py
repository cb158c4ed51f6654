"""New videos as features of the make that a trained model knows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ftcl_model.annotations import Annotations
from ftcl_model.detection import Detection
from ftcl_model.extraction.decoding import find_videos
from ftcl_model.extraction.extract import Choices, extract
from ftcl_model.model import load_checkpoint


class Source(NamedTuple):
    """Where features are, and what they were made of.

    data:   the folder of features.
    videos: the videos that were encoded, by name; empty where features were given.
    errors: what stopped the others, a line each.
    """

    data: Path
    videos: Mapping[str, Path] = {}
    errors: tuple[str, ...] = ()

    def of_videos(
        self, predictions: Mapping[str, Sequence[Detection]], annotations: Annotations
    ) -> Mapping[str, Sequence[Detection]]:
        """The predictions of these videos, without what lies after their ends.

        The last snippet of a video may end up to half a snippet after it. Where features were
        given, they are as they were.
        """
        if not self.videos:
            return predictions
        return {
            name: [
                one._replace(end=min(one.end, end))
                for one in predictions[name]
                if one.start < (end := annotations.videos[name].duration or math.inf)
            ]
            for name in self.videos
        }


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Source]:
    """Yield the features to predict from, which are made first if videos are given.

    Args:
        options: of `predict`.

    Raises:
        ValueError: it is not known how the model's features were made, the encoder is not what it
            was, or no video could be encoded; or as `extract`.
        ImportError, OSError: as `extract`.
    """
    if not options.videos:
        yield Source(options.data)
    elif options.features:
        yield _extracted(options, options.features)
    else:
        with TemporaryDirectory() as folder:
            yield _extracted(options, Path(folder))


def _extracted(options: argparse.Namespace, folder: Path) -> Source:
    made = load_checkpoint(options.checkpoint).model.config.dataset.extraction
    if made is None:
        raise ValueError(
            f"{options.checkpoint}: was trained with features that `extract` has not made, so that "
            "videos cannot be made into the same; give features with --data"
        )
    choices = Choices(
        made.encoder, made.weights, made.frames, made.stride, made.rate, made.size, made.seed,
        options.device, options.precision, options.batch, options.jobs, options.progress,
    )  # fmt: skip
    found = find_videos(options.videos)
    extracted = extract(options.videos, folder, choices, like=made)
    encoded = sorted([*extracted.done, *extracted.kept])
    if not encoded:
        raise ValueError(f"no video could be encoded: {extracted.errors[0]}")
    return Source(folder, {name: found[name] for name in encoded}, extracted.errors)

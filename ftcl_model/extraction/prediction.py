"""The command `predict --videos`: new videos as features of the make that a trained model knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from ftcl_model.data.annotations import Annotations
from ftcl_model.detection import exports
from ftcl_model.detection.predictions import Detection
from ftcl_model.errors import InputError
from ftcl_model.evaluation.evaluate import open_model
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.extraction.decoding import find_videos
from ftcl_model.extraction.extract import Choices, EncodingOptions, extract
from ftcl_model.model.ftcl import load_checkpoint


class PredictedVideos(NamedTuple):
    """What was written.

    n_segments: the number of segments.
    errors: what stopped the videos that were left out, a line each.
    """

    n_segments: int
    errors: tuple[str, ...]


def predict_videos(
    checkpoint: Path,
    paths: list[Path],
    output: Path,
    *,
    form: exports.Format | None = None,
    features: Path | None = None,
    config: str | None = None,
    device: torch.device,
    options: EncodingOptions,
) -> PredictedVideos:
    """Encode videos as the model's training videos were, and write their segments.

    The last snippet of a video may end up to half a snippet after it; segments end with it.

    Args:
        checkpoint: as for `evaluate.open_model`, as are `config` and `device`.
        paths: videos, and folders of videos.
        output: the file to write, or the folder.
        form: of the output; None is what its ending says.
        features: a folder to keep the features in; None throws them away.
        config: a file or a preset.
        device: to encode and to score on.
        options: how the encoder is run.

    Raises:
        InputError: it is not known how the model's features were made, the encoder is not what it
            was, or no video could be encoded; or as `extract`, `open_model` and `exports.outputs`.
        ModuleNotFoundError: a library is not installed.
        OSError: the output cannot be written, which is tried first; or as `extract`.
    """
    form = form or exports.format_of(output)
    found = find_videos(paths)
    exports.check(output, form, list(found))
    made = load_checkpoint(checkpoint).model.config.dataset.extraction
    if made is None:
        raise InputError(
            f"{checkpoint}: was trained with features that `extract` has not made, so that videos "
            "cannot be made into the same; give features with --data"
        )
    choices = Choices(
        made.encoder, made.weights, made.frames, made.stride, made.rate, made.size, made.seed
    )
    with nullcontext(features) if features else TemporaryDirectory() as folder:
        data = Path(folder)
        extracted = extract(paths, data, choices, device=device, options=options, like=made)
        encoded = sorted([*extracted.done, *extracted.kept])
        if not encoded:
            raise InputError(f"no video could be encoded: {extracted.errors[0]}")
        model, annotations, test = open_model(checkpoint, data, config=config, device=device)
        scores = score_split(model, test, progress=options.progress)
    detections = detect_all(model, scores)
    predictions = {name: _within(name, detections[name], annotations) for name in encoded}
    exports.write(output, form, predictions, found)
    return PredictedVideos(sum(map(len, predictions.values())), extracted.errors)


def _within(
    name: str, detections: Sequence[Detection], annotations: Annotations
) -> list[Detection]:
    """The detections of a video, without what lies after its end."""
    end = annotations.videos[name].duration or math.inf
    return [one._replace(end=min(one.end, end)) for one in detections if one.start < end]

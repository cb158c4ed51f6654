"""The commands `evaluate` and `predict`: a trained model on the test split of a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ftcl_model.config.config import Config, load_config
from ftcl_model.config.extracted import with_extraction
from ftcl_model.config.inputs import open_inputs
from ftcl_model.data.annotations import Annotations, read_annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection import exports
from ftcl_model.detection.predictions import write_predictions
from ftcl_model.errors import InputError
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.score import (
    Evaluation,
    evaluate_segments,
    evaluation_content,
    scored_names,
)
from ftcl_model.files import check_output_file, write_json
from ftcl_model.model.ftcl import FTCL, load_checkpoint, versions


class TestedModel(NamedTuple):
    """A trained model, with the test split and the annotations of its videos."""

    model: FTCL
    annotations: Annotations
    test: FeatureSplit


def open_model(
    checkpoint: Path, data: Path, *, config: str | None = None, device: torch.device
) -> TestedModel:
    """A checkpoint's model, under a configuration of the same make, and the test split.

    Args:
        checkpoint: what `train` left.
        data: the folder of features.
        config: a file or a preset, whose settings of data and detection replace the checkpoint's;
            None keeps them.
        device: to score on.

    Raises:
        InputError: something is broken, or the model was trained as the configuration and the data
            do not say, or with features of another encoder.
    """
    model = load_checkpoint(checkpoint).model
    settings = load_config(config) if config else model.config
    with_extraction(model.config, data)
    if settings.dataset.classes is None and not read_annotations(data / "gt.json").classes:
        # No video has a label.
        settings = replace(settings, dataset=replace(settings.dataset, classes=model.classes))
    settings, annotations, test = open_inputs(settings, data, "test")
    ours = _make_of(settings, annotations.classes)
    for key, value in _make_of(model.config, model.classes).items():
        if ours[key] != value:
            raise InputError(
                f"{checkpoint}: was trained with {key} {value!r}, but "
                f"{config or 'its configuration'} and {data} say {ours[key]!r}"
            )
    # What reads the scores may change after training; what makes them may not.
    model.config = replace(
        model.config,
        dataset=settings.dataset, detection=settings.detection, tious=settings.tious,
    )  # fmt: skip
    return TestedModel(model.to(device), annotations, test)


def _make_of(config: Config, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "variant": config.variant,
        "dataset.feature_width": config.dataset.feature_width,
        "dataset.seconds_per_snippet": config.dataset.seconds_per_snippet,
        "dataset.standardise": config.dataset.standardise,
        "backbone.width": config.backbone.width,
        "classes": classes,
    }


def evaluate(
    checkpoint: Path,
    data: Path,
    *,
    config: str | None = None,
    device: torch.device,
    output: Path | None = None,
    predictions: Path | None = None,
) -> Evaluation:
    """Score a checkpoint on the test split.

    Args:
        checkpoint: as for `open_model`, as are `data`, `config` and `device`.
        data: the folder of features.
        config: a file or a preset.
        device: to score on.
        output: a JSON file to write the numbers to.
        predictions: a JSON file to write the segments to, before the numbers.

    Raises:
        InputError: as `open_model`, or no test video has a segment.
        OSError: the output cannot be written, which is tried first.
    """
    for path in filter(None, (output, predictions)):
        check_output_file(path)
    model, annotations, test = open_model(checkpoint, data, config=config, device=device)
    names = scored_names(model.config.dataset, annotations, test.names)
    if not annotations.has_segments(names):
        raise InputError(
            f"{data / 'gt.json'}: no video of split_test.txt has an annotated segment, so there is "
            "nothing to evaluate against"
        )
    scores = score_split(model, test)
    found = detect_all(model, scores)
    evaluation = evaluate_segments(
        found,
        annotations,
        names,
        model.config.tious,
        {name: video.video_scores for name, video in scores.items()},
    )
    if predictions:
        write_predictions(predictions, found)
    if output:
        write_json(output, evaluation_content(evaluation) | {"versions": versions()})
    return evaluation


def predict(
    checkpoint: Path,
    data: Path,
    output: Path,
    *,
    form: exports.Format | None = None,
    config: str | None = None,
    device: torch.device,
) -> int:
    """Write the segments of the test split as `exports.write` does; their number.

    Args:
        checkpoint: as for `open_model`, as are `data`, `config` and `device`.
        data: the folder of features.
        output: the file to write, or the folder.
        form: of the output; None is what its ending says.
        config: a file or a preset.
        device: to score on.

    Raises:
        InputError: as `open_model` and `exports.outputs`.
        OSError: the output cannot be written, which is tried first.
    """
    form = form or exports.format_of(output)
    exports.check(output, form, None)
    model, _, test = open_model(checkpoint, data, config=config, device=device)
    predictions = detect_all(model, score_split(model, test))
    exports.write(output, form, predictions)
    return sum(map(len, predictions.values()))

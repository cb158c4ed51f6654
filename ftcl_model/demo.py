"""The demonstration: both stages on real recordings, scored, drawn and reported."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.config.config import Config, load_config
from ftcl_model.data.annotations import Annotations, read_annotations
from ftcl_model.data.datasets import basic_motions
from ftcl_model.data.datasets.folder import remove_prepared
from ftcl_model.data.features import FeatureSplit, open_split
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.mean_average_precision import (
    MeanAveragePrecision,
    mean_average_precision,
)
from ftcl_model.files import check_output_file, check_output_folder, write_json, write_text
from ftcl_model.model.ftcl import FTCL, save_checkpoint, versions
from ftcl_model.model.moving_average import MovingAverage
from ftcl_model.report.alignments import ALIGNMENT_THRESHOLD, draw_alignments, example_alignments
from ftcl_model.report.timelines import DRAWN_SCORE, draw_timelines, make_timeline
from ftcl_model.texts import markdown, markdown_table
from ftcl_model.training.planning import plan_training
from ftcl_model.training.stages import History, new_model, train_backbone, train_contrast

BACKBONE, CONTROL = "backbone", "backbone, trained on"
CONTRAST, ALIGNED = "backbone + contrast", "backbone + aligned"
"""The rows of the tables. CONTROL has the second stage's pairs and steps without the contrasts,
CONTRAST those of `variant: paper`, ALIGNED the second stage of `variant: aligned`."""

_FILES = {
    BACKBONE: "backbone.pt", CONTROL: "backbone_trained_on.pt",
    CONTRAST: "contrast.pt", ALIGNED: "aligned.pt",
}  # fmt: skip
_OUTPUTS = (*_FILES.values(), "timelines.png", "alignment.png", "metrics.json", "report.md")


class Run(NamedTuple):
    """The models of one seed: how they were trained, and their mAP on the test streams."""

    seed: int
    models: dict[str, FTCL]
    histories: dict[str, History]
    results: dict[str, MeanAveragePrecision]


def run_demo(
    output: str | os.PathLike[str],
    *,
    seed: int = 0,
    repeats: int = 3,
    config: Config | None = None,
    n_train: int = 120,
    n_test: int = 60,
    progress: bool = True,
) -> list[Run]:
    """Prepare the streams, train, evaluate, and write report, metrics, pictures and checkpoints.

    The pictures and checkpoints are those of the first seed.

    Args:
        output: the folder; what an earlier demonstration left there is replaced.
        seed: of the first training; the others take the seeds that follow. The streams are the
            same for all.
        repeats: number of trainings.
        config: None is the preset "demo".
        n_train: number of training streams.
        n_test: number of test streams.
        progress: show progress bars.

    Raises:
        ModuleNotFoundError: the package that ships the recordings is not installed.
        OSError: an output cannot be written, which is tried first; FileExistsError: there is
            something that no demonstration left there.
        InputError: the configuration does not fit the streams.
    """
    started = time.monotonic()
    output = Path(output)
    config = load_config("demo") if config is None else config
    data = prepare_streams(output, n_train=n_train, n_test=n_test)
    annotations = read_annotations(data / "gt.json", config.dataset.classes)
    train, test = (
        open_split(data, split, annotations, config.dataset) for split in ("train", "test")
    )
    config = plan_training(config, train, seed).config
    runs = [
        _run(config, annotations, train, test, seed + repeat, progress) for repeat in range(repeats)
    ]
    for row, model in runs[0].models.items():
        save_checkpoint(output / _FILES[row], model, runs[0].histories[row].iteration)
    _draw(output, runs[0].models[ALIGNED], test, annotations)
    metrics = _metrics(runs, config, time.monotonic() - started)
    write_json(output / "metrics.json", metrics)
    write_text(output / "report.md", _report(metrics, config, train, test))
    return runs


def prepare_streams(
    output: str | os.PathLike[str], *, n_train: int = 120, n_test: int = 60
) -> Path:
    """Write the streams to the folder "data" in `output`, unless they are there; returns it.

    Other streams that an earlier demonstration left there are replaced.

    Raises:
        ModuleNotFoundError: the package that ships the recordings is not installed.
        OSError: an output of the demonstration could not be written; FileExistsError: the folder
            holds a file of their names, or "data" anything, that no demonstration left there.
    """
    output = Path(output)
    data = output / "data"
    check_output_folder(output)
    if not (data / "dataset.json").is_file():
        for name in _OUTPUTS:
            if os.path.lexists(output / name):
                raise FileExistsError(f"{output / name}: was left there by no demonstration")
    try:
        basic_motions.prepare(data, n_train=n_train, n_test=n_test)
    except FileExistsError:
        if not remove_prepared(data, basic_motions.SOURCE):
            raise
        basic_motions.prepare(data, n_train=n_train, n_test=n_test)
    for name in _OUTPUTS:
        check_output_file(output / name)
    return data


def _run(
    config: Config,
    annotations: Annotations,
    train: FeatureSplit,
    test: FeatureSplit,
    seed: int,
    progress: bool,
) -> Run:
    without = replace(config, contrast=replace(config.contrast, fsd_weight=0.0, lcs_weight=0.0))
    second_stages = {
        CONTROL: without, CONTRAST: config, ALIGNED: replace(config, variant="aligned")
    }  # fmt: skip
    first = new_model(config, annotations.classes, seed=seed)
    average = MovingAverage(first, config.training.moving_average)
    history = train_backbone(first, train, seed=seed, average=average, progress=progress)
    models, histories = {BACKBONE: average.model}, {BACKBONE: history}
    for row, configured in second_stages.items():
        # The second stage starts from the same backbone in every row.
        model = new_model(configured, annotations.classes, seed=seed)
        going_on = MovingAverage(model, config.training.moving_average)
        model.backbone.load_state_dict(first.backbone.state_dict())
        going_on.model.backbone.load_state_dict(average.model.backbone.state_dict())
        histories[row] = train_contrast(
            model, train,
            seed=seed, iteration=history.iteration, average=going_on, progress=progress,
        )  # fmt: skip
        models[row] = going_on.model
    results = {}
    for row, model in models.items():
        predictions = detect_all(model, score_split(model, test, progress=progress))
        results[row] = mean_average_precision(predictions, annotations, test.names, config.tious)
    return Run(seed, models, histories, results)


def _draw(output: Path, model: FTCL, test: FeatureSplit, annotations: Annotations) -> None:
    scores = score_split(model, test, progress=False)
    shown = test.names[:5]
    found = detect_all(model, {name: scores[name] for name in shown})
    timelines = [make_timeline(name, scores[name], found[name], annotations) for name in shown]
    draw_timelines(output / "timelines.png", timelines)
    pictures = example_alignments(test, scores, annotations)
    if pictures:
        draw_alignments(output / "alignment.png", pictures)


def _metrics(runs: Sequence[Run], config: Config, seconds: float) -> dict[str, Any]:
    """What metrics.json holds: per row and seed the mAP and AP in 0..1 (null: no truth)."""
    return {
        "seeds": [run.seed for run in runs],
        "variant": config.variant,
        "seconds": round(seconds, 1),
        "versions": versions(),
        "tiou_thresholds": list(config.tious),
        "classes": list(runs[0].results[CONTRAST].classes),
        "rows": {
            row: [
                {
                    "seed": run.seed,
                    "iterations": run.histories[row].iteration,
                    "losses": run.histories[row].epochs,
                    "average_map": run.results[row].average,
                    "map": run.results[row].map.tolist(),
                    "average_precision": _null_for_nan(run.results[row].per_class),
                }
                for run in runs
            ]
            for row in runs[0].results
        },
    }


def _null_for_nan(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def _report(
    metrics: Mapping[str, Any], config: Config, train: FeatureSplit, test: FeatureSplit
) -> str:
    rows, classes = metrics["rows"], metrics["classes"]
    maps = {row: np.array([run["map"] for run in runs]) for row, runs in rows.items()}
    averages = {row: np.array([run["average_map"] for run in runs]) for row, runs in rows.items()}
    precision = {
        row: np.array([run["average_precision"] for run in runs], np.float64).mean(axis=(0, 1))
        for row, runs in rows.items()
    }
    seeds = ", ".join(str(seed) for seed in metrics["seeds"])
    thresholds = [f"{tiou:g}" for tiou in metrics["tiou_thresholds"]]
    steps = {row: runs[0]["iterations"] for row, runs in rows.items()}
    lines = [
        "# FTCL on streams stitched from BasicMotions",
        "",
        f"{len(train)} training and {len(test)} test streams of people standing, walking, running "
        "and playing badminton, from the archive's own training and test recordings. Training saw "
        "only which actions a stream contains; the segments are for this evaluation.",
        "",
        f"Seeds {seeds}; mean average precision in percent, mean "
        "over the seeds, ± standard deviation over them.",
        "",
        "## Mean average precision by tIoU threshold",
        "",
        *markdown_table(
            ["", *thresholds, "average"],
            [
                [
                    row,
                    *(f"{100 * value:.1f}" for value in maps[row].mean(axis=0)),
                    f"**{100 * averages[row].mean():.1f}** ± {100 * averages[row].std():.1f}",
                ]
                for row in rows
            ],
        ),
        "",
        f"`{BACKBONE}`: the first stage alone, {steps[BACKBONE]} steps. `{CONTROL}`: "
        f"{steps[CONTROL]} steps, the second stage's pairs and steps without the contrasts, which "
        f"is what the next two have to be compared with. `{CONTRAST}`: the same with FSD and LCS "
        f"contrasting (`variant: {metrics['variant']}`). `{ALIGNED}`: {steps[ALIGNED]} steps, the "
        "expected alignment of two streams with the same actions supervises their snippets "
        "(`variant: aligned`).",
        "",
        "## Average precision by class, averaged over the thresholds",
        "",
        *markdown_table(
            ["", *map(markdown, classes)],
            [[row, *(f"{100 * value:.1f}" for value in precision[row])] for row in rows],
        ),
        "",
        "## Do the contrasts help?",
        "",
        _verdict(100 * (averages[CONTRAST] - averages[CONTROL])),
        "",
        "The weighted losses, mean over the seeds, from the first to the last epoch of the second "
        f"stage: {_course(rows[CONTRAST], 'fsd')}, {_course(rows[CONTRAST], 'lcs')}, "
        f"{_course(rows[CONTRAST], 'total')}.{_satisfied(rows[CONTRAST])}",
        "",
        "## Does the alignment help?",
        "",
        _verdict(100 * (averages[ALIGNED] - averages[CONTROL])),
        "",
        f"## Pictures (seed {metrics['seeds'][0]}, {ALIGNED})",
        "",
        f"Predictions that score less than {DRAWN_SCORE:g} of a stream's best are not drawn.",
        "",
        "![timelines](timelines.png)",
        "",
        "The alignments below are of two test streams each: the similarity is the cosine of the "
        "snippets' embeddings times their attention, a match gains what it has above "
        f"{ALIGNMENT_THRESHOLD:g}, and the expected alignment, the gradient of the smoothed score, "
        "says how likely two snippets are matched. The coloured strips are the true classes.",
        "",
        "![alignment](alignment.png)",
        "",
        "## How it was made",
        "",
        f"{metrics['seconds']:.0f} s in all; "
        + ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
        + f". Batches of {config.training.batch_size}, {config.training.backbone_epochs} epochs of "
        f"the streams, then {config.training.contrast_epochs} epochs of pairs. `metrics.json` has "
        "every number by seed; the checkpoints are of the first seed.",
        "",
    ]
    return "\n".join(lines)


def _verdict(differences: NDArray[np.float64]) -> str:
    # Rounded first: a difference that rounds to zero has no sign.
    mean, *rounded = np.round([differences.mean(), *differences], 1) + 0.0
    listed = ", ".join(f"{difference:+.1f}" for difference in rounded)
    text = (
        f"Difference of the average mAP to the control, paired by seed: {listed} "
        f"(mean {mean:+.1f})."
    )
    if abs(mean) < 0.5:
        return f"{text} Less than half a point: no."
    if min(rounded) * max(rounded) <= 0:
        return f"{text} Not the same sign for every seed: no difference that could be told."
    return f"{text} {'A gain' if mean > 0 else 'A loss'} with every seed."


def _course(runs: Sequence[Mapping[str, Any]], term: str) -> str:
    """How a term of the loss went; a term of weight 0 was not there."""
    first, last = (
        np.mean([run["losses"][epoch].get(term, 0.0) for run in runs]) for epoch in (0, -1)
    )
    return f"{term} {first:.3f} to {last:.3f}"


def _satisfied(runs: Sequence[Mapping[str, Any]]) -> str:
    if all(0 <= run["losses"][-1].get("fsd", np.inf) < 5e-4 for run in runs):
        return (
            " At an fsd of 0 every positive pair scores so far above its background comparisons "
            "that nothing is left to learn from it."
        )
    return ""

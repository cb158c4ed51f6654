"""A page to look at: how well a trained model localises, and where it goes wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ftcl_model.config.extracted import with_extraction
from ftcl_model.data.annotations import Annotations, Segment, read_annotations
from ftcl_model.data.features import FeatureSplit, open_split
from ftcl_model.detection.exports import DRAWN_SCORE
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import VideoScores
from ftcl_model.errors import InputError
from ftcl_model.evaluation.false_positives import KINDS, LOWEST_TIOU, Breakdown, break_down
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.score import Evaluation, evaluate_segments, scored_names
from ftcl_model.files import check_output_file, write_text
from ftcl_model.model.ftcl import FTCL, load_checkpoint
from ftcl_model.report import html
from ftcl_model.report.alignments import (
    ALIGNMENT_THRESHOLD,
    AlignmentFigure,
    draw_alignments,
    example_alignments,
)
from ftcl_model.report.player import player_section
from ftcl_model.report.timelines import draw_timelines, make_timeline
from ftcl_model.training.course import Course, read_course

FOLDED = 30
"""Number of classes beyond which their tables are shown when asked for."""

_KINDS_MEAN = (
    "tIoU of 0.5 or more with a truth of its class that no better prediction has taken",
    "tIoU of 0.5 or more, right class, but the truth is taken by a better prediction",
    "tIoU from 0.1 to below 0.5, right class",
    "tIoU from 0.1 to below 0.5, class of another action",
    "tIoU of 0.5 or more, class of another action",
    "tIoU below 0.1 with every truth",
)


class TrainedRun(NamedTuple):
    """A finished training with what it is tested on."""

    folder: Path
    data: Path
    model: FTCL
    iteration: int
    course: Course
    annotations: Annotations
    test: FeatureSplit


def open_run(folder: Path, data: Path | None = None) -> TrainedRun:
    """Open what `train` left in a folder, or a checkpoint alone.

    Args:
        folder: of the run, or a checkpoint, of whose course nothing is known.
        data: features and annotations in the authors' layout.

    Raises:
        InputError: the folder holds no finished run, there are no data, or something in either is
            broken. The message names the file and says what was expected.
    """
    if folder.is_file():
        checkpoint, told = folder, None
    elif not folder.is_dir():
        raise InputError(f"{folder}: expected the folder of a run or a checkpoint, there is none")
    elif (folder / "model.pt").is_file():
        checkpoint, told = folder / "model.pt", folder / "history.json"
    else:
        raise InputError(
            f"{folder}: expected what is left by a finished train (model.pt, history.json) or "
            "compare (compare.json), found neither"
        )
    course = read_course(told) if told else Course(None, {}, {})
    model, iteration = load_checkpoint(checkpoint)
    if data is None:
        raise InputError(f"{folder}: say where the features are with --data")
    with_extraction(model.config, data)
    annotations = read_annotations(data / "gt.json", model.classes)
    test = open_split(data, "test", annotations, model.config.dataset)
    return TrainedRun(folder, data, model, iteration, course, annotations, test)


def report_run(
    folder: Path,
    path: Path,
    *,
    data: Path | None = None,
    drawn: Sequence[str] = (),
    played: Mapping[str, Path] | None = None,
    device: torch.device | None = None,
) -> None:
    """Write the page of what `train` left in a folder, or of a checkpoint alone.

    Args:
        folder: as for `open_run`, as is `data`.
        path: the file.
        data: the folder of features.
        drawn: as for `write_run_page`, as are `played` and `device`.
        played: video files by name.
        device: to score on.

    Raises:
        InputError: as `open_run` and `write_run_page`.
        OSError: the file cannot be written, which is tried first.
    """
    run = open_run(folder, data)
    check_output_file(path)
    write_run_page(path, run, drawn=drawn, played=played, device=device)


def write_run_page(
    path: str | os.PathLike[str],
    run: TrainedRun,
    *,
    drawn: Sequence[str] = (),
    played: Mapping[str, Path] | None = None,
    device: torch.device | None = None,
) -> None:
    """Score the test split and write one HTML file that needs no other but the videos it plays.

    Where no test video has a segment, evaluation is left out, and the page says so.

    Args:
        path: the file.
        run: what `open_run` opened.
        drawn: test videos to draw; none takes the first four with a truth.
        played: video files by name, of which those of the test split can be played.
        device: to score on; None is the CPU.

    Raises:
        InputError: a video to draw is not in the test split, or none of those to play is; the
            message names the file of the split, or a video.
    """
    unknown = [name for name in drawn if name not in run.test.names]
    if unknown:
        some = ", ".join(run.test.names[:3])
        raise InputError(
            f"{run.data / 'split_test.txt'}: has no video {unknown[0]!r}, expected one of its "
            f"{len(run.test)}, as {some}"
        )
    labelled = [
        name for name, labels in zip(run.test.names, run.test.labels, strict=True) if labels.any()
    ]
    shown = drawn or (labelled or run.test.names)[:4]
    model = run.model.to(device or torch.device("cpu"))
    scores = score_split(model, run.test, progress=False)
    predictions = detect_all(model, scores)
    names = scored_names(model.config.dataset, run.annotations, run.test.names)
    evaluation = [
        _header(run, len(names), sum(map(len, predictions.values()))),
        html.paragraph("No test video has an annotated segment: evaluation is left out."),
    ]
    if run.annotations.has_segments(names):
        video_scores = {name: video.video_scores for name, video in scores.items()}
        evaluated = evaluate_segments(
            predictions, run.annotations, names, model.config.tious, video_scores
        )
        evaluation = [
            _header(run, len(names), sum(map(len, predictions.values())), evaluated),
            _precision(evaluated),
            _errors(break_down(predictions, run.annotations, names)),
        ]
    seconds = {
        name: run.annotations.videos[name].duration or len(one.attention) * one.seconds_per_snippet
        for name, one in scores.items()
    }
    folder = Path(path).parent
    body = "\n".join(
        [
            *evaluation,
            player_section(played, predictions, run.annotations, seconds, folder) if played else "",
            _validation(run),
            _losses(run.course.losses),
            _timelines(shown, scores, predictions, run.annotations),
            _alignments(example_alignments(run.test, scores, run.annotations)),
        ]
    )
    write_text(path, html.page(f"FTCL: {_name(run)}", body))


def _name(run: TrainedRun) -> str:
    return run.folder.resolve().name


def _header(
    run: TrainedRun, n_videos: int, n_predictions: int, evaluation: Evaluation | None = None
) -> str:
    items = []
    if evaluation is not None:
        tious = evaluation.detection.thresholds
        average = html.percent(evaluation.detection.average)
        items = [
            (f"mAP, average over tIoU {tious[0]:g} to {tious[-1]:g}", f"{average} %"),
            ("mAP of video-level classes", f"{html.percent(evaluation.video_map)} %"),
        ]
    items += [
        ("variant", run.model.config.variant),
        *([] if run.course.seed is None else [("seed", str(run.course.seed))]),
        ("training steps", str(run.iteration)),
        ("test videos", str(n_videos)),
        ("predicted segments", str(n_predictions)),
        ("classes", str(len(run.annotations.classes))),
    ]
    return (
        f"<header>\n<h1>Action localisation: {html.escaped(_name(run))}</h1>\n"
        f"{html.facts(items)}\n</header>"
    )


def _precision(evaluation: Evaluation) -> str:
    result = evaluation.detection
    by_tiou = [(f"{t:g}", float(v)) for t, v in zip(result.thresholds, result.map, strict=True)]
    averages = [(name, value) for name, value in evaluation.averages.items()]
    per_class = zip(result.classes, result.per_class.mean(axis=0).tolist(), strict=True)
    videos = zip(result.classes, evaluation.classification.tolist(), strict=True)
    unknown = int(np.isnan(result.per_class[0]).sum())
    left_out = html.paragraph(f"Classes without truth, left out: {unknown}.", "muted")
    return html.section(
        "Average precision",
        html.paragraph(
            "Mean over the classes (mAP) of the area under the interpolated precision-recall "
            "curve; a prediction counts if it overlaps a truth of its class by the tIoU or more."
        ),
        html.columns(
            html.bar_table("mAP by tIoU", "tIoU", by_tiou)
            + html.bar_table("mAP averaged over ranges of tIoU", "range", averages)
        ),
        "<h3>Classes</h3>",
        left_out if unknown else "",
        html.columns(
            html.bar_table(
                "AP of segments, averaged over the tIoUs above", "class", list(per_class)
            )
            + html.bar_table("AP at saying which videos have the class", "class", list(videos)),
            folded=len(result.classes) > FOLDED,
        ),
    )


def _errors(breakdown: Breakdown) -> str:
    total = breakdown.total.tolist()
    factor = len(breakdown.counts)
    ranks = "".join(
        f"<div>{rank}G</div>{html.stack(row, KINDS)}"
        for rank, row in enumerate(breakdown.counts.tolist(), start=1)
    )
    return html.section(
        "What the predictions are",
        html.paragraph(
            f"The best {factor} G predictions of each class, where G is the number of its truths, "
            f"at tIoU {breakdown.tiou:g}: {sum(total)} predictions, {breakdown.n_truths} truths. "
            "After DETAD (Alwassel et al., Diagnosing Error in Temporal Action Detectors, "
            "ECCV 2018)."
        ),
        html.stack(total, KINDS, tall=True),
        html.kind_table(total, breakdown.gains.tolist(), KINDS, _KINDS_MEAN),
        html.paragraph(
            f"Gain: what would be added to the mAP of these predictions, "
            f"{html.percent(breakdown.map)} % at tIoU {breakdown.tiou:g}, if those of a kind were "
            "left out. DETAD's impact of removing an error, of plain average precision.",
            "muted",
        ),
        html.paragraph(
            "Predictions are matched as for average precision, best score first; a matched one is "
            "a true positive. One without a match is judged by the truth, of any class, that it "
            "overlaps most: at tIoU "
            f"{breakdown.tiou:g} or more it is a double detection (same class) or a wrong label "
            f"(another); from {LOWEST_TIOU:g} on a localisation error (same class) or a confusion "
            "(another); below that it is background.",
            "muted",
        ),
        "<h3>By rank</h3>",
        html.paragraph(
            "1G are the best G predictions of each class, 2G the next G, and so on; an empty bar "
            "has none.",
            "muted",
        ),
        f'<div class="ranks">{ranks}</div>',
    )


def _validation(run: TrainedRun) -> str:
    if not run.course.validation:
        return ""
    charts = [
        html.chart(f"mAP of {metric}", stages, kept=run.iteration)
        for metric, stages in run.course.validation.items()
    ]
    return html.section(
        "Validation",
        html.paragraph(
            "On the training videos that were set apart, by training step. The line is where the "
            "second stage begins, the dot the weights that were kept.",
            "muted",
        ),
        *charts,
    )


def _losses(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    if not losses:
        return ""
    parts = [html.paragraph("Mean of each epoch, first → last; the line is zero.", "muted")]
    for stage, epochs in losses.items():
        terms = list(dict.fromkeys(term for epoch in epochs for term in epoch))
        curves = [
            html.curve(term, values)
            for term in terms
            if any(values := [epoch.get(term, 0.0) for epoch in epochs])
        ]
        count = "1 epoch" if len(epochs) == 1 else f"{len(epochs)} epochs"
        parts += [
            f"<h3>{html.escaped(stage)}, {count}</h3>",
            f'<div class="curves">{"".join(curves)}</div>',
        ]
    return html.section("Losses", *parts)


def _timelines(
    names: Sequence[str],
    scores: Mapping[str, VideoScores],
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
) -> str:
    parts = [
        html.paragraph(
            "Truth, predictions (height and opacity are the score relative to the best one; those "
            f"below {DRAWN_SCORE:g} of it are left out), attention and class scores. Pale bands "
            "repeat the truth.",
            "muted",
        )
    ]
    for name in names:
        timeline = make_timeline(name, scores[name], predictions[name], annotations)
        somewhere = [f"{label} somewhere" for label in sorted(annotations.videos[name].weak_labels)]
        truth = ", ".join([*map(_said, timeline.truth), *somewhere])
        found = ", ".join(
            f"{_said(one)} (score {one.score:.2f})" for one in timeline.predictions[:5]
        )
        alt = (
            f"Timeline of {name}. Truth: {truth or 'no action'}. Best predictions: "
            f"{found or 'none'}. Below, attention and class scores."
        )
        caption = (
            f"{name}: truths {len(timeline.truth)}, predictions drawn {len(timeline.predictions)}"
        )
        parts.append(html.picture(partial(draw_timelines, timelines=[timeline]), alt, caption))
    return html.section("Timelines", *parts)


def _said(one: Segment | Detection) -> str:
    return f"{one.label} {one.start:.1f} to {one.end:.1f} s"


def _alignments(pictures: Sequence[AlignmentFigure]) -> str:
    if not pictures:
        return ""
    parts = [
        html.paragraph(
            "Similarity is the cosine of two snippets' embeddings times the geometric mean of "
            f"their attentions; a match gains what it has above {ALIGNMENT_THRESHOLD:g}, and the "
            "score is what all have. The expected alignment is how likely two snippets are "
            "matched. The strips along the axes have the annotated classes.",
            "muted",
        )
    ]
    for picture in pictures:
        likely = float(np.max(picture.expected_alignment))
        alt = (
            f"Alignment of {picture.title}. Two heat maps: similarity and expected alignment, "
            f"whose largest value is {likely:.2f}. Score {picture.score:.2f}, {len(picture.path)} "
            "matches on the likeliest path."
        )
        # Too long for the narrow one, whose axes have the names.
        short = picture._replace(title=picture.title.rpartition(": ")[2])
        parts.append(
            html.picture(
                partial(draw_alignments, pictures=[picture]), alt, picture.title,
                narrow=partial(draw_alignments, pictures=[short]),
            )
        )  # fmt: skip
    return html.section("Alignments of pairs", *parts)

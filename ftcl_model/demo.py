"""The demonstration: a comparison on real recordings, drawn and reported."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch

from ftcl_model.comparison.runs import compare
from ftcl_model.comparison.statistics import (
    Row,
    explanation,
    markdown_tables,
    read_comparison,
)
from ftcl_model.comparison.variants import COMPARED
from ftcl_model.config.config import Config, load_config
from ftcl_model.config.inputs import Inputs, open_inputs
from ftcl_model.data.datasets import basic_motions
from ftcl_model.data.datasets.folder import remove_prepared
from ftcl_model.detection.exports import DRAWN_SCORE
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.files import check_output_file, check_output_folder, write_text
from ftcl_model.model.ftcl import FTCL, load_checkpoint, versions
from ftcl_model.report.alignments import ALIGNMENT_THRESHOLD, draw_alignments, example_alignments
from ftcl_model.report.timelines import draw_timelines, make_timeline
from ftcl_model.texts import markdown

VARIANTS = ("backbone", "both", "aligned")
"""What is compared, of `COMPARED`; the first one is the control."""

_OUTPUTS = ("timelines.png", "alignments.png", "report.md")


def run_demo(
    output: str | os.PathLike[str],
    *,
    seed: int = 0,
    repeats: int = 3,
    config: Config | None = None,
    n_train: int = 120,
    n_test: int = 60,
    progress: bool = True,
) -> None:
    """Prepare the streams, compare the variants on them, and write a report and pictures.

    The folder gets data/ (the streams), runs/ (the comparison, as `compare` has it), report.md,
    timelines.png and alignments.png. What was begun there goes on. The pictures are of the first
    seed's model of the last variant.

    Args:
        output: the folder.
        seed: of the first trainings; the others take the seeds that follow. The streams are the
            same for all.
        repeats: number of trainings of each variant.
        config: None is the preset "demo".
        n_train: number of training streams.
        n_test: number of test streams.
        progress: show progress bars.

    Raises:
        ModuleNotFoundError: the package that ships the recordings is not installed.
        OSError: an output cannot be written, which is tried first; FileExistsError: there is
            something that no demonstration left there.
        InputError: the configuration does not fit the streams, or the folder holds the comparison
            of another one.
    """
    started = time.monotonic()
    output = Path(output)
    runs = output / "runs"
    config = load_config("demo") if config is None else config
    data = prepare_streams(output, n_train=n_train, n_test=n_test)
    compare(
        config, data, runs,
        variants={name: COMPARED[name] for name in VARIANTS},
        seeds=range(seed, seed + repeats), device=torch.device("cpu"), progress=progress,
    )  # fmt: skip
    inputs = open_inputs(config, data, "test")
    _draw(output, load_checkpoint(runs / VARIANTS[-1] / f"seed_{seed}" / "model.pt").model, inputs)
    seconds = time.monotonic() - started
    write_text(output / "report.md", _report(runs, config, n_train, n_test, seconds))


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


def _draw(output: Path, model: FTCL, inputs: Inputs) -> None:
    _, annotations, test = inputs
    scores = score_split(model, test, progress=False)
    shown = test.names[:5]
    found = detect_all(model, {name: scores[name] for name in shown})
    timelines = [make_timeline(name, scores[name], found[name], annotations) for name in shown]
    draw_timelines(output / "timelines.png", timelines)
    examples = example_alignments(test, scores, annotations)
    if examples:
        draw_alignments(output / "alignments.png", examples)


def _report(runs: Path, config: Config, n_train: int, n_test: int, seconds: float) -> str:
    rows, seeds, tious = read_comparison(runs / "compare.json")
    _, both, aligned = rows
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# FTCL on streams stitched from BasicMotions",
        "",
        f"{n_train} training and {n_test} test streams of people standing, walking, running and "
        "playing badminton, from the archive's own training and test recordings. Training saw only "
        "which actions a stream contains; the segments are for this evaluation.",
        "",
        markdown(explanation(rows, seeds, tious)),
        *markdown_tables(rows, tious),
        "",
        "`backbone`: the second stage's pairs and steps without the contrasts, which is what the "
        "others have to be compared with. `both`: the same with FSD and LCS contrasting "
        f"(`variant: {config.variant}`). `aligned`: the expected alignment of two streams with the "
        "same actions supervises their snippets (`variant: aligned`).",
        "",
        f"Do the contrasts help? {verdict(both)}",
        "",
        f"Does the alignment help? {verdict(aligned)}",
        "",
        "![one line per seed](runs/compare.png)",
        "",
        f"## Pictures (seed {seeds[0]}, {aligned.name})",
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
        "![alignments](alignments.png)",
        "",
        "## How it was made",
        "",
        f"{seconds:.0f} s in all; {made_with}. Batches of {config.training.batch_size}, "
        f"{config.training.backbone_epochs} epochs of the streams, then "
        f"{config.training.contrast_epochs} epochs of pairs. `runs/compare.json` has the numbers "
        "by seed, `runs/<variant>/seed_<seed>/` each training with its checkpoint.",
        "",
    ]
    return "\n".join(lines)


def verdict(row: Row) -> str:
    """What the differences of a variant to the first one, by seed, let one say."""
    assert row.difference is not None, "the first variant is compared with nothing"
    # Rounded first: a difference that rounds to zero has no sign.
    points = 100 * np.array([row.difference.mean, *row.difference.by_seed])
    mean, *rounded = np.round(points, 1) + 0.0
    listed = ", ".join(f"{point:+.1f}" for point in rounded)
    text = f"Difference by seed: {listed} (mean {mean:+.1f})."
    if abs(mean) < 0.5:
        return f"{text} Less than half a point: no."
    if min(rounded) * max(rounded) <= 0:
        return f"{text} Not the same sign for every seed: no difference that could be told."
    return f"{text} {'A gain' if mean > 0 else 'A loss'} with every seed."

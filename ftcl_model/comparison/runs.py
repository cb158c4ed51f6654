"""Variants of a configuration trained and evaluated side by side, paired by seed."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ftcl_model.comparison.intervals import resample_videos
from ftcl_model.comparison.statistics import (
    compare_runs,
    comparison_content,
    comparison_text,
    draw_comparison,
    read_scores,
)
from ftcl_model.comparison.variants import Overrides, override
from ftcl_model.config.config import Config, load_config, save_config
from ftcl_model.config.inputs import open_inputs
from ftcl_model.data.annotations import Annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.data.fingerprint import difference, feature_digests, fingerprint
from ftcl_model.detection.predictions import Detection, read_predictions
from ftcl_model.distributed import shared_cores
from ftcl_model.errors import InputError, refused_in_one_line
from ftcl_model.evaluation.evaluate import evaluate
from ftcl_model.evaluation.mean_average_precision import match_predictions, resampled_average
from ftcl_model.evaluation.score import evaluation_table, scored_names
from ftcl_model.files import (
    appended,
    check_output_file,
    check_output_folder,
    locked,
    read_text,
    write_json,
    write_text,
)
from ftcl_model.model.ftcl import versions
from ftcl_model.reading import parse_json
from ftcl_model.texts import one_line
from ftcl_model.training.run import Run, RunOptions, states_of
from ftcl_model.training.train import open_test, train


def compare(
    config: Config,
    data: Path,
    output: Path,
    *,
    variants: Mapping[str, Overrides],
    seeds: Sequence[int],
    device: torch.device,
    jobs: int | None = None,
    progress: bool = True,
) -> str:
    """Train and evaluate variants side by side; what came of it, as compare.md has it.

    Args:
        config: what the variants change.
        data: the folder of features.
        output: a new folder, or that of the same comparison, which goes on.
        variants: by name; the others are compared with the first.
        seeds: of the trainings, the same for each variant.
        device: to train and evaluate on.
        jobs: trainings at a time, at most as many as cores; None is as many, or one on a GPU.
        progress: show a progress bar.

    Raises:
        InputError: the data, the configuration or the folder is not as it has to be, no test video
            has a segment to compare by; or a run failed, whose log is named.
        OSError: an output cannot be written, which is tried first.
        ModuleNotFoundError: matplotlib is not installed.
    """
    config, annotations, split = open_inputs(config, data, "train")
    test = open_test(config, data, split)
    if not annotations.has_segments(scored_names(config.dataset, annotations, test.names)):
        raise InputError(
            f"{data / 'gt.json'}: no video of split_test.txt has an annotated segment to compare by"
        )
    comparison = Comparison(config, annotations, split, test, output, variants, seeds)
    jobs = jobs or (1 if device.type == "cuda" else None)
    failed = comparison.run(data, device, jobs=jobs, progress=progress)
    if failed:
        logs = ", ".join(str(job.log) for job in failed)
        raise InputError(f"{len(failed)} runs failed, see {logs}")
    return comparison.write_results()


class Job(NamedTuple):
    """One training and its evaluation; finished when `scores` and `predictions` can be read."""

    variant: str
    seed: int
    config: Path
    folder: Path

    @property
    def scores(self) -> Path:
        """What `evaluate` writes."""
        return self.folder / "scores.json"

    @property
    def predictions(self) -> Path:
        """The segments that were found in the test videos, which are written before the scores."""
        return self.folder / "predictions.json"

    @property
    def log(self) -> Path:
        """What the commands said."""
        return self.folder.with_suffix(".log")


class Comparison:
    """Runs of variants by seeds in a folder, which go on where they were stopped.

    The folder gets data.json (what the data are), <variant>.yaml, <variant>/seed_<seed>/ as `Run`
    makes it with scores.json and predictions.json, and in the end compare.json, compare.md and
    compare.png.

    Args:
        config: what the variants change.
        annotations: of the training and test videos.
        split: the training videos.
        test: the test videos.
        folder: new or empty, or that of an earlier comparison, whose finished runs are kept.
        variants: overrides by name; the others are compared with the first.
        seeds: of the trainings, the same for each variant.

    Raises:
        OSError: the folder is a file.
        InputError: a variant does not fit the configuration or the split, or the folder holds
            something else, a comparison on other data or the run of another configuration.
    """

    def __init__(
        self,
        config: Config,
        annotations: Annotations,
        split: FeatureSplit,
        test: FeatureSplit,
        folder: Path,
        variants: Mapping[str, Overrides],
        seeds: Sequence[int],
    ) -> None:
        self.config, self.folder = config, folder
        self.annotations = annotations
        self.scored = scored_names(config.dataset, annotations, test.names)
        self.variants, self.seeds = tuple(variants), tuple(seeds)
        own = {"variant": config.variant if config.chosen.section == "contrast" else "paper"}
        self.configs = {
            name: override(config, own | dict(overrides), f"variant {name}")
            for name, overrides in variants.items()
        }
        # By seed first, so that what is there after an interruption is paired.
        self.jobs = [
            Job(name, seed, folder / f"{name}.yaml", folder / name / f"seed_{seed}")
            for seed in self.seeds
            for name in self.variants
        ]
        features = feature_digests(split)
        self.data = {
            "train": fingerprint(split, annotations, features),
            "test": fingerprint(test, annotations, feature_digests(test), self.scored),
        }
        self._check_folder()
        for job in self.jobs:
            # Refuses now what would fail later, and a folder of other runs.
            Run(
                self.configs[job.variant], annotations, split, job.folder,
                seed=job.seed, device=torch.device("cpu"), features=features,
            )  # fmt: skip

    def _check_folder(self) -> None:
        check_output_folder(self.folder)
        path = self.folder / "data.json"
        if path.is_file():
            text = read_text(path)
            try:
                theirs = parse_json(text)
            except InputError as error:
                raise InputError(f"{path}: damaged ({error})") from error
            if other := difference(theirs, self.data):
                raise InputError(f"{self.folder}: was begun with other data, {other}")
        elif self.folder.exists() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise InputError(f"{self.folder}: the output folder is not empty")

    def run(
        self, data: Path, device: torch.device, *, jobs: int | None, progress: bool = True
    ) -> list[Job]:
        """Train and evaluate what is not finished, in processes of their own.

        They share the cores for their threads (`shared_cores`).

        Args:
            data: the folder of features.
            device: to train and evaluate on.
            jobs: the number of processes at a time, at most as many as cores; None is as many.
            progress: show a progress bar.

        Returns:
            The jobs that failed; their logs say why.

        Raises:
            InputError: another comparison has meanwhile begun in the folder, on other data.
            OSError: an output cannot be written, which is tried first.
        """
        self._begin()
        left = [job for job in self.jobs if _read(job) is None]
        jobs, threads = shared_cores(jobs)
        failed = []
        with (
            ThreadPoolExecutor(jobs) as pool,
            tqdm(
                desc="runs", unit="run", total=len(self.jobs),
                initial=len(self.jobs) - len(left), disable=not progress,
            ) as bar,
        ):  # fmt: skip
            running = {pool.submit(_run, job, data, device, threads): job for job in left}
            for done in as_completed(running):
                if not done.result():
                    failed.append(running[done])
                bar.update()
        return failed

    def _begin(self) -> None:
        try:
            with locked(self.folder):
                self._check_folder()
                if not (self.folder / "data.json").exists():
                    write_json(self.folder / "data.json", self.data)
        except BlockingIOError as error:
            raise InputError(f"{self.folder}: another comparison is beginning there") from error
        outputs = [self.folder / name for name in ("compare.json", "compare.md", "compare.png")]
        for job in self.jobs:
            outputs += [job.log, job.scores, job.predictions]
        for path in outputs:
            if path.parent.exists():
                check_output_file(path)
        for name, config in self.configs.items():
            save_config(self.folder / f"{name}.yaml", config)

    def write_results(self) -> str:
        """Write compare.json, compare.md and compare.png of the finished runs; the text.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        scores: dict[str, list[dict[str, Any]]] = {name: [] for name in self.variants}
        resampled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self.variants}
        tious, counts = self.config.tious, resample_videos(len(self.scored))
        for job in self.jobs:
            if (read := _read(job)) is not None:
                matched = match_predictions(read[1], self.annotations, self.scored, tious)
                scores[job.variant].append(read[0])
                resampled[job.variant].append(resampled_average(matched, counts))
        rows = compare_runs(
            scores, {name: np.stack(runs, axis=1) for name, runs in resampled.items()}
        )
        content = comparison_content(rows, self.seeds, tious) | {"versions": versions()}
        write_json(self.folder / "compare.json", content)
        text = comparison_text(rows, self.seeds, tious)
        write_text(self.folder / "compare.md", text)
        draw_comparison(self.folder / "compare.png", rows, self.seeds)
        return text


def _read(job: Job) -> tuple[dict[str, Any], dict[str, list[Detection]]] | None:
    """What `evaluate` wrote; None if it has to do so, again where a file is damaged."""
    if not (job.scores.is_file() and job.predictions.is_file()):
        return None
    path = job.scores
    try:
        scores = read_scores(path)
        path = job.predictions
        return scores, read_predictions(path)
    except InputError as error:
        said = one_line(str(error))
        print(f"ftcl_model: {path}: damaged ({said}), passed over", file=sys.stderr)
        return None


@functools.cache
def workers() -> ForkServerContext:
    """Makes processes by forking one that has torch loaded already, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    # The second is what an optimiser would load at its first step.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    return context


def _run(job: Job, data: Path, device: torch.device, threads: int) -> bool:
    process = workers().Process(target=_work, args=(job, data, device, threads), daemon=True)
    process.start()
    process.join()
    return process.exitcode == 0


def _work(job: Job, data: Path, device: torch.device, threads: int) -> None:
    """Train and evaluate in a process of its own, all that is said going to the log."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with appended(job.log) as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    torch.set_num_threads(threads)
    with refused_in_one_line():
        config, options = load_config(job.config), RunOptions(progress=False)
        train(config, data, job.folder, seed=job.seed, device=device, options=options)
        # Under the checkpoint's own configuration, which has the detection settings that it chose.
        evaluation = evaluate(
            job.folder / "model.pt", data,
            device=device, output=job.scores, predictions=job.predictions,
        )  # fmt: skip
    print(evaluation_table(evaluation))
    # Of use only to a training that is not finished, and several times the size of its model.
    states_of(job.folder).remove()


def _die_with_parent() -> None:
    """Leave nothing that trains on when the comparison is killed; runs survive being killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

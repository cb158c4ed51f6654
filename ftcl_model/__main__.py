"""`python -m ftcl_model`: the demonstration, training, evaluation and prediction."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ftcl_model import arguments
from ftcl_model.annotations import Annotations, read_annotations
from ftcl_model.check_data import check_data, report_lines
from ftcl_model.compare import VARIANTS, Comparison, available_cores
from ftcl_model.config import Config, load_config, presets
from ftcl_model.convert import convert_checkpoint
from ftcl_model.detection import read_predictions
from ftcl_model.distributed import process_group, rank
from ftcl_model.extraction import exports
from ftcl_model.extraction.commands import add_extract, add_init, add_predict, run_extract, run_init
from ftcl_model.extraction.decoding import find_videos
from ftcl_model.extraction.demo import run_video_demo
from ftcl_model.extraction.prediction import opened
from ftcl_model.extraction.settings import with_extraction
from ftcl_model.features import FeatureSplit, open_split, read_names
from ftcl_model.files import check_output_file, write_json
from ftcl_model.inference import detect_all, score_split
from ftcl_model.mean_average_precision import THUMOS_THRESHOLDS
from ftcl_model.model import FTCL, load_checkpoint, versions
from ftcl_model.run import Run, RunOptions, RunRefused
from ftcl_model.score import (
    make_report,
    report_content,
    report_table,
    score_predictions,
    scored_names,
)
from ftcl_model.texts import one_line


def main(words: Sequence[str] | None = None) -> None:
    """Run a command.

    Raises:
        SystemExit: the arguments or the inputs are refused; the message says which and why.
    """
    parser = argparse.ArgumentParser(
        prog="ftcl_model",
        description="Weakly-supervised temporal action localisation with FTCL (CVPR 2022).",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = _command(commands, "demo", _demo, "train and evaluate on real recordings, a few minutes")
    demo.add_argument("--output", metavar="DIR", type=Path, help="runs/demo, or runs/demo-video")
    demo.add_argument(
        "--video", action="store_true", help="with videos that are drawn, by every command"
    )
    demo.add_argument("--seed", type=arguments.seed, default=0)

    add_init(_command(commands, "init", _init, "begin a folder of features with labels of videos"))

    extracting = _command(commands, "extract", _extract, "make a folder of features of videos")
    add_extract(extracting)
    _add_device(extracting)

    train = _command(commands, "train", _train, "train on a folder of features")
    _add_inputs(train)
    train.add_argument(
        "--output", metavar="DIR", type=Path, required=True,
        help="a new folder, or that of the same training, which goes on where it was stopped",
    )  # fmt: skip
    train.add_argument("--seed", type=arguments.seed, default=0)
    train.add_argument(
        "--save-every", metavar="SECONDS", type=float, default=60.0,
        help="least time between two checkpoints (60)",
    )  # fmt: skip
    train.add_argument(
        "--resume", action="store_true", help="only go on, and refuse where nothing was begun"
    )
    train.add_argument("--no-progress", dest="progress", action="store_false")
    train.add_argument("--tensorboard", action="store_true", help="write OUTPUT/tensorboard")
    train.add_argument("--wandb", metavar="PROJECT", help="log to this wandb project")

    compare = _command(commands, "compare", _compare, "train variants side by side, paired by seed")
    _add_inputs(compare)
    compare.add_argument(
        "--output", metavar="DIR", type=Path, required=True,
        help="a new folder, or that of the same comparison, which goes on where it was stopped",
    )  # fmt: skip
    compare.add_argument(
        "--seeds", metavar="COUNT", type=arguments.count, default=10, help="0, 1, ... (10)"
    )
    compare.add_argument(
        "--variants", metavar="NAME,NAME,...", type=arguments.variants,
        default="backbone,fsd,lcs,both",
        help=f"of {', '.join(VARIANTS)}; the others are compared with the first",
    )  # fmt: skip
    compare.add_argument(
        "--jobs", metavar="COUNT", type=arguments.count,
        help="trainings at a time (as many as cores; 1 GPU)",
    )  # fmt: skip

    evaluate = _command(commands, "evaluate", _evaluate, "score a checkpoint on the test split")
    _add_checkpoint(evaluate)
    evaluate.add_argument("--output", metavar="FILE.json", type=Path, help="also write the numbers")

    predict = _command(commands, "predict", _predict, "write the segments of videos")
    _add_config(predict, "the checkpoint's own")
    add_predict(predict)
    _add_device(predict)

    check = _command(commands, "check-data", _check_data, "look through a folder of features")
    _add_data(check)

    score = _command(commands, "score", _score, "score predictions of any program")
    score.add_argument("--predictions", metavar="FILE.json", type=Path, required=True)
    score.add_argument("--annotations", metavar="FILE.json", type=Path, required=True)
    score.add_argument("--subset", metavar="NAME", required=True, help="its videos are scored")
    score.add_argument(
        "--tiou", metavar="LIST", type=arguments.thresholds, default=THUMOS_THRESHOLDS,
        help="thresholds, as in 0.1,0.2",
    )  # fmt: skip
    score.add_argument(
        "--blocked", metavar="FILE.txt", type=Path, help="names of videos to leave out"
    )
    score.add_argument("--json", metavar="FILE.json", type=Path, help="also write the numbers")

    report = _command(commands, "report", _report, "make one HTML page of a run or comparison")
    report.add_argument(
        "folder", metavar="RUN", type=Path,
        help="the folder of a train, demo or compare that has ended, or a checkpoint",
    )  # fmt: skip
    report.add_argument(
        "--data", metavar="DIR", type=Path,
        help="the folder of features and annotations (RUN/data, as the demo has it)",
    )  # fmt: skip
    report.add_argument("--output", metavar="FILE.html", type=Path, help="RUN/report.html")
    report.add_argument(
        "--draw", metavar="NAME", nargs="+", default=(), help="test videos to draw (four)"
    )
    report.add_argument(
        "--videos",
        metavar="VIDEOS",
        type=Path,
        nargs="+",
        help="videos, and folders of videos, that the page plays",
    )
    _add_device(report)

    convert = _command(
        commands, "convert-checkpoint", _convert, "make a checkpoint of the authors' code ours"
    )
    convert.add_argument("source", metavar="IN", type=Path, help="their .pth file")
    convert.add_argument("target", metavar="OUT", type=Path, help="the checkpoint to write")
    _add_config(convert)

    options = parser.parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names hold what not every terminal's encoding does.
        sys.stdout.reconfigure(errors="backslashreplace")
    # What goes wrong after the inputs were found good: a full disk, a loss that diverges.
    with _refusing((RunRefused, OSError, FloatingPointError)):
        options.run(options)


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _add_config(command: argparse.ArgumentParser, default: str | None = None) -> None:
    text = f"a YAML file or one of {', '.join(presets())}"
    command.add_argument(
        "--config", metavar="FILE", required=default is None,
        help=text if default is None else f"{text} ({default})",
    )  # fmt: skip


def _add_data(command: argparse.ArgumentParser, default: str | None = None) -> None:
    _add_config(command, default)
    command.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="train/*.npy, test/*.npy (or rgb/*.npy and flow/*.npy in each), gt.json, "
        "split_train.txt, split_test.txt",
    )


def _add_inputs(command: argparse.ArgumentParser, default: str | None = None) -> None:
    _add_data(command, default)
    _add_device(command)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", type=arguments.device, default=arguments.default_device())


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    _add_inputs(command, "the checkpoint's own")
    command.add_argument("--checkpoint", metavar="FILE", type=Path, required=True)


@contextmanager
def _refusing(
    kinds: tuple[type[Exception], ...] = (ValueError, OSError, ImportError),
) -> Iterator[None]:
    """Turn what is wrong with the inputs into a message of one line, without a traceback."""
    try:
        yield
    except kinds as error:
        said = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            said = f"{error.filename}: {error.strerror}"
        raise SystemExit(f"ftcl_model: {one_line(said)}") from error


def _demo(options: argparse.Namespace) -> None:
    options.output = options.output or Path("runs/demo-video" if options.video else "runs/demo")
    # The tensors are small: a second thread would mostly wait, many times longer on a busy machine.
    torch.set_num_threads(1)
    if options.video:
        with _refusing():
            run_video_demo(options.output, main, seed=options.seed)
        return
    with _refusing():
        # Needs the extras for data and pictures, which the other commands do without.
        from ftcl_model.demo import prepare_streams, run_demo

        prepare_streams(options.output)
    run_demo(options.output, seed=options.seed)
    print((options.output / "report.md").read_text(encoding="utf-8"))
    print(f"The report, metrics, pictures and checkpoints are in {options.output}.")


def _init(options: argparse.Namespace) -> None:
    with _refusing():
        run_init(options)


def _extract(options: argparse.Namespace) -> None:
    with _refusing():
        run_extract(options)


class _Inputs(NamedTuple):
    config: Config
    annotations: Annotations
    split: FeatureSplit


def _open_inputs(options: argparse.Namespace, config: Config, split: str) -> _Inputs:
    config = with_extraction(config, options.data)
    annotations = read_annotations(options.data / "gt.json", config.dataset.classes)
    opened = open_split(
        options.data,
        split,
        annotations,
        seconds_per_snippet=config.dataset.seconds_per_snippet,
        width=config.dataset.feature_width,
        blocked=config.dataset.blocked_videos,
    )
    return _Inputs(config, annotations, opened)


def _train(options: argparse.Namespace) -> None:
    with process_group(options.device) as device:
        with _refusing():
            config, annotations, split = _open_inputs(options, load_config(options.config), "train")
            if (options.data / "split_test.txt").exists():
                _check_test_split(options, config, split)
            run = Run(
                config, annotations, split, options.output, seed=options.seed, device=device,
                options=RunOptions(
                    options.save_every, options.progress, options.tensorboard, options.wandb
                ),
            )  # fmt: skip
        if run.adapted and rank() == 0:
            print(f"ftcl_model: {run.adapted}")
        iteration = run.train(must_go_on=options.resume)
        if rank() == 0:
            print(f"{options.output / 'model.pt'}: trained for {iteration} steps")


def _compare(options: argparse.Namespace) -> None:
    with _refusing():
        config, annotations, split = _open_inputs(options, load_config(options.config), "train")
        test = _check_test_split(options, config, split)
        if not annotations.has_segments(scored_names(config.dataset, annotations, test.names)):
            raise ValueError(
                f"{options.data / 'gt.json'}: no video of split_test.txt has an annotated segment "
                "to compare by"
            )
        comparison = Comparison(
            config, annotations, split, test, options.output, options.variants, range(options.seeds)
        )
    jobs = options.jobs or (1 if options.device.type == "cuda" else available_cores())
    failed = comparison.run(options.data, options.device, jobs=jobs)
    if failed:
        logs = ", ".join(str(job.log) for job in failed)
        raise SystemExit(f"ftcl_model: {len(failed)} runs failed, see {logs}")
    with _refusing():
        print(comparison.report())


def _check_test_split(
    options: argparse.Namespace, config: Config, train: FeatureSplit
) -> FeatureSplit:
    """Find out now what would stop the evaluation after the training, or make it worthless."""
    _, annotations, test = _open_inputs(options, config, "test")
    scored_names(config.dataset, annotations, test.names)
    shared = sorted(set(test.names).intersection(train.names))
    if shared:
        raise ValueError(
            f"{options.data / 'split_test.txt'}: video {shared[0]} is in split_train.txt too "
            f"({len(shared)} in both)"
        )
    return test


def _open_model(options: argparse.Namespace) -> tuple[FTCL, _Inputs]:
    """The checkpoint's model under a configuration of the same make, and the test split."""
    model = load_checkpoint(options.checkpoint).model
    config = load_config(options.config) if options.config else model.config
    with_extraction(model.config, options.data)
    if config.dataset.classes is None and not read_annotations(options.data / "gt.json").classes:
        # No video has a label.
        config = replace(config, dataset=replace(config.dataset, classes=model.classes))
    inputs = _open_inputs(options, config, "test")
    ours = _make_of(inputs.config, inputs.annotations.classes)
    for key, value in _make_of(model.config, model.classes).items():
        if ours[key] != value:
            raise ValueError(
                f"{options.checkpoint}: was trained with {key} {value!r}, but "
                f"{options.config or 'its configuration'} and {options.data} say {ours[key]!r}"
            )
    # What reads the scores may change after training; what makes them may not.
    model.config = replace(
        model.config,
        dataset=inputs.config.dataset,
        detection=inputs.config.detection,
        tious=inputs.config.tious,
    )
    return model.to(options.device), inputs


def _make_of(config: Config, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "variant": config.variant,
        "dataset.feature_width": config.dataset.feature_width,
        "dataset.seconds_per_snippet": config.dataset.seconds_per_snippet,
        "backbone.width": config.backbone.width,
        "classes": classes,
    }


def _evaluate(options: argparse.Namespace) -> None:
    with _refusing():
        if options.output:
            check_output_file(options.output)
        model, inputs = _open_model(options)
        names = scored_names(inputs.config.dataset, inputs.annotations, inputs.split.names)
        if not inputs.annotations.has_segments(names):
            raise ValueError(
                f"{options.data / 'gt.json'}: no video of split_test.txt has an annotated segment, "
                "so there is nothing to evaluate against"
            )
    scores = score_split(model, inputs.split)
    with _refusing():
        report = make_report(
            detect_all(model, scores),
            inputs.annotations,
            names,
            inputs.config.tious,
            {name: video.video_scores for name, video in scores.items()},
        )
    print(report_table(report))
    if options.output:
        write_json(options.output, report_content(report) | {"versions": versions()})


def _predict(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        with _refusing():
            form = exports.format_of(options.output, options.format)
            names = list(find_videos(options.videos)) if options.videos else None
            exports.check(options.output, form, names)
            source = stack.enter_context(opened(options))
            options.data = source.data
            model, inputs = _open_model(options)
        found = detect_all(model, score_split(model, inputs.split))
        predictions = source.of_videos(found, inputs.annotations)
        with _refusing():
            exports.write(options.output, form, predictions, source.videos)
    for error in source.errors:
        print(one_line(f"error: {error}"))
    print(f"{options.output}: {sum(map(len, predictions.values()))} segments")
    if source.errors:
        raise SystemExit(1)


def _check_data(options: argparse.Namespace) -> None:
    with _refusing():
        config = load_config(options.config)
    report = check_data(options.data, config)
    print("\n".join(report_lines(report)))
    if report.errors:
        raise SystemExit(1)


def _score(options: argparse.Namespace) -> None:
    with _refusing():
        if options.json:
            check_output_file(options.json)
        report = score_predictions(
            read_predictions(options.predictions),
            read_annotations(options.annotations),
            options.subset,
            options.tiou,
            read_names(options.blocked) if options.blocked else (),
        )
    print(report_table(report))
    if options.json:
        write_json(options.json, report_content(report))


def _report(options: argparse.Namespace) -> None:
    with _refusing():
        folder = options.folder.parent if options.folder.is_file() else options.folder
        output = options.output or folder / "report.html"
        # Need matplotlib, an extra, which the other commands do without.
        from ftcl_model.comparison_page import write_comparison_page
        from ftcl_model.report import read_run, write_report

        if (options.folder / "compare.json").is_file():
            if options.data or options.draw or options.videos:
                raise ValueError(
                    f"{options.folder}: is the folder of a comparison, whose page has no use for "
                    "--data, --draw and --videos; give them with the folder of one of its runs"
                )
            check_output_file(output)
            write_comparison_page(output, options.folder)
        else:
            run = read_run(options.folder, options.data)
            check_output_file(output)
            played = find_videos(options.videos) if options.videos else None
            write_report(output, run, videos=options.draw, played=played, device=options.device)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def _convert(options: argparse.Namespace) -> None:
    with _refusing():
        check_output_file(options.target)
        converted = convert_checkpoint(options.source, options.target, load_config(options.config))
    for theirs, ours, shape in converted:
        print(f"{theirs} {shape} -> {ours}")
    print(f"{options.target}: {len(converted)} tensors of {options.source}, every one of them")


if __name__ == "__main__":
    main()

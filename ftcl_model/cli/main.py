"""The commands: their options, and what they print; functions of the other rooms do the work."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftcl_model.cli import arguments, extraction, generation
from ftcl_model.cli.video_demo import run_video_demo
from ftcl_model.comparison.variants import COMPARED
from ftcl_model.config.config import load_config, presets
from ftcl_model.data.datasets.generated import prepare as prepare_streams
from ftcl_model.errors import InputError, refused_in_one_line
from ftcl_model.evaluation.evaluate import evaluate
from ftcl_model.evaluation.score import evaluation_table, score_file
from ftcl_model.extraction.decoding import find_videos
from ftcl_model.model.convert_checkpoint import convert_checkpoint
from ftcl_model.settings import THUMOS_THRESHOLDS
from ftcl_model.training.check_data import check_data, check_lines
from ftcl_model.training.run import RunOptions
from ftcl_model.training.train import train


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

    generate = _command(
        commands, "generate", _generate, "make streams of known truth, as hard as is asked for"
    )
    generation.add_generate(generate)

    init = _command(commands, "init", extraction.run_init, "begin a folder with labels of videos")
    extraction.add_init(init)

    extract = _command(
        commands, "extract", extraction.run_extract, "make a folder of features of videos"
    )
    extraction.add_extract(extract)
    _add_device(extract)

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
        help=f"of {', '.join(COMPARED)}; the others are compared with the first",
    )  # fmt: skip
    compare.add_argument(
        "--jobs", metavar="COUNT", type=arguments.count,
        help="trainings at a time (as many as cores, which is the most; 1 on a GPU)",
    )  # fmt: skip

    evaluate = _command(commands, "evaluate", _evaluate, "score a checkpoint on the test split")
    _add_inputs(evaluate, "the checkpoint's own")
    evaluate.add_argument("--checkpoint", metavar="FILE", type=Path, required=True)
    evaluate.add_argument("--output", metavar="FILE.json", type=Path, help="also write the numbers")

    predict = _command(commands, "predict", extraction.run_predict, "write the segments of videos")
    _add_config(predict, "the checkpoint's own")
    extraction.add_predict(predict)
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
        help="the folder of a train or compare that has ended, or a checkpoint",
    )  # fmt: skip
    report.add_argument(
        "--data", metavar="DIR", type=Path,
        help="the folder of features and annotations of a train",
    )  # fmt: skip
    report.add_argument("--output", metavar="FILE.html", type=Path, help="RUN/report.html")
    report.add_argument(
        "--draw", metavar="NAME", nargs="+", default=(), help="test videos to draw (four)"
    )
    report.add_argument(
        "--videos", metavar="VIDEOS", type=Path, nargs="+",
        help="videos, and folders of videos, that the page plays",
    )  # fmt: skip
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
    with refused_in_one_line():
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
        help="train/*.npy, test/*.npy (or rgb/*.npy and flow/*.npy in each; or .npz), gt.json, "
        "split_train.txt, split_test.txt",
    )


def _add_inputs(command: argparse.ArgumentParser, default: str | None = None) -> None:
    _add_data(command, default)
    _add_device(command)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", type=arguments.device, default=arguments.default_device())


def _demo(options: argparse.Namespace) -> None:
    if options.video:
        run_video_demo(options.output or Path("runs/demo-video"), main, seed=options.seed)
        return
    # Needs the extras for data and pictures, which the other commands do without.
    from ftcl_model.demo import run_demo

    output = options.output or Path("runs/demo")
    run_demo(output, seed=options.seed)
    print((output / "report.md").read_text(encoding="utf-8"))
    print(f"The report, pictures, numbers and checkpoints are in {output}.")


def _generate(options: argparse.Namespace) -> None:
    settings = generation.stream_settings(options)
    prepare_streams(options.output, settings, validation=options.validation)
    print(f"{options.output}: {settings.n_train} training and {settings.n_test} test streams")


def _train(options: argparse.Namespace) -> None:
    train(
        load_config(options.config), options.data, options.output,
        seed=options.seed, device=options.device, must_go_on=options.resume,
        options=RunOptions(
            options.save_every, options.progress, options.tensorboard, options.wandb
        ),
    )  # fmt: skip


def _compare(options: argparse.Namespace) -> None:
    # Only this command needs other processes and pictures.
    from ftcl_model.comparison.runs import compare

    said = compare(
        load_config(options.config), options.data, options.output,
        variants=options.variants, seeds=range(options.seeds),
        device=options.device, jobs=options.jobs,
    )  # fmt: skip
    print(said)


def _evaluate(options: argparse.Namespace) -> None:
    evaluation = evaluate(
        options.checkpoint, options.data,
        config=options.config, device=options.device, output=options.output,
    )  # fmt: skip
    print(evaluation_table(evaluation))


def _check_data(options: argparse.Namespace) -> None:
    found = check_data(options.data, load_config(options.config))
    print("\n".join(check_lines(found)))
    if found.errors:
        raise SystemExit(1)


def _score(options: argparse.Namespace) -> None:
    evaluation = score_file(
        options.predictions, options.annotations, options.subset,
        tious=options.tiou, blocked=options.blocked, output=options.json,
    )  # fmt: skip
    print(evaluation_table(evaluation))


def _report(options: argparse.Namespace) -> None:
    # Needs matplotlib, which the other commands do without.
    from ftcl_model.comparison.page import report_comparison
    from ftcl_model.report.run_page import report_run

    folder = options.folder.parent if options.folder.is_file() else options.folder
    output = options.output or folder / "report.html"
    if (options.folder / "compare.json").is_file():
        if options.data or options.draw or options.videos:
            raise InputError(
                f"{options.folder}: is the folder of a comparison, whose page has no use for "
                "--data, --draw and --videos; give them with the folder of one of its runs"
            )
        report_comparison(options.folder, output)
    else:
        report_run(
            options.folder, output, data=options.data, drawn=options.draw,
            played=find_videos(options.videos) if options.videos else None, device=options.device,
        )  # fmt: skip
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def _convert(options: argparse.Namespace) -> None:
    converted = convert_checkpoint(options.source, options.target, load_config(options.config))
    for theirs, ours, shape in converted:
        print(f"{theirs} {shape} -> {ours}")
    print(f"{options.target}: {len(converted)} tensors of {options.source}, every one of them")

"""The commands `init`, `extract` and `predict`: their options, and what they print."""

from __future__ import annotations

import argparse
from pathlib import Path

from ftcl_model.cli import arguments
from ftcl_model.detection import exports
from ftcl_model.evaluation.evaluate import predict
from ftcl_model.extraction import labels
from ftcl_model.extraction.encoders import DEFAULT, NONE
from ftcl_model.extraction.extract import Choices, EncodingOptions, Extracted, extract
from ftcl_model.extraction.prediction import predict_videos
from ftcl_model.texts import one_line


def add_extract(command: argparse.ArgumentParser) -> None:
    """Add the options of `extract`."""
    command.add_argument(
        "videos", metavar="VIDEOS", type=Path, nargs="+", help="videos, and folders of videos"
    )
    command.add_argument(
        "--output", metavar="DIR", type=Path, required=True,
        help="a new folder, one that `init` began, or that of the same extraction, which goes on",
    )  # fmt: skip
    command.add_argument(
        "--encoder", metavar="NAME", required=True,
        help="torchvision:s3d, timm:NAME, transformers:NAME or package.module:function",
    )  # fmt: skip
    command.add_argument(
        "--weights", metavar="NAME", default=DEFAULT,
        help=f"those that the library knows by this name ({DEFAULT}); {NONE}: random ones",
    )  # fmt: skip
    command.add_argument("--seed", type=arguments.seed, default=0, help="of random weights (0)")
    command.add_argument(
        "--frames", metavar="COUNT", type=arguments.count, default=16, help="of a snippet (16)"
    )
    command.add_argument(
        "--stride", metavar="COUNT", type=arguments.count, default=16,
        help="frames from a snippet to the next (16)",
    )  # fmt: skip
    command.add_argument(
        "--rate", metavar="NUMBER", type=arguments.rate, default=25.0,
        help="frames a second, to which videos are resampled (25)",
    )  # fmt: skip
    command.add_argument(
        "--size", metavar="PIXELS", type=arguments.count,
        help="of a frame's side (what the encoder was trained on)",
    )  # fmt: skip
    _add_encoding(command)


def add_init(command: argparse.ArgumentParser) -> None:
    """Add the options of `init`."""
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--labels", metavar="FILE.csv", type=Path,
        help=f"a table with the columns {','.join(labels.COLUMNS)}, of which two are needed; "
        "labels between semicolons, split train or test",
    )  # fmt: skip
    source.add_argument(
        "--videos", metavar="VIDEOS", type=Path, help="a folder with a folder for each class"
    )
    command.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder")
    command.add_argument(
        "--test-share", metavar="SHARE", type=arguments.share, default=0.2,
        help="of the videos, drawn for the test split where it is not said which are (0.2)",
    )  # fmt: skip
    command.add_argument("--seed", type=arguments.seed, default=0, help="of what is drawn (0)")


def run_init(options: argparse.Namespace) -> None:
    """Begin a folder of features, and say with what."""
    videos = (
        labels.read_labels(options.labels)
        if options.labels
        else labels.labels_of_folders(options.videos)
    )
    begun = labels.begin(options.output, videos, share=options.test_share, seed=options.seed)
    print("\n".join(map(one_line, labels.told(begun, options.output))))


def add_predict(command: argparse.ArgumentParser) -> None:
    """Add the options of `predict`, but for the configuration and the device."""
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="DIR", type=Path, help="features of a test split")
    source.add_argument(
        "--videos", metavar="VIDEOS", type=Path, nargs="+", help="videos, and folders of videos"
    )
    command.add_argument("--checkpoint", metavar="FILE", type=Path, required=True)
    command.add_argument("--output", metavar="FILE", type=Path, required=True)
    command.add_argument(
        "--format", choices=exports.FORMATS,
        help="ActivityNet's results, a table (.csv), for ELAN an .eaf for each video in the folder "
        "that --output names, or a project of VIA 3 (by the ending of --output, but for VIA)",
    )  # fmt: skip
    command.add_argument(
        "--features", metavar="DIR", type=Path,
        help="keep the features of --videos in this folder, where they need not be made again",
    )  # fmt: skip
    _add_encoding(command)


def _add_encoding(command: argparse.ArgumentParser) -> None:
    """Add the options that say how an encoder is run, but for the device."""
    command.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoder"
    )
    command.add_argument(
        "--batch", metavar="COUNT", type=arguments.count, default=8, help="snippets at a time (8)"
    )
    command.add_argument(
        "--jobs", metavar="COUNT", type=arguments.count,
        help="videos at a time (as many as cores, which is the most; 4 on a GPU)",
    )  # fmt: skip
    command.add_argument("--no-progress", dest="progress", action="store_false")


def run_extract(options: argparse.Namespace) -> None:
    """Extract, and say what was done.

    Raises:
        SystemExit: a video was skipped; the status is 1.
    """
    extracted = extract(
        options.videos, options.output,
        Choices(
            options.encoder, options.weights, options.frames, options.stride, options.rate,
            options.size, options.seed,
        ),
        device=options.device, options=_encoding(options),
    )  # fmt: skip
    print("\n".join(_lines(extracted, options.output)))
    if extracted.errors:
        raise SystemExit(1)


def run_predict(options: argparse.Namespace) -> None:
    """Write the segments of a test split or of videos, and say how many.

    Raises:
        SystemExit: a video was skipped; the status is 1.
    """
    errors: tuple[str, ...] = ()
    if options.data:
        count = predict(
            options.checkpoint, options.data, options.output,
            form=options.format, config=options.config, device=options.device,
        )  # fmt: skip
    else:
        count, errors = predict_videos(
            options.checkpoint, options.videos, options.output,
            form=options.format, features=options.features, config=options.config,
            device=options.device, options=_encoding(options),
        )  # fmt: skip
    for error in errors:
        print(one_line(f"error: {error}"))
    print(f"{options.output}: {count} segments")
    if errors:
        raise SystemExit(1)


def _encoding(options: argparse.Namespace) -> EncodingOptions:
    return EncodingOptions(options.precision, options.batch, options.jobs, options.progress)


def _lines(extracted: Extracted, output: Path) -> list[str]:
    """An extraction in some lines to read."""
    counts = [f"{len(extracted.done)} videos encoded"]
    if extracted.kept:
        counts.append(f"{len(extracted.kept)} were there")
    if extracted.errors:
        counts.append(f"{len(extracted.errors)} skipped")
    lines = [f"note: {note}" for note in extracted.notes]
    lines += [f"error: {error}" for error in extracted.errors]
    lines.append(f"{output}: {', '.join(counts)}")
    return [one_line(line) for line in lines]

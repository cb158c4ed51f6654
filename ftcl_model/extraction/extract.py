"""A folder of features from videos, file by file, which goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from ftcl_model.config.config import Config, save_config
from ftcl_model.config.extracted import DESCRIPTION, read_description
from ftcl_model.data.annotations import Annotations, Video, read_videos, write_annotations
from ftcl_model.data.features import read_names
from ftcl_model.data.fingerprint import difference
from ftcl_model.distributed import shared_cores
from ftcl_model.errors import InputError
from ftcl_model.extraction import workers
from ftcl_model.extraction.decoding import find_videos, import_av
from ftcl_model.extraction.encoders import DEFAULT, feature_width, load_encoder, weights_digest
from ftcl_model.files import check_output_folder, locked, remove_left_behind, write_json, write_text
from ftcl_model.model.ftcl import versions
from ftcl_model.settings import DatasetSettings, ExtractionSettings, TrainingSettings
from ftcl_model.texts import counted, one_line

SPLITS = ("train", "test")
MOST_ON_A_GPU = 4
"""Processes that share a GPU, if it is not said how many."""


@dataclass(frozen=True)
class Choices:
    """What features are to be made by; `ExtractionSettings` says more.

    size: None is what the encoder was trained on.
    """

    encoder: str
    weights: str = DEFAULT
    frames: int = 16
    stride: int = 16
    rate: float = 25.0
    size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class EncodingOptions:
    """How an encoder is run.

    precision: of its arithmetic.
    batch: snippets at a time.
    jobs: processes, at most as many as cores; None is as many, on a GPU at most `MOST_ON_A_GPU`.
    progress: show a progress bar.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    batch: int = 8
    jobs: int | None = None
    progress: bool = True


class Extracted(NamedTuple):
    """What an extraction left.

    done: videos that were encoded.
    kept: videos whose features were there.
    errors: what stops a video, a line each.
    notes: what else is worth knowing.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    errors: tuple[str, ...]
    notes: tuple[str, ...]


class _Made(NamedTuple):
    """The settings in full, and the width of the features."""

    settings: ExtractionSettings
    width: int


def resolve(choices: Choices) -> _Made:
    """Load the encoder once, to find out about its weights, its size and its features' width.

    Raises:
        InputError, ModuleNotFoundError, OSError: as `load_encoder` and `feature_width`.
    """
    encoder = load_encoder(choices.encoder, choices.weights, choices.seed)
    settings = ExtractionSettings(
        choices.encoder, encoder.weights, weights_digest(encoder.model), choices.frames,
        choices.stride, choices.rate, choices.size or encoder.size, choices.seed,
    )  # fmt: skip
    return _Made(settings, feature_width(encoder, settings.frames, settings.size))


def extract(
    paths: list[Path],
    output: Path,
    choices: Choices,
    *,
    device: torch.device,
    options: EncodingOptions,
    like: ExtractionSettings | None = None,
) -> Extracted:
    """The command `extract`: encode videos as features that `open_split` reads.

    Where the folder has split files, as `labels.begin` writes them, the videos that they name are
    encoded. Without any, all are, and become the test split of a folder without labels. Features
    that are there are kept. dataset.json says how they are made, and config.yaml, which is left as
    it is if it is there, how they can be trained on.

    Args:
        paths: videos, and folders of videos.
        output: the folder.
        choices: the encoder, and what it is given.
        device: to encode on.
        options: how the encoder is run.
        like: features that these are to be like, to the weights of the encoder.

    Raises:
        InputError: a video, the encoder or one of its settings is refused, the folder holds
            features of another make, or these would not be like others.
        ModuleNotFoundError: a library is not installed.
        OSError: an output cannot be written; BlockingIOError: another process is extracting there.
    """
    import_av()
    found = find_videos(paths)
    check_output_folder(output)
    made = resolve(choices)
    if like is not None and (other := like.difference(made.settings)):
        raise InputError(f"{choices.encoder}: is not the encoder that it was: expected {other}")
    with ExitStack() as lock:
        try:
            lock.enter_context(locked(output))
        except BlockingIOError as error:
            raise InputError(f"{output}: another process is extracting there") from error
        remove_left_behind(output)
        description = _begin(output, made, choices.encoder, options.precision)
        places, errors, notes = _places(output, found, labelled=not description["unlabelled"])
        kept = tuple(
            name for name, split in places.items() if _features(output, split, name).is_file()
        )
        videos = {
            name: workers.Video(name, found[name], _features(output, split, name))
            for name, split in places.items()
            if name not in kept
        }
        seconds, failed = _encode(videos, made.settings, choices.weights, device, options)
        if description["unlabelled"]:
            _write_split(output, [*kept, *seconds], seconds, made.settings)
        if not (output / "config.yaml").exists():
            _write_config(output / "config.yaml", made)
    return Extracted(tuple(seconds), kept, (*errors, *failed), notes)


def _features(output: Path, split: str, name: str) -> Path:
    return output / split / f"{name}.npy"


def _begin(output: Path, made: _Made, encoder: str, precision: str) -> dict[str, Any]:
    """What dataset.json says, which is written if the folder has no features yet."""
    path, present = output / DESCRIPTION, read_description(output)
    settings = dataclasses.asdict(made.settings)
    if present is not None:
        if other := difference(present["extraction"], settings):
            raise InputError(f"{path}: features of another make: extraction.{other}")
        return present
    if path.exists() or any((output / split).exists() for split in SPLITS):
        raise InputError(f"{output}: holds features that were not extracted here")
    av = import_av()
    codecs = ".".join(map(str, av.library_versions["libavcodec"]))
    library = encoder.partition(":")[0].partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", None)
    description = {
        "extraction": settings,
        "feature_width": made.width,
        "seconds_per_snippet": made.settings.seconds_per_snippet,
        "unlabelled": not any((output / f"split_{split}.txt").exists() for split in SPLITS),
        "precision": precision,
        "versions": {
            **versions(),
            "av": av.__version__,
            "libavcodec": codecs,
            **({} if version is None else {library: str(version)}),
        },
    }
    write_json(path, description)
    return description


def _places(
    output: Path, found: Iterable[str], *, labelled: bool
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """The split of each video to encode, errors and notes."""
    if not labelled:
        return dict.fromkeys(found, "test"), (), ()
    places: dict[str, str] = {}
    errors: list[str] = []
    found = set(found)
    for split in SPLITS:
        path = output / f"split_{split}.txt"
        if not path.exists():
            continue
        for name in read_names(path):
            if name in found:
                places[name] = split
            elif not _features(output, split, name).is_file():
                errors.append(f"{path}: no video is named {one_line(name)}")
    left = sorted(found - places.keys())
    return places, tuple(errors), tuple(counted("videos that no split names, left out", left))


def _encode(
    videos: Mapping[str, workers.Video],
    settings: ExtractionSettings,
    weights: str,
    device: torch.device,
    options: EncodingOptions,
) -> tuple[dict[str, float], list[str]]:
    """The seconds of the videos that were encoded, by name, and what stopped the others."""
    most = options.jobs or (MOST_ON_A_GPU if device.type == "cuda" else len(videos))
    jobs, threads = shared_cores(min(most, len(videos)))
    work = workers.Work(settings, weights, device, options.precision, options.batch, threads)
    sizes = {name: video.path.stat().st_size for name, video in videos.items()}
    seconds: dict[str, float] = {}
    errors: list[str] = []
    shares = dict.fromkeys(videos, 0.0)
    with tqdm(
        desc="encoding", total=sum(sizes.values()), unit="B", unit_scale=True, mininterval=1.0,
        disable=not options.progress,
    ) as bar:  # fmt: skip
        for told in workers.encode_all(videos, work, jobs):
            bar.set_postfix_str(f"{len(seconds) + len(errors)} of {len(videos)} videos", False)
            if told.error:
                errors.append(told.error)
                line = one_line(told.error)
                bar.write(f"ftcl_model: {line}, skipped", file=sys.stderr)
            elif told.over:
                seconds[told.name] = told.seconds
            bar.update(round(sizes[told.name] * (told.share - shares[told.name])))
            shares[told.name] = told.share
    return {name: seconds[name] for name in videos if name in seconds}, errors


def _write_split(
    output: Path, names: Iterable[str], seconds: Mapping[str, float], settings: ExtractionSettings
) -> None:
    """Write split_test.txt and a gt.json without labels, to which videos may have been added."""
    path = output / "gt.json"
    videos = dict(read_videos(path)[0]) if path.exists() else {}
    for name in names:
        if name in videos and name not in seconds:
            continue
        length = seconds.get(name)
        if length is None:
            # Encoded when an earlier extraction was stopped.
            snippets = len(np.load(_features(output, "test", name), mmap_mode="r"))
            length = snippets * settings.seconds_per_snippet
        videos[name] = Video(name, "test", length, ())
    if videos:
        write_annotations(path, Annotations((), dict(sorted(videos.items()))))
        write_text(output / "split_test.txt", "".join(f"{name}\n" for name in sorted(videos)))


def _write_config(path: Path, made: _Made) -> None:
    settings = made.settings
    dataset = DatasetSettings(made.width, settings.seconds_per_snippet, extraction=settings)
    training = TrainingSettings(moving_average=0.99)
    save_config(path, Config(dataset, variant="aligned", training=training))

"""Look through a folder of features, splits and annotations, and tell all that is wrong at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ftcl_model.config.config import Config
from ftcl_model.config.extracted import with_extraction
from ftcl_model.data.annotations import Annotations, Video, described, read_videos
from ftcl_model.data.feature_files import check_features, find_form
from ftcl_model.data.features import FeatureSplit, read_split
from ftcl_model.data.moments import snippet_moments
from ftcl_model.errors import InputError
from ftcl_model.evaluation.score import scored_names
from ftcl_model.settings import DatasetSettings
from ftcl_model.texts import brief, counted, one_line, shortened
from ftcl_model.training.planning import check_choices, plan_training
from ftcl_model.training.stages import needed_pairs

SPLITS = ("train", "test")
LARGE = 1e4
"""Magnitude of features from which there is a note: training expects about 1."""
OFFSET = 2.0
"""Of the features' mean, relative to their spread, from which there is a note: beside it a training
hardly sees how snippets differ."""


class PairCounts(NamedTuple):
    """Pairs of training videos: of equal label sets, of disjoint ones, and of neither kind."""

    positive: int
    negative: int
    partial: int


@dataclass
class DataCheck:
    """What was found.

    errors: what stops a training or an evaluation, or makes it worthless; one line each.
    notes: what may be meant so, but is worth knowing; one line a kind, with some examples.
    lengths: of each split, the number of snippets by video.
    videos, segments: of each split, the number of them by class.
    pairs: of the training videos.
    """

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    videos: dict[str, Counter[str]] = field(default_factory=dict)
    segments: dict[str, Counter[str]] = field(default_factory=dict)
    pairs: PairCounts = field(default_factory=lambda: PairCounts(0, 0, 0))


def check_data(data: str | os.PathLike[str], config: Config, *, progress: bool = True) -> DataCheck:
    """Check a folder as `ftcl_model.data.features.open_split` takes it, and a training on it.

    Errors: missing, unreadable and misshapen features, NaN in them; videos of a split without
    annotation, with labels outside the class list, or, in training, without a label; videos in both
    splits; splits that are blocked whole; annotations that cannot be read; a subset to evaluate
    that is not there or has foreign labels, a test split without a segment; features of another
    encoder than the configuration's; a configuration under which these videos cannot be trained on,
    as without a positive or a negative pair.

    Notes: segments that leave their video, that begin after its features, or are annotated twice;
    annotated videos of a split's subset that no split has, and videos of another subset in it;
    feature files that no split names; test videos without a segment; classes without a training
    video; features of large magnitude, or with a mean beside which they hardly differ, or whose
    number disagrees with the durations; settings that adapt to the videos.

    Blocked videos are not looked at; of blocked names that nothing has there is a note. Where
    training videos are set apart, those that the seed 0 chooses are.

    Args:
        data: the folder.
        config: class list, width and rate of the features, blocked videos; the training.
        progress: show a progress bar.
    """
    data, settings = Path(data), config.dataset
    found = DataCheck()
    try:
        videos, found.errors = read_videos(data / "gt.json")
    except InputError as error:
        found.errors.append(str(error))
        return found
    try:
        with_extraction(config, data)
    except InputError as error:
        found.errors.append(str(error))
    strange = [name for name in settings.blocked_videos if name not in videos]
    found.notes += counted("videos in dataset.blocked_videos without annotation", strange)
    classes = settings.classes or tuple(sorted({s for v in videos.values() for s in v.labels}))
    videos = {name: v for name, v in videos.items() if name not in settings.blocked_videos}
    splits: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        try:
            splits[split] = read_split(data, split, settings.blocked_videos)
        except InputError as error:
            found.errors.append(str(error))
            continue
        found.errors += _label_errors(split, splits[split], videos, classes)
        _check_features(found, data / split, splits[split], settings, progress)
        own = [videos[name] for name in splits[split] if name in videos]
        found.videos[split] = Counter(label for video in own for label in video.labels)
        found.segments[split] = Counter(row.label for video in own for row in video.segments)
    shared = sorted(set(splits.get("train", ())).intersection(splits.get("test", ())))
    found.errors += [f"{name}: in split_train.txt and in split_test.txt" for name in shared]
    if "test" in splits:
        found.errors += _evaluation_errors(splits["test"], videos, classes, settings)
    found.notes += _segment_notes(videos.values())
    found.notes += _subset_notes(splits, videos)
    found.notes += _time_notes(found.lengths, videos, settings.seconds_per_snippet)
    if "train" in splits:
        unseen = [label for label in classes if not found.videos["train"][label]]
        found.notes += counted("classes without a training video", unseen)
        _check_training(found, data, splits["train"], videos, classes, config)
    return found


def _label_errors(
    split: str, names: Sequence[str], videos: Mapping[str, Video], classes: Sequence[str]
) -> list[str]:
    errors = []
    for name in names:
        if name not in videos:
            errors.append(f"{name}: in split_{split}.txt, but not annotated")
            continue
        labels = videos[name].labels
        errors += [
            f"{name}: label {brief(label)} is not in the class list"
            for label in sorted(labels.difference(classes))
        ]
        if split == "train" and not labels:
            errors.append(f"{name}: a training video without a label")
    return errors


def _evaluation_errors(
    names: tuple[str, ...],
    videos: Mapping[str, Video],
    classes: Sequence[str],
    settings: DatasetSettings,
) -> list[str]:
    """What would stop the evaluation of a trained model."""
    annotations = Annotations(tuple(classes), dict(videos))
    try:
        scored = scored_names(settings, annotations, names)
    except InputError as error:
        return [str(error)]
    if not annotations.has_segments(scored):
        if any(video.weak_labels for video in videos.values()):
            return []  # meant so; there is a note
        return ["split_test.txt: no video has an annotated segment to evaluate against"]
    others = [name for name in scored if name not in set(names)]
    return _label_errors("test", others, videos, classes)


def _check_features(
    found: DataCheck, folder: Path, names: Sequence[str], settings: DatasetSettings, progress: bool
) -> None:
    form = find_form(folder, settings)
    lengths = found.lengths[folder.name] = {}
    large = []
    for name in tqdm(names, folder.name, unit="video", mininterval=1.0, disable=not progress):
        try:
            path = folder / f"{name}.npy"
            lengths[name], _, largest = check_features(path, form, settings.feature_width)
        except InputError as error:
            found.errors.append(str(error))
            continue
        if largest > LARGE:
            large.append(f"{shortened(name)} ({largest:.1e})")
    found.notes += counted(f"videos in {folder} with features beyond {LARGE:g}", large)
    for place in [folder / stream for stream in form.streams] or [folder]:
        surplus = sorted({path.stem for path in place.glob("*.np[yz]")} - set(names))
        found.notes += counted(f"files in {place} that the split does not name", surplus)


def _segment_notes(videos: Iterable[Video]) -> list[str]:
    outside, repeated = [], []
    for video in videos:
        for segment, count in Counter(video.segments).items():
            where = described(segment, video.name)
            if count > 1:
                repeated.append(f"{where} ({count} times)")
            if segment.start < 0 or (video.duration is not None and segment.end > video.duration):
                outside.append(f"{where} (of {video.duration:g} s)")
    return [
        *counted("segments that leave their video", outside),
        *counted("segments annotated more than once", repeated),
    ]


def _subset_notes(splits: Mapping[str, tuple[str, ...]], videos: Mapping[str, Video]) -> list[str]:
    notes = []
    named = {name for names in splits.values() for name in names}
    for split, names in splits.items():
        own = [videos[name] for name in names if name in videos]
        if not own:
            continue
        # The subset that a split stands for is that of most of its videos.
        subset = Counter(video.subset for video in own).most_common(1)[0][0]
        strangers = [f"{v.name} of {v.subset!r}" for v in own if v.subset != subset]
        notes += counted(f"videos in split_{split}.txt, the others of {subset!r}", strangers)
        left = [n for n, v in videos.items() if v.subset == subset and n not in named]
        notes += counted(f"videos of the subset {subset!r} in no split", left)
        if split == "test":
            empty = [video.name for video in own if not video.segments]
            if len(empty) == len(own):
                notes.append("no test video has a segment, so that evaluation is left out")
            notes += counted("test videos without a segment", empty)
    return notes


def _time_notes(
    lengths: Mapping[str, Mapping[str, int]], videos: Mapping[str, Video], seconds: float
) -> list[str]:
    """Where the times of the annotations and those of the snippets disagree."""
    covered = {
        name: count * seconds
        for split in lengths.values()
        for name, count in split.items()
        if name in videos
    }
    ratios = [
        end / duration
        for name, end in covered.items()
        if (duration := videos[name].duration) is not None
    ]
    if ratios and not 0.9 <= np.median(ratios) <= 1.1:
        return [
            f"the snippets of a video cover {np.median(ratios):.2f} of its duration (median of "
            f"{len(ratios)} videos), at dataset.seconds_per_snippet {seconds:g}"
        ]
    late = [
        f"{described(segment, name)} (of {covered[name]:g} s)"
        for name in covered
        for segment in videos[name].segments
        if segment.start >= covered[name]
    ]
    return counted("segments that begin after the last snippet of their video", late)


def _check_training(
    found: DataCheck,
    data: Path,
    names: Sequence[str],
    videos: Mapping[str, Video],
    classes: Sequence[str],
    config: Config,
) -> None:
    column = {label: index for index, label in enumerate(classes)}
    labels = np.zeros((len(names), len(classes)), np.float32)
    for row, name in enumerate(names):
        own = videos[name].labels & column.keys() if name in videos else ()
        labels[row, [column[label] for label in own]] = 1
    labelled = labels.any(axis=1)
    found.pairs = count_pairs(labels[labelled].astype(np.int64))
    lacking = [kind for kind in needed_pairs(config) if not getattr(found.pairs, kind)]
    found.errors += [f"split_train.txt: no {kind} pair of videos to contrast" for kind in lacking]
    lengths = found.lengths["train"]
    if lacking or len(lengths) < len(names) or not labelled.all():
        return
    settings, folder = config.dataset, data / "train"
    split = FeatureSplit(
        tuple(names), tuple(folder / f"{name}.npy" for name in names), labels,
        np.array([lengths[name] for name in names]), settings.feature_width,
        settings.seconds_per_snippet, find_form(folder, settings),
    )  # fmt: skip
    try:
        plan = plan_training(config, split, seed=0)
        check_choices(plan, Annotations(tuple(classes), dict(videos)))
    except InputError as error:
        found.errors.append(str(error))
        return
    found.notes += [plan.adapted] if plan.adapted else []
    if not settings.standardise:
        found.notes += _offset_notes(plan.training)


def _offset_notes(split: FeatureSplit) -> list[str]:
    moments = snippet_moments(split)
    if not moments.deviation.any():
        return ["all training snippets have the same features"]
    if (offset := moments.offset) < OFFSET:
        return []
    return [
        f"the features' mean is {offset:.1f} times as large as their deviation from it, beside "
        "which a training hardly sees them: dataset.standardise: true takes it off"
    ]


def count_pairs(labels: NDArray[np.int64]) -> PairCounts:
    """Count the pairs that `ftcl_model.data.pairs` draws from; labels (videos, classes), 0 or 1."""
    kinds, counts = np.unique(labels, axis=0, return_counts=True)
    disjoint = kinds @ kinds.T == 0
    positive = int((counts * (counts - 1) // 2).sum())
    negative = int((disjoint * np.outer(counts, counts)).sum() // 2)
    every = len(labels) * (len(labels) - 1) // 2
    return PairCounts(positive, negative, every - positive - negative)


def check_lines(found: DataCheck) -> list[str]:
    """A found to read: the counts, then the notes, then the errors."""
    lines = []
    for split, lengths in found.lengths.items():
        counts = sorted(lengths.values()) or [0]
        lines.append(
            f"{split}: {len(lengths)} videos with features, {counts[0]}..{counts[-1]} snippets, "
            f"median {int(np.median(counts))}"
        )
    labels = sorted({label for counter in found.videos.values() for label in counter})
    width = max((len(shortened(label)) for label in labels), default=0)
    for label in labels:
        cells = [
            f"{split} {videos[label]:4} videos {found.segments[split][label]:5} segments"
            for split, videos in found.videos.items()
        ]
        lines.append(f"{shortened(label).ljust(width)}  " + "  ".join(cells))
    pairs = found.pairs
    if "train" in found.videos:
        lines.append(
            f"pairs of training videos: {pairs.positive} positive (equal label sets), "
            f"{pairs.negative} negative (no common class), {pairs.partial} unused (some classes in "
            "common)"
        )
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"error: {error}" for error in found.errors]
    lines.append(f"{len(found.errors)} errors, {len(found.notes)} notes")
    return [one_line(line) for line in lines]

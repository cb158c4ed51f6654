"""Gestures recorded with inertial sensors on the arm: how to bring one's own sensors.

Two people wear an accelerometer (three axes) and a gyroscope (two) on the hand, the lower and the
upper arm, sampled at 32 Hz for 69 minutes, and do eleven gestures again and again; every sample is
labelled. The recordings are those of Bulling, Blanke, Schiele, "A tutorial on human activity
recognition using body-worn inertial sensors", ACM Computing Surveys 2014 (ActRecTut); they are
under GPL-3.0, come with no package and are read from the user's own copy.

The same steps fit any sensors: `load_recordings` reads the files, `cut_windows` makes videos of a
long recording, `snippet_features` describes their snippets, `prepare` writes what
`ftcl_model.data.features` reads. What is weakly labelled is which gestures a window contains.
"""

from __future__ import annotations

import os
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Segment, Video
from ftcl_model.data.datasets.folder import DescribedVideo, is_prepared, write_prepared
from ftcl_model.errors import InputError

# The label k + 2 of a sample is class k; 1 is no gesture.
CLASSES = (
    *("open window", "drink", "water plant", "close window", "cut", "chop", "stir", "book"),
    *("forehand", "backhand", "smash"),
)
FIRST_CLASS = 2
SAMPLES_PER_SECOND = 32
SAMPLES_PER_WINDOW = 12 * SAMPLES_PER_SECOND
SAMPLES_PER_SNIPPET = 16
SAMPLES_BETWEEN_SNIPPETS = 8
SECONDS_PER_SNIPPET = SAMPLES_BETWEEN_SNIPPETS / SAMPLES_PER_SECOND
CHANNELS = 15
WIDTH = 9 * CHANNELS
TRAINING_SHARE = 0.7
VALIDATION_BLOCKS = 4
SOURCE = "ActRecTut gestures (Bulling, Blanke, Schiele 2014)"

# A snippet stands for the quarter second around its middle, so that the first and the last eighth
# of a second of a window belong to none.
_MARGIN = (SAMPLES_PER_SNIPPET - SAMPLES_BETWEEN_SNIPPETS) // 2


class Recording(NamedTuple):
    """One person's recording: signal (samples, 15) and labels (samples,) int, 1 is no gesture."""

    signal: NDArray[np.float64]
    labels: NDArray[np.int64]


def load_recordings(source: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of the two people.

    Args:
        source: an .npz file with s1_x, s1_y, s2_x and s2_y (signals and labels), or the folder Data
            of ActRecTut with subject1_gesture/data.mat and subject2_gesture/data.mat, which needs
            scipy.

    Raises:
        InputError: a file or what it should hold is missing or has another shape; it is named.
    """
    source = Path(source)
    if source.is_dir():
        from scipy.io import loadmat

        files = [source / f"subject{person}_gesture" / "data.mat" for person in (1, 2)]
        return [_checked(file, *_arrays(file, loadmat, "data", "labels")) for file in files]
    return [
        _checked(source, *_arrays(source, np.load, f"s{person}_x", f"s{person}_y"))
        for person in (1, 2)
    ]


def _arrays(file: Path, load: Any, *keys: str) -> list[NDArray]:
    if not file.is_file():
        raise InputError(f"{file}: the recordings are missing")
    try:
        content = load(file)
        arrays = {key: np.asarray(content[key]) for key in keys if key in content}
    except Exception as error:  # the readers raise whatever the broken bytes lead them to
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not readable as recordings ({reason})") from error
    for key in keys:
        if key not in arrays:
            raise InputError(f"{file}: expected the arrays {' and '.join(keys)}, {key} is missing")
        if arrays[key].dtype.kind not in "fiu":
            raise InputError(f"{file}: {key}: expected numbers, got {arrays[key].dtype}")
    return list(arrays.values())


def _checked(file: Path, signal: NDArray, labels: NDArray) -> Recording:
    labels = labels.ravel()
    last = FIRST_CLASS + len(CLASSES) - 1
    if signal.shape != (len(labels), CHANNELS):
        raise InputError(
            f"{file}: expected a signal of shape ({len(labels)}, {CHANNELS}), one row a label, got "
            f"{signal.shape}"
        )
    if not np.isfinite(signal).all():
        raise InputError(f"{file}: the signal is NaN or infinite")
    if not np.isin(labels, np.arange(1, last + 1)).all():
        raise InputError(f"{file}: expected labels in 1..{last}, got {np.unique(labels)}")
    return Recording(signal.astype(np.float64), labels.astype(np.int64))


def cut_windows(recording: Recording, prefix: str, subset: str) -> list[DescribedVideo]:
    """Cut a recording into windows of 12 s, blind to the labels.

    A window becomes a video of 47 snippets, 11.75 s, with the gestures in it, cut at its ends. What
    is left of a gesture must be half a second to count; a window without a gesture is left out.

    Args:
        recording: of one person; what does not fill a window at its end is left out.
        prefix: of the videos' names, before the sample at which the window starts.
        subset: "train" or "test", for the annotations.
    """
    videos = []
    for start in range(0, len(recording.labels) - SAMPLES_PER_WINDOW + 1, SAMPLES_PER_WINDOW):
        window = slice(start, start + SAMPLES_PER_WINDOW)
        segments = tuple(
            Segment(_seconds(first), _seconds(end), CLASSES[label])
            for first, end, label in gestures(recording.labels[window])
            if end - first >= SAMPLES_PER_SNIPPET
        )
        if segments:
            duration = _seconds(SAMPLES_PER_WINDOW)
            video = Video(f"{prefix}_{start:06d}", subset, duration, segments)
            videos.append(DescribedVideo(video, snippet_features(recording.signal[window])))
    return videos


def _seconds(sample: int) -> float:
    """The time in the video of a sample of its window."""
    video_samples = SAMPLES_PER_WINDOW - 2 * _MARGIN
    return min(max(sample - _MARGIN, 0), video_samples) / SAMPLES_PER_SECOND


def gestures(labels: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """The runs of labels (samples,): first sample, the one after the last, index of the class."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [
        (first, end, int(labels[first]) - FIRST_CLASS)
        for first, end in pairwise(edges)
        if labels[first] >= FIRST_CLASS
    ]


def snippet_features(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Describe the half second around every quarter second of a signal (samples, 15).

    Of each channel: mean, standard deviation, range, standard deviation of the differences, last
    minus first sample, and the log power of the bands at 2, 4, 6 to 8 and 10 to 16 Hz.

    Returns:
        (1 + (samples - 16) // 8, 135).
    """
    windows = np.lib.stride_tricks.sliding_window_view(signal, SAMPLES_PER_SNIPPET, axis=0)
    windows = windows[::SAMPLES_BETWEEN_SNIPPETS]  # (snippets, channels, samples)
    mean = windows.mean(axis=2)
    power = np.abs(np.fft.rfft(windows - mean[..., None], axis=2)) ** 2
    bands = [power[..., 1:2], power[..., 2:3], power[..., 3:5], power[..., 5:]]
    features = [
        mean,
        windows.std(axis=2),
        np.ptp(windows, axis=2),
        np.diff(windows, axis=2).std(axis=2),
        windows[..., -1] - windows[..., 0],
        # The signal is of raw readings; 100 is far below the power of any movement.
        *(np.log(band.sum(axis=2) + 100.0) for band in bands),
    ]
    return np.concatenate(features, axis=1)


def shuffled(recording: Recording, rng: np.random.Generator) -> Recording:
    """The recording with its gestures in random order.

    It is cut in the middle of what lies between two gestures, and the pieces are put together in
    another order.
    """
    found = gestures(recording.labels)
    middles = [(before[1] + after[0]) // 2 for before, after in pairwise(found)]
    pieces = list(pairwise([0, *middles, len(recording.labels)]))
    order = [slice(*pieces[index]) for index in rng.permutation(len(pieces))]
    return Recording(
        np.concatenate([recording.signal[piece] for piece in order]),
        np.concatenate([recording.labels[piece] for piece in order]),
    )


def prepare(
    directory: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    hold_out: int | None = None,
    shuffle: int | None = None,
    validation: int | None = None,
) -> None:
    """Write the windows in the layout that `ftcl_model.data.features.open_split` reads.

    The first 70 % of each recording trains, the rest tests. Features are standardised by the
    training windows. The folder appears whole or not at all; one that already holds these very
    windows is left alone.

    Args:
        directory: where to write; must not exist, be empty, or hold the same windows.
        source: see `load_recordings`.
        hold_out: person 1 or 2, all of whose windows test, while the other's train.
        shuffle: a seed; the gestures of every recording, of either part, get a random order before
            the windows are cut. The people of the recordings followed a script.
        validation: 0, 1, 2 or 3 leaves the test windows out and tests on this quarter of each
            person's training windows, so that settings can be chosen without looking at the test.

    Raises:
        FileExistsError: `directory` holds something else.
        InputError: the recordings are not as expected.
        ValueError: an option is none of those above.
    """
    for name, value, choices in (
        ("hold_out", hold_out, (None, 1, 2)),
        ("validation", validation, (None, *range(VALIDATION_BLOCKS))),
    ):
        if value not in choices:
            raise ValueError(f"prepare: {name} must be one of {choices}, got {value}")
    recordings = load_recordings(source)
    description = {
        "source": SOURCE,
        "checksums": [zlib.crc32(recording.signal.tobytes()) for recording in recordings],
        "classes": list(CLASSES),
        "seconds_per_snippet": SECONDS_PER_SNIPPET,
        "width": WIDTH,
        "hold_out": hold_out,
        "shuffle": shuffle,
        "validation": validation,
    }
    if is_prepared(directory, description):
        return
    parts: dict[str, list[DescribedVideo]] = {"train": [], "test": []}
    for person, recording in enumerate(recordings, start=1):
        training, test = _parts(recording, person, hold_out, shuffle)
        if validation is None:
            parts["train"] += training
            parts["test"] += test
        else:
            first, end = (
                block * len(training) // VALIDATION_BLOCKS for block in (validation, validation + 1)
            )
            parts["train"] += training[:first] + training[end:]
            parts["test"] += [
                DescribedVideo(video._replace(subset="test"), features)
                for video, features in training[first:end]
            ]
    for subset, videos in parts.items():
        if not videos:
            raise InputError(f"{source}: too short, there is no window with a gesture to {subset}")
    write_prepared(directory, description, CLASSES, parts)


def _parts(
    recording: Recording, person: int, hold_out: int | None, shuffle: int | None
) -> tuple[list[DescribedVideo], list[DescribedVideo]]:
    """The training and test windows of a person."""
    samples = len(recording.labels)
    # A window that starts in the first part belongs to it.
    cut = -(-int(np.ceil(TRAINING_SHARE * samples)) // SAMPLES_PER_WINDOW) * SAMPLES_PER_WINDOW
    if hold_out is not None:
        cut = 0 if person == hold_out else samples
    videos = []
    for part, subset in enumerate(("train", "test")):
        piece = slice(0, cut) if subset == "train" else slice(cut, samples)
        recorded = Recording(recording.signal[piece], recording.labels[piece])
        if shuffle is not None and len(recorded.labels):
            recorded = shuffled(recorded, np.random.default_rng([shuffle, person, part]))
        videos.append(cut_windows(recorded, f"person{person}_{subset}", subset))
    return videos[0], videos[1]

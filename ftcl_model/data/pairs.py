"""What a training step sees: batches of videos and of pairs, drawn afresh in every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftcl_model.data.features import FeatureSplit
from ftcl_model.distributed import processes, rank


class Batch(NamedTuple):
    """Videos padded to the longest.

    features: (videos, snippets, width) float32, zero beyond a video's length.
    lengths:  (videos,) int64.
    labels:   (videos, classes) float32.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(value.to(device) for value in self))


class Pairs(NamedTuple):
    """Pairs of videos that can be contrasted, each an (n, 2) array of indices i < j.

    positive: the two label sets are equal.  negative: they have no class in common.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def find_pairs(labels: NDArray[np.float32]) -> Pairs:
    """All pairs of videos with labels (videos, classes); a partial overlap makes no pair."""
    common = labels @ labels.T
    size = labels.sum(axis=1)
    upper = np.triu(np.ones(common.shape, np.bool_), k=1)
    equal = (common == size[:, None]) & (common == size[None, :])
    return Pairs(np.argwhere(equal & upper), np.argwhere((common == 0) & upper))


class PairSampler:
    """Draws the pairs of an epoch, each class as often as every other.

    Pairs are as in `Pairs`: videos whose label sets overlap in part are never drawn together. A
    video of several classes counts for each of them. Only the positive pairs are listed; all the
    negative ones would be about half the square of the number of videos.

    Args:
        labels: (videos, classes), 1 where the class occurs in the video.

    Attributes:
        positive: (n, 2), all pairs with equal label sets.
        has_negative: whether two videos have no class in common.
    """

    def __init__(self, labels: NDArray[np.float32]) -> None:
        sets, self._set_of = np.unique(labels > 0, axis=0, return_inverse=True)
        self._set_of = self._set_of.reshape(-1)
        videos = [np.flatnonzero(self._set_of == index) for index in range(len(sets))]
        self.positive = np.concatenate(
            [some[np.stack(np.triu_indices(len(some), k=1), axis=1)] for some in videos]
        )
        held = sets[self._set_of[self.positive[:, 0]]]
        self._positive_of = _not_empty(np.flatnonzero(held[:, c]) for c in range(labels.shape[1]))
        # Videos that have nothing in common with those of a label set, by label set.
        disjoint = (sets.astype(np.int64) @ sets.T.astype(np.int64)) == 0
        self._others = [np.flatnonzero(row[self._set_of]) for row in disjoint]
        lonely = np.array([len(others) == 0 for others in self._others])[self._set_of]
        self._negative_of = _not_empty(
            np.flatnonzero((labels[:, c] > 0) & ~lonely) for c in range(labels.shape[1])
        )
        self.has_negative = len(self._negative_of) > 0

    def size(self, count: int | None) -> int:
        """The number of pairs that `draw` returns."""
        half = len(self.positive) if count is None else count // 2
        return half * ((len(self.positive) > 0) + self.has_negative)

    def draw(self, count: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
        """The (count, 2) shuffled pairs of an epoch, half of them positive, either video first.

        Args:
            count: None takes every positive pair, whatever its class, and as many negative ones.
                Otherwise a class's pairs are drawn without repetition as far as there are enough.
            rng: of the epoch.
        """
        if count is None:
            half, positive = len(self.positive), self.positive
        else:
            half = count // 2
            positive = self.positive[
                [pair for some, n in _shared(self._positive_of, half, rng)
                 for pair in _draw(some, n, rng)]
            ]  # fmt: skip
        negative = [
            (first, rng.choice(self._others[self._set_of[first]]))
            for some, n in _shared(self._negative_of, half, rng)
            for first in _draw(some, n, rng)
        ]
        chosen = np.concatenate([positive, np.array(negative, np.int64).reshape(-1, 2)])
        return rng.permuted(rng.permutation(chosen), axis=1)


class PartnerSampler:
    """Draws the pairs of an epoch of `variant: aligned`: a video and one of the same label set.

    A video whose label set no other one has is its own partner.

    Args:
        labels: (videos, classes), 1 where the class occurs in the video.
    """

    def __init__(self, labels: NDArray[np.float32]) -> None:
        self._set_of = np.unique(labels > 0, axis=0, return_inverse=True)[1].reshape(-1)

    def size(self, count: int | None) -> int:
        """The number of pairs that `draw` returns."""
        return len(self._set_of) if count is None else count

    def draw(self, count: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
        """The (count, 2) shuffled pairs of an epoch.

        Args:
            count: None takes every video once as the first of a pair.
            rng: of the epoch.
        """
        videos = np.arange(len(self._set_of))
        pairs = []
        for video in rng.permutation(_draw(videos, self.size(count), rng)):
            others = videos[(self._set_of == self._set_of[video]) & (videos != video)]
            pairs.append((video, rng.choice(others) if len(others) else video))
        return np.array(pairs)


def _not_empty(lists: Iterable[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    return [some for some in lists if len(some)]


def _shared(
    lists: Sequence[NDArray[np.int64]], count: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The lists and how many to draw of each, `count` in all, as equal as possible."""
    if lists:
        each, rest = divmod(count, len(lists))
        more = set(rng.choice(len(lists), rest, replace=False).tolist())
        yield from ((some, each + (index in more)) for index, some in enumerate(lists))


def _draw(items: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the items, each as often as every other, or once more."""
    rounds, rest = divmod(count, len(items))
    return np.concatenate([np.tile(items, rounds), rng.choice(items, rest, replace=False)])


def sample_snippets(length: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` snippets of a video, one at random from each of as many equal parts.

    A video with no more than `count` snippets is taken whole.
    """
    if length <= count:
        return np.arange(length)
    edges = np.arange(count + 1) * length // count
    return rng.integers(edges[:-1], edges[1:])


def make_batch(
    split: FeatureSplit,
    videos: Sequence[int] | NDArray[np.int64],
    snippets: int,
    rng: np.random.Generator,
    mine: slice | NDArray[np.int64] | None = None,
) -> Batch:
    """Load videos of a split, at most `snippets` snippets of each.

    Args:
        split: where the videos are.
        videos: their indices.
        snippets: most snippets of a video.
        rng: chooses the snippets, the same ones whichever of the videos are loaded.
        mine: the places in `videos` of those to load, in the order of the batch; None for all.
    """
    chosen = [sample_snippets(int(split.lengths[video]), snippets, rng) for video in videos]
    rows = np.arange(len(chosen))
    if mine is not None:
        rows = rows[mine]
    videos = np.asarray(videos)[rows]
    lengths = np.array([len(chosen[row]) for row in rows])
    features = np.zeros((len(rows), lengths.max(), split.width), np.float32)
    for video, row, length, padded in zip(videos, rows, lengths, features, strict=True):
        # From the file to its place without a copy in between, which "raise" would make.
        np.take(split.load(int(video)), chosen[row], axis=0, out=padded[:length], mode="clip")
    return Batch(
        torch.from_numpy(features),
        torch.from_numpy(lengths),
        torch.from_numpy(split.labels[videos]),
    )


def one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, the next one being loaded while one is worked on."""
    with ThreadPoolExecutor(1) as loader:
        coming = loader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = loader.submit(next, batches, None)
            yield batch


def video_batches(
    split: FeatureSplit, batch_size: int, snippets: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Every video of the split once, in random order; this process's share of each batch."""
    for videos in in_batches(rng.permutation(len(split)), batch_size):
        yield make_batch(split, videos, snippets, rng, slice(rank(), None, processes()))


def pair_batches(
    split: FeatureSplit,
    pairs: NDArray[np.int64],
    batch_size: int,
    snippets: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Batches of the given pairs: the first videos of the pairs, then the second ones.

    Each process gets its share of the pairs of every batch.
    """
    share = slice(rank(), None, processes())
    for some in in_batches(pairs, batch_size):
        # Pair by pair, so that a share of the pairs is a share of the videos.
        firsts_and_seconds = np.arange(2 * len(some)).reshape(-1, 2)[share].T.ravel()
        yield make_batch(split, some.ravel(), snippets, rng, firsts_and_seconds)


def in_batches(items: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """As few batches of at most `batch_size` items as possible, which differ by at most one item.

    Equal batches rather than a small last one: its gradient would be noise, and processes that
    share it could go empty.
    """
    return np.array_split(items, count_batches(len(items), batch_size)) if len(items) else []


def count_batches(items: int, batch_size: int) -> int:
    """The number of batches that `in_batches` makes of so many items."""
    return -(-items // batch_size)

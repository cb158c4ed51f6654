from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ftcl_model.data.pairs import (
    Batch,
    PairSampler,
    PartnerSampler,
    find_pairs,
    make_batch,
    one_ahead,
    pair_batches,
    sample_snippets,
    video_batches,
)
from tests.ftcl_model.tiny_folder import open_tiny_split, write_tiny_folder

LABELS = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1]], np.float32)


def test_pairs_are_positive_for_equal_and_negative_for_disjoint_label_sets() -> None:
    pairs = find_pairs(LABELS)
    assert pairs.positive.tolist() == [[0, 1], [2, 4]]
    assert pairs.negative.tolist() == [[0, 3], [0, 5], [1, 3], [1, 5], [2, 5], [4, 5]]


def kinds(drawn: NDArray[np.int64], labels: NDArray[np.float32]) -> list[int]:
    """How many of the pairs are positive, and how many negative; there must be no others."""
    pairs = find_pairs(labels)
    found = [tuple(sorted(pair)) for pair in drawn.tolist()]
    counts = [sum(list(pair) in some.tolist() for pair in found) for some in pairs]
    assert sum(counts) == len(drawn)
    return counts


def test_an_epoch_has_every_positive_pair_and_as_many_negative_ones() -> None:
    sampler = PairSampler(LABELS)
    assert sorted(sampler.positive.tolist()) == [[0, 1], [2, 4]]
    drawn = sampler.draw(None, np.random.default_rng(0))
    assert kinds(drawn, LABELS) == [2, 2]
    assert len({tuple(sorted(pair)) for pair in drawn.tolist()}) >= 3  # both positive ones
    assert sampler.size(None) == 4


@pytest.mark.parametrize("count", [2, 7, 40])
def test_half_of_the_pairs_are_positive(count: int) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((30, 4)) < 0.4).astype(np.float32)
    labels[labels.sum(axis=1) == 0, 0] = 1
    sampler = PairSampler(labels)
    drawn = sampler.draw(count, np.random.default_rng(0))
    assert kinds(drawn, labels) == [count // 2, count // 2]
    assert len(drawn) == sampler.size(count)
    assert sorted(map(sorted, sampler.positive.tolist())) == find_pairs(labels).positive.tolist()


def test_a_rare_class_is_drawn_as_often_as_a_frequent_one() -> None:
    classes = np.array([0] * 40 + [1] * 5 + [2] * 2 + [3])
    labels = np.eye(4, dtype=np.float32)[classes]
    drawn = PairSampler(labels).draw(600, np.random.default_rng(0))
    same = classes[drawn[:, 0]] == classes[drawn[:, 1]]
    # 300 pairs of each kind; the last class has no positive pair.
    assert np.bincount(classes[drawn[same, 0]], minlength=4).tolist() == [100, 100, 100, 0]
    # A class is in its quarter of the negative pairs, and in others with the class's.
    assert (np.bincount(classes[drawn[~same]].ravel(), minlength=4) >= 75).all()


def test_a_class_does_not_repeat_a_pair_before_it_has_had_all() -> None:
    labels = np.eye(2, dtype=np.float32)[[0] * 5 + [1] * 5]
    drawn = PairSampler(labels).draw(2 * 2 * 13, np.random.default_rng(0))  # of 10 pairs each
    same = [tuple(sorted(pair)) for pair in drawn.tolist() if (pair[0] < 5) == (pair[1] < 5)]
    counts = [same.count(pair) for pair in set(same)]
    assert sorted(counts) == [1] * 14 + [2] * 6


def test_pairs_are_drawn_afresh_by_epoch_and_again_by_seed() -> None:
    sampler = PairSampler(np.repeat(LABELS, 4, axis=0))
    first, second, again = (
        sampler.draw(20, np.random.default_rng([3, epoch])).tolist() for epoch in (0, 1, 0)
    )
    assert first == again
    assert first != second


def test_either_video_of_a_pair_comes_first() -> None:
    labels = np.eye(2, dtype=np.float32)[[0] * 5 + [1] * 5]
    drawn = PairSampler(labels).draw(400, np.random.default_rng(0))
    assert 150 < (drawn[:, 0] < drawn[:, 1]).sum() < 250


def test_negative_pairs_are_not_listed() -> None:
    labels = np.eye(50, dtype=np.float32)[np.arange(5000) % 50]
    tracemalloc.start()
    try:
        drawn = PairSampler(labels).draw(20, np.random.default_rng(0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kinds_by_class(drawn) == [10, 10]
    assert peak < 5e7  # bytes; the list of all takes 2e8


def kinds_by_class(drawn: NDArray[np.int64]) -> list[int]:
    same = drawn[:, 0] % 50 == drawn[:, 1] % 50
    return [int(same.sum()), int((~same).sum())]


def test_without_negative_pairs_an_epoch_has_the_positive_ones() -> None:
    sampler = PairSampler(np.ones((4, 1), np.float32))
    assert not sampler.has_negative
    assert len(sampler.draw(None, np.random.default_rng(0))) == sampler.size(None) == 6
    assert len(sampler.draw(8, np.random.default_rng(0))) == sampler.size(8) == 4


def test_without_positive_pairs_there_are_the_negative_ones() -> None:
    sampler = PairSampler(np.eye(3, dtype=np.float32))
    assert len(sampler.positive) == 0
    assert len(sampler.draw(8, np.random.default_rng(0))) == sampler.size(8) == 4


@pytest.mark.parametrize(("length", "count"), [(30, 7), (31, 30), (1000, 10)])
def test_one_snippet_comes_from_each_equal_part(length: int, count: int) -> None:
    chosen = sample_snippets(length, count, np.random.default_rng(0))
    edges = np.arange(count + 1) * length // count
    assert (edges[:-1] <= chosen).all()
    assert (chosen < edges[1:]).all()


def test_a_short_video_is_taken_whole() -> None:
    assert sample_snippets(5, 8, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4]


def test_batches_pad_with_zeros_and_keep_the_features(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    batch = make_batch(split, [2, 5], 1000, np.random.default_rng(0))
    assert batch.features.shape == (2, split.lengths[[2, 5]].max(), split.width)
    assert batch.lengths.tolist() == split.lengths[[2, 5]].tolist()
    for row, video in enumerate((2, 5)):
        length = split.lengths[video]
        assert (batch.features[row, :length].numpy() == split.load(video)).all()
        assert (batch.features[row, length:] == 0).all()
        assert (batch.labels[row].numpy() == split.labels[video]).all()


def test_an_epoch_of_videos_has_each_once(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    batches = list(video_batches(split, 5, 1000, np.random.default_rng(0)))
    assert [len(batch.lengths) for batch in batches] == [4, 4, 4]
    lengths = sorted(length for batch in batches for length in batch.lengths.tolist())
    assert lengths == sorted(split.lengths.tolist())


def test_pair_batches_hold_the_first_videos_and_then_the_second_ones(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    pairs = np.array([[0, 3], [4, 1], [2, 5]])
    first, second = pair_batches(split, pairs, 2, 1000, np.random.default_rng(0))
    assert first.lengths.tolist() == split.lengths[[0, 4, 3, 1]].tolist()
    assert second.lengths.tolist() == split.lengths[[2, 5]].tolist()


def test_partners_have_the_same_labels_and_every_video_comes_first_once() -> None:
    labels = np.array([[1, 0], [1, 1], [1, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    sampler = PartnerSampler(labels)
    assert sampler.size(None) == 6
    seen = set()
    for seed in range(30):
        pairs = sampler.draw(None, np.random.default_rng(seed))
        assert sorted(pairs[:, 0].tolist()) == list(range(6))
        for first, second in pairs.tolist():
            assert (labels[first] == labels[second]).all()
            # The fourth video is alone with its label.
            assert (first == second) == (first == 3)
        seen |= {tuple(pair) for pair in pairs.tolist()}
    assert len(seen) == 3 * 2 + 2 + 1


def test_partners_are_drawn_as_often_as_asked_and_by_the_generator() -> None:
    labels = np.eye(4, dtype=np.float32)[np.arange(12) % 4]
    sampler = PartnerSampler(labels)
    assert sampler.size(30) == 30
    draws = [sampler.draw(30, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    counts = np.bincount(draws[0][:, 0], minlength=12)
    assert counts.sum() == 30
    assert set(counts.tolist()) == {2, 3}
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("of", ["videos", "pairs"])
def test_processes_share_each_batch_and_choose_its_snippets_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    pairs = np.array([[0, 3], [4, 1], [2, 5]])

    def batches(rank: int, processes: int) -> list[Batch]:
        monkeypatch.setattr("ftcl_model.data.pairs.rank", lambda: rank)
        monkeypatch.setattr("ftcl_model.data.pairs.processes", lambda: processes)
        rng = np.random.default_rng(0)
        if of == "videos":
            return list(video_batches(split, 5, 10, rng))
        return list(pair_batches(split, pairs, 3, 10, rng))

    for whole, *shares in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
        videos = np.arange(len(whole.lengths))
        if of == "videos":
            rows = [videos[0::2], videos[1::2]]
        else:  # the first and the third pair, and the second one
            rows = [np.array([0, 2, 3, 5]), np.array([1, 4])]
        for share, mine in zip(shares, rows, strict=True):
            assert torch.equal(share.features, whole.features[mine])
            assert torch.equal(share.labels, whole.labels[mine])


def test_the_next_batch_is_loaded_while_one_is_worked_on() -> None:
    begun = [threading.Event() for _ in range(4)]

    def loading() -> Iterator[Batch]:
        for index, event in enumerate(begun):
            event.set()
            yield Batch(torch.zeros(1, 1, 1), torch.tensor([index]), torch.zeros(1, 1))
        raise OSError("the disk is gone")

    batches = one_ahead(loading())
    for index in range(4):
        assert next(batches).lengths.item() == index
        assert all(event.wait(timeout=30) for event in begun[: index + 2])
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)

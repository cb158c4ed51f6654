from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.pairs import (
    Pairs,
    draw_pairs,
    find_pairs,
    make_batch,
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


def test_an_epoch_has_every_positive_pair_and_as_many_negative_ones() -> None:
    pairs = find_pairs(LABELS)
    drawn = np.sort(draw_pairs(pairs, None, np.random.default_rng(0)), axis=1).tolist()
    assert sum(pair in pairs.positive.tolist() for pair in drawn) == 2
    assert sum(pair in pairs.negative.tolist() for pair in drawn) == 2
    assert len(set(map(tuple, drawn))) == 4


def test_more_pairs_than_there_are_repeat_as_evenly_as_possible() -> None:
    pairs = find_pairs(LABELS)
    drawn = np.sort(draw_pairs(pairs, 10, np.random.default_rng(0)), axis=1)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    positive = [(drawn == pair).all(axis=1).sum() for pair in pairs.positive]
    assert sorted(positive) == [2, 3]
    assert counts.sum() == 10
    assert counts.max() == 3


def test_pairs_are_drawn_afresh_by_epoch_and_again_by_seed() -> None:
    pairs = find_pairs(np.repeat(LABELS, 4, axis=0))
    first, second, again = (
        draw_pairs(pairs, 20, np.random.default_rng([3, epoch])).tolist() for epoch in (0, 1, 0)
    )
    assert first == again
    assert first != second


def test_drawing_a_few_pairs_holds_no_order_of_all() -> None:
    many = np.broadcast_to(np.array([3, 5]), (10**7, 2))
    tracemalloc.start()
    try:
        drawn = draw_pairs(Pairs(many, many), 20, np.random.default_rng(0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert drawn.shape == (20, 2)
    assert peak < 1e6  # bytes; one order of all pairs takes 8e7


def test_without_negative_pairs_an_epoch_has_the_positive_ones() -> None:
    pairs = find_pairs(np.ones((4, 1), np.float32))
    assert len(draw_pairs(pairs, None, np.random.default_rng(0))) == 6


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

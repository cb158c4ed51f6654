from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import softdp
from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.data.features import FeatureSplit
from ftcl_model.detection.scores import VideoScores
from ftcl_model.report.alignments import (
    ALIGNMENT_THRESHOLD,
    LIKELY,
    align,
    example_alignments,
)

CLASSES = ("jump", "run", "walk")


def scored(kinds: str, attention: float = 0.9) -> VideoScores:
    """A video whose snippets are of one kind each; what is "." has no attention."""
    embedding = np.stack([np.eye(8, dtype=np.float32)[ord(kind) % 8] for kind in kinds])
    return VideoScores(
        class_scores=np.full((len(kinds), 3), 0.3, np.float32),
        attention=np.array([0.0 if kind == "." else attention for kind in kinds], np.float32),
        video_scores=np.full(3, 0.5, np.float32),
        embedding=3 * embedding,
        seconds_per_snippet=0.5,
    )


def test_what_is_alike_and_attended_is_matched_in_order() -> None:
    found = align(scored("a.bcd"), scored("ab..cd."))
    assert found.path == [(0, 0), (2, 1), (3, 4), (4, 5)]
    assert found.similarity[0, 0] == pytest.approx(0.9)
    assert found.similarity[1].tolist() == [0.0] * 7
    # Each match gains what its similarity has above the threshold, each snippet left out costs.
    gains, costs = 4 * (0.9 - ALIGNMENT_THRESHOLD), 4 * 0.02 * math.log(2)
    assert found.score == pytest.approx(gains - costs, abs=1e-3)
    for i, j in found.path:
        assert found.expected[i, j] > 0.9
    assert (found.expected.sum(axis=0) <= 1 + 1e-5).all()
    assert (found.expected.sum(axis=1) <= 1 + 1e-5).all()


def test_the_other_way_round_is_the_transpose() -> None:
    first, second = scored("ab.cab"), scored("cab..ab")
    there, back = align(first, second), align(second, first)
    assert np.allclose(there.expected, back.expected.T, atol=1e-5)
    assert there.score == pytest.approx(back.score, abs=1e-5)


def test_what_is_out_of_order_is_not_matched() -> None:
    found = align(scored("abc"), scored("cba"))
    assert found.score < align(scored("abc"), scored("abc")).score - 0.5


@pytest.mark.parametrize(("first", "second"), [("abc", "efg"), ("...", "abc")])
def test_where_nothing_matches_the_path_is_empty(first: str, second: str) -> None:
    found = align(scored(first), scored(second))
    assert found.path == []
    assert (found.expected < LIKELY).all()
    assert found.score == pytest.approx(0, abs=0.01)


def test_the_alignment_is_the_expected_one_of_softdp() -> None:
    found = align(scored("ab.c"), scored("a.bbc"))
    gap = -0.02 * math.log(2)
    expected = softdp.expected_alignment(
        torch.from_numpy(found.similarity) - ALIGNMENT_THRESHOLD, gap, gap, gamma=0.02,
        leading_gaps="free",
    ).match  # fmt: skip
    assert np.allclose(found.expected, expected.numpy(), atol=1e-6)


def split_of(*labels: set[str], lengths: list[int]) -> FeatureSplit:
    names = tuple(f"v{index}" for index in range(len(labels)))
    columns = np.array([[label in some for label in CLASSES] for some in labels], np.float32)
    return FeatureSplit(names, (), columns, np.array(lengths), 8, 0.5)


def annotated(split: FeatureSplit) -> Annotations:
    """Each class of a video has a snippet, in the order of the classes."""
    videos = {}
    for name, row in zip(split.names, split.labels, strict=True):
        segments = tuple(
            Segment(0.5 * place, 0.5 * place + 0.5, CLASSES[column])
            for place, column in enumerate(np.flatnonzero(row))
        )
        videos[name] = Video(name, "test", None, segments)
    return Annotations(CLASSES, videos)


def test_examples_are_the_shortest_pairs_of_most_classes() -> None:
    split = split_of(
        {"jump"}, {"jump", "run"}, {"jump", "run"}, {"jump", "run"}, {"walk"}, {"jump"},
        lengths=[3, 9, 4, 5, 3, 3],
    )  # fmt: skip
    scores = {name: scored("ab.") for name in split.names}
    same, other = example_alignments(split, scores, annotated(split))
    assert same.names == ("v2", "v3")
    assert same.title == "v2 and v3: same classes"
    assert other.names == ("v2", "v4")
    assert other.title.endswith("no class in common")
    assert same.labels is not None
    assert same.labels[0] == ["jump", "run", ""]
    assert same.seconds == (0.5, 0.5)


def test_without_such_pairs_there_are_no_examples() -> None:
    split = split_of({"jump"}, {"jump", "run"}, lengths=[3, 3])
    scores = {name: scored("ab.") for name in split.names}
    assert example_alignments(split, scores, annotated(split)) == []

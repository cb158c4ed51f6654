from __future__ import annotations

import numpy as np
import pytest

from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.detection.predictions import Detection
from ftcl_model.detection.scores import VideoScores
from ftcl_model.report.timelines import DRAWN_SCORE, make_timeline

SCORES = VideoScores(
    class_scores=np.full((6, 1), 0.5, np.float32),
    attention=np.full(6, 0.5, np.float32),
    video_scores=np.ones(1, np.float32),
    embedding=np.zeros((6, 4), np.float32),
    seconds_per_snippet=0.5,
)


def annotations(duration: float | None) -> Annotations:
    return Annotations(("run",), {"v": Video("v", "test", duration, (Segment(0.5, 1.0, "run"),))})


def test_predictions_far_below_the_best_are_left_out() -> None:
    values = (0.8, 0.8 * DRAWN_SCORE, 0.79 * DRAWN_SCORE)
    found = [Detection(0.0, 1.0, "run", score) for score in values]
    timeline = make_timeline("v", SCORES, found, annotations(4.0))
    assert timeline.predictions == found[:2]
    assert timeline.truth == (Segment(0.5, 1.0, "run"),)
    assert timeline.classes == ("run",)


def test_a_video_without_predictions() -> None:
    assert make_timeline("v", SCORES, [], annotations(4.0)).predictions == []


@pytest.mark.parametrize(("duration", "expected"), [(4.0, 4.0), (None, 3.0)])
def test_a_duration_that_is_not_annotated_is_that_of_the_snippets(
    duration: float | None, expected: float
) -> None:
    assert make_timeline("v", SCORES, [], annotations(duration)).duration == expected

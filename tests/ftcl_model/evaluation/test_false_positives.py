from __future__ import annotations

import numpy as np
import pytest

from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.detection.predictions import Detection
from ftcl_model.evaluation.false_positives import KINDS, break_down
from ftcl_model.evaluation.mean_average_precision import mean_average_precision


def annotated(**videos: list[tuple[float, float, str]]) -> Annotations:
    return Annotations(
        ("Jump", "Run", "Turn"),
        {
            name: Video(name, "test", 100.0, tuple(Segment(*row) for row in rows))
            for name, rows in videos.items()
        },
    )


def kind_of(
    start: float, end: float, label: str = "Jump", *, before: tuple[Detection, ...] = ()
) -> str:
    """The kind of a last prediction, where Jump is at 10 to 20 and Run at 40 to 50."""
    truth = annotated(video=[(10, 20, "Jump"), (40, 50, "Run")])
    rows = {"video": [*before, Detection(start, end, label, 0.1)]}
    total = break_down(rows, truth, ["video"]).total
    total -= break_down({"video": before}, truth, ["video"]).total
    (kind,) = np.flatnonzero(total)
    return KINDS[kind]


@pytest.mark.parametrize(
    ("start", "end", "kind"),
    [
        (10, 20, "true positive"),
        (10, 15, "true positive"),  # 5 of 10: at the threshold
        (10, 14.9, "localisation"),
        (19, 20, "localisation"),  # 1 of 10: at the lower threshold
        (19.1, 20, "background"),
        (25, 30, "background"),
        (40, 45, "wrong label"),
        (40, 44.9, "confusion"),
        (49, 50, "confusion"),
        (49.1, 50, "background"),
    ],
)
def test_kinds_by_overlap_of_one_prediction(start: float, end: float, kind: str) -> None:
    assert kind_of(start, end) == kind


def test_second_prediction_of_a_truth_is_a_double_detection() -> None:
    first = (Detection(10, 19, "Jump", 0.9),)
    assert kind_of(10, 20, before=first) == "double detection"
    assert kind_of(10, 14, before=first) == "localisation"
    # One of another class takes nothing away.
    assert kind_of(10, 20, before=(Detection(10, 20, "Run", 0.9),)) == "true positive"


def test_truth_of_highest_overlap_decides() -> None:
    truth = annotated(video=[(0, 10, "Jump"), (5, 15, "Run")])
    rows = [Detection(0, 10, "Jump", 0.9), Detection(6, 12, "Jump", 0.8)]
    # The second has 6 of 10 in common with Run, 4 of 12 with Jump.
    total = break_down({"video": rows}, truth, ["video"]).total
    assert total.tolist() == [1, 0, 0, 0, 1, 0]
    # 5 of 10 with either, and Jump's is taken: its own class goes before.
    rows[1] = Detection(2.5, 12.5, "Jump", 0.8)
    total = break_down({"video": rows}, truth, ["video"]).total
    assert total.tolist() == [1, 1, 0, 0, 0, 0]


def test_a_true_positive_may_overlap_another_class_more() -> None:
    truth = annotated(video=[(0, 10, "Jump"), (0, 8, "Run")])
    total = break_down({"video": [Detection(0, 7, "Jump", 1)]}, truth, ["video"]).total
    assert total.tolist() == [1, 0, 0, 0, 0, 0]


def test_ranks_are_of_the_class_over_all_videos() -> None:
    truth = annotated(a=[(0, 10, "Jump"), (20, 30, "Jump")], b=[(0, 10, "Run")], c=[])
    predictions = {
        "a": [Detection(0, 10, "Jump", 0.9), Detection(20, 30, "Jump", 0.1)],
        "b": [Detection(0, 10, "Jump", 0.5), Detection(50, 60, "Run", 0.4)],
        "c": [Detection(0, 1, "Jump", 0.3), Detection(0, 1, "Turn", 1.0)],
        "not scored": [Detection(0, 10, "Jump", 2.0)],
    }
    result = break_down(predictions, truth, ["a", "b", "c"], factor=2)
    assert result.n_truths == 3
    # Jump (G = 2): true positive, wrong label; background, true positive. Run (G = 1): background.
    assert result.counts.tolist() == [[1, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1]]
    # With factor 1 the third and fourth Jump are not looked at, nor is Turn, which has no truth.
    first = break_down(predictions, truth, ["a", "b", "c"], factor=1)
    assert first.counts.tolist() == [[1, 0, 0, 0, 1, 1]]


def test_gain_of_leaving_a_kind_out() -> None:
    truth = annotated(a=[(0, 10, "Jump"), (20, 30, "Jump")], b=[(0, 10, "Run")])
    predictions = {
        "a": [Detection(0, 10, "Jump", 0.9), Detection(20, 30, "Jump", 0.1)],
        "b": [Detection(0, 10, "Jump", 0.5), Detection(50, 60, "Jump", 0.3)],
    }
    # Of Jump a hit, a wrong label, a background, a hit; Run is missed and halves every mean.
    result = break_down(predictions, truth, ["a", "b"])
    assert result.map == pytest.approx((1 + 2 / 4) / 2 / 2)
    assert np.isnan(result.gains[0])
    gain = ((1 + 2 / 3) / 2 - (1 + 2 / 4) / 2) / 2
    assert result.gains[1:] == pytest.approx([0, 0, 0, gain, gain])
    assert result.map == mean_average_precision(predictions, truth, ["a", "b"], [0.5]).average


def test_no_predictions() -> None:
    result = break_down({}, annotated(a=[(0, 1, "Run")]), ["a"])
    assert not result.total.any()
    assert result.map == 0
    assert not result.gains[1:].any()


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["b"], {}, "video b has no annotation"),
        (["empty"], {}, "no annotated segment"),
        (["a"], {"tiou": 0.1}, r"tiou must be in \(0.1, 1\], got 0.1"),
        (["a"], {"factor": 0}, "factor must be 1 or more, got 0"),
    ],
)
def test_refused(names: list[str], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        break_down({}, annotated(a=[(0, 1, "Run")], empty=[]), names, **options)

import numpy as np
import pytest

from ftcl_model.data.annotations import Annotations, Segment, Video, read_annotations
from ftcl_model.detection.predictions import Detection
from ftcl_model.evaluation.mean_average_precision import (
    match_predictions,
    mean_average_precision,
    resampled_average,
)
from ftcl_model.settings import THUMOS_THRESHOLDS


def annotate(classes, **videos):
    return Annotations(
        tuple(classes),
        {
            name: Video(name, "test", None, tuple(Segment(*segment) for segment in segments))
            for name, segments in videos.items()
        },
    )


def average_precisions(truth, predicted, thresholds, classes="A"):
    """(K, classes) for one video, segments given as (start, end, label[, score])."""
    predictions = {"v": [Detection(*row) for row in predicted]}
    annotations = annotate(classes, v=truth)
    return mean_average_precision(predictions, annotations, ["v"], thresholds).per_class


def test_perfect_predictions_score_one():
    truth = [(0, 10, "A"), (20, 25, "A"), (3, 8, "B")]
    scores = average_precisions(
        truth, [(*segment, 0.5) for segment in truth], (0.5, 0.75, 0.95), "AB"
    )
    assert (scores == 1).all()


def test_by_hand():
    # Two truths; by falling score the predictions have tIoU 1, 0 and 8 / 10.
    truth = [(0, 10, "A"), (20, 30, "A")]
    predicted = [(20, 28, "A", 0.7), (0, 10, "A", 0.9), (40, 50, "A", 0.8)]
    # At 0.5: hit, miss, hit; precision at the hits 1 and 2/3: (1 + 2/3) / 2 = 5/6.
    # At 0.9: hit, miss, miss; recall stops at 1/2: 1/2.
    assert average_precisions(truth, predicted, [0.5, 0.9]).ravel() == pytest.approx([5 / 6, 0.5])


def test_precision_is_interpolated():
    # miss, hit, hit: precision 0, 1/2, 2/3. The highest at or beyond either hit is 2/3, so that
    # AP = (2/3 + 2/3) / 2; without interpolation it were (1/2 + 2/3) / 2.
    truth = [(0, 10, "A"), (20, 30, "A")]
    predicted = [(40, 50, "A", 0.9), (0, 10, "A", 0.8), (20, 30, "A", 0.7)]
    assert average_precisions(truth, predicted, [0.5]).item() == pytest.approx(2 / 3)


def test_best_unmatched_truth_is_taken():
    # The first prediction takes [0, 10] (tIoU 1). The second overlaps it by 9/10, but it is taken;
    # with [2, 12] it has 7/12 = 0.58: a hit at 0.5 and a miss at 0.6.
    truth = [(2, 12, "A"), (0, 10, "A")]
    predicted = [(0, 10, "A", 0.9), (0, 9, "A", 0.8)]
    assert average_precisions(truth, predicted, [0.5, 0.6]).ravel().tolist() == [1.0, 0.5]


def test_threshold_itself_counts():
    # 5/10 and 3/10 are exactly the floats 0.5 and 0.3.
    truth = [(0, 10, "A")]
    thresholds = [0.5, np.nextafter(0.5, 1)]
    assert average_precisions(truth, [(0, 5, "A", 1)], thresholds).ravel().tolist() == [1.0, 0.0]
    at = average_precisions(truth, [(0, 3, "A", 1)], THUMOS_THRESHOLDS).ravel()
    assert at.tolist() == [1, 1, 1, 0, 0, 0, 0]


def test_duplicate_predictions_are_false_positives():
    # hit, miss, hit for two truths: precision at the hits 1 and 2/3.
    truth = [(0, 10, "A"), (20, 30, "A")]
    predicted = [(0, 10, "A", 0.9), (0, 10, "A", 0.8), (20, 30, "A", 0.7)]
    assert average_precisions(truth, predicted, [0.5]).item() == pytest.approx(5 / 6)


def test_duplicate_truths_need_a_prediction_each():
    truth = [(0, 10, "A"), (0, 10, "A")]
    assert average_precisions(truth, [(0, 10, "A", 1)], [0.5]).item() == 0.5
    assert average_precisions(truth, [(0, 10, "A", 1)] * 2, [0.5]).item() == 1.0


def test_equal_scores_keep_the_order_given():
    hit, miss = (0, 10, "A", 0.5), (40, 50, "A", 0.5)
    assert average_precisions([(0, 10, "A")], [hit, miss], [0.5]).item() == 1.0
    assert average_precisions([(0, 10, "A")], [miss, hit], [0.5]).item() == 0.5


def test_many_equal_scores_keep_the_order_given():
    # Twenty predictions each with the scores 0.9, 0.5 and 0.7 in turn; the only hit is the sixth of
    # those with 0.7. Before it come twenty with 0.9 and five with 0.7: precision 1/26 at recall 1.
    hit, miss = (0, 10), (40, 50)
    predicted = [
        (*(hit if (turn, score) == (5, 0.7) else miss), "A", score)
        for turn in range(20)
        for score in (0.9, 0.5, 0.7)
    ]
    assert average_precisions([(0, 10, "A")], predicted, [0.5]).item() == 1 / 26
    # The same with a video for each prediction.
    names = [f"v{index}" for index in range(60)]
    annotations = annotate("A", **{name: [(0, 10, "A")] * (name == "v17") for name in names})
    predictions = {name: [Detection(*one)] for name, one in zip(names, predicted, strict=True)}
    assert mean_average_precision(predictions, annotations, names, [0.5]).average == 1 / 26


def test_equal_scores_of_videos_keep_the_order_of_names():
    annotations = annotate("A", v=[(0, 10, "A")], w=[])
    predictions = {"w": [Detection(0, 10, "A", 0.5)], "v": [Detection(0, 10, "A", 0.5)]}
    forward = mean_average_precision(predictions, annotations, ["v", "w"], [0.5])
    backward = mean_average_precision(predictions, annotations, ["w", "v"], [0.5])
    assert (forward.average, backward.average) == (1.0, 0.5)


def test_classes_without_truth_or_predictions():
    # A is found, B is missed, C is not annotated: its predictions count for nothing.
    truth = [(0, 10, "A"), (0, 10, "B")]
    predicted = [(0, 10, "A", 0.5), (0, 10, "C", 0.9)]
    result = mean_average_precision(
        {"v": [Detection(*row) for row in predicted]},
        annotate("ABC", v=truth),
        ["v"],
        [0.3, 0.5],
    )
    assert np.array_equal(result.per_class, [[1, 0, np.nan]] * 2, equal_nan=True)
    assert result.map.tolist() == [0.5, 0.5]
    assert result.average == 0.5
    assert result.classes == ("A", "B", "C")
    assert result.thresholds.tolist() == [0.3, 0.5]


def test_no_predictions_score_zero():
    annotations = annotate("A", v=[(0, 10, "A")])
    for predictions in ({}, {"v": []}):
        assert mean_average_precision(predictions, annotations, ["v"], [0.5]).average == 0.0


def test_only_the_named_videos_count():
    annotations = annotate("A", v=[(0, 10, "A")], w=[(0, 10, "A")])
    predictions = {"v": [Detection(0, 10, "A", 0.5)], "w": [Detection(50, 60, "A", 0.9)]}
    assert mean_average_precision(predictions, annotations, ["v"], [0.5]).average == 1.0
    # Both: miss, hit of two truths; precision 1/2 at recall 1/2.
    assert mean_average_precision(predictions, annotations, ["v", "w"], [0.5]).average == 0.25


def test_another_class_or_video_is_no_match():
    annotations = annotate("AB", v=[(0, 10, "A")], w=[(20, 30, "B")])
    predictions = {"v": [Detection(0, 10, "B", 0.5)], "w": [Detection(0, 10, "A", 0.9)]}
    result = mean_average_precision(predictions, annotations, ["v", "w"], [0.1])
    assert result.per_class.tolist() == [[0.0, 0.0]]


def by_the_protocol(predictions, annotations, names, threshold, label):
    """The protocol read aloud, one prediction at a time."""
    truth = {
        name: [one for one in annotations.videos[name].segments if one.label == label]
        for name in names
    }
    ranked = sorted(
        ((name, one) for name in names for one in predictions[name] if one.label == label),
        key=lambda pair: -pair[1].score,
    )
    precision, recall, found = [], [], 0
    for rank, (name, one) in enumerate(ranked, 1):
        overlaps = []
        for other in truth[name]:
            inner = max(0.0, min(one.end, other.end) - max(one.start, other.start))
            overlaps.append(inner / (one.end - one.start + other.end - other.start - inner))
        if overlaps and max(overlaps) >= threshold:
            truth[name].pop(int(np.argmax(overlaps)))
            found += 1
        precision.append(found / rank)
        recall.append(found)
    n_truths = found + sum(map(len, truth.values()))
    best = [
        max(p for p, r in zip(precision, recall, strict=True) if r >= k)
        for k in range(1, found + 1)
    ]
    return sum(best) / n_truths


def test_agrees_with_the_protocol_read_aloud():
    rng = np.random.default_rng(0)
    names, classes = [f"v{i}" for i in range(6)], "ABC"

    def segments(count):
        start = rng.integers(0, 40, count)
        length = rng.integers(1, 15, count)
        return zip(start, start + length, rng.choice(list(classes), count), strict=True)

    annotations = annotate(classes, **{name: list(segments(8)) for name in names})
    predictions = {name: [Detection(*one, rng.random()) for one in segments(25)] for name in names}
    result = mean_average_precision(predictions, annotations, names, THUMOS_THRESHOLDS)
    expected = [
        [by_the_protocol(predictions, annotations, names, t, label) for label in classes]
        for t in THUMOS_THRESHOLDS
    ]
    assert result.per_class == pytest.approx(np.array(expected), abs=1e-12)
    assert 0.05 < result.average < 0.95


def test_thumos14_perfect_predictions_on_the_split(thumos14):
    # The split lacks two annotated test videos, and evaluators count their segments as missed.
    annotations = read_annotations(thumos14 / "gt.json")
    split = (thumos14 / "split_test.txt").read_text().split()
    predictions = {
        name: [Detection(*segment, 1.0) for segment in annotations.videos[name].segments]
        for name in split
    }
    subset = [video.name for video in annotations.videos.values() if video.subset == "test"]
    result = mean_average_precision(predictions, annotations, subset, THUMOS_THRESHOLDS)
    assert round(100 * result.average, 2) == 98.87
    assert mean_average_precision(predictions, annotations, split, [0.5]).average == 1.0


ONE = {"v": [Detection(0, 1, "A", 0.5)]}


@pytest.mark.parametrize(
    ("predictions", "names", "thresholds", "message"),
    [
        (ONE, ["v", "x"], [0.5], "video x has no annotation"),
        (ONE, ["v", "v"], [0.5], "names has a video twice"),
        (ONE, ["empty"], [0.5], "no annotated segment"),
        (ONE, ["v"], [], r"thresholds must be a list of numbers in \(0, 1\]"),
        (ONE, ["v"], [0.0, 0.5], r"thresholds must be a list of numbers in \(0, 1\]"),
        (ONE, ["v"], [50], r"thresholds must be a list of numbers in \(0, 1\], got \[50"),
        ({"v": [Detection(0, 1, "Q", 0.5)]}, ["v"], [0.5], "video v has a prediction of 'Q'"),
        ({"v": [Detection(0, np.nan, "A", 0.5)]}, ["v"], [0.5], "video v .* NaN"),
        ({"v": [Detection(0, 1, "A", np.nan)]}, ["v"], [0.5], "video v .* NaN"),
    ],
)
def test_errors(predictions, names, thresholds, message):
    annotations = annotate("A", v=[(0, 10, "A")], empty=[])
    with pytest.raises(ValueError, match=rf"mean_average_precision: .*{message}"):
        mean_average_precision(predictions, annotations, names, thresholds)


def test_resampled_videos_are_copies_of_videos():
    rng = np.random.default_rng(0)
    truth, predicted = {}, {}
    for video in range(6):
        name, starts = f"v{video}", 20.0 * np.arange(rng.integers(1, 4) if video else 0)
        truth[name] = [(start, start + 10, "ABC"[rng.integers(3)]) for start in starts]
        # No two scores are equal, or the order among copies were another.
        predicted[name] = [
            Detection(start := rng.uniform(0, 60), start + rng.uniform(4, 14), label, rng.random())
            for label in "AB"
            for _ in range(rng.integers(0, 8))
        ]
    tious = (0.1, 0.5)
    matched = match_predictions(predicted, annotate("ABC", **truth), list(truth), tious)
    counts = rng.multinomial(6, np.full(6, 1 / 6), size=20)
    averages = resampled_average(matched, counts)
    for count, average in zip(counts, averages, strict=True):
        copies = [
            (f"{name} {copy}", name)
            for name, n in zip(truth, count, strict=True)
            for copy in range(n)
        ]
        expected = mean_average_precision(
            {copy: predicted[name] for copy, name in copies},
            annotate("ABC", **{copy: truth[name] for copy, name in copies}),
            [copy for copy, _ in copies],
            tious,
        )
        assert average == pytest.approx(expected.average)
    assert np.ptp(averages) > 0.01
    without = [int(not segments) for segments in truth.values()]
    assert np.isnan(resampled_average(matched, np.array([without])))

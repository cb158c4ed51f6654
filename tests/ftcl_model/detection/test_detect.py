import json
from dataclasses import replace

import numpy as np
import pytest

from ftcl_model.detection.detect import detect, suppress, temporal_iou
from ftcl_model.detection.predictions import Detection, read_predictions, write_predictions
from ftcl_model.settings import DetectionSettings

# One threshold on the activation, one point per snippet, nothing added to the contrast.
PLAIN = DetectionSettings(
    activation_thresholds=(0.5,),
    attention_thresholds=(),
    outer_ratio=1.0,
    video_score_weight=0.0,
    upsampling=1,
)


def detect_one(scores, settings, attention=None, seconds=1.0):
    """Detections of a single class A with scores (T,)."""
    return detect(
        np.array(scores, float)[:, None],
        np.zeros(len(scores)) if attention is None else np.array(attention, float),
        np.array([1.0]),
        classes=["A"],
        seconds_per_snippet=seconds,
        settings=settings,
    )


def test_temporal_iou_by_hand():
    first = np.array([0.0, 10.0])
    others = np.array([[0, 10], [5, 15], [2, 4], [10, 20], [11, 20], [3, 3]], float)
    # The union of [0, 10] and [5, 15] is 15 long. Touching and disjoint segments share nothing.
    assert temporal_iou(first, others).tolist() == [1, 5 / 15, 2 / 10, 0, 0, 0]
    assert temporal_iou(np.array([3.0, 3.0]), np.array([3.0, 3.0])) == 0


def test_contrast_by_hand():
    # The run [2, 4) has mean (1 + 0.8) / 2 = 0.9. Its flanks of the same length 2, [0, 2) and
    # [4, 6), hold 0, 0.2, 0.4 and 0, in the mean 0.15.
    (found,) = detect_one([0, 0.2, 1, 0.8, 0.4, 0, 0], PLAIN)
    assert found == Detection(2.0, 4.0, "A", pytest.approx(0.75))
    # Flanks of ceil(0.4 * 2) = 1 hold 0.2 and 0.4.
    (found,) = detect_one([0, 0.2, 1, 0.8, 0.4, 0, 0], replace(PLAIN, outer_ratio=0.4))
    assert found.score == pytest.approx(0.6)


def test_flanks_end_with_the_video():
    # The run [0, 2) has no flank at its left; at its right [2, 4) has the mean 0.1.
    (found,) = detect_one([1, 1, 0.2, 0, 0], PLAIN)
    assert found == Detection(0.0, 2.0, "A", pytest.approx(0.9))


def test_video_score_is_added():
    found = detect(
        np.eye(2) * 2, np.zeros(2), np.array([0.9, 0.4]), classes="AB", seconds_per_snippet=1.0,
        settings=replace(PLAIN, video_score_weight=0.5),
    )  # fmt: skip
    expected = [(0, 1, "A", pytest.approx(1.45)), (1, 2, "B", pytest.approx(1.2))]
    assert [tuple(one) for one in found] == expected


def test_scores_are_scaled_by_class():
    # Scaled from 0 (the floor of logits) .. 4 to 0, 0, 0.5, 1, 0.25.
    (found,) = detect_one([-3, 0, 2, 4, 1], PLAIN)
    assert (found.start, found.end) == (2.0, 4.0)
    # A floor above 0 is moved to 0: 0, 0, 0.5, 1, 0.25.
    (found,) = detect_one([5, 5, 7, 9, 6], PLAIN)
    assert (found.start, found.end) == (2.0, 4.0)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.7])
def test_constant_activation_gives_no_segment(value):
    assert detect_one([value] * 4, PLAIN) == []


def test_upsampling_is_symmetric_in_time():
    # Half a snippet's value of 1 next to 0 is reached midway between the snippets' middles, which
    # is the edge between the snippets; scores beyond the last middle stay constant.
    settings = replace(PLAIN, upsampling=20)
    found = detect_one([0, 0, 1, 1, 1, 0, 0, 0, 1], settings, seconds=0.5)
    assert sorted((one.start, one.end) for one in found) == [(1.0, 2.5), (4.0, 4.5)]
    # 1/4 is reached a quarter of a snippet earlier and left a quarter later.
    settings = replace(settings, activation_thresholds=(0.25,))
    found = detect_one([0, 0, 1, 1, 1, 0, 0], settings)
    assert [(one.start, one.end) for one in found] == [(1.75, 5.25)]


def test_thresholds_of_attention_and_activation():
    settings = replace(PLAIN, attention_thresholds=(0.3, 0.8), nms_threshold=1.0)
    attention = [0, 0.4, 0.9, 0.4, 0, 0.8]
    found = detect_one([0, 0, 1, 1, 0, 0], settings, attention)
    # Activation: [2, 4). Attention at least 0.3: [1, 4) and [5, 6); at least 0.8: [2, 3), [5, 6).
    expected = {(2, 4): 1.0, (1, 4): 2 / 3, (2, 3): 0.5, (5, 6): 0.0}
    assert {(one.start, one.end): one.score for one in found} == pytest.approx(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_classes_are_picked_by_their_video_score():
    scores = np.tile(np.array([0.0, 1.0, 0.0])[:, None], (1, 3))

    def labels(*video_scores):
        found = detect(
            scores, np.zeros(3), np.array(video_scores), classes="ABC", seconds_per_snippet=1.0,
            settings=replace(PLAIN, class_threshold=0.3),
        )  # fmt: skip
        return [one.label for one in found]

    assert labels(0.3, 0.1, 0.6) == ["A", "C"]
    # None reaches the threshold: the best.
    assert labels(0.1, 0.29, 0.2) == ["B"]


def suppress_one(segments, scores, threshold, sigma=None):
    (kept,) = suppress([segments], [scores], threshold, sigma)
    return kept


def test_nms_by_hand():
    segments = np.array([[0, 10], [1, 10], [4, 14], [11, 20], [0, 10]], float)
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.5])
    # [1, 10] drops [0, 10] twice (9/10); it overlaps [4, 14] by 6/13 = 0.46; [4, 14] overlaps
    # [11, 20] by 3/16; disjoint segments never drop each other.
    assert suppress_one(segments, scores, 0.5).indices.tolist() == [1, 2, 3]
    assert suppress_one(segments, scores, 0.4).indices.tolist() == [1, 3]
    assert suppress_one(segments, scores, 0.0).indices.tolist() == [1, 3]
    # At the threshold itself a segment stays; of equal scores the first is kept.
    assert suppress_one(segments, scores, 0.9).indices.tolist() == [1, 2, 3, 0]
    assert suppress_one(segments[:0], scores[:0], 0.5).indices.tolist() == []


def test_soft_nms_by_hand():
    segments = np.array([[0, 10], [5, 15], [20, 30], [0, 10], [5, 15]], float)
    scores = np.array([0.9, 0.8, 0.5, 0.7, -0.1])
    order, decayed = suppress_one(segments, scores, 0.0, sigma=0.5)
    # tIoU of [0, 10] and [5, 15] is 1/3: 0.8 becomes 0.8 exp(-2/9) = 0.64, which is next and lowers
    # the copy of [0, 10], 0.7 exp(-2), once more. [20, 30] meets nobody; a negative score stays.
    second, copy = 0.8 * np.exp(-2 / 9), 0.7 * np.exp(-2 - 2 / 9)
    assert order.tolist() == [0, 1, 2, 3, 4]
    assert decayed == pytest.approx([0.9, second, 0.5, copy, -0.1])
    assert scores.tolist() == [0.9, 0.8, 0.5, 0.7, -0.1]  # the argument is left as it was
    order, decayed = suppress_one(segments[:0], scores[:0], 0.0, sigma=0.5)
    assert len(order) == len(decayed) == 0


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_classes_do_not_suppress_each_other(sigma):
    """Several classes in step give what plain loops give for each, whatever their sizes."""
    rng = np.random.default_rng(0)
    segments, scores, expected = [], [], []
    for count in (30, 0, 7, 1):
        start = rng.uniform(0, 40, count)
        segments.append(np.stack([start, start + rng.uniform(1, 20, count)], axis=1))
        scores.append(rng.normal(0.3, 0.4, count))
        left = dict(enumerate(scores[-1].tolist()))
        settled = []
        while left:
            best = max(left, key=lambda index: left[index])
            settled.append((best, left.pop(best)))
            for index, score in list(left.items()):
                shared = temporal_iou(segments[-1][best], segments[-1][index]).item()
                if sigma is None and shared > 0.4:
                    del left[index]
                elif sigma is not None and score > 0:
                    left[index] = score * np.exp(-(shared**2) / sigma)
        expected.append(settled)
    found = suppress(segments, scores, 0.4, sigma)
    assert len(found) == 4
    for one, settled in zip(found, expected, strict=True):
        assert one.indices.tolist() == [index for index, _ in settled]
        assert one.scores == pytest.approx([score for _, score in settled])
    assert suppress([], [], 0.4, sigma) == []


def test_soft_nms_keeps_what_nms_drops_with_lower_scores():
    scores, attention = [0, 0.2, 1, 0.8, 0.4, 0, 0], [0, 0, 0.7, 0.7, 0.7, 0, 0]
    hard = replace(PLAIN, attention_thresholds=(0.5,))
    (found,) = detect_one(scores, hard, attention)
    first, second = detect_one(scores, replace(hard, soft_nms_sigma=0.5), attention)
    assert first == found
    # The run of the attention, [2, 5), shares 2 of 3 snippets with that of the activation.
    assert (second.start, second.end) == (2.0, 5.0)
    alone = detect_one(scores, replace(hard, nms_threshold=1.0), attention)[1]
    assert second.score == pytest.approx(alone.score * np.exp(-((2 / 3) ** 2) / 0.5))


def by_the_definition(scores, attention, video_scores, classes, seconds, settings):
    """The pipeline of `detect`, one point, run and pair at a time."""
    length, factor = len(attention), settings.upsampling

    def upsample(values):
        middles = [t + 0.5 for t in range(length)]
        return [np.interp((i + 0.5) / factor, middles, values) for i in range(length * factor)]

    def runs(values, threshold):
        found, start = set(), None
        for i, value in enumerate([*values, -1.0]):
            if value >= threshold and start is None:
                start = i
            if value < threshold and start is not None:
                found.add((start, i))
                start = None
        return found

    result = []
    chosen = [c for c in range(len(classes)) if video_scores[c] >= settings.class_threshold]
    for c in chosen or [int(np.argmax(video_scores))]:
        column = [max(value, 0.0) for value in scores[:, c]]
        low, high = min(column), max(column)
        curve = upsample([(value - low) / (high - low) for value in column])
        candidates = set()
        for threshold in settings.activation_thresholds:
            candidates |= runs(curve, threshold)
        for threshold in settings.attention_thresholds:
            candidates |= runs(upsample(attention), threshold)
        scored = []
        for start, end in candidates:
            flank = int(np.ceil(settings.outer_ratio * (end - start)))
            outside = curve[max(start - flank, 0) : start] + curve[end : end + flank]
            score = np.mean(curve[start:end]) - (np.mean(outside) if outside else 0.0)
            score += settings.video_score_weight * video_scores[c]
            scored.append((start * seconds / factor, end * seconds / factor, classes[c], score))
        kept = []
        for one in sorted(scored, key=lambda one: -one[3]):
            overlaps = []
            for other in kept:
                inner = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
                overlaps.append(inner / (one[1] - one[0] + other[1] - other[0] - inner))
            if not overlaps or max(overlaps) <= settings.nms_threshold:
                kept.append(one)
        result += kept
    return sorted(result, key=lambda one: -one[3])


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_definition(seed):
    rng = np.random.default_rng(seed)
    length, classes = 40, ("A", "B", "C")
    smooth = np.exp(-(((np.arange(length)[:, None] - np.arange(length)) / 2.0) ** 2))
    scores = np.exp(smooth @ rng.normal(size=(length, 3)))  # nowhere flat, hence no equal scores
    attention = 1 / (1 + np.exp(-smooth @ rng.normal(size=length)))
    video_scores = np.array([0.5, 0.2, 0.3])
    settings = DetectionSettings(upsampling=7)
    expected = by_the_definition(scores, attention, video_scores, classes, 0.64, settings)
    found = detect(
        scores,
        attention,
        video_scores,
        classes=classes,
        seconds_per_snippet=0.64,
        settings=settings,
    )
    assert len(found) == len(expected) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.label == theirs[2]
        assert [ours.start, ours.end, ours.score] == pytest.approx([*theirs[:2], theirs[3]])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 3), (5,), (2,)), r"class_scores must have shape \(T, 2\), got \(5, 3\)"),
        (((5,), (5,), (2,)), r"class_scores must have shape \(T, 2\), got \(5,\)"),
        (((0, 2), (0,), (2,)), r"class_scores must have shape \(T, 2\), got \(0, 2\)"),
        (((5, 2), (4,), (2,)), r"attention must have shape \(5,\), got \(4,\)"),
        (((5, 2), (5,), (3,)), r"video_scores must have shape \(2,\), got \(3,\)"),
    ],
)
def test_shapes_are_checked(shapes, message):
    arguments = [np.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=f"detect: {message}"):
        detect(*arguments, classes="AB", seconds_per_snippet=1.0, settings=PLAIN)


@pytest.mark.parametrize("argument", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_must_be_finite(argument, value):
    arguments = [np.zeros((5, 2)), np.zeros(5), np.zeros(2)]
    arguments[argument].flat[-1] = value
    name = ("class_scores", "attention", "video_scores")[argument]
    with pytest.raises(ValueError, match=f"detect: {name} has NaN or infinite values"):
        detect(*arguments, classes="AB", seconds_per_snippet=1.0, settings=PLAIN)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activation_thresholds": (0.1, 1.5)}, "activation_thresholds must be in"),
        ({"attention_thresholds": (-0.1,)}, "attention_thresholds must be in"),
        ({"activation_thresholds": (), "attention_thresholds": ()}, "both empty"),
        ({"outer_ratio": -0.1}, "outer_ratio must not be negative, got -0.1"),
        ({"nms_threshold": 55.0}, r"nms_threshold must be in \[0, 1\], got 55"),
        ({"soft_nms_sigma": 0.0}, "soft_nms_sigma must be positive, got 0"),
        ({"upsampling": 0}, "upsampling must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        DetectionSettings(**given)


def test_predictions_read_back(tmp_path):
    predictions = {
        "b": [Detection(1 / 3, 2.5, "run", -0.125), Detection(0.0, 1.0, "walk", 0.7)],
        "a": [],
    }
    path = tmp_path / "predictions.json"
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions
    content = json.loads(path.read_text())
    assert set(content) == {"version", "results", "external_data"}
    assert content["results"]["b"][1] == {"label": "walk", "score": 0.7, "segment": [0.0, 1.0]}


@pytest.mark.parametrize("broken", [(0.0, 1.0, "run", np.nan), (0.0, np.inf, "run", 0.5)])
def test_predictions_that_json_cannot_hold_are_not_written(tmp_path, broken):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_predictions(tmp_path / "predictions.json", {"a": [Detection(*broken)]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"results": []}',
        '{"results": {"v": [{"label": "A", "score": 1}]}}',
        '{"results": {"v": [{"label": "A", "score": 1, "segment": [1]}]}}',
        '{"results": {"v": [{"label": "A", "score": "high", "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": "A", "score": true, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": "A", "score": Infinity, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": "A", "score": NaN, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": "A", "score": 1e400, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": null, "score": 1, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": 3, "score": 1, "segment": [1, 2]}]}}',
        '{"results": {"v": [{"label": "A", "score": 1, "segment": "12"}]}}',
        '{"results": {"v": [{"label": "A", "score": 1, "segment": [false, true]}]}}',
        '{"results": {"v": [{"label": "A", "score": 1, "segment": [0, 1e10]}]}}',
        '{"results": {"v": {"label": "A", "score": 1, "segment": [1, 2]}}}',
        '{"results": {"v": [], "v": []}}',
    ],
)
def test_not_a_results_file(tmp_path, text):
    path = tmp_path / "predictions.json"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r'predictions\.json: expected a JSON object with "results"'
    ):
        read_predictions(path)

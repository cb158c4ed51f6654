from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.data.annotations import Annotations, Segment, Video, read_annotations
from ftcl_model.detection.predictions import Detection
from ftcl_model.evaluation.mean_average_precision import AVERAGES, classification_average_precision
from ftcl_model.evaluation.score import evaluation_content, evaluation_table, score_predictions
from tests.ftcl_model.commands import run

TIOUS = [0.1, 0.3, 0.5, 0.75]


def eval_detection(results: dict, database: dict, subset: str, tious: list[float]) -> np.ndarray:
    """ActivityNet's eval_detection restated in plain loops: (tious, labels of the subset, sorted).

    Every prediction of a label is ranked by score, wherever its video is. It takes the truth of its
    label and video with the highest tIoU that is at or above the threshold and not yet taken. The
    precision is made to fall with the recall and summed over the recall's steps.
    """
    truth = [
        (name, *row["segment"], row["label"])
        for name, video in database.items()
        if video["subset"] == subset
        for row in video["annotations"]
    ]
    predicted = [
        (row["score"], name, *row["segment"], row["label"])
        for name, rows in results.items()
        for row in rows
    ]
    labels = sorted({row[3] for row in truth})
    result = np.zeros((len(tious), len(labels)))
    for column, label in enumerate(labels):
        own = [row for row in truth if row[3] == label]
        ranked = sorted((row for row in predicted if row[4] == label), reverse=True)
        for line, tiou in enumerate(tious):
            taken: set[int] = set()
            precision, recall, right = [0.0], [0.0], 0
            for rank, (_, name, start, end, _) in enumerate(ranked, 1):
                candidates = []
                for index, (video, first, last, _) in enumerate(own):
                    if video == name and index not in taken:
                        inner = max(0.0, min(end, last) - max(start, first))
                        overlap = inner / (end - start + last - first - inner)
                        if overlap >= tiou:
                            candidates.append((overlap, index))
                if candidates:
                    taken.add(max(candidates)[1])
                    right += 1
                precision.append(right / rank)
                recall.append(right / len(own))
            for index in range(len(precision) - 1, 0, -1):
                precision[index - 1] = max(precision[index - 1], precision[index])
            result[line, column] = sum(
                (recall[index] - recall[index - 1]) * precision[index]
                for index in range(1, len(precision))
            )
    return result


def make_files(directory: Path, seed: int) -> tuple[Path, Path]:
    """Predictions near and off the truth of the videos of two subsets, and the truth."""
    rng = np.random.default_rng(seed)
    labels = ["Jump", "Run", "Turn", "Wave"]
    database, results = {}, {}
    for index in range(24):
        name, rows, segments = f"v{index:02d}", [], []
        for _ in range(int(rng.integers(0, 6))):
            start, length = rng.uniform(0, 80), rng.uniform(2, 20)
            label = str(rng.choice(labels[:3]))
            segments += [{"segment": [start, start + length], "label": label}] * rng.integers(1, 3)
            for _ in range(int(rng.integers(0, 4))):
                shift = rng.normal(0, 0.3 * length, 2)
                moved = sorted([start + shift[0], start + length + shift[1]])
                guess = label if rng.random() < 0.8 else str(rng.choice(labels[:3]))
                rows.append({"segment": moved, "label": guess, "score": float(rng.random())})
        subset = ("validation", "validation", "training")[index % 3]
        database[name] = {"subset": subset, "duration": 100.0, "annotations": segments}
        if index % 7:
            results[name] = rows
    results["elsewhere"] = [{"segment": [1.0, 2.0], "label": "Run", "score": 0.95}]
    (directory / "truth.json").write_text(json.dumps({"database": database}))
    (directory / "predictions.json").write_text(json.dumps({"results": results}))
    return directory / "predictions.json", directory / "truth.json"


@pytest.mark.parametrize("seed", range(4))
def test_the_command_scores_as_eval_detection(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, truth = make_files(tmp_path, seed)
    run("score", "--predictions", predictions, "--annotations", truth, "--subset", "validation",
        "--tiou", "0.1,0.3,0.5,0.75", "--json", tmp_path / "scores.json")  # fmt: skip
    content = json.loads((tmp_path / "scores.json").read_text())
    results = json.loads(predictions.read_text())["results"]
    database = json.loads(truth.read_text())["database"]
    expected = eval_detection(results, database, "validation", TIOUS)
    assert content["tiou_thresholds"] == TIOUS
    assert content["classes"] == ["Jump", "Run", "Turn"]
    np.testing.assert_allclose(content["average_precision"], expected, atol=1e-9)
    np.testing.assert_allclose(content["map"], expected.mean(axis=1), atol=1e-9)
    assert 0.1 < content["average_map"] < 0.9
    assert content["averages"].keys() == AVERAGES.keys()
    for name, tious in AVERAGES.items():
        own = eval_detection(results, database, "validation", list(tious)).mean()
        assert content["averages"][name] == pytest.approx(own, abs=1e-9)
    strangers = [row for name, rows in results.items() for row in rows
                 if name not in database or database[name]["subset"] != "validation"]  # fmt: skip
    assert content["notes"][0].startswith(f"{len(strangers)} segments of ")
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["0.1", "0.3", "0.5", "0.75", "mean", "video"]
    assert float(table[4].split()[-2]) == pytest.approx(100 * expected.mean(), abs=0.051)


def truth_of(**videos: list[tuple[float, float, str]]) -> Annotations:
    entries = {
        name: Video(name, "val", None, tuple(Segment(*row) for row in rows))
        for name, rows in videos.items()
    }
    return Annotations((), entries)


def test_empty_predictions_score_zero() -> None:
    truth = truth_of(v=[(0, 10, "A")], w=[(0, 10, "B")])
    for predictions in ({}, {"v": [], "w": []}):
        report = score_predictions(predictions, truth, "val", [0.5])
        assert report.detection.per_class.tolist() == [[0.0, 0.0]]
        assert set(report.averages.values()) == {0.0}
        # All videos are scored alike, -inf: half of them have the class.
        assert report.video_map == 0.5


def test_a_label_without_truth_is_told_and_counts_for_nothing() -> None:
    truth = truth_of(v=[(0, 10, "A")])
    predictions = {"v": [Detection(0, 10, "A", 0.5), Detection(0, 10, "Q", 0.9)]}
    report = score_predictions(predictions, truth, "val", [0.5])
    assert report.detection.average == 1.0
    assert report.notes == ("labels without truth, which count for nothing: Q",)
    content = evaluation_content(report)
    assert content["average_precision"] == [[1.0, None]]
    assert content["video_level"] == {"map": 1.0, "average_precision": [1.0, None]}
    lines = evaluation_table(report).splitlines()
    assert lines[2].split() == ["Q", "-", "-", "-"]
    assert lines[-1] == report.notes[0]


def test_segments_outside_the_subset_are_false_positives_unless_blocked() -> None:
    truth = truth_of(v=[(0, 10, "A")], w=[(0, 10, "A")])
    predictions = {
        "x": [Detection(0, 10, "A", 0.9)],
        "v": [Detection(0, 10, "A", 0.8)],
        "w": [Detection(0, 10, "A", 0.7)],
    }
    # miss, hit, hit; interpolated precision 2/3 twice.
    assert score_predictions(predictions, truth, "val", [0.5]).detection.average == 2 / 3
    # Without w: miss, hit of one truth.
    blocked = score_predictions(predictions, truth, "val", [0.5], ["w"])
    assert blocked.detection.average == 0.5
    assert blocked.notes == (
        "1 segments of 1 videos outside the subset are false positives, x for one",
        "1 predicted videos are annotated nowhere: x",
    )
    assert score_predictions(predictions, truth, "val", [0.5], ["w", "x"]).detection.average == 1


def test_missing_videos_are_told_and_their_truth_is_missed() -> None:
    truth = truth_of(v=[(0, 10, "A")], w=[(0, 10, "A")])
    report = score_predictions({"v": [Detection(0, 10, "A", 0.8)]}, truth, "val", [0.5])
    assert report.detection.average == 0.5
    assert report.notes == ("1 videos have no predictions, w for one",)


def test_segments_that_cannot_be_meant_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[11, 5], [5, 5], [125, 275], [-30, 5], [2, 6], [15, 24]]
    segments = [{"segment": row, "label": "A", "score": 0.5} for row in rows]
    (tmp_path / "predictions.json").write_text(json.dumps({"results": {"v": segments}}))
    video = {"subset": "val", "annotations": [{"segment": [2, 6], "label": "A"}]}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"v": video | {"duration": 20}}}))
    run("score", "--predictions", tmp_path / "predictions.json", "--subset", "val",
        "--annotations", tmp_path / "truth.json", "--json", tmp_path / "scores.json")  # fmt: skip
    notes = [
        "2 predicted segments do not end after their start, and match nothing: v A 11..5 s, "
        "v A 5..5 s",
        "2 predicted segments are mostly outside of their video: v A 125..275 s (of 20 s), "
        "v A -30..5 s (of 20 s)",
        "the last predicted segment of a video ends at 45.83 of the end of its last annotated one "
        "(median of 1 videos): are both in seconds?",
    ]
    assert json.loads((tmp_path / "scores.json").read_text())["notes"] == notes
    assert capsys.readouterr().out.splitlines()[-3:] == notes


@pytest.mark.parametrize("scale", [1 / 3, 0.9, 1.0, 1.1, 3.0])
@pytest.mark.parametrize("duration", [None, 100.0])
def test_a_wrong_time_scale_is_told(scale: float, duration: float | None) -> None:
    rng = np.random.default_rng(0)
    videos, predictions = {}, {}
    for index in range(9):
        starts = rng.uniform(0, 80, 4)
        segments = tuple(Segment(start, start + 10, "A") for start in starts.tolist())
        videos[f"v{index}"] = Video(f"v{index}", "val", duration, segments)
        predictions[f"v{index}"] = [
            Detection(scale * segment.start, scale * segment.end, "A", 0.5) for segment in segments
        ]
    notes = score_predictions(predictions, Annotations((), videos), "val", [0.5]).notes
    ratio = f"the last predicted segment of a video ends at {scale:.2f} of the end of its last ann"
    assert any(note.startswith(ratio) for note in notes) == (scale in (1 / 3, 3.0))
    outside = any("are mostly outside of their video" in note for note in notes)
    assert outside == (scale == 3.0 and duration is not None)


def test_names_do_not_break_the_table() -> None:
    name = "a|\x1b[31m\n" + 5000 * "n"
    truth = truth_of(v=[(0, 10, name)])
    found = {"v": [Detection(0, 10, name, 0.5), Detection(3, 2, name, 0.5)], name: []}
    report = score_predictions(found, truth, "val", [0.5])
    lines = evaluation_table(report).splitlines()
    assert len(lines) == 10
    assert all(line.isprintable() and len(line) < 250 for line in lines)
    assert lines[1].startswith(r"a|\x1b[31m\nnnnn")
    assert evaluation_content(report)["classes"] == (name,)


def test_blocked_videos_come_from_a_file(tmp_path: Path) -> None:
    predictions, truth = make_files(tmp_path, 0)
    (tmp_path / "blocked.txt").write_text("v00\nelsewhere\n")
    inputs = ("--predictions", predictions, "--annotations", truth, "--subset", "validation")
    output = tmp_path / "scores.json"
    run("score", *inputs, "--blocked", tmp_path / "blocked.txt", "--json", output)
    content = json.loads(output.read_text())
    results = json.loads(predictions.read_text())["results"]
    database = json.loads(truth.read_text())["database"]
    del results["elsewhere"], database["v00"]
    expected = eval_detection(results, database, "validation", content["tiou_thresholds"])
    np.testing.assert_allclose(content["average_precision"], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--subset": "test"}, "expected a subset of the annotations, "),
        ({"--predictions": "none.json"}, "none.json"),
        (
            {"--annotations": "predictions.json"},
            'predictions.json: expected a JSON object with a "d',
        ),
        ({"--predictions": "truth.json"}, 'truth.json: expected a JSON object with "results"'),
        ({"--json": "none/scores.json"}, "none/scores.json: the folder does not exist"),
    ],
)
def test_the_command_refuses(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    predictions, truth = make_files(tmp_path, 0)
    options = {"--predictions": predictions, "--annotations": truth, "--subset": "validation"}
    options |= {
        key: tmp_path / value if key != "--subset" else value for key, value in changes.items()
    }
    with pytest.raises(SystemExit, match=message):
        run("score", *(part for pair in options.items() for part in pair))


@pytest.mark.parametrize("tious", ["", "0.5,high", "0,0.5", "0.5,1.5", "nan"])
def test_thresholds_are_checked(tious: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("score", "--predictions", "p", "--annotations", "a", "--subset", "s", "--tiou", tious)
    assert "expected numbers in (0, 1], as in 0.1,0.2, got" in capsys.readouterr().err


def test_perfect_predictions_on_the_real_thumos14(thumos14: Path) -> None:
    truth = read_annotations(thumos14 / "gt.json")
    predictions = {
        name: [Detection(*segment, 1.0) for segment in truth.videos[name].segments]
        for name in (thumos14 / "split_test.txt").read_text().split()
    }
    report = score_predictions(predictions, truth, "test", [0.1, 0.3, 0.5, 0.7])
    assert round(100 * report.detection.average, 2) == 98.87
    assert report.notes == ("2 videos have no predictions, video_test_0000270 for one",)


def test_video_level_precision_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.6, 0.1]])
    labels = np.array([[1, 0], [0, 0], [1, 1], [0, 0]])
    # Class 0: precision 1 at the first and 2/3 at the third video. Class 1: one of four equals.
    found = classification_average_precision(scores, labels)
    assert found == pytest.approx([(1 + 2 / 3) / 2, 1 / 4])
    assert np.isnan(classification_average_precision(scores, 0 * labels)).all()
    with pytest.raises(ValueError, match=r"must have one shape .*, got \(4, 2\) and \(3, 2\)"):
        classification_average_precision(scores, labels[:3])
    with pytest.raises(ValueError, match="scores has NaN"):
        classification_average_precision(scores * np.nan, labels)


def test_video_level_precision_is_the_area_under_steps() -> None:
    """Against the sum of precision times the rise of recall, threshold by threshold."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (40, 5)) / 12
    labels = (rng.random((40, 5)) < 0.3).astype(float)
    expected = []
    for column, truth in zip(scores.T, labels.T, strict=True):
        total, before = 0.0, 0.0
        for threshold in sorted(set(column), reverse=True):
            kept = truth[column >= threshold]
            recall = kept.sum() / truth.sum()
            total += (recall - before) * kept.mean()
            before = recall
        expected.append(total)
    assert classification_average_precision(scores, labels) == pytest.approx(expected)

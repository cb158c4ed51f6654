import json

import pytest

from ftcl_model.data.annotations import (
    Annotations,
    Segment,
    Video,
    read_annotations,
    write_annotations,
)


def write(path, **videos):
    path.write_text(json.dumps({"version": "1", "database": videos}))
    return path


def entry(*annotations, **others):
    rows = [{"segment": list(segment), "label": label} for *segment, label in annotations]
    return {"subset": "test", "duration": 60.5, "annotations": rows, **others}


def test_read(tmp_path):
    path = write(tmp_path / "gt.json", b=entry((5, 7.5, "run"), (1, 2, "jump")), a=entry(frames=3))
    annotations = read_annotations(path)
    assert annotations.classes == ("jump", "run")
    segments = (Segment(5.0, 7.5, "run"), Segment(1.0, 2.0, "jump"))
    assert annotations.videos["b"] == Video("b", "test", 60.5, segments)
    assert annotations.videos["b"].labels == {"run", "jump"}
    assert annotations.videos["a"].labels == frozenset()
    assert list(annotations.videos) == ["b", "a"]


def test_class_list_keeps_its_order(tmp_path):
    path = write(tmp_path / "gt.json", a=entry((0, 1, "run")))
    assert read_annotations(path, ["run", "walk", "jump"]).classes == ("run", "walk", "jump")


def test_missing_or_null_duration_is_none(tmp_path):
    without = {"subset": "test", "annotations": []}
    path = write(tmp_path / "gt.json", a=without, b=entry(duration=None))
    videos = read_annotations(path).videos
    assert videos["a"].duration is None
    assert videos["b"].duration is None


def test_write_reads_back(tmp_path):
    segments = (Segment(0.1, 2.0 / 3.0, "run"), Segment(0.1, 2.0 / 3.0, "run"))
    videos = {"a": Video("a", "train", None, segments), "b": Video("b", "test", 3.25, ())}
    annotations = Annotations(("run",), videos)
    write_annotations(tmp_path / "gt.json", annotations)
    assert read_annotations(tmp_path / "gt.json") == annotations


def test_labels_without_segments(tmp_path):
    rows = [{"label": "jump"}, {"segment": [1, 2], "label": "run"}, {"label": "run"}]
    path = write(tmp_path / "gt.json", a={"subset": "train", "annotations": rows}, b=entry())
    annotations = read_annotations(path)
    assert annotations.classes == ("jump", "run")
    video = annotations.videos["a"]
    assert (video.labels, video.weak_labels) == ({"jump", "run"}, {"jump", "run"})
    assert video.segments == (Segment(1.0, 2.0, "run"),)
    assert annotations.has_segments(["b", "a"])
    assert not annotations.has_segments(["b", "stranger"])
    write_annotations(tmp_path / "again.json", annotations)
    assert read_annotations(tmp_path / "again.json") == annotations


def test_labels_outside_the_class_list_are_read(tmp_path):
    path = write(tmp_path / "gt.json", clip7=entry((0, 1, "run")))
    annotations = read_annotations(path, ["walk"])
    assert annotations.classes == ("walk",)
    assert annotations.videos["clip7"].labels == {"run"}


def test_class_named_twice(tmp_path):
    path = write(tmp_path / "gt.json", a=entry((0, 1, "run")))
    with pytest.raises(ValueError, match=r"gt\.json: the class list .* names a class twice"):
        read_annotations(path, ["run", "run"])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"database": 3}', '{"database": []}'])
def test_not_an_annotation_file(tmp_path, text):
    path = tmp_path / "gt.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r'gt\.json: expected a JSON object with a "database"'):
        read_annotations(path)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {},
        {"subset": "test", "annotations": None},
        {"annotations": []},
        entry(duration="long"),
        entry(duration=float("nan")),
        entry(duration=float("inf")),
        entry(duration=0),
        entry(duration=-3.5),
        entry((2, 2, "run")),
        entry((2, 1, "run")),
        entry((1, "run")),
        entry((1, 2, 3, "run")),
        entry(("one", 2, "run")),
        entry((float("nan"), 2, "run")),
        entry((1, 2, 5)),
        {"subset": "test", "annotations": [{"segment": [1, 2]}]},
        entry(duration="20"),
        entry(duration=True),
        entry(duration=1e10),
        entry(duration=1e-4),
        entry(duration=10**400),
        entry(subset=None),
        entry(subset=3),
        entry(subset=""),
        entry((1, 2, None)),
        entry((1, 2, 3)),
        entry((1, 2, "")),
        entry((False, True, "run")),
        entry((0, 1e10, "run")),
        entry((0, 10**400, "run")),
        {"subset": "test", "annotations": [{"segment": "12", "label": "run"}]},
        {"subset": "test", "annotations": [{"segmnet": [1, 2], "label": "run"}]},
        {"subset": "test", "annotations": [{"label": ""}]},
        {"subset": "test", "annotations": {"segment": [1, 2], "label": "run"}},
        {"subset": "test", "annotations": [[1, 2, "run"]]},
        [],
    ],
)
def test_broken_video_is_named(tmp_path, broken):
    path = write(tmp_path / "gt.json", clip7=broken)
    with pytest.raises(ValueError, match=r"gt\.json: video clip7: expected"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"database": {"a": 1, "a": 2}}', "the key 'a' is given twice"),
        ('{"database": {}, "database": {}}', "the key 'database' is given twice"),
        ('{"database": ' + 10**5 * "[" + 10**5 * "]" + "}", "lists and mappings nest deeper than"),
        ('{"database": ' + 5000 * "1" + "}", "a number of 5000 digits"),
        ('{"database": {"\\ud800": {}}}', r"the text '\\ud800' holds half a character"),
    ],
    ids=["video", "database", "depth", "digits", "surrogate"],
)
def test_what_json_leaves_open_is_refused(tmp_path, text, message):
    (tmp_path / "gt.json").write_text(text)
    with pytest.raises(ValueError, match=rf"gt\.json: expected a JSON object with .*{message}"):
        read_annotations(tmp_path / "gt.json")


def test_a_byte_order_mark_is_taken(tmp_path):
    path = write(tmp_path / "gt.json", a=entry((1, 2, "run")))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b" ", b"\r\n"))
    assert read_annotations(path).classes == ("run",)


def test_what_is_no_file_is_refused(tmp_path):
    path = tmp_path / "gt.json"
    path.symlink_to(path)
    with pytest.raises(ValueError, match=r"gt\.json: cannot be read \(Too many levels of symbolic"):
        read_annotations(path)
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        read_annotations(tmp_path)
    with pytest.raises(ValueError, match="expected a file, got a device"):
        read_annotations("/dev/zero")
    with pytest.raises(ValueError, match=r"cannot be read \(File name too long\)"):
        read_annotations(tmp_path / (5000 * "n"))


def test_the_videos_of_a_subset(tmp_path):
    other = entry((1, 2, "run"), subset="train")
    path = write(tmp_path / "gt.json", a=entry(), b=other, c=entry())
    annotations = read_annotations(path)
    assert annotations.names_of("test") == ("a", "c")
    assert annotations.names_of("test", ["a", "b"]) == ("c",)
    with pytest.raises(ValueError, match=r"annotations, .'test', 'train'., got 'val'"):
        annotations.names_of("val")


def test_thumos14(thumos14):
    annotations = read_annotations(thumos14 / "gt.json")
    assert len(annotations.classes) == 20
    subsets = [video.subset for video in annotations.videos.values()]
    assert (subsets.count("test"), subsets.count("validation")) == (212, 200)
    test = [video for video in annotations.videos.values() if video.subset == "test"]
    late = [[one for one in video.segments if one.end > video.duration] for video in test]
    assert sum(map(len, late)) == 62
    assert sum(map(bool, late)) == 9
    # Every cliff dive is annotated as a dive too.
    times = {
        label: {
            (video.name, *one[:2]) for video in test for one in video.segments if one[2] == label
        }
        for label in ("Diving", "CliffDiving")
    }
    assert len(times["Diving"] & times["CliffDiving"]) == 217

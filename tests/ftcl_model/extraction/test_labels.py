from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import Segment, read_annotations
from ftcl_model.data.features import read_names
from ftcl_model.extraction.labels import Labelled, draw_split, labels_of_folders, read_labels
from ftcl_model.training.check_data import check_data
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.tiny_folder import CONFIG, write_tiny_folder


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_table_of_labels(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        'Video, Labels\na.mp4,Run; Jump\n"b, the second",Run\n\nfolder/c.x,Turn\na,Turn\nd.AVI,\n',
    )
    assert read_labels(path) == {
        "a": Labelled(frozenset({"Run", "Jump", "Turn"})),
        "b, the second": Labelled(frozenset({"Run"})),
        "folder/c.x": Labelled(frozenset({"Turn"})),
        "d": Labelled(frozenset()),
    }


def test_a_table_with_segments_and_splits(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "video,split,labels,start,end\na,test,Run,1,2.5\na,test,Jump,,\na,test,Run,4,5\nb,train,Run,,\n",
    )
    runs = (Segment(1.0, 2.5, "Run"), Segment(4.0, 5.0, "Run"))
    assert read_labels(path) == {
        "a": Labelled(frozenset({"Run", "Jump"}), runs, "test"),
        "b": Labelled(frozenset({"Run"}), (), "train"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "line 1: expected the names of columns, video,labels or more of video,labels,split,st",
        ),
        ("a,Run\n", "line 1: expected the names of columns, video,labels or more of"),
        ("video,labels,strat\n", "line 1: expected the names of columns"),
        ("video,labels,video\n", "line 1: expected the names of columns"),
        ("video;labels\na;Run\n", "line 1: expected the names of columns"),
        ("video,labels\n", "expected a line for each video, got none"),
        ("video,labels\na\n", "line 2: expected 2 cells, got 1"),
        ('video,labels\na,"Run\n', "line 2: unexpected end of data"),
        ("video,labels\n,Run\n", "line 2: expected the name of a video, got ''"),
        ("video,labels\n../a,Run\n", "line 2: expected the name of a video, got '../a'"),
        ("video,labels,split\na,Run,val\n", "line 2: expected the split train or test, got 'val'"),
        ("video,labels,split\na,R,test\na,J,train\n", "line 3: video 'a' is in another split"),
        ("video,labels,start,end\na,R,1,x\n", "line 2: expected a number of seconds, got 'x'"),
        ("video,labels,start,end\na,R,1,\n", "line 2: expected a number of seconds, got ''"),
        ("video,labels,start,end\na,R,nan,2\n", "line 2: expected a finite number, got nan"),
        ("video,labels,start,end\na,R,2,1\n", "line 2: expected one label and an end after the"),
        ("video,labels,start,end\na,R;S,1,2\n", "line 2: expected one label and an end after"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    output = tmp_path / "data"
    said = refused("init", "--labels", table(tmp_path, text), "--output", output)
    assert f"labels.csv: {message}" in said
    assert "\n" not in said
    assert not output.exists()


def test_the_split_is_drawn_among_videos_of_equal_labels() -> None:
    videos = {f"run_{i:02}": Labelled(frozenset({"Run"})) for i in range(10)}
    videos |= {f"jump_{i}": Labelled(frozenset({"Jump"})) for i in range(3)}
    videos |= {"alone": Labelled(frozenset({"Run", "Jump"})), "idle": Labelled(frozenset())}
    videos["told"] = Labelled(frozenset({"Run"}), (), "test")
    drawn = draw_split(videos, 0.4, 0)
    test = [name for name, split in drawn.items() if split == "test"]
    assert len([name for name in test if name.startswith("run")]) == 4
    assert len([name for name in test if name.startswith("jump")]) == 1  # training keeps two
    assert {"idle", "told"} <= set(test)
    assert drawn["alone"] == "train"
    assert draw_split(dict(reversed(videos.items())), 0.4, 0) == drawn
    assert draw_split(videos, 0.4, 1) != drawn
    assert [n for n, s in draw_split(videos, 0.0, 0).items() if s == "test"] == ["idle", "told"]


def test_init_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "video,labels,split\na,Run,train\nb,Run;Jump,train\nc,Jump,test\n")
    output = tmp_path / "data"
    run("init", "--labels", path, "--output", output)
    assert capsys.readouterr().out.splitlines() == [
        f"{output}: 2 training and 1 test videos, 2 classes",
        "note: no test video has a segment, so that evaluation is left out",
    ]
    assert read_names(output / "split_train.txt") == ("a", "b")
    assert read_names(output / "split_test.txt") == ("c",)
    annotations = read_annotations(output / "gt.json")
    assert annotations.classes == ("Jump", "Run")
    assert annotations.videos["b"].weak_labels == {"Jump", "Run"}
    assert (annotations.videos["c"].subset, annotations.videos["c"].segments) == ("test", ())
    # What is there is kept.
    assert "data: cannot be written" in refused("init", "--labels", path, "--output", output)


def test_init_with_segments_says_nothing_of_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path, "video,labels,split,start,end\na,Run,train,,\nc,Run,test,1,2\n")
    run("init", "--labels", path, "--output", tmp_path / "data")
    assert "note" not in capsys.readouterr().out


def test_init_of_a_folder_for_each_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Run/a.mp4", "Run/b.mp4", "Run/c.mkv", "Jump/deep/a.mp4", "Jump/b.mp4"):
        file = tmp_path / "videos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = labels_of_folders(tmp_path / "videos")
    assert found["Jump/deep/a"].labels == {"Jump"}
    output = tmp_path / "data"
    run("init", "--videos", tmp_path / "videos", "--output", output, "--test-share", 0.3)
    assert f"{output}: 4 training and 1 test videos, 2 classes" in capsys.readouterr().out
    (test,) = read_names(output / "split_test.txt")
    assert test.startswith("Run/")
    (tmp_path / "videos" / "stray.mp4").touch()
    said = refused("init", "--videos", tmp_path / "videos", "--output", tmp_path / "other")
    assert said.endswith("stray.mp4: expected every video in the folder of its class")


def test_training_videos_need_a_label(tmp_path: Path) -> None:
    path = table(tmp_path, "video,labels,split\na,,train\nb,Run,test\n")
    said = refused("init", "--labels", path, "--output", tmp_path / "data")
    assert "video 'a': expected a label, as it is in the split train" in said
    path = table(tmp_path, "video,labels,split\nb,Run,test\n")
    said = refused("init", "--labels", path, "--output", tmp_path / "data")
    assert "expected a video to train on" in said


def test_weak_labels_are_enough_for_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same training as with segments, and evaluation says that it is left out."""
    data = write_tiny_folder(tmp_path / "data")
    config = tmp_path / "model.yaml"
    config.write_text(CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 7"))
    words = ("train", "--config", config, "--no-progress", "--device", "cpu")
    run(*words, "--data", data, "--output", tmp_path / "strong")
    annotated = read_annotations(data / "gt.json").videos
    lines = [f"{v.name},{';'.join(v.labels)},{v.subset}" for v in annotated.values()]
    path = table(tmp_path, "\n".join(["video,labels,split", *lines]))
    weak = tmp_path / "weak"
    run("init", "--labels", path, "--output", weak)
    for split in ("train", "test"):
        (data / split).rename(weak / split)
        # The order of the videos is part of a training.
        (data / f"split_{split}.txt").rename(weak / f"split_{split}.txt")

    report = check_data(weak, load_config(config), progress=False)
    assert report.errors == []
    assert "no test video has a segment, so that evaluation is left out" in report.notes
    run(*words, "--data", weak, "--output", tmp_path / "run")
    losses = [(tmp_path / name / "history.json").read_text() for name in ("strong", "run")]
    assert losses[0] == losses[1]
    model = tmp_path / "run" / "model.pt"
    said = refused("evaluate", "--data", weak, "--checkpoint", model)
    assert "no video of split_test.txt has an annotated segment" in said
    said = refused("compare", "--config", config, "--data", weak, "--output", tmp_path / "runs")
    assert "no video of split_test.txt has an annotated segment to compare by" in said
    run("predict", "--data", weak, "--checkpoint", model, "--output", tmp_path / "out.json")


@pytest.mark.parametrize("setting", ["choose: localisation", "nms_threshold: [0.4]"])
def test_what_is_chosen_by_segments_needs_some(tmp_path: Path, setting: str) -> None:
    data = write_tiny_folder(tmp_path / "data")
    config = tmp_path / "model.yaml"
    config.write_text(f"{CONFIG}validation: {{share: 0.3, {setting}}}\n")
    content = (data / "gt.json").read_text()
    database = json.loads(content)["database"]
    for video in database.values():
        video["annotations"] = [{"label": row["label"]} for row in video["annotations"]]
    (data / "gt.json").write_text(json.dumps({"database": database}))
    said = refused("train", "--config", config, "--data", data, "--output", tmp_path / "run")
    assert "validation: chooses by segments, which no video that is set apart has" in said

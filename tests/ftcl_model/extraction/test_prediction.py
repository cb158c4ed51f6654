from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ftcl_model.config.config import Config, load_config
from ftcl_model.detection.predictions import read_predictions
from ftcl_model.model.ftcl import FTCL, load_checkpoint, save_checkpoint
from ftcl_model.settings import DatasetSettings
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.extraction.tiny_videos import SMALL, noise, write_video

CLASSES = ("Jump", "Run")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    write_video(folder / "a.mp4", noise(38))
    write_video(folder / "b" / "c.mkv", noise(13, seed=1))
    return folder


@pytest.fixture
def features(tmp_path: Path, videos: Path) -> Path:
    """What was extracted of the videos."""
    folder = tmp_path / "features"
    run("extract", videos, "--output", folder, "--encoder", SMALL, "--weights", "none", "--frames",
        4, "--stride", 4, "--seed", 5, "--device", "cpu", "--no-progress")  # fmt: skip
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path, features: Path) -> Path:
    """A model that knows how its features were made, and nothing else."""
    model = FTCL(load_config(features / "config.yaml"), CLASSES)
    save_checkpoint(tmp_path / "model.pt", model, 0)
    return tmp_path / "model.pt"


def predict(videos: Path, checkpoint: Path, output: Path, *more: object) -> tuple[object, ...]:
    return (
        "predict", "--videos", videos, "--checkpoint", checkpoint, "--output", output,
        "--device", "cpu", "--no-progress", *more,
    )  # fmt: skip


def test_both_steps_are_those_made_one_after_the_other(
    tmp_path: Path, videos: Path, features: Path, checkpoint: Path
) -> None:
    run(*predict(videos, checkpoint, tmp_path / "one.json"))
    run("predict", "--data", features, "--checkpoint", checkpoint, "--output",
        tmp_path / "two.json", "--device", "cpu")  # fmt: skip
    one, two = (read_predictions(tmp_path / name) for name in ("one.json", "two.json"))
    assert list(one) == ["a", "b/c"]
    assert one["a"]
    ends = {"a": 38 / 25, "b/c": 13 / 25}
    assert max(row.end for row in two["a"]) > ends["a"]  # its last snippet is two frames longer
    for name, end in ends.items():
        assert one[name] == [row._replace(end=min(row.end, end)) for row in two[name]]


def test_elan_csv_and_via(tmp_path: Path, videos: Path, checkpoint: Path) -> None:
    folder = tmp_path / "kept"
    run(*predict(videos, checkpoint, tmp_path / "out.csv", "--features", folder))
    assert (tmp_path / "out.csv").read_text().startswith("video,label,start,end,score\na,")
    before = (folder / "test" / "a.npy").stat().st_mtime_ns
    run(*predict(videos, checkpoint, tmp_path / "elan", "--features", folder, "--format", "elan"))
    assert (folder / "test" / "a.npy").stat().st_mtime_ns == before
    text = (tmp_path / "elan" / "b" / "c.eaf").read_text()
    assert 'RELATIVE_MEDIA_URL="../../videos/b/c.mkv"' in text
    run(
        *predict(videos, checkpoint, tmp_path / "via.json", "--features", folder, "--format", "via")
    )
    files = json.loads((tmp_path / "via.json").read_text())["file"]
    assert files["2"]["src"] == (videos / "b" / "c.mkv").as_uri()
    # Another time with fewer videos: only these are told of.
    run(*predict(videos / "a.mp4", checkpoint, tmp_path / "a.eaf", "--features", folder))
    assert (tmp_path / "a.eaf").is_file()
    said = refused(*predict(videos, checkpoint, tmp_path / "all.eaf"))
    assert "all.eaf: expected the name of a folder" in said


def test_a_damaged_video_is_named_and_the_others_are_predicted(
    tmp_path: Path, videos: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "empty.mp4").touch()
    output = tmp_path / "out.json"
    assert refused(*predict(videos, checkpoint, output)) == "1"
    assert f"error: {videos / 'empty.mp4'}: the video is empty\n" in capsys.readouterr().out
    assert list(read_predictions(output)) == ["a", "b/c"]
    said = refused(*predict(videos / "empty.mp4", checkpoint, tmp_path / "none.json"))
    assert said.endswith(
        "no video could be encoded: " + f"{videos / 'empty.mp4'}: the video is empty"
    )
    assert not (tmp_path / "none.json").exists()


def test_a_model_of_other_features_is_refused(
    tmp_path: Path, videos: Path, checkpoint: Path
) -> None:
    model = load_checkpoint(checkpoint).model
    made = model.config.dataset.extraction
    assert made is not None
    other = tmp_path / "other.pt"
    save_checkpoint(other, FTCL(Config(DatasetSettings(96, 0.16)), CLASSES), 0)
    said = refused(*predict(videos, other, tmp_path / "out.json"))
    assert "other.pt: was trained with features that `extract` has not made" in said

    changed = replace(model.config.dataset, extraction=replace(made, digest="0" * 16))
    save_checkpoint(other, FTCL(replace(model.config, dataset=changed), CLASSES), 0)
    said = refused(*predict(videos, other, tmp_path / "out.json"))
    assert f"{SMALL}: is not the encoder that it was: expected digest '0000000000000000'" in said
    assert not (tmp_path / "out.json").exists()


def test_an_output_that_cannot_be_written_is_refused_first(
    tmp_path: Path, videos: Path, checkpoint: Path
) -> None:
    folder = tmp_path / "kept"
    said = refused(*predict(videos, checkpoint, tmp_path / "x" / "o.csv", "--features", folder))
    assert "x/o.csv: the folder does not exist" in said
    assert not folder.exists()

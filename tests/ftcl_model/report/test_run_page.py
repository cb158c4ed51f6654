from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ftcl_model.cli.main import main
from ftcl_model.config.config import Config, load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.evaluation.false_positives import KINDS
from ftcl_model.model.ftcl import FTCL, save_checkpoint
from ftcl_model.settings import BackboneSettings
from tests.ftcl_model.readers import Page
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, WIDTH, write_tiny_folder

LOSSES = {
    "backbone": [{"instance": 1.5, "norm": 0.0}, {"instance": 0.5, "norm": 0.0}],
    "contrast": [{"instance": 0.4, "fsd": 0.25}],
}

COMPARISON = """{"seeds": [0], "tiou_thresholds": [0.5],
  "variants": {"both": {"average_map": [0.5], "mean": 0.5, "standard_deviation": null}}}"""

VALIDATION = [
    {"stage": "backbone", "epoch": 1, "iteration": 90, "classification": 0.25},
    {"stage": "backbone", "epoch": 2, "iteration": 180, "classification": 0.75},
    {"stage": "contrast", "epoch": 1, "iteration": 184, "classification": 0.5},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of an untrained run, and its data."""
    directory = tmp_path_factory.mktemp("report")
    data, run = write_tiny_folder(directory / "data"), directory / "run"
    (directory / "model.yaml").write_text(CONFIG)
    torch.manual_seed(0)
    save_checkpoint(run / "model.pt", FTCL(load_config(directory / "model.yaml"), CLASSES), 184)
    history = {"seed": 7, "losses": LOSSES, "validation": VALIDATION}
    (run / "history.json").write_text(json.dumps(history))
    return run, data


def report(*words: object) -> None:
    main(["report", *map(str, words)])


def test_page_has_everything_and_needs_nothing(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = folders
    output = tmp_path / "page.html"
    report(run, "--data", data, "--output", output, "--draw", "test_3")
    assert capsys.readouterr().out.startswith(f"{output}: ")
    page = Page(output)
    assert not page.open
    assert "script" not in page.tags
    assert all(source and source.startswith("data:") for source in page.sources)
    assert "url(" not in output.read_text()
    assert re.search("variant paper seed 7 training steps 184 test videos 6", page.words)
    for heading in ("mAP by tIoU", "0.1:0.7", "Jump", "By rank", "Timelines", "Alignments"):
        assert heading in page.words
    for kind in KINDS:
        assert kind in page.words
    # A video and a pair without a class in common, for wide and for narrow windows.
    drawn = [image for image in page.images if "src" in image]
    assert len(drawn) == 2
    assert sum(source.startswith("data:image/png") for source in page.sources) == 4
    (segment,) = read_annotations(data / "gt.json").videos["test_3"].segments
    told = f"Truth: {segment.label} {segment.start:.1f} to {segment.end:.1f} s."
    assert drawn[0]["alt"].startswith(f"Timeline of test_3. {told}")
    assert drawn[1]["alt"].startswith("Alignment of test_")
    # A term that was never there has no curve.
    course, *curves = [image["aria-label"] for image in page.images if "aria-label" in image]
    assert course == "mAP of classification: 25.0 % → 50.0 %, highest 75.0 % at step 180"
    assert [one.partition(":")[0] for one in curves] == ["instance", "instance", "fsd"]
    assert curves[0] == "instance: 1.5 in the first epoch, 0.5 in the last"


@pytest.mark.parametrize("labels", [True, False])
def test_without_a_segment_evaluation_is_left_out(
    folders: tuple[Path, Path], tmp_path: Path, labels: bool
) -> None:
    run, data = folders
    weak = shutil.copytree(data, tmp_path / "weak")
    content = json.loads((data / "gt.json").read_text())
    for video in content["database"].values():
        rows = video["annotations"] if labels else []
        video["annotations"] = [{"label": row["label"]} for row in rows]
    (weak / "gt.json").write_text(json.dumps(content))
    output = tmp_path / "page.html"
    report(run, "--data", weak, "--output", output)
    page = Page(output)
    assert "No test video has an annotated segment: evaluation is left out." in page.words
    assert "variant paper seed 7 training steps 184 test videos 6" in page.words
    assert not [word for word in ("mAP by tIoU", "By rank") if word in page.words]
    drawn = [image["alt"] or "" for image in page.images if "src" in image]
    timelines = [alt for alt in drawn if alt.startswith("Timeline of test_")]
    assert len(timelines) == 4
    assert all((" somewhere. Best" if labels else "Truth: no action.") in alt for alt in timelines)


@pytest.mark.filterwarnings("error")
def test_any_name_is_shown_as_it_is(tmp_path: Path) -> None:
    data, run = write_tiny_folder(tmp_path / "data"), tmp_path / "$_$ <b>"
    classes = ("$\\frac$|<script>", "跑步\x1b[31m\n", "W" * 3000)
    video = "a$_$b <img src=x> é"
    text = (data / "gt.json").read_text()
    for old, new in zip((*CLASSES, "test_0"), (*classes, video), strict=True):
        text = text.replace(f'"{old}"', json.dumps(new))
    (data / "gt.json").write_text(text)
    (data / "test" / "test_0.npy").rename(data / "test" / f"{video}.npy")
    split = data / "split_test.txt"
    split.write_text(split.read_text().replace("test_0", video))
    settings = replace(load_config("demo").dataset, classes=classes, feature_width=WIDTH)
    torch.manual_seed(0)
    model = FTCL(Config(settings, backbone=BackboneSettings(width=8)), classes)
    save_checkpoint(run / "model.pt", model, 1)
    (run / "history.json").write_text(json.dumps({"seed": 0, "losses": {"<s>": [{"&a;": 1.0}]}}))
    report(run, "--data", data)
    page = Page(run / "report.html")
    assert not page.open
    assert not {"script", "s"}.intersection(page.tags)
    assert all(source and source.startswith("data:") for source in page.sources)
    words = page.words
    assert "Action localisation: $_$ <b>" in words
    for name in (classes[0], r"跑步\x1b[31m\n", classes[2], video, "<s>, 1 epoch", "&a;"):
        assert name in words
    assert "\x1b" not in (run / "report.html").read_text()
    drawn = [str(image["alt"]) for image in page.images if "alt" in image]
    assert any(alt.startswith(f"Timeline of {video}. Truth: ") for alt in drawn)


def test_the_first_four_videos_are_drawn(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for draw in ("draw_timelines", "draw_alignments"):
        monkeypatch.setattr(
            f"ftcl_model.report.run_page.{draw}", lambda path, width, **_: path.touch()
        )
    run, data = folders
    output = tmp_path / "page.html"
    report(run, "--data", data, "--output", output)
    page = Page(output)
    assert [f"Timeline of test_{i}" in str(page.images) for i in range(5)] == [True] * 4 + [False]


def test_a_checkpoint_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = folders
    checkpoint = tmp_path / "ours.pt"
    checkpoint.write_bytes((run / "model.pt").read_bytes())
    report(checkpoint, "--data", data)
    page = Page(tmp_path / "report.html")
    assert "variant paper training steps 184" in page.words
    assert not any(heading in page.words for heading in ("Losses", "Validation", "seed"))


@pytest.mark.parametrize(
    "content",
    [
        '{"seed": 0, "losses": {"backbone": [{"total": NaN}]}}',
        '{"seed": 0, "losses": {"backbone": [{"total": "1"}]}}',
        '{"seed": 0, "losses": {"backbone": {"total": 1}}}',
        '{"seed": 0, "losses": [{"total": 1}]}',
        '{"seed": 0.5, "losses": {}}',
        '{"seed": 0, "losses": {}, "losses": {}}',
        '{"seed": 0, "losses": {}, "validation": {}}',
        '{"seed": 0, "losses": {}, "validation": [{"stage": "backbone", "iteration": 0}]}',
        '{"seed": 0, "losses": {}, "validation": [{"iteration": 1}]}',
        '{"seed": 0, "losses": {}, "validation": [{"stage": "a", "iteration": 1, '
        '"classification": 1.5}]}',
    ],
)
def test_a_broken_course_is_named(tmp_path: Path, folders: tuple[Path, Path], content: str) -> None:
    (tmp_path / "model.pt").write_bytes((folders[0] / "model.pt").read_bytes())
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(SystemExit, match=r"history\.json: expected the seed, by stage the losses"):
        report(tmp_path, "--data", folders[1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("folder", "nowhere: expected the folder of a run or a checkpoint, there is none"),
        ("model", r"run: expected what is left by a finished train \(model.pt, history.json\) or "),
        ("history", "run/history.json: the file is missing"),
        ("JSON", "run/history.json: expected the seed, by stage the losses of each epoch, and"),
        ("losses", "run/history.json: expected the seed, by stage the losses of each epoch, and"),
        ("data of a comparison", "run: is the folder of a comparison, whose page has no use for "),
        ("comparison", 'run/compare.json: expected what compare writes: "map" is missing'),
        ("data", "run: say where the features are with --data"),
        ("features", "data/test/test_2.npy: the feature file is missing"),
        ("video", "data/split_test.txt: has no video 'test_9', expected one of its 6, as test_0"),
        ("output", "nowhere/page.html: the folder does not exist"),
    ],
)
def test_refused(tmp_path: Path, folders: tuple[Path, Path], damage: str, message: str) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    write_tiny_folder(data)
    run.mkdir()
    for name in ("model.pt", "history.json"):
        (run / name).write_bytes((folders[0] / name).read_bytes())
    words: list[object] = [run, "--data", data]
    if damage == "folder":
        words[0] = tmp_path / "nowhere"
    elif damage == "model":
        (run / "model.pt").unlink()
    elif damage == "history":
        (run / "history.json").unlink()
    elif damage == "JSON":
        (run / "history.json").write_text("{")
    elif damage == "losses":
        (run / "history.json").write_text('{"seed": 0, "losses": {"backbone": [1.0]}}')
    elif damage == "data of a comparison":
        (run / "compare.json").write_text("{}")
    elif damage == "comparison":
        del words[1:]
        (run / "compare.json").write_text(COMPARISON)
    elif damage == "data":
        del words[1:]
    elif damage == "features":
        (data / "test" / "test_2.npy").unlink()
    elif damage == "video":
        words += ["--draw", "test_9"]
    else:
        words += ["--output", tmp_path / "nowhere" / "page.html"]
    with pytest.raises(SystemExit, match=message):
        report(*words)
    assert not (run / "report.html").exists()

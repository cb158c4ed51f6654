from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from ftcl_model.__main__ import main
from ftcl_model.annotations import read_annotations
from ftcl_model.comparison import compare_runs, comparison_content, comparison_text
from ftcl_model.config import BackboneSettings, Config, load_config
from ftcl_model.false_positives import KINDS
from ftcl_model.files import write_json
from ftcl_model.model import FTCL, save_checkpoint
from ftcl_model.page import bar_table, chart, columns, curve
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


class Page(HTMLParser):
    """What a reader gets: the text, the pictures, and whatever is fetched from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.tags, self.sources = [], [], []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attributes)
        self.sources += [named[key] for key in ("src", "srcset", "href") if key in named]
        if tag in ("img", "svg"):
            self.images.append(named)
        if tag not in ("img", "source", "meta", "link", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


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


def test_classes_without_truth_are_left_out() -> None:
    table = bar_table("AP", "class", [("Jump", 0.5), ("Run", float("nan"))])
    assert "Jump" in table
    assert "width:50.00%" in table
    assert "Run" not in table
    assert columns(table, folded=True).startswith("<details><summary>")


def test_curve_of_one_epoch_is_a_line() -> None:
    assert 'points="0.0,6.0 200,6.0"' in curve("total", [2.0])


def test_chart_of_two_stages() -> None:
    drawn = chart("mAP", {"backbone": {50: 0.25, 150: 0.5}, "contrast": {200: 0.45}}, kept=150)
    # 20 to 50 %: the first value lies a sixth up; the stage ends, and the dot is, at 150 of 200.
    assert 'points="25.00,83.33 75.00,0.00 100.00,16.67"' in drawn
    assert '<line x1="75.00" x2="75.00"' in drawn
    assert '<path d="M75.00,0.00h0"' in drawn
    assert "50 %</span>" in drawn
    assert "20 %</span>" in drawn
    # One value that never changes, and a step kept that was not looked at.
    flat = chart("mAP", {"backbone": {50: 1.0}}, kept=40)
    assert 'points="100.00,0.00"' in flat
    assert "90 %</span>" in flat
    assert "<path" not in flat


def test_folder_of_a_demonstration(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for draw in ("draw_timelines", "draw_alignments"):
        monkeypatch.setattr(f"ftcl_model.report.{draw}", lambda path, width, **_: path.touch())
    run, data = folders
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "data").symlink_to(data)
    (demo / "aligned.pt").write_bytes((run / "model.pt").read_bytes())
    rows = {"backbone": [{"losses": LOSSES["backbone"]}]}
    rows["backbone + aligned"] = [{"losses": LOSSES["contrast"]}]
    (demo / "metrics.json").write_text(json.dumps({"seeds": [3, 4], "rows": rows}))
    report(demo)
    page = Page(demo / "report.html")
    assert "seed 3" in page.words
    assert "backbone + aligned, 1 epoch" in page.words
    # The first four videos.
    assert [f"Timeline of test_{i}" in str(page.images) for i in range(5)] == [True] * 4 + [False]


def test_a_checkpoint_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = folders
    checkpoint = tmp_path / "ours.pt"
    checkpoint.write_bytes((run / "model.pt").read_bytes())
    report(checkpoint, "--data", data)
    page = Page(tmp_path / "report.html")
    assert "variant paper training steps 184" in page.words
    assert not any(heading in page.words for heading in ("Losses", "Validation", "seed"))


def test_folder_of_a_comparison(tmp_path: Path) -> None:
    averages = {"backbone": [0.25, 0.5], "both": [0.4, 0.5]}
    scores = {
        name: [{"average_map": value, "map": [value + 0.1, value - 0.1]} for value in values]
        for name, values in averages.items()
    }
    rows = compare_runs(scores)
    write_json(tmp_path / "compare.json", comparison_content(rows, [0, 1], [0.3, 0.5]))
    report(tmp_path)
    page = Page(tmp_path / "report.html")
    assert not page.open
    assert all(source and source.startswith("data:") for source in page.sources)
    assert "both 45.0 7.1 +7.5 +0.0 to +15.0 1, 0" in page.words
    assert "variant 0.3 0.5 backbone 47.5 27.5 both 55.0 35.0" in page.words
    assert page.images[0]["alt"].endswith("Means: backbone 37.5 %, both 45.0 %.")
    # One seed has neither spread nor interval.
    one = compare_runs({name: runs[:1] for name, runs in scores.items()})
    write_json(tmp_path / "compare.json", comparison_content(one, [0], [0.3, 0.5]))
    report(tmp_path)
    assert "both 40.0 +15.0 1, 0" in Page(tmp_path / "report.html").words


@pytest.mark.filterwarnings("error")
def test_a_comparison_of_any_names(tmp_path: Path) -> None:
    names = ("$\\frac$|<script>", "_跑步\n", "W" * 3000)
    scores = {name: [{"average_map": 0.5, "map": [0.5]}] * 2 for name in names}
    rows = compare_runs(scores)
    write_json(tmp_path / "compare.json", comparison_content(rows, [0, 1], [0.5]))
    report(tmp_path)
    page = Page(tmp_path / "report.html")
    assert not page.open
    assert "script" not in page.tags
    for name in (names[0], r"_跑步\n", names[2]):
        assert name in page.words
    lines = comparison_text(rows, [0, 1], [0.5]).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 2 * (2 + len(names))
    cells = [re.split(r" (?<!\\)\| ", line) for line in table]
    assert {len(row) for row in cells} == {6, 2}
    assert table[2].startswith(r"| \$\\frac\$\|\<script\> | 50.0 | ")
    assert table[3].startswith(r"| \_跑步\\n | 50.0 | ")


@pytest.mark.parametrize(
    "damage",
    [
        {"seeds": []},
        {"seeds": [0.5, 1]},
        {"seeds": [0]},
        {"tiou_thresholds": [0.3, "0.5"]},
        {"tiou_thresholds": [0.3]},
        {"variants": {}},
        {"variants": {"both": {}}},
        {"variants": []},
    ],
)
def test_a_broken_comparison_is_named(tmp_path: Path, damage: dict) -> None:
    scores = {"both": [{"average_map": 0.5, "map": [0.5, 0.4]}] * 2}
    content = comparison_content(compare_runs(scores), [0, 1], [0.3, 0.5])
    (tmp_path / "compare.json").write_text(json.dumps(content | damage))
    with pytest.raises(SystemExit, match=r"compare\.json: expected what compare writes: "):
        report(tmp_path)


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
        ("model", r"run: expected what is left by a finished train \(model.pt, history.json\), "),
        ("history", "run/history.json: the file is missing"),
        ("JSON", "run/history.json: expected the seed, by stage the losses of each epoch, and"),
        ("losses", "run/history.json: expected the seed, by stage the losses of each epoch, and"),
        ("data of a comparison", "run: is the folder of a comparison, whose page has no use for "),
        ("comparison", 'run/compare.json: expected what compare writes: "map" is missing'),
        ("data", "run: has no folder data; say where the features are with --data"),
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

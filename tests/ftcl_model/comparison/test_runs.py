from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model import distributed
from ftcl_model.cli.main import main
from ftcl_model.comparison import runs
from ftcl_model.config.config import load_config
from ftcl_model.distributed import available_cores
from ftcl_model.errors import InputError
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model.tiny_folder import CONFIG, write_tiny_folder

BRIEF = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 6")


def test_compare_runs_each_variant_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_tiny_folder(tmp_path / "data")
    config, output = tmp_path / "model.yaml", tmp_path / "runs"
    config.write_text(BRIEF)
    command = ["compare", "--config", str(config), "--data", str(data), "--output", str(output)]
    command += ["--variants", "backbone,both", "--jobs", "2"]
    main([*command, "--seeds", "1"])
    models = {name: output / name / "seed_0" / "model.pt" for name in ("backbone", "both")}
    before = {name: path.stat().st_mtime_ns for name, path in models.items()}
    assert load_checkpoint(models["backbone"]).model.config.contrast.fsd_weight == 0
    assert load_checkpoint(models["both"]).model.config.contrast.fsd_weight == 0.8
    text = (output / "compare.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert (output / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert not (output / "both" / "seed_0" / "checkpoints").exists()

    # As if the evaluation of one had been killed: the training is not repeated, nor the other run.
    scores_of = output / "both" / "seed_0" / "scores.json"
    said = json.loads(scores_of.read_text())
    scores_of.unlink()
    main([*command, "--seeds", "1"])
    assert json.loads(scores_of.read_text()) == said
    assert {name: path.stat().st_mtime_ns for name, path in models.items()} == before
    content = json.loads((output / "compare.json").read_text())
    assert content["variants"]["both"]["average_map"] == [said["average_map"]]
    backbone = content["variants"]["backbone"]["average_map"][0]
    difference = content["variants"]["both"]["difference"]
    assert difference["by_seed"] == pytest.approx([said["average_map"] - backbone])
    assert difference["interval_95"] is None
    assert difference["interval_95_videos"] is None
    predictions_of = scores_of.with_name("predictions.json")
    found = predictions_of.read_bytes()

    # Evaluated anew where what is there is damaged, and said so.
    for path in (scores_of, predictions_of):
        path.write_bytes(path.read_bytes()[:-20])
        capsys.readouterr()
        main([*command, "--seeds", "1"])
        assert f"ftcl_model: {path}: damaged (" in capsys.readouterr().err
        assert json.loads(scores_of.read_text()) == said
        assert predictions_of.read_bytes() == found
    assert {name: path.stat().st_mtime_ns for name, path in models.items()} == before

    for split in ("train", "test"):
        path = data / split / f"{split}_1.npy"
        features = np.load(path)
        np.save(path, features + np.float32(1e-6))
        message = rf"runs: was begun with other data, {split}\.features\.{split}_1 was '"
        with pytest.raises(SystemExit, match=message):
            main([*command, "--seeds", "1"])
        np.save(path, features)
    annotations = (data / "gt.json").read_text()
    content = json.loads(annotations)
    content["database"]["test_1"]["annotations"][0]["segment"][1] += 0.5
    (data / "gt.json").write_text(json.dumps(content))
    message = r"other data, test\.segments\.test_1\.0\.1 was 4\.0 and is 4\.5"
    with pytest.raises(SystemExit, match=message):
        main([*command, "--seeds", "1"])
    (data / "gt.json").write_text(annotations)

    scores_of.unlink()
    os.mkfifo(scores_of)
    with pytest.raises(SystemExit, match=r"scores\.json: the output is a FIFO, expected"):
        main([*command, "--seeds", "1"])

    config.write_text(BRIEF.replace("1e-2", "1e-3"))
    with pytest.raises(SystemExit, match=r"holds another run, config\.training\.learning_rate"):
        main([*command, "--seeds", "1"])


@pytest.mark.parametrize(
    ("cores", "jobs", "expected"),
    [(2, None, (2, 1)), (2, 1, (1, 2)), (2, 9, (2, 1)), (7, 3, (3, 2)), (1, None, (1, 1))],
)
def test_jobs_and_their_threads_are_never_more_than_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int | None,
    expected: tuple[int, int],
) -> None:  # fmt: skip
    at_once, most, threads = 0, 0, set()
    lock, all_there = threading.Lock(), threading.Barrier(expected[0])

    def run(job: runs.Job, data: Path, device: torch.device, count: int) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            threads.add(count)
        all_there.wait(timeout=60)
        with lock:
            at_once -= 1
        return False

    monkeypatch.setattr(runs, "_run", run)
    monkeypatch.setattr(distributed, "available_cores", lambda: cores)
    data = write_tiny_folder(tmp_path / "data")
    (tmp_path / "model.yaml").write_text(BRIEF)
    config, cpu = load_config(tmp_path / "model.yaml"), torch.device("cpu")
    # As many runs as the most at a time, twice.
    seeds = range(2 * expected[0])
    with pytest.raises(InputError, match="runs failed"):
        runs.compare(config, data, tmp_path / "out", variants={"backbone": {}}, seeds=seeds,
                     device=cpu, jobs=jobs, progress=False)  # fmt: skip
    assert (most, threads) == (expected[0], {expected[1]})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, 4), ("", 4), ("1", 1), (" 3 ", 3), ("2,8", 2), ("4", 4), ("64", 4), ("0", 4),
        ("-1", 4), ("many", 4), ("1.5", 4),
    ],
)  # fmt: skip
def test_the_environment_says_how_many_cores_to_use(
    monkeypatch: pytest.MonkeyPatch, said: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 3, 5, 7}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert available_cores() == expected


def test_a_run_that_fails_is_named_and_its_log_says_why(tmp_path: Path) -> None:
    data = write_tiny_folder(tmp_path / "data")
    config, output = tmp_path / "model.yaml", tmp_path / "runs"
    config.write_text(BRIEF.replace("1e-2", "1e30"))  # a learning rate that ends in infinity
    command = ["compare", "--config", str(config), "--data", str(data), "--output", str(output)]
    with pytest.raises(SystemExit, match=r"1 runs failed, see .*both/seed_0\.log"):
        main([*command, "--variants", "both", "--seeds", "1"])
    said = (output / "both" / "seed_0.log").read_text()
    assert re.search(r"^ftcl_model: training: the .* in step \d+$", said, re.MULTILINE), said
    assert "Traceback" not in said
    assert not (output / "compare.json").exists()

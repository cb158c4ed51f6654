from __future__ import annotations

import fcntl
import json
import signal
import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch

from ftcl_model.cli.main import main
from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.features import FeatureSplit
from ftcl_model.evaluation.inference import score_split
from ftcl_model.model.ftcl import FTCL, load_checkpoint
from ftcl_model.training.run import Run
from ftcl_model.training.stages import StageTraining
from ftcl_model.training.validation import localisation, set_apart
from tests.ftcl_model.spawning import ended, started
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, open_tiny_split, write_tiny_folder

# All that has a state: features' moments, dropout, Adam, the schedule, the average, the drawing of
# pairs, the best.
STATEFUL = CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 15").replace(
    "contrast_epochs: 2", "contrast_epochs: 20\n  schedule: cosine\n  moving_average: 0.9"
)
STATEFUL = STATEFUL.replace("snippets: 30", "snippets: 30\n  standardise: true")
STATEFUL += "validation: {share: 0.3, every: 2, choose: classification}\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("tiny") / "data")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def arguments(config: Path, data: Path, output: Path, *more: object) -> list[str]:
    given = ("train", "--config", config, "--data", data, "--output", output, "--no-progress")
    return [str(one) for one in (*given, *more)]


def newest_step(output: Path) -> int:
    names = [path.stem for path in (output / "checkpoints").glob("step_*.pt")]
    return max((int(name.removeprefix("step_")) for name in names), default=-1)


def kill_at(step: int, process: ForkServerProcess, output: Path) -> None:
    """SIGKILL as soon as a state of this step is on disk, with the training under way."""
    while newest_step(output) < step:
        assert process.is_alive()
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (output / "model.pt").exists()


def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Run the command in this process and break it off in the middle of an epoch."""

    after_step = Run._after_step

    def step(self: Run, training: StageTraining, values: dict[str, float]) -> None:
        after_step(self, training, values)
        if training.iteration == steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_after_step", step)
        with pytest.raises(KeyboardInterrupt):
            main(command)


def state_of(output: Path) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    history = json.loads((output / "history.json").read_text())
    return history, load_checkpoint(output / "model.pt").model.state_dict()


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path, data: Path) -> None:
    config = written(tmp_path / "model.yaml", STATEFUL)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    ended(started(arguments(config, data, whole)))
    command = arguments(config, data, broken, "--save-every", 0)
    kill_at(12, started(command), broken)  # steps of the first stage
    first = newest_step(broken)
    kill_at(45, started(command), broken)  # and of the second one
    assert 12 <= first < 45 <= newest_step(broken) < 85
    ended(started(command))

    history, weights = state_of(whole)
    again, weights_again = state_of(broken)
    assert again == history
    assert len(history["losses"]["backbone"]) == 15
    assert len(history["losses"]["contrast"]) == 20
    assert weights.keys() == weights_again.keys()
    for name, value in weights.items():
        assert torch.equal(weights_again[name], value), name
    for file in ("backbone.pt", "best.pt"):
        one, other = (load_checkpoint(folder / file) for folder in (whole, broken))
        assert one.iteration == other.iteration
        assert torch.equal(one.model.backbone.embed.weight, other.model.backbone.embed.weight)
    assert not list(broken.rglob(".*.partial"))


BRIEF = STATEFUL.replace("backbone_epochs: 15", "backbone_epochs: 8").replace(
    "contrast_epochs: 20", "contrast_epochs: 2"
)


def test_a_damaged_newest_checkpoint_costs_an_epoch_and_nothing_else(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path / "model.yaml", BRIEF)
    main(arguments(config, data, tmp_path / "whole"))
    command = arguments(config, data, tmp_path / "broken", "--save-every", 0)
    stopped_after(11, monkeypatch, command)
    newest = tmp_path / "broken" / "checkpoints" / "step_00000010.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    capsys.readouterr()
    main(command)
    assert f"{newest}: damaged" in capsys.readouterr().err
    (whole, weights), (broken, others) = (state_of(tmp_path / name) for name in ("whole", "broken"))
    assert broken == whole
    assert all(torch.equal(others[name], value) for name, value in weights.items())


def refused(command: list[str]) -> str:
    with pytest.raises(SystemExit) as refusal:
        main(command)
    return str(refusal.value)


def test_a_folder_takes_one_training(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = written(tmp_path / "model.yaml", BRIEF), tmp_path / "run"
    command = arguments(config, data, output)
    said = refused([*command, "--resume"])
    assert said.endswith("run: no training was begun there that could go on")
    assert not output.exists()
    stopped_after(11, monkeypatch, command)
    other = written(tmp_path / "other.yaml", BRIEF + "tious: [0.5]\n")
    assert "holds another run, config.tious was" in refused(arguments(other, data, output))
    seeded = arguments(config, data, output, "--seed", 1)
    assert "run: holds another run, seed was 0 and is 1" in refused(seeded)
    with (output / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refused(command).endswith("run: another process is training there")
    main([*command, "--resume"])
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    capsys.readouterr()
    main(command)  # nothing is left to do
    assert "model.pt: trained for" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def test_when_every_checkpoint_is_damaged_nothing_starts_over(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, output = written(tmp_path / "model.yaml", BRIEF), tmp_path / "run"
    command = arguments(config, data, output, "--save-every", 0)
    stopped_after(11, monkeypatch, command)
    for path in (output / "checkpoints").iterdir():
        path.write_bytes(b"")
    assert "run/checkpoints: every checkpoint is damaged (2)" in refused(command)


def test_the_best_weights_and_detection_settings_of_the_validation_are_kept(
    tmp_path: Path, data: Path
) -> None:
    choices = "choose: localisation, nms_threshold: [0.1, 0.3], class_threshold: [0.05]"
    text = BRIEF.replace("choose: classification", choices)
    config, output = written(tmp_path / "model.yaml", text), tmp_path / "run"
    main(arguments(config, data, output))
    history = json.loads((output / "history.json").read_text())
    seen = [one for one in history["validation"] if one["stage"] == "contrast"]
    assert [one["epoch"] for one in seen] == [2]
    assert [one["epoch"] for one in history["validation"]][:4] == [2, 4, 6, 8]
    best = max(seen, key=lambda one: one["localisation"])
    kept = load_checkpoint(output / "model.pt")
    assert kept.iteration == history["kept"] == best["iteration"]
    chosen = load_config(output / "config.yaml")
    assert chosen == kept.model.config
    assert chosen.detection.nms_threshold in (0.55, 0.1, 0.3)
    assert replace(chosen, detection=load_config(config).detection) == load_config(config)

    # What was set apart had no part in the training.
    split = open_tiny_split(data, "train")
    training, validation = set_apart(split, 0.3, seed=0)
    for name in validation.names:
        assert name not in training.names
    assert localised(kept.model, validation, data) >= best["localisation"]


def localised(model: FTCL, split: FeatureSplit, data: Path) -> float:
    scores = score_split(model, split, progress=False)
    return localisation(scores, split, model, read_annotations(data / "gt.json", CLASSES))


def test_tensorboard_gets_every_step_once(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, output = written(tmp_path / "model.yaml", BRIEF), tmp_path / "run"
    command = arguments(config, data, output, "--tensorboard", "--save-every", 0)
    stopped_after(11, monkeypatch, command)
    main(command)
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    steps = [one.step for one in events.Scalars("train/total")]
    assert steps == sorted(set(steps))
    assert steps[-1] == load_checkpoint(output / "backbone.pt").iteration + 4
    history = json.loads((output / "history.json").read_text())
    values = [one.value for one in events.Scalars("validation/classification")]
    assert values == pytest.approx([one["classification"] for one in history["validation"]])

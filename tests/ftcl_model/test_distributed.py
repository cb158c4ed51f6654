"""Two processes that share every batch train as one process with the whole batch does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch

from ftcl_model.cli.main import main
from ftcl_model.distributed import (
    batch_mean,
    from_first,
    mean_over_processes,
    on_first,
    processes,
    rank,
)
from ftcl_model.files import locked
from ftcl_model.model.ftcl import load_checkpoint
from tests.ftcl_model.spawning import ended, started
from tests.ftcl_model.tiny_folder import CONFIG, OFFICIAL, write_tiny_folder

ROOT = Path(__file__).parents[2]

ALIGNED = CONFIG.replace("1e-2", "1e-2\n  moving_average: 0.9") + "variant: aligned\n"
ALIGNED = ALIGNED.replace("snippets: 30", "snippets: 30\n  standardise: true")


def brief(text: str) -> str:
    """Batches of three items, which two processes share unequally; no dropout, whose masks differ.

    Videos are not sampled: the same joined batch in both.
    """
    text = text.replace("dropout: 0.1", "dropout: 0").replace("batch_size: 4", "batch_size: 3")
    text = text.replace("backbone_epochs: 60", "backbone_epochs: 7").replace("1e-2", "1e-3")
    return text.replace("pairs_per_epoch: 8", "pairs_per_epoch: 6")


def torchrun(arguments: list[str]) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, "-m", "ftcl_model", *arguments],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained for") == 1  # the first process alone speaks and writes


def as_torchrun_would(arguments: list[str]) -> None:
    for process in two_processes(arguments):
        ended(process)


def two_processes(arguments: list[str]) -> list[ForkServerProcess]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [started(arguments, shared | {"RANK": str(number)}) for number in range(2)]


@pytest.mark.parametrize(
    ("launch", "text"),
    [(torchrun, CONFIG), (as_torchrun_would, OFFICIAL), (as_torchrun_would, ALIGNED)],
    ids=["paper", "official", "aligned"],
)
def test_two_processes_train_as_one(
    tmp_path: Path, launch: Callable[[list[str]], None], text: str
) -> None:
    data = write_tiny_folder(tmp_path / "data")
    validating = "validation: {share: 0.2, every: 3, choose: classification}\n"
    (tmp_path / "model.yaml").write_text(brief(text) + validating)

    def command(output: str) -> list[str]:
        paths = ("--config", tmp_path / "model.yaml", "--data", data, "--output", tmp_path / output)
        return ["train", *map(str, paths), "--no-progress"]

    launch(command("two"))
    main(command("one"))

    one, two = (
        json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")
    )
    assert one["kept"] == two["kept"]
    for stage, epochs in one["losses"].items():
        assert len(two["losses"][stage]) == len(epochs)
        for ours, theirs in zip(epochs, two["losses"][stage], strict=True):
            assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)
    for name in ("backbone.pt", "model.pt"):
        ours, theirs = (load_checkpoint(tmp_path / run / name).model for run in ("one", "two"))
        for key, value in ours.state_dict().items():
            torch.testing.assert_close(theirs.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_where_the_first_process_is_refused_none_waits_for_it(tmp_path: Path) -> None:
    data = write_tiny_folder(tmp_path / "data")
    (tmp_path / "model.yaml").write_text(brief(CONFIG))
    paths = ("--config", tmp_path / "model.yaml", "--data", data, "--output", tmp_path / "run")
    with locked(tmp_path / "run"):
        processes = two_processes(["train", *map(str, paths), "--no-progress"])
        for process in processes:
            process.join(timeout=120)
    assert [process.exitcode for process in processes] == [1, 1]
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_what_the_first_process_does_alone_is_returned_or_raised() -> None:
    assert on_first(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        on_first(lambda: 1 // 0)


def test_alone_a_mean_is_a_mean() -> None:
    values = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    where = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(batch_mean(values), values.mean(dim=0))
    torch.testing.assert_close(batch_mean(values, where), values[where].mean(dim=0))
    assert (batch_mean(values, torch.zeros(5, dtype=torch.bool)) == 0).all()
    assert (processes(), rank(), from_first("one")) == (1, 0, "one")
    assert torch.equal(mean_over_processes(values), values)
    assert not mean_over_processes(values).requires_grad

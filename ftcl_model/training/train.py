"""The command `train`: from a folder of features to a trained model in another."""

from __future__ import annotations

from pathlib import Path

import torch

from ftcl_model.config.config import Config
from ftcl_model.config.inputs import check_apart, open_inputs
from ftcl_model.data.features import FeatureSplit
from ftcl_model.distributed import process_group, rank
from ftcl_model.evaluation.score import scored_names
from ftcl_model.training.run import Run, RunOptions


def train(
    config: Config,
    data: Path,
    output: Path,
    *,
    seed: int,
    device: torch.device,
    options: RunOptions | None = None,
    must_go_on: bool = False,
) -> None:
    """Train on the training split of a folder, and say where the model is.

    Where there is a test split, it is looked at first for what would stop its evaluation.

    Args:
        config: of the training.
        data: the folder of features.
        output: a new folder, or that of the same training, which goes on.
        seed: of everything that chance decides.
        device: to train on.
        options: how it is watched and saved.
        must_go_on: refuse to begin a training.

    Raises:
        InputError: the data, the configuration or the folder is not as it has to be (`Run`).
        OSError: an output cannot be written, which is tried first.
        FloatingPointError: a loss, a gradient or a weight is NaN or infinite.
        ModuleNotFoundError: TensorBoard or wandb is asked for and not installed.
    """
    with process_group(device) as own:
        config, annotations, split = open_inputs(config, data, "train")
        if (data / "split_test.txt").exists():
            open_test(config, data, split)
        run = Run(config, annotations, split, output, seed=seed, device=own, options=options)
        if run.adapted and rank() == 0:
            print(f"ftcl_model: {run.adapted}")
        iteration = run.train(must_go_on=must_go_on)
        if rank() == 0:
            print(f"{output / 'model.pt'}: trained for {iteration} steps")


def open_test(config: Config, data: Path, train: FeatureSplit) -> FeatureSplit:
    """The test split, refused for what would stop the evaluation, or make it worthless.

    Raises:
        InputError: as `open_inputs`, `scored_names` and `check_apart`.
    """
    _, annotations, test = open_inputs(config, data, "test")
    scored_names(config.dataset, annotations, test.names)
    check_apart(data, train, test)
    return test

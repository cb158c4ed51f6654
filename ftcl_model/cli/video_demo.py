"""From pixels to segments: clips that are drawn go through every command, as videos would."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ftcl_model.extraction.clips import draw_clip, plan_clips, table_of, write_clip
from ftcl_model.extraction.decoding import import_av
from ftcl_model.files import check_output_folder, write_text

ENCODER = "ftcl_model.extraction.small:network"
FRAMES = 8
"""Of a snippet, and from one to the next."""


def run_video_demo(
    output: Path,
    run: Callable[[Sequence[str]], None],
    *,
    seed: int = 0,
    n_train: int = 24,
    n_test: int = 3,
) -> None:
    """Draw clips, and run the commands init, extract, train, evaluate, predict and report.

    Each command is printed as one would type it. What an earlier demonstration left in the folder
    is kept, and what it lacks is made.

    Args:
        output: the folder.
        run: runs a command by its words.
        seed: of the training.
        n_train: number of clips to train on.
        n_test: number of clips to predict.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        OSError: an output cannot be written.
        SystemExit: a command refuses what is in the folder.
    """
    # The tensors are small: a second thread would mostly wait, many times longer on a busy machine.
    torch.set_num_threads(1)
    import_av()
    check_output_folder(output)
    train, test = plan_clips(n_train, n_test)
    videos = {name: output / "videos" / f"{name}.mp4" for name in (*train, *test)}
    for number, (name, clip) in enumerate({**train, **test}.items()):
        if not videos[name].exists():
            write_clip(videos[name], draw_clip(clip, np.random.default_rng([number, 1])))
    print(f"{output / 'videos'}: {n_train} clips to train on, {n_test} to find segments in")
    write_text(output / "labels.csv", table_of(train, test))

    data, model = output / "data", output / "run" / "model.pt"

    def say_and_run(*words: object) -> None:
        print(f"\n$ python -m ftcl_model {shlex.join(map(str, words))}", flush=True)
        run([str(word) for word in words])

    if not (data / "gt.json").exists():
        say_and_run("init", "--labels", output / "labels.csv", "--output", data)
    say_and_run(
        "extract", output / "videos", "--output", data, "--encoder", ENCODER, "--weights", "none",
        "--frames", FRAMES, "--stride", FRAMES,
    )  # fmt: skip
    say_and_run(
        "train", "--config", "demo_video", "--data", data, "--output", output / "run", "--seed",
        seed,
    )  # fmt: skip
    say_and_run("evaluate", "--data", data, "--checkpoint", model)
    say_and_run(
        "predict", "--videos", *(videos[name] for name in test), "--checkpoint", model, "--output",
        output / "segments.csv",
    )  # fmt: skip
    say_and_run(
        "report", output / "run", "--data", data, "--videos", output / "videos", "--output",
        output / "report.html",
    )  # fmt: skip

"""Profiles a step of FTCL's second stage: ``python -m benchmarks.ftcl_step --json FILE``.

By default the step of THUMOS14: 16 pairs of videos, 750 snippets of 2048 features each, which are
read from disk; forward, backward and Adam. Time is that of the thread that drives the step, by what
it was in; "other" is what no group names, and the time between the operations.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.run import machine
from ftcl_model.config.config import Config, load_config, presets
from ftcl_model.data.features import FeatureSplit
from ftcl_model.training.stages import StageTraining, new_model

PROGRAMS = "dynamic programs"

# The first group with a part of the operation's name has it.
GROUPS = {
    PROGRAMS: ("softdp", "Edit", "Lcs"),
    "convolution": ("conv",),
    "matrix products": ("mm",),
    "choice of snippets": ("topk", "sort", "gather", "scatter"),
    "elementwise, Adam": ("aten::", "Adam"),
}


def random_split(folder: Path, config: Config, videos: int) -> FeatureSplit:
    """Videos of noise, of the length that training draws; every two are of one class."""
    n_classes = len(config.dataset.classes or ())
    labels = np.eye(n_classes, dtype=np.float32)[np.arange(videos) // 2 % n_classes]
    shape = (config.dataset.snippets, config.dataset.feature_width)
    rng, paths = np.random.default_rng(0), []
    for index in range(videos):
        paths.append(folder / f"{index}.npy")
        np.save(paths[-1], np.maximum(rng.standard_normal(shape, np.float32), 0))
    return FeatureSplit(
        names=tuple(path.stem for path in paths),
        paths=tuple(paths),
        labels=labels,
        lengths=np.full(videos, shape[0]),
        width=shape[1],
        seconds_per_snippet=config.dataset.seconds_per_snippet,
    )


def profile_step(config: Config, steps: int) -> dict[str, Any]:
    """Seconds of a step, and the share of each group in it; one more step warms up."""
    with tempfile.TemporaryDirectory() as folder:
        split = random_split(Path(folder), config, videos=config.training.batch_size)
        model = new_model(config, config.dataset.classes or (), seed=0)
        training = StageTraining(model, split, "contrast", seed=0, iteration=10**6)
        training.train_epoch()
        start = time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(steps):
                training.train_epoch()
        seconds = time.perf_counter() - start
    spent = dict.fromkeys([*GROUPS, "other"], 0.0)
    for event in profiled.key_averages():
        group = next((g for g, parts in GROUPS.items() if any(p in event.key for p in parts)), None)
        if group:
            spent[group] += event.self_cpu_time_total * 1e-6
    spent["other"] = seconds - sum(spent.values())
    return {
        "seconds": seconds / steps,
        "shares": {group: value / seconds for group, value in spent.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ftcl_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", nargs="+", default=["thumos14", "thumos14_official"],
                        metavar="FILE", help=f"YAML files or of {presets()}")  # fmt: skip
    parser.add_argument("--steps", type=int, default=2, help="steps to profile (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    parser.add_argument(
        "--quick", action="store_true", help="few and short videos: does everything run?"
    )
    options = parser.parse_args(arguments)
    records: list[dict[str, Any]] = [{"machine": machine(torch.device("cpu"))}]
    for name in options.config:
        config = load_config(name)
        if options.quick:
            config = replace(
                config,
                dataset=replace(config.dataset, snippets=40, feature_width=64),
                training=replace(config.training, batch_size=4),
            )
        pairs = config.training.batch_size
        config = replace(config, training=replace(config.training, pairs_per_epoch=pairs))
        record = {
            "config": name,
            "variant": config.variant,
            "pairs": pairs,
            "snippets": config.dataset.snippets,
            "features": config.dataset.feature_width,
        } | profile_step(config, options.steps)
        records.append(record)
        print(f"{name}: {pairs} pairs of {config.dataset.snippets} x "
              f"{config.dataset.feature_width}, {record['seconds']:.2f} s a step")  # fmt: skip
        for group, share in record["shares"].items():
            print(f"{group:>20}  {100 * share:6.2f} %  {1e3 * share * record['seconds']:10.2f} ms")
    print(", ".join(f"{key} {value}" for key, value in records[0]["machine"].items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()

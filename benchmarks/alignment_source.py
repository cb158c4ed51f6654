"""How much of `variant: aligned` is the alignment: ``python -m benchmarks.alignment_source NAME``.

Trains the variants with every seed, evaluates them on the test videos, and writes a record to
benchmarks/results/, from which ``--tables`` makes the tables of docs/experiments.md. What was
stopped goes on. The experiments:

  gestures, shuffled, person1, person2   two people's gestures, which --recordings names; shuffled:
                                         in random order; person1, person2: that person held out
  ordered, unordered                     generated streams, in which order informs or does not; the
                                         contrasts' and the alignment's settings are first searched
                                         on other streams
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from ftcl_model.comparison.runs import compare
from ftcl_model.comparison.statistics import points
from ftcl_model.comparison.variants import COMPARED, Overrides
from ftcl_model.config.config import Config, load_config
from ftcl_model.data.datasets import generated, gestures
from ftcl_model.distributed import shared_cores
from ftcl_model.texts import markdown_table

CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results"
PREFIX = "alignment-source-"
GESTURES: dict[str, dict[str, int]] = {
    "gestures": {},
    "shuffled": {"shuffle": 0},
    "person1": {"hold_out": 1},
    "person2": {"hold_out": 2},
}
STREAMS = {
    "ordered": generated.StreamSettings(),
    "unordered": generated.StreamSettings(ordered=False),
}
SOURCES = ("backbone", "aligned", "neighbours", "self")
"""What is compared on the gestures."""
EVERY = ("backbone", "both", "contrasts searched", "official", *SOURCES[1:], "aligned searched")
"""What is compared on the streams; "searched" is what a search has chosen on others."""
CONTRASTS: dict[str, Overrides] = {
    "fsd": COMPARED["fsd"],
    "fsd, weight 5, length 10": {
        **COMPARED["fsd"], "contrast.fsd_weight": 5.0, "contrast.fsd_length": 10
    },
    "lcs": COMPARED["lcs"],
    "lcs, weight 1, threshold 0.5": {
        **COMPARED["lcs"], "contrast.lcs_weight": 1.0, "contrast.lcs_threshold": 0.5
    },
    "both": COMPARED["both"],
    "both, weights 5 and 1, length 10, threshold 0.5": {
        "contrast.fsd_weight": 5.0, "contrast.fsd_length": 10,
        "contrast.lcs_weight": 1.0, "contrast.lcs_threshold": 0.5,
    },
}  # fmt: skip
"""Settings of the paper's contrasts to choose from; the first of each kind are the defaults."""
ALIGNED: dict[str, Overrides] = {
    "aligned": COMPARED["aligned"],
    "aligned, own_share 0": {**COMPARED["aligned"], "aligned.own_share": 0.0},
    "aligned, weights 1 and 0.3": {
        **COMPARED["aligned"], "aligned.class_weight": 1.0, "aligned.attention_weight": 0.3
    },
}  # fmt: skip
"""The same of the alignment."""


def measure(
    name: str, output: Path, *, recordings: Path | None, seeds: int, jobs: int | None
) -> dict[str, Any]:
    """The record of an experiment.

    Args:
        name: of the experiment.
        output: a folder for data and trainings, which may be there from before.
        recordings: the file of the gestures.
        seeds: so many, from 0 on.
        jobs: trainings at a time.
    """
    data, runs = output / "data" / name, output / "runs" / name
    data.parent.mkdir(parents=True, exist_ok=True)
    search = None
    if name in STREAMS:
        config = load_config("generated")
        search = _search(config, name, output, jobs)
        generated.prepare(data, STREAMS[name])
        named = {
            **COMPARED,
            "contrasts searched": CONTRASTS[search["contrasts"]],
            "aligned searched": ALIGNED[search["aligned"]],
        }
        variants = {variant: named[variant] for variant in EVERY}
    else:
        assert recordings is not None  # main asks for it
        config = load_config("gestures")
        gestures.prepare(data, recordings, **GESTURES[name])
        variants = {variant: COMPARED[variant] for variant in SOURCES}
    record: dict[str, Any] = {
        "machine": machine(CPU) | {"threads": shared_cores(jobs)[1]},  # of a training
        "data": _description(data),
        "search": search,
    }
    for first in ("aligned", "backbone"):
        # Compared with another one the runs are the same.
        order = {first: variants[first], **variants}
        compare(config, data, runs, variants=order, seeds=range(seeds), device=CPU, jobs=jobs)
        record[f"to {first}"] = json.loads((runs / "compare.json").read_text())
    return record


def _search(config: Config, name: str, output: Path, jobs: int | None) -> dict[str, Any]:
    """The average mAP of each setting on streams to choose by, one seed, and the best ones."""
    data, runs = output / "data" / f"{name}-choose", output / "runs" / f"{name}-choose"
    generated.prepare(data, STREAMS[name], validation=True)
    compare(config, data, runs, variants=CONTRASTS | ALIGNED, seeds=[0], device=CPU, jobs=jobs)
    rows = json.loads((runs / "compare.json").read_text())["variants"]
    means = {variant: row["mean"] for variant, row in rows.items()}
    return {
        "seeds": [0],
        "average_map": means,
        "contrasts": max(CONTRASTS, key=means.__getitem__),
        "aligned": max(ALIGNED, key=means.__getitem__),
    }


def _description(data: Path) -> dict[str, Any]:
    """What the data are, without the digests of the files."""
    content = json.loads((data / "dataset.json").read_text())
    return {key: value for key, value in content.items() if key != "files"}


def tables(record: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a record in Markdown: percentages, differences and their intervals."""
    differences = ["over seeds", "and over videos"]
    head = ["", "mAP", "to backbone", *differences, "to aligned", *differences]
    named = record["to backbone"]["variants"]
    lines = []
    for name, row in named.items():
        spread = row["standard_deviation"]
        mean = f"{100 * row['mean']:.1f}" + ("" if spread is None else f" +- {100 * spread:.1f}")
        cells = [name, mean]
        for first in ("backbone", "aligned"):
            cells += _difference(record[f"to {first}"]["variants"][name]["difference"])
        lines.append(cells)
    yield from markdown_table(head, lines)


def _difference(content: Mapping[str, Any] | None) -> list[str]:
    if content is None:
        return ["", "", ""]
    intervals = (content["interval_95"], content["interval_95_videos"])
    return [points(content["mean"]), *("" if one is None else _interval(one) for one in intervals)]


def _interval(ends: Sequence[float]) -> str:
    return f"[{', '.join(points(end) for end in ends)}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure an experiment, or print the tables of the records that are there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.alignment_source",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=[*GESTURES, *STREAMS], help="the experiment")
    parser.add_argument("--tables", action="store_true", help="print the tables of all records")
    parser.add_argument("--recordings", type=Path, metavar="FILE.npz", help="the gestures")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("runs/alignment-source"))
    parser.add_argument("--seeds", type=int, default=10, help="how many (10)")
    parser.add_argument("--jobs", type=int, help="trainings at a time (as many as cores)")
    options = parser.parse_args(arguments)
    if options.name in GESTURES and options.recordings is None:
        parser.error(f"{options.name}: --recordings names the file of the gestures")
    if options.name:
        record = measure(
            options.name, options.output,
            recordings=options.recordings, seeds=options.seeds, jobs=options.jobs,
        )  # fmt: skip
        path = RESULTS / f"{PREFIX}{options.name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
    for name in [*GESTURES, *STREAMS] if options.tables else filter(None, [options.name]):
        path = RESULTS / f"{PREFIX}{name}.json"
        if path.is_file():
            print("\n".join([f"{name}:", "", *tables(json.loads(path.read_text())), ""]))


if __name__ == "__main__":
    main()

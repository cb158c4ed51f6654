"""Times the way from scores to segments: ``python -m benchmarks.localisation --json FILE``.

210 videos of 750 snippets and 20 classes, as many and as long as the tests of THUMOS14, with smooth
random scores; one process. CPU time is given beside the time on the clock, for a busy machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.run import machine
from ftcl_model.detection.detect import detect
from ftcl_model.detection.official import detect_official
from ftcl_model.detection.predictions import Detection
from ftcl_model.settings import DetectionSettings

CLASSES = tuple(f"class {index}" for index in range(20))
DETECTORS: dict[str, Callable[..., list[Detection]]] = {
    "paper": detect,
    "official": detect_official,
}


class Scores(NamedTuple):
    """What `detect` takes: (snippets, classes), (snippets,) and (classes,)."""

    classes: NDArray[np.float64]
    attention: NDArray[np.float64]
    video: NDArray[np.float64]


def random_videos(count: int, snippets: int, picked: int) -> Iterator[Scores]:
    """Videos whose scores vary over some four snippets; `picked` classes reach the threshold."""
    rng = np.random.default_rng(0)
    distance = np.arange(snippets)[:, None] - np.arange(snippets)
    smooth = np.exp(-((distance / 4) ** 2) / 2)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    video = np.where(np.arange(len(CLASSES)) < picked, 0.3, 0.0)
    for _ in range(count):
        attention = 1 / (1 + np.exp(-2 * smooth @ rng.standard_normal(snippets)))
        logits = 2 * smooth @ rng.standard_normal((snippets, len(CLASSES) + 1))
        terms = np.exp(logits * attention[:, None])
        scores = terms / terms.sum(axis=1, keepdims=True)
        yield Scores(scores[:, :-1], attention, video)


def measure(variant: str, picked: int, sigma: float | None, count: int) -> dict[str, Any]:
    """Seconds of `count` videos, without the time to make them, and the segments found."""
    settings = DetectionSettings(soft_nms_sigma=sigma)
    clock = cpu = 0.0
    segments = 0
    for scores in random_videos(count, 750, picked):
        before, cpu_before = time.perf_counter(), time.process_time()
        found = DETECTORS[variant](
            *scores, classes=CLASSES, seconds_per_snippet=0.64, settings=settings
        )
        clock += time.perf_counter() - before
        cpu += time.process_time() - cpu_before
        segments += len(found)
    return {
        "variant": variant,
        "classes_picked": picked,
        "suppression": "NMS" if sigma is None else f"soft-NMS, sigma {sigma}",
        "videos": count,
        "seconds": clock,
        "cpu_seconds": cpu,
        "segments": segments,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times, and write them with the machine's description."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.localisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", type=int, default=210, help="how many (210)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the records go")
    options = parser.parse_args(arguments)
    records: list[dict[str, Any]] = [{"machine": machine(torch.device("cpu"))}]
    for variant in DETECTORS:
        for picked in (1, len(CLASSES)):
            for sigma in (None, 0.3):
                records.append(measure(variant, picked, sigma, options.videos))
                print(" ".join(f"{key}={value}" for key, value in records[-1].items()), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A small folder of features in the authors' layout, on which training takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ftcl_model.data.annotations import (
    Annotations,
    Segment,
    Video,
    read_annotations,
    write_annotations,
)
from ftcl_model.data.features import FeatureSplit, open_split
from ftcl_model.settings import DatasetSettings

CLASSES = ("Jump", "Run", "Turn")
WIDTH = 12
SECONDS = 0.5

CONFIG = """
dataset:
  classes: [Jump, Run, Turn]
  feature_width: 12
  seconds_per_snippet: 0.5
  snippets: 30
backbone:
  width: 16
  dropout: 0.1
  norm_weight: 0
  attention_warmup: 10
contrast:
  projection: 8
  fsd_length: 3
  lcs_length: 6
  lcs_threshold: 0.5
training:
  batch_size: 4
  backbone_epochs: 60
  contrast_epochs: 2
  pairs_per_epoch: 8
  learning_rate: 1e-2
"""
OFFICIAL = CONFIG.replace("attention_warmup: 10", "attention_warmup: 0") + "variant: official\n"


def write_tiny_folder(directory: Path) -> Path:
    """Twelve training and six test videos of 16 to 44 snippets; classes and background differ."""
    rng = np.random.default_rng(0)
    directions = 2.0 * np.eye(len(CLASSES) + 1, WIDTH)
    videos = {}
    for split, count in (("train", 12), ("test", 6)):
        (directory / split).mkdir(parents=True)
        names = [f"{split}_{index}" for index in range(count)]
        for index, name in enumerate(names):
            features = (
                0.3 * rng.standard_normal((int(rng.integers(16, 45)), WIDTH)) + directions[-1]
            )
            labels = (index % 3,) if index % 2 else (index % 3, (index + 1) % 3)
            segments, start = [], 3
            for label in labels:
                end = start + 5
                features[start:end] += directions[label] - directions[-1]
                segments.append(Segment(start * SECONDS, end * SECONDS, CLASSES[label]))
                start = end + 2
            np.save(directory / split / f"{name}.npy", features.astype(np.float32))
            videos[name] = Video(name, split, len(features) * SECONDS, tuple(segments))
        (directory / f"split_{split}.txt").write_text("\n".join(names) + "\n")
    write_annotations(directory / "gt.json", Annotations(CLASSES, videos))
    return directory


def open_tiny_split(directory: Path, split: str) -> FeatureSplit:
    annotations = read_annotations(directory / "gt.json", CLASSES)
    return open_split(directory, split, annotations, DatasetSettings(WIDTH, SECONDS))

"""Settings of the model: a small YAML file, read into frozen dataclasses with every key checked."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from ftcl_model.conversion import build
from ftcl_model.detection import DetectionSettings
from ftcl_model.extraction.settings import ExtractionSettings
from ftcl_model.files import read_text, write_text
from ftcl_model.mean_average_precision import THUMOS_THRESHOLDS
from ftcl_model.reading import parse_yaml
from ftcl_model.texts import brief

# What a few digits too many would ask for does not fit in memory, or never ends.
WIDEST = 2**16
"""Of features and layers."""
_WIDTHS = f"in 1..{WIDEST}, for its weights to fit in memory"
MOST_WEIGHTS = 2**29
"""Of a model: 2 GiB, and four times as much in training."""
LONGEST_SEQUENCE = 1000
"""Snippets of a sequence that is compared, which makes a table of that side for each pair."""
MOST_PAIRS = 10**7
"""Of an epoch, which are drawn at once."""
WARMUP = 80
"""Steps that `BackboneSettings.attention_warmup` stands for if it is None and they fit in."""


@dataclass(frozen=True)
class DatasetSettings:
    """The features and the classes.

    classes: class names in the order of the scores; None takes the annotations' labels, sorted.
    feature_width: width of a snippet's features.
    seconds_per_snippet: distance between the starts of two successive snippets.
    snippets: snippets that training draws from a video; a shorter video is taken whole.
    blocked_videos: videos left out of the splits and of the evaluation.
    test_subset: subset of the annotations whose videos are all evaluated, so that those outside
        the test split count as missed; None evaluates the split.
    extraction: how `extract` made the features, taken over from their folder; None where it is not
        known.
    """

    feature_width: int
    seconds_per_snippet: float
    snippets: int = 750
    classes: tuple[str, ...] | None = None
    blocked_videos: tuple[str, ...] = ()
    test_subset: str | None = None
    extraction: ExtractionSettings | None = None

    def __post_init__(self) -> None:
        _require(self, "feature_width", 1 <= self.feature_width <= WIDEST, _WIDTHS)
        seconds = self.seconds_per_snippet
        _require(self, "seconds_per_snippet", 1e-6 <= seconds <= 1e6, "in [1e-6, 1e6]")
        _require(self, "snippets", self.snippets >= 1, "at least 1")
        if self.classes is not None:
            named = len(self.classes) > 0 and "" not in self.classes
            _require(self, "classes", named, "one or more names")
            name, count = Counter(self.classes).most_common(1)[0]
            _require(self, "classes", count == 1, f"different names, {brief(name)} is there twice")


@dataclass(frozen=True)
class BackboneSettings:
    """ACM-Net and its loss; the defaults are the authors' for THUMOS14.

    width: width of the embedding; None is the feature width, as in ACM-Net.
    dropout: of the embedding's channels, and of whole snippets, before the classifier.
    input_dropout: dropout also before the embedding and the attention (ActivityNet).
    instance_divisor, context_divisor, background_divisor: a branch averages the top
        length / divisor snippets of each class.
    attention_warmup: iterations of uniform attention; its logits are then faded in over as many
        again. 0 starts the attention at random, as the authors do. None takes 80, or half of a
        training's steps where 80 is more than that.
    instance_weight, guide_weight, norm_weight, norm_margin, sparsity_weight: of the loss.
    """

    width: int | None = None
    dropout: float = 0.7
    input_dropout: bool = False
    instance_divisor: int = 8
    context_divisor: int = 3
    background_divisor: int = 3
    attention_warmup: int | None = None
    instance_weight: float = 1.0
    guide_weight: float = 2e-3
    norm_weight: float = 5e-5
    norm_margin: float = 50.0
    sparsity_weight: float = 2e-4

    def __post_init__(self) -> None:
        fits = self.width is None or 1 <= self.width <= WIDEST
        _require(self, "width", fits, _WIDTHS)
        _require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        for name in ("instance_divisor", "context_divisor", "background_divisor"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        fits = self.attention_warmup is None or self.attention_warmup >= 0
        _require(self, "attention_warmup", fits, "0 or more")
        for name in ("instance", "guide", "norm", "sparsity"):
            _require(self, f"{name}_weight", getattr(self, f"{name}_weight") >= 0, "0 or more")


@dataclass(frozen=True)
class ContrastSettings:
    """The two contrasts between the snippet sequences of a pair.

    The defaults are the paper's, but for the gate, which it does not have.

    fsd_weight, lcs_weight: of the two losses; 0 leaves one out.
    fsd_length, lcs_length: snippets of a proposal (FSD) and of a subsequence (LCS).
    projection: width of the learned maps of FSD.
    gamma: smoothing of the maximum in FSD, and in the LCS of `variant: paper`.
    eta: temperature of the ranking loss (`variant: paper`).
    lcs_threshold: cosine above which two snippets match.
    lcs_gate_width: width of the gate at that threshold, 0 for the step of the paper's equation
        (`variant: paper`; `official` always has the step). With a step nothing flows where nothing
        matches: two videos of one class whose cosines all stay below the threshold, which is how
        training begins, would never be drawn together. Over a gate of 0.1 the gradient reaches the
        cosines below the threshold too.
    """

    fsd_weight: float = 0.8
    lcs_weight: float = 0.1
    fsd_length: int = 5
    lcs_length: int = 30
    projection: int = 1024
    gamma: float = 0.1
    eta: float = 0.2
    lcs_threshold: float = 0.92
    lcs_gate_width: float = 0.1

    def __post_init__(self) -> None:
        for name in ("fsd_weight", "lcs_weight", "gamma", "lcs_gate_width"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        _require(self, "projection", 1 <= self.projection <= WIDEST, _WIDTHS)
        for name in ("fsd_length", "lcs_length"):
            expected = f"in 1..{LONGEST_SEQUENCE}, the side of a table for each pair"
            _require(self, name, 1 <= getattr(self, name) <= LONGEST_SEQUENCE, expected)
        _require(self, "eta", self.eta > 0, "positive")


@dataclass(frozen=True)
class AlignedSettings:
    """What two videos with the same classes teach each other (`variant: aligned`).

    class_weight, attention_weight: of the two losses; 0 leaves one out.
    own_share: of the teacher's class scores of a snippet itself in its class target, a weighted
        geometric mean; 0 takes what the other video says alone.
    threshold, gate_width: similarity above which two snippets match, and width of the gate there.
    gamma: smoothing of the alignment.
    """

    class_weight: float = 10.0
    attention_weight: float = 3.0
    own_share: float = 0.5
    threshold: float = 0.3
    gate_width: float = 0.1
    gamma: float = 0.05

    def __post_init__(self) -> None:
        for name in ("class_weight", "attention_weight"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        _require(self, "own_share", 0 <= self.own_share < 1, "in [0, 1)")
        for name in ("gate_width", "gamma"):
            _require(self, name, getattr(self, name) > 0, "positive")


@dataclass(frozen=True)
class TrainingSettings:
    """Two stages of Adam: the backbone on single videos, then the contrasts on pairs of videos.

    batch_size: videos, or pairs of videos, in a step.
    backbone_epochs, contrast_epochs: passes over the videos, and over the pairs of an epoch.
    pairs_per_epoch: pairs drawn afresh for each epoch, half of them positive, each class as often
        as every other; None takes every positive pair once.
    schedule: of the learning rate over the steps of each stage: constant, or half a cosine from
        `learning_rate` to 0.
    gradient_clip: largest norm of all gradients together; a longer one is scaled down to it.
    precision: of the backbone's arithmetic in training; losses and dynamic programs have float32.
    moving_average: decay of the average of the weights, which is then what is evaluated and kept;
        0 keeps the weights of the last step.
    """

    backbone_epochs: int = 500
    contrast_epochs: int = 25
    batch_size: int = 16
    pairs_per_epoch: int | None = None
    learning_rate: float = 1e-4
    weight_decay: float = 5e-5
    schedule: Literal["constant", "cosine"] = "constant"
    gradient_clip: float | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    moving_average: float = 0.0

    def __post_init__(self) -> None:
        _require(self, "batch_size", self.batch_size >= 1, "at least 1")
        clips = self.gradient_clip is None or self.gradient_clip > 0
        _require(self, "gradient_clip", clips, "positive")
        _require(self, "moving_average", 0 <= self.moving_average < 1, "in [0, 1)")
        for name in ("backbone_epochs", "contrast_epochs", "weight_decay"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        fits = self.pairs_per_epoch is None or 2 <= self.pairs_per_epoch <= MOST_PAIRS
        _require(self, "pairs_per_epoch", fits, f"in 2..{MOST_PAIRS}, which are drawn at once")
        _require(self, "learning_rate", self.learning_rate > 0, "positive")


@dataclass(frozen=True)
class ValidationSettings:
    """Training videos set apart by the seed, to choose by; the test split is never looked at.

    share: of the training videos that are set apart instead of trained on. Every class keeps two
        training videos.
    every: epochs between evaluations on them, which happen at the end of each stage too.
    choose: the weights that are kept: the "last" ones, or those of the best evaluation of the last
        stage, by mean average precision of the "classification" of whole videos (sees their
        labels, as training does) or of the "localisation" (sees their segments, which a training
        by labels alone does not).
    class_threshold, outer_ratio, video_score_weight, nms_threshold: values to choose these
        settings of `detection` from when the training ends, one after the other, by the mean
        average precision of the localisation (sees segments); none keeps the setting.
    """

    share: float = 0.0
    every: int = 1
    choose: Literal["last", "classification", "localisation"] = "last"
    class_threshold: tuple[float, ...] = ()
    outer_ratio: tuple[float, ...] = ()
    video_score_weight: tuple[float, ...] = ()
    nms_threshold: tuple[float, ...] = ()

    @property
    def detection_choices(self) -> dict[str, tuple[float, ...]]:
        """The detection settings to choose, and the values to choose from."""
        names = ("class_threshold", "outer_ratio", "video_score_weight", "nms_threshold")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def __post_init__(self) -> None:
        _require(self, "share", 0 <= self.share < 1, "in [0, 1)")
        _require(self, "every", self.every >= 1, "at least 1")
        if self.share == 0:
            expected = "last where no videos are set apart (validation.share)"
            _require(self, "choose", self.choose == "last", expected)
            for name in self.detection_choices:
                expected = "empty where no videos are set apart (validation.share)"
                _require(self, name, False, expected)
        for name, values in self.detection_choices.items():
            for value in values:
                changed: dict[str, Any] = {name: value}
                dataclasses.replace(DetectionSettings(), **changed)  # refuses what is out of range


@dataclass(frozen=True)
class Config:
    """Everything that defines a model, its training and its evaluation.

    variant: "paper" follows the paper's equations, "official" the arithmetic of the authors' code;
        "aligned" has the expected alignment of two videos supervise their snippets instead.
    tious: tIoU thresholds of the evaluation.
    """

    dataset: DatasetSettings
    variant: Literal["paper", "official", "aligned"] = "paper"
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    aligned: AlignedSettings = field(default_factory=AlignedSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    tious: tuple[float, ...] = THUMOS_THRESHOLDS

    def __post_init__(self) -> None:
        if self.variant == "official":
            backbone, contrast = self.backbone, self.contrast
            expected = "0 under `variant: official`, whose attention starts at random"
            _require(backbone, "attention_warmup", backbone.attention_warmup == 0, expected)
            even = contrast.projection % 2 == 0
            _require(contrast, "projection", even, "even under `variant: official`")
        if self.variant == "aligned":
            expected = "positive under `variant: aligned`, whose teacher it is"
            _require(self.training, "moving_average", self.training.moving_average > 0, expected)
        width = self.dataset.feature_width if self.backbone.width is None else self.backbone.width
        weights = 3 * width * (self.dataset.feature_width + self.contrast.projection)
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"backbone.width must keep the model below {MOST_WEIGHTS} weights, got {width}, "
                f"with dataset.feature_width {self.dataset.feature_width} and contrast.projection "
                f"{self.contrast.projection} some {weights}"
            )
        inside = len(self.tious) > 0 and all(0 < tiou <= 1 for tiou in self.tious)
        _require(self, "tious", inside, "one or more thresholds in (0, 1]")


def load_config(path: str | Path) -> Config:
    """Read a YAML file, or the preset of that name (`presets`).

    Raises:
        ValueError: there is no such file or preset, the file is not YAML as `parse_yaml` takes it,
            a key is unknown, missing or given twice, a value has the wrong type, is NaN, infinite
            or out of range. The message names the file, the key path, what was expected and what
            came.
    """
    if str(path) in presets() and not os.path.isfile(path):
        text = (resources.files("ftcl_model") / "configs" / f"{path}.yaml").read_text("utf-8")
    elif os.path.exists(path):
        text = read_text(path)
    else:
        raise ValueError(f"{path}: neither a file nor a preset ({', '.join(presets())})")
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from error
    return config_from_mapping(content, str(path))


def save_config(path: str | Path, config: Config) -> None:
    """Write every setting as a YAML file that `load_config` reads back."""
    # JSON is YAML, and has lists for tuples.
    content = json.loads(json.dumps(dataclasses.asdict(config)))
    write_text(path, yaml.safe_dump(content, sort_keys=False))


def presets() -> tuple[str, ...]:
    """The names of the configurations that come with the package."""
    files = (resources.files("ftcl_model") / "configs").iterdir()
    return tuple(sorted(file.name[:-5] for file in files if file.name.endswith(".yaml")))


def config_from_mapping(content: Any, source: str) -> Config:
    """Check and convert nested mappings (a YAML document, `dataclasses.asdict` of a Config).

    Args:
        content: the mappings.
        source: what the error messages call them, a file's name.

    Raises:
        ValueError: as `load_config`.
    """
    return build(Config, content, source)


def _require(settings: Any, name: str, condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} must be {expected}, got {brief(getattr(settings, name))}")

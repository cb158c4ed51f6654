"""The settings of each part, frozen dataclasses that refuse what is out of range."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from ftcl_model.errors import InputError
from ftcl_model.texts import brief

THUMOS_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""tIoU thresholds of an evaluation on THUMOS14."""

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
WIDEST_FLANK = 1000
"""Most of `DetectionSettings.outer_ratio`."""
FINEST = 1000
"""Most of `DetectionSettings.upsampling`."""
FASTEST_RATE = 1000.0
"""Frames a second that a video is resampled to at most."""
MOST_FRAMES = 1024
"""Of a snippet."""
LARGEST_FRAME = 2048
"""Pixels of a frame's side."""
WARMUP = 80
"""Steps that `BackboneSettings.attention_warmup` stands for if it is None and they fit in."""


def require(settings: Any, name: str, condition: bool, expected: str) -> None:
    """Refuse a setting by its name unless the condition holds."""
    if not condition:
        raise InputError(f"{name} must be {expected}, got {brief(getattr(settings, name))}")


@dataclass(frozen=True)
class ExtractionSettings:
    """How snippets are cut out of a video, and the network that encodes them.

    encoder: as `extraction.encoders.load_encoder` takes it, "torchvision:s3d".
    weights: their name; "none" are random ones.
    digest: of the weights' names and values (`extraction.encoders.weights_digest`).
    frames: of a snippet.
    stride: frames from the start of a snippet to that of the next.
    rate: frames a second, to which every video is resampled.
    size: height and width of a frame in pixels.
    seed: of random weights.
    """

    encoder: str
    weights: str
    digest: str
    frames: int
    stride: int
    rate: float
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (("frames", MOST_FRAMES), ("stride", 2**20), ("size", LARGEST_FRAME)):
            require(self, name, 1 <= getattr(self, name) <= most, f"in 1..{most}")
        require(self, "rate", 0 < self.rate <= FASTEST_RATE, f"in (0, {FASTEST_RATE:g}]")

    @property
    def seconds_per_snippet(self) -> float:
        """Distance between the starts of two successive snippets."""
        return self.stride / self.rate

    def difference(self, other: ExtractionSettings) -> str:
        """The first setting in which two differ, as "size 112, not 224"; empty if none does."""
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            # Of weights that are the same it does not matter what they were drawn by.
            if ours != theirs and field.name != "seed":
                return f"{field.name} {brief(ours)}, not {brief(theirs)}"
        return ""


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
    layout: of a file of features: (snippets, width), or (width, snippets) where channels come
        first. One axis more in front of them is no matter if it has length 1.
    array: name of the features in an .npz file that holds several arrays; None where it holds one.
    standardise: the model takes the mean of the training videos' snippets off its features, and
        divides by their standard deviation, in each dimension; it keeps both.
    extraction: how `extract` made the features, taken over from their folder; None where it is not
        known.
    """

    feature_width: int
    seconds_per_snippet: float
    snippets: int = 750
    classes: tuple[str, ...] | None = None
    blocked_videos: tuple[str, ...] = ()
    test_subset: str | None = None
    layout: Literal["time_first", "channels_first"] = "time_first"
    array: str | None = None
    standardise: bool = False
    extraction: ExtractionSettings | None = None

    def __post_init__(self) -> None:
        require(self, "feature_width", 1 <= self.feature_width <= WIDEST, _WIDTHS)
        seconds = self.seconds_per_snippet
        require(self, "seconds_per_snippet", 1e-6 <= seconds <= 1e6, "in [1e-6, 1e6]")
        require(self, "snippets", self.snippets >= 1, "at least 1")
        if self.classes is not None:
            named = len(self.classes) > 0 and "" not in self.classes
            require(self, "classes", named, "one or more names")
            name, count = Counter(self.classes).most_common(1)[0]
            require(self, "classes", count == 1, f"different names, {brief(name)} is there twice")


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
        require(self, "width", fits, _WIDTHS)
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        for name in ("instance_divisor", "context_divisor", "background_divisor"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        fits = self.attention_warmup is None or self.attention_warmup >= 0
        require(self, "attention_warmup", fits, "0 or more")
        for name in ("instance", "guide", "norm", "sparsity"):
            require(self, f"{name}_weight", getattr(self, f"{name}_weight") >= 0, "0 or more")


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
            require(self, name, getattr(self, name) >= 0, "0 or more")
        require(self, "projection", 1 <= self.projection <= WIDEST, _WIDTHS)
        for name in ("fsd_length", "lcs_length"):
            expected = f"in 1..{LONGEST_SEQUENCE}, the side of a table for each pair"
            require(self, name, 1 <= getattr(self, name) <= LONGEST_SEQUENCE, expected)
        require(self, "eta", self.eta > 0, "positive")


@dataclass(frozen=True)
class AlignedSettings:
    """What two videos with the same classes teach each other (`variant: aligned`).

    source: of what a snippet is told. "alignment": the snippets of the other video that the
        expected alignment matches it with. "neighbours": those of the other video that are most
        similar, in whatever order. "self": those of its own video that the expected alignment of
        the video with itself matches it with, which needs no two videos of the same classes.
    class_weight, attention_weight: of the two losses; 0 leaves one out.
    own_share: of the teacher's class scores of a snippet itself in its class target, a weighted
        geometric mean; 0 takes what it is told alone.
    threshold, gate_width: similarity above which two snippets match, and width of the gate there.
    gamma: smoothing of the alignment.
    """

    source: Literal["alignment", "neighbours", "self"] = "alignment"
    class_weight: float = 10.0
    attention_weight: float = 3.0
    own_share: float = 0.5
    threshold: float = 0.3
    gate_width: float = 0.1
    gamma: float = 0.05

    def __post_init__(self) -> None:
        for name in ("class_weight", "attention_weight"):
            require(self, name, getattr(self, name) >= 0, "0 or more")
        require(self, "own_share", 0 <= self.own_share < 1, "in [0, 1)")
        for name in ("gate_width", "gamma"):
            require(self, name, getattr(self, name) > 0, "positive")


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
        require(self, "batch_size", self.batch_size >= 1, "at least 1")
        clips = self.gradient_clip is None or self.gradient_clip > 0
        require(self, "gradient_clip", clips, "positive")
        require(self, "moving_average", 0 <= self.moving_average < 1, "in [0, 1)")
        for name in ("backbone_epochs", "contrast_epochs", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "0 or more")
        fits = self.pairs_per_epoch is None or 2 <= self.pairs_per_epoch <= MOST_PAIRS
        require(self, "pairs_per_epoch", fits, f"in 2..{MOST_PAIRS}, which are drawn at once")
        require(self, "learning_rate", self.learning_rate > 0, "positive")


@dataclass(frozen=True)
class DetectionSettings:
    """How segments are read off the scores of a video.

    The numbers are those of the authors' settings for THUMOS14; `detect` says how they are applied.

    class_threshold:        a class is localised when its video-level score reaches this; when none
                            does, the best one is.
    activation_thresholds:  of the class activation, normalised to 0..1 over the video.
    attention_thresholds:   of the attention.
    outer_ratio:            length of each outer flank of a segment, relative to the segment.
    video_score_weight:     weight of the video-level class score in a segment's score.
    nms_threshold:          tIoU above which the lower-scored of two segments is dropped.
    soft_nms_sigma:         None drops as above. A number drops nothing: a segment's score is
                            multiplied by exp(-tIoU^2 / sigma) for each higher-scored one.
    upsampling:             points per snippet between which scores are interpolated linearly.
    """

    class_threshold: float = 0.25
    activation_thresholds: tuple[float, ...] = (0.15, 0.2)
    attention_thresholds: tuple[float, ...] = tuple(i / 100 for i in range(15, 100, 5))
    outer_ratio: float = 0.25
    video_score_weight: float = 0.2
    nms_threshold: float = 0.55
    soft_nms_sigma: float | None = None
    upsampling: int = 20

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name in ("activation_thresholds", "attention_thresholds"):
            if not all(0 <= threshold <= 1 for threshold in getattr(self, name)):
                raise InputError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not self.activation_thresholds and not self.attention_thresholds:
            raise InputError("activation_thresholds and attention_thresholds are both empty")
        if not self.outer_ratio >= 0:
            raise InputError(f"outer_ratio must not be negative, got {self.outer_ratio}")
        if not self.outer_ratio <= WIDEST_FLANK:
            raise InputError(
                f"outer_ratio must be at most {WIDEST_FLANK}, a flank ends with its video anyway, "
                f"got {self.outer_ratio}"
            )
        if not 0 <= self.nms_threshold <= 1:
            raise InputError(f"nms_threshold must be in [0, 1], got {self.nms_threshold}")
        if self.soft_nms_sigma is not None and not self.soft_nms_sigma > 0:
            raise InputError(f"soft_nms_sigma must be positive, got {self.soft_nms_sigma}")
        if self.upsampling < 1:
            raise InputError(f"upsampling must be at least 1, got {self.upsampling}")
        if self.upsampling > FINEST:
            raise InputError(
                f"upsampling must be at most {FINEST}, as all the points of a video are held in "
                f"memory, got {self.upsampling}"
            )


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
        require(self, "share", 0 <= self.share < 1, "in [0, 1)")
        require(self, "every", self.every >= 1, "at least 1")
        if self.share == 0:
            expected = "last where no videos are set apart (validation.share)"
            require(self, "choose", self.choose == "last", expected)
            for name in self.detection_choices:
                expected = "empty where no videos are set apart (validation.share)"
                require(self, name, False, expected)
        for name, values in self.detection_choices.items():
            for value in values:
                changed: dict[str, Any] = {name: value}
                dataclasses.replace(DetectionSettings(), **changed)  # refuses what is out of range

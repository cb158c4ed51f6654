"""What is wrong with the predictions that are wrong, in the manner of DETAD.

Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.data.annotations import Annotations, Segment
from ftcl_model.detection.detect import temporal_iou
from ftcl_model.detection.predictions import Detection
from ftcl_model.evaluation.mean_average_precision import average_precision, match_truth

KINDS = (
    "true positive",
    "double detection",
    "localisation",
    "confusion",
    "wrong label",
    "background",
)
"""What a prediction can be, in the order of `Breakdown.counts`."""
LOWEST_TIOU = 0.1
"""Below this tIoU with every truth a prediction is background."""


class Breakdown(NamedTuple):
    """How many predictions are of which kind, and what each kind costs.

    tiou: the threshold above which a prediction can be a true positive.
    n_truths: annotated segments.
    counts: (factor, kinds): row k is of the predictions ranked k G + 1 to (k + 1) G in their class,
        where G is the number of truths of that class.
    map: mean average precision at `tiou` of these predictions, in 0..1.
    gains: (kinds,): what is added to `map` when the predictions of a kind are left out; NaN for
        true positives.
    """

    tiou: float
    n_truths: int
    counts: NDArray[np.int64]
    map: float
    gains: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.int64]:
        """(kinds,): of all that were looked at."""
        return self.counts.sum(axis=0)


def break_down(
    predictions: Mapping[str, Sequence[Detection]],
    annotations: Annotations,
    names: Sequence[str],
    *,
    tiou: float = 0.5,
    factor: int = 10,
) -> Breakdown:
    """Say of the `factor` G best predictions of each class of G truths what they are.

    Predictions are matched with truths as for average precision: from the highest score of a class
    down, each with the truth of its class and video that has the highest tIoU of those not matched
    yet, if it reaches `tiou`. Such a prediction is a true positive. What any other one is follows
    from the truth of its video, of any class, that it overlaps most (of equals its own class's):

      - double detection: tIoU of `tiou` or more, the same class (which has its match);
      - wrong label: tIoU of `tiou` or more, another class;
      - localisation: tIoU from 0.1 to below `tiou`, the same class;
      - confusion: tIoU from 0.1 to below `tiou`, another class;
      - background: tIoU below 0.1.

    A kind's gain is DETAD's impact of removing it, but of plain average precision, while DETAD
    normalises precision by the mean number of truths of a class.

    Equal scores keep the order given: `names` first, then each video's list. Classes without truth
    have G = 0, so that their predictions are not looked at, as are those of other videos.

    Raises:
        ValueError: a name without annotation, no truth at all, tiou not in (0.1, 1], or factor
            below 1.
    """
    if not LOWEST_TIOU < tiou <= 1:
        raise ValueError(f"break_down: tiou must be in ({LOWEST_TIOU}, 1], got {tiou}")
    if factor < 1:
        raise ValueError(f"break_down: factor must be 1 or more, got {factor}")
    for name in names:
        if name not in annotations.videos:
            raise ValueError(f"break_down: video {name} has no annotation")
    truths = {name: annotations.videos[name].segments for name in names}
    n_truths = sum(map(len, truths.values()))
    if not n_truths:
        raise ValueError("break_down: the videos have no annotated segment")
    counts = np.zeros((factor, len(KINDS)), np.int64)
    precisions = []  # of each class, with all its predictions and without those of each kind
    for label in annotations.classes:
        group = sum(segment.label == label for rows in truths.values() for segment in rows)
        if not group:
            continue
        every = [
            (name, one) for name in names for one in predictions.get(name, ()) if one.label == label
        ]
        best = sorted(every, key=lambda pair: -pair[1].score)[: factor * group]
        kinds = np.zeros(len(best), np.int64)
        for name in dict.fromkeys(name for name, _ in best):
            ranks = [rank for rank, (video, _) in enumerate(best) if video == name]
            found = _kinds([best[rank][1] for rank in ranks], truths[name], label, tiou)
            kinds[ranks] = [KINDS.index(kind) for kind in found]
        np.add.at(counts, (np.arange(len(best)) // group, kinds), 1)
        left = [kinds, *(kinds[kinds != kind] for kind in range(1, len(KINDS)))]
        precisions.append([average_precision(some[None] == 0, group)[0] for some in left])
    mean, *without = np.mean(precisions, axis=0)
    return Breakdown(tiou, n_truths, counts, float(mean), np.array([np.nan, *(without - mean)]))


def _kinds(
    found: Sequence[Detection], truth: Sequence[Segment], label: str, tiou: float
) -> list[str]:
    """The kinds of the predictions of one class in one video, which fall in score."""
    if not truth:
        return ["background"] * len(found)
    predicted = np.array([[one.start, one.end] for one in found])
    # A stable sort, so that of equal overlaps the first, its own class's, is the highest.
    ordered = sorted(truth, key=lambda segment: segment.label != label)
    segments = np.array([[segment.start, segment.end] for segment in ordered])
    n_own = sum(segment.label == label for segment in truth)
    hits = match_truth(predicted, segments[:n_own], np.array([tiou]))[0]
    overlaps = temporal_iou(predicted[:, None], segments[None])
    nearest = overlaps.argmax(axis=1)
    return [
        "true positive" if hit else _kind(overlap, own, tiou)
        for hit, overlap, own in zip(hits, overlaps.max(axis=1), nearest < n_own, strict=True)
    ]


def _kind(overlap: float, own: bool, tiou: float) -> str:
    if overlap < LOWEST_TIOU:
        return "background"
    if overlap < tiou:
        return "localisation" if own else "confusion"
    return "double detection" if own else "wrong label"

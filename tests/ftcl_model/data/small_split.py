"""A split of two small videos."""

from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.settings import DatasetSettings

CLASSES = ("jump", "run", "walk")


def annotate(**labels):
    return Annotations(
        CLASSES,
        {
            name: Video(name, "train", None, tuple(Segment(0, 1, label) for label in given))
            for name, given in labels.items()
        },
    )


SETTINGS = DatasetSettings(feature_width=4, seconds_per_snippet=0.5)
GOOD = annotate(a=["walk", "jump", "walk"], b=["run"], c=["run"])

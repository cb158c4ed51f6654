from dataclasses import replace

import numpy as np
import pytest

from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.features import open_split
from tests.ftcl_model.data.small_split import GOOD, SETTINGS, annotate


def test_open_split(folder):
    split = open_split(folder, "train", GOOD, SETTINGS)
    assert split.names == ("b", "a")
    assert len(split) == 2
    assert split.lengths.tolist() == [3, 7]
    assert split.labels.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert split.labels.dtype == np.float32
    assert (split.width, split.seconds_per_snippet) == (4, 0.5)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (annotate(b=["run"]), r"a\.npy: video a has no annotation"),
        (annotate(a=["fly"], b=["run"]), r"a\.npy: label 'fly' is not in the class list"),
        (annotate(a=[], b=["run"]), r"a\.npy: a training video needs at least one"),
    ],
)
def test_label_errors(folder, annotations, message):
    with pytest.raises(ValueError, match=message):
        open_split(folder, "train", annotations, SETTINGS)


def test_a_test_video_may_be_without_action(folder):
    (folder / "train").rename(folder / "test")
    (folder / "split_train.txt").rename(folder / "split_test.txt")
    split = open_split(folder, "test", annotate(a=[], b=["run"]), SETTINGS)
    assert split.labels.tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "is missing"), (" \n", "names no video"), ("a\nb\na\n", "names video a twice")],
)
def test_split_file_errors(folder, text, message):
    path = folder / "split_train.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=rf"split_train\.txt: the (split )?file {message}"):
        open_split(folder, "train", GOOD, SETTINGS)


@pytest.mark.parametrize(
    "text",
    ["b\na\n", "\ufeffb\na\n", "b\r\na\r\n", "b\ra", "\n  b \n\n\ta\t\n\n"],
    ids=["plain", "byte order mark", "CRLF", "CR", "blanks"],
)
def test_split_files_of_all_editors(folder, text):
    (folder / "split_train.txt").write_bytes(text.encode())
    assert open_split(folder, "train", GOOD, SETTINGS).names == ("b", "a")


def test_names_with_spaces(folder):
    name = "my  video 1"
    (folder / "train" / "a.npy").rename(folder / "train" / f"{name}.npy")
    (folder / "split_train.txt").write_text(f"b\n{name}\n")
    annotations = annotate(b=["run"], **{name: ["walk"]})
    split = open_split(folder, "train", annotations, SETTINGS)
    assert split.names == ("b", name)
    assert split.lengths.tolist() == [3, 7]


@pytest.mark.parametrize(
    "name", ["../train/a", "/a", "x/../a", "..", ".", "./a", "x//a", "a/", "/etc/passwd"]
)
def test_nothing_outside_of_the_folder_is_read(folder, name):
    (folder / "split_train.txt").write_text(f"b\n{name}\n")
    annotations = annotate(b=["run"], **{name: ["walk"]})
    with pytest.raises(ValueError, match=rf"split_train\.txt: expected names .*, got '{name}'$"):
        open_split(folder, "train", annotations, SETTINGS)


def test_videos_in_folders_of_their_own(folder):
    (folder / "train" / "x").mkdir()
    (folder / "train" / "a.npy").rename(folder / "train" / "x" / "a.npy")
    (folder / "split_train.txt").write_text("b\nx/a\n")
    annotations = annotate(b=["run"], **{"x/a": ["walk"]})
    assert open_split(folder, "train", annotations, SETTINGS).lengths[1] == 7


def test_a_split_file_that_is_none(folder):
    path = folder / "split_train.txt"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"split_train\.txt: expected a file, got a folder"):
        open_split(folder, "train", GOOD, SETTINGS)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ValueError, match=r"split_train\.txt: cannot be read \(Too many levels"):
        open_split(folder, "train", GOOD, SETTINGS)


def test_split_file_in_another_encoding_is_named(folder):
    (folder / "split_train.txt").write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"split_train\.txt: not readable as UTF-8 text"):
        open_split(folder, "train", GOOD, SETTINGS)


def test_blocked_videos_are_left_out(folder):
    split = open_split(folder, "train", GOOD, replace(SETTINGS, blocked_videos=("b", "unknown")))
    assert split.names == ("a",)
    with pytest.raises(ValueError, match=r"split_train\.txt: every video of the split is blocked"):
        open_split(folder, "train", GOOD, replace(SETTINGS, blocked_videos=("b", "a")))


def test_the_real_thumos14_splits(thumos14, tmp_path):
    """The annotations and splits as published, with features as wide as I3D's made up here."""
    settings = load_config("thumos14").dataset
    annotations = read_annotations(thumos14 / "gt.json", settings.classes)
    rng = np.random.default_rng(0)
    for subset, count in (("train", 200), ("test", 210)):
        names = (thumos14 / f"split_{subset}.txt").read_text().split()
        (tmp_path / f"split_{subset}.txt").write_text("\n".join(names))
        (tmp_path / subset).mkdir()
        features = rng.random((3, settings.feature_width), np.float32)
        for name in names:
            np.save(tmp_path / subset / f"{name}.npy", features)
        split = open_split(tmp_path, subset, annotations, settings)
        assert len(split) == count
        assert split.labels.shape == (count, 20)
        assert split.load(0).shape == (3, 2048)
        # What is blocked is what the annotations have and the split has not.
        if subset == "test":
            assert set(annotations.names_of("test")) - set(names) == set(settings.blocked_videos)
            assert len(annotations.names_of("test", settings.blocked_videos)) == count
    assert (split.labels.sum(axis=0) > 0).all()

from dataclasses import replace

import numpy as np
import pytest

from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import Annotations, Segment, Video, read_annotations
from ftcl_model.data.features import open_split
from ftcl_model.settings import DatasetSettings

CLASSES = ("jump", "run", "walk")


@pytest.fixture
def folder(tmp_path):
    """Two training videos, a (7, 4) and b (3, 4)."""
    (tmp_path / "train").mkdir()
    (tmp_path / "split_train.txt").write_text("b\na\n")
    rng = np.random.default_rng(0)
    for name, length in (("a", 7), ("b", 3)):
        np.save(tmp_path / "train" / f"{name}.npy", rng.normal(size=(length, 4)).astype("f4"))
    return tmp_path


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


def test_open_split(folder):
    split = open_split(folder, "train", GOOD, SETTINGS)
    assert split.names == ("b", "a")
    assert len(split) == 2
    assert split.lengths.tolist() == [3, 7]
    assert split.labels.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert split.labels.dtype == np.float32
    assert (split.width, split.seconds_per_snippet) == (4, 0.5)


def test_load_is_memory_mapped(folder):
    split = open_split(folder, "train", GOOD, SETTINGS)
    features = split.load(1)
    assert isinstance(features, np.memmap)
    assert np.array_equal(features, np.load(folder / "train" / "a.npy"))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_load_gives_float32(folder, dtype):
    features = np.linspace(0, 1, 28).reshape(7, 4).astype(dtype)
    np.save(folder / "train" / "a.npy", features)
    loaded = open_split(folder, "train", GOOD, SETTINGS).load(1)
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, features.astype(np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the feature file is missing"),
        (b"", "the feature file is empty"),
        (b"not numpy", "not a readable .npy file"),
        (b"\x93NUMPY\x01\x00", "not a readable .npy file"),
        (np.zeros((0, 4), "f4"), r"the feature file is empty, shape \(0, 4\)"),
        (np.zeros(4, "f4"), r"expected floats of shape \(snippets, 4\), got shape \(4,\)"),
        (np.zeros((1, 5, 4), "f4"), r"expected floats of shape .*, got shape \(1, 5, 4\)"),
        (np.zeros((5, 3), "f4"), r"expected floats of shape \(snippets, 4\), got shape \(5, 3\)"),
        (np.zeros((5, 4), "i4"), r"expected floats of shape \(snippets, 4\), got int32"),
        (np.zeros((5, 4), object), "not a readable .npy file"),
        (np.where(np.arange(20).reshape(5, 4) == 13, np.nan, 0), "NaN .* first in snippet 3"),
        (np.where(np.arange(20).reshape(5, 4) == 5, -np.inf, 0), "infinite .* first in snippet 1"),
        (np.where(np.arange(20).reshape(5, 4) == 9, 1e39, 0), "infinite .* first in snippet 2"),
    ],
)
def test_broken_file_is_named(folder, content, message):
    path = folder / "train" / "a.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(ValueError, match=rf"train/a\.npy: .*{message}"):
        open_split(folder, "train", GOOD, SETTINGS)


def header(text):
    """A .npy file that says this of itself, and holds zeros."""
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(4096)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4" + bytes(100), r"not a readable \.npy file \(.*not a zip file\)"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}\n"), ""),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}\n"), ""),
        (header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30}, 4)}}\n"), ""),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 4)}\n"), ""),
        (header("{'descr': 'f4', 'shape': (2, 4)}\n"), ""),
        (header("{'descr': [('a',)], 'fortran_order': False, 'shape': (2, 4)}\n"), ""),
        (header(9000 * "["), ""),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4)}\n"), ""),
    ],
    ids=["zip", "True", "-1", "huge", "power", "keys", "descr", "nested", "pickle"],
)
def test_a_hostile_file_is_named(folder, content, message):
    (folder / "train" / "a.npy").write_bytes(content)
    expected = message or r"not a readable \.npy file \(.+\)"
    with pytest.raises(ValueError, match=rf"train/a\.npy: {expected}$") as refusal:
        open_split(folder, "train", GOOD, SETTINGS)
    assert "\n" not in str(refusal.value)


def test_what_is_no_file_is_named(folder):
    path = folder / "train" / "a.npy"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"a\.npy: expected a feature file, got a folder"):
        open_split(folder, "train", GOOD, SETTINGS)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ValueError, match=r"a\.npy: the feature file cannot be read \(Too many lev"):
        open_split(folder, "train", GOOD, SETTINGS)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"a\.npy: expected a feature file, got a device"):
        open_split(folder, "train", GOOD, SETTINGS)


@pytest.mark.parametrize(
    ("name", "message"), [(5000 * "n", "File name too long"), ("a\0b", "embedded null byte")]
)
def test_a_name_that_no_file_has(folder, name, message):
    (folder / "split_train.txt").write_text(f"{name}\n")
    with pytest.raises(ValueError, match=rf"\.npy: the feature file cannot be read \({message}\)"):
        open_split(folder, "train", annotate(**{name: ["run"]}), SETTINGS)


@pytest.mark.parametrize("ending", [".npz", ".mat", ".h5", ".pt", ".csv"])
def test_features_in_another_format_are_named(folder, ending):
    path = folder / "train" / "a.npy"
    path.rename(path.with_suffix(ending))
    with pytest.raises(
        ValueError, match=rf"a\.npy: .* missing, and a\{ending} is not read: .* with numpy\.save"
    ):
        open_split(folder, "train", GOOD, SETTINGS)


def test_truncated_file_is_named(folder):
    path = folder / "train" / "a.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train/a\.npy: not a readable \.npy file"):
        open_split(folder, "train", GOOD, SETTINGS)


def test_archive_of_arrays_is_refused(folder):
    with open(folder / "train" / "a.npy", "wb") as file:
        np.savez(file, features=np.zeros((5, 4), "f4"))
    with pytest.raises(ValueError, match=r"train/a\.npy: expected floats .*got an \.npz"):
        open_split(folder, "train", GOOD, SETTINGS)


def test_width_that_was_asked_for(folder):
    with pytest.raises(ValueError, match=r"b\.npy: expected floats of shape \(snippets, 2048\)"):
        open_split(folder, "train", GOOD, replace(SETTINGS, feature_width=2048))


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


@pytest.fixture
def two_streams(folder):
    """The same videos as RGB (T, 3) and flow (T, 2); the flow of video a is a snippet shorter."""
    rng = np.random.default_rng(1)
    for stream, width in (("rgb", 3), ("flow", 2)):
        (folder / "train" / stream).mkdir()
        for name, length in (("a", 7), ("b", 3)):
            length -= (stream, name) == ("flow", "a")
            features = rng.normal(size=(length, width)).astype("f4")
            np.save(folder / "train" / stream / f"{name}.npy", features)
    return folder


def test_rgb_and_flow_are_joined(two_streams):
    split = open_split(two_streams, "train", GOOD, replace(SETTINGS, feature_width=5))
    assert split.lengths.tolist() == [3, 6]
    assert split.width == 5
    rgb, flow = (np.load(two_streams / "train" / part / "a.npy") for part in ("rgb", "flow"))
    joined = split.load(1)
    assert joined.dtype == np.float32
    assert np.array_equal(joined, np.concatenate([rgb[:6], flow], axis=1))


@pytest.mark.parametrize(
    ("stream", "features", "message"),
    [
        ("flow", None, r"flow/a\.npy: the feature file is missing"),
        ("rgb", np.zeros((9, 3), "f4"), r"rgb/a\.npy: expected as many .* got 9 and 6"),
        ("flow", np.zeros((6, 4), "f4"), r"rgb/a\.npy: expected features 5 wide .* got 3 \+ 4"),
        ("flow", np.full((6, 2), np.nan), r"flow/a\.npy: NaN or infinite .* in snippet 0"),
    ],
)
def test_a_broken_stream_is_named(two_streams, stream, features, message):
    path = two_streams / "train" / stream / "a.npy"
    path.unlink()
    if features is not None:
        np.save(path, features)
    with pytest.raises(ValueError, match=message):
        open_split(two_streams, "train", GOOD, replace(SETTINGS, feature_width=5))


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

"""What is read of a video's files, and what is refused, as `open_split` does."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ftcl_model.data.features import open_split
from ftcl_model.data.pairs import make_batch
from tests.ftcl_model.data.small_split import GOOD, SETTINGS, annotate


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
        (np.zeros((2, 5, 4), "f4"), r"expected floats of shape .*, got shape \(2, 5, 4\)$"),
        (np.zeros((1, 1, 5, 4), "f4"), r"expected .*, got shape \(1, 1, 5, 4\)$"),
        (np.zeros((1, 0, 4), "f4"), r"the feature file is empty, shape \(1, 0, 4\)"),
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


@pytest.mark.parametrize("ending", [".mat", ".h5", ".pt", ".csv"])
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


FEATURES = np.linspace(0, 1, 28, dtype="f4").reshape(7, 4)


def loaded(folder, settings=SETTINGS):
    """Video a as training reads it, of the file that `put` left."""
    split = open_split(folder, "train", GOOD, settings)
    assert split.lengths[1] == len(split.load(1))
    return split.load(1)


def put(folder, **arrays):
    """Video a as an .npz instead."""
    (folder / "train" / "a.npy").unlink()
    np.savez(folder / "train" / "a.npz", **arrays)


def test_an_archive_of_one_array_is_read_whatever_its_name(folder):
    put(folder, feats=FEATURES.astype("f8"))
    assert loaded(folder).dtype == np.float32
    assert np.array_equal(loaded(folder), FEATURES)
    # Where a .npy is there, too, it is what counts; what is in a file matters, not its ending.
    np.save(folder / "train" / "a.npy", 2 * FEATURES)
    assert np.array_equal(loaded(folder), 2 * FEATURES)
    (folder / "train" / "a.npz").rename(folder / "train" / "a.npy")
    assert np.array_equal(loaded(folder), FEATURES)


def test_the_array_of_an_archive_is_named_by_a_setting(folder):
    put(folder, rgb=FEATURES, times=np.arange(7))
    assert np.array_equal(loaded(folder, replace(SETTINGS, array="rgb")), FEATURES)
    message = r"a\.npz: expected one array, or .* in dataset\.array, got rgb, times$"
    with pytest.raises(ValueError, match=message):
        loaded(folder)
    message = r"a\.npz: expected the array RGB \(dataset\.array\), got rgb, times$"
    with pytest.raises(ValueError, match=message):
        loaded(folder, replace(SETTINGS, array="RGB"))
    with pytest.raises(ValueError, match=r"a\.npz: expected floats .*, got int64$"):
        loaded(folder, replace(SETTINGS, array="times"))


def test_broken_archives_are_named(folder):
    put(folder, feats=FEATURES)
    path = folder / "train" / "a.npz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:150] + bytes(9) + whole[159:], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz: (not a readable \.npz|the feature file is)"):
            loaded(folder)
    np.savez(path)
    with pytest.raises(ValueError, match=r"a\.npz: expected one array, .*, got none$"):
        loaded(folder)
    np.savez(path, np.array([print], object))
    with pytest.raises(ValueError, match=r"a\.npz: not a readable .* \(Object arrays"):
        loaded(folder)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("feats.txt", "0 1 2 3")
    with pytest.raises(ValueError, match=r"a\.npz: expected an array, got other bytes$"):
        loaded(folder)
    np.savez(path, feats=np.where(FEATURES > 0.9, np.nan, FEATURES))
    with pytest.raises(ValueError, match=r"a\.npz: NaN .* first in snippet 6$"):
        loaded(folder)


@pytest.mark.parametrize("leading", [False, True], ids=["", "(1, ...)"])
@pytest.mark.parametrize("layout", ["time_first", "channels_first"])
def test_layouts_of_a_file(folder, leading, layout):
    features = FEATURES.T if layout == "channels_first" else FEATURES
    np.save(folder / "train" / "a.npy", features[None] if leading else features)
    b = np.load(folder / "train" / "b.npy")
    np.save(folder / "train" / "b.npy", b.T if layout == "channels_first" else b)
    settings = replace(SETTINGS, layout=layout)
    assert np.array_equal(loaded(folder, settings), FEATURES)
    assert isinstance(loaded(folder, settings), np.memmap)
    batch = make_batch(
        open_split(folder, "train", GOOD, settings), [0, 1], 9, np.random.default_rng(0)
    )
    assert np.array_equal(batch.features[1], FEATURES)
    assert np.array_equal(batch.features[0, :3], b)


@pytest.mark.parametrize("layout", ["time_first", "channels_first"])
def test_the_other_layout_is_named_and_never_guessed(folder, layout):
    settings = replace(SETTINGS, layout=layout)
    (folder / "split_train.txt").write_text("a\n")
    features, other = FEATURES, "time_first"
    if layout == "time_first":
        features, other = FEATURES.T, "channels_first"
    np.save(folder / "train" / "a.npy", features)
    message = rf"a\.npy: .* got shape .* \(dataset\.layout: {other} reads it\)$"
    with pytest.raises(ValueError, match=message):
        open_split(folder, "train", GOOD, settings)
    # Where both are possible, the setting says which one it is.
    square = FEATURES[:4] + np.arange(4, dtype="f4")
    np.save(folder / "train" / "a.npy", square)
    found = open_split(folder, "train", GOOD, settings).load(0)
    assert np.array_equal(found, square.T if layout == "channels_first" else square)


def test_width_that_was_asked_for(folder):
    with pytest.raises(ValueError, match=r"b\.npy: expected floats of shape \(snippets, 2048\)"):
        open_split(folder, "train", GOOD, replace(SETTINGS, feature_width=2048))


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


def test_streams_of_other_forms_are_joined(two_streams):
    settings = replace(SETTINGS, feature_width=5)
    expected = open_split(two_streams, "train", GOOD, settings).load(1)
    for stream in ("rgb", "flow"):
        for name in ("a", "b"):
            path = two_streams / "train" / stream / f"{name}.npy"
            np.savez(path.with_suffix(".npz"), x=np.load(path).T[None])
            path.unlink()
    transposed = open_split(two_streams, "train", GOOD, replace(settings, layout="channels_first"))
    assert np.array_equal(transposed.load(1), expected)
    # (3, 3) and (2, 3): three and two snippets, if time comes first.
    (two_streams / "split_train.txt").write_text("b\n")
    message = r"rgb/b\.npz: .* got 3 \+ 3 \(dataset\.layout: channels_first reads it\)$"
    with pytest.raises(ValueError, match=message):
        open_split(two_streams, "train", GOOD, settings)


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

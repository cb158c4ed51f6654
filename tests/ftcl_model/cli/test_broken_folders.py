"""Whatever lies in a folder: check-data says what is wrong, and what it passes trains."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftcl_model.cli.main import main
from tests.ftcl_model.tiny_folder import CONFIG, write_tiny_folder

# One step of each stage.
BRIEF = (
    CONFIG.replace("backbone_epochs: 60", "backbone_epochs: 1")
    .replace("contrast_epochs: 2", "contrast_epochs: 1")
    .replace("batch_size: 4", "batch_size: 16")
    .replace("  attention_warmup: 10\n", "")
)
SPLITS = ("split_train.txt", "split_test.txt")
FILES = (
    *SPLITS, "gt.json", *(f"train/train_{index}.npy" for index in range(12)),
    *(f"test/test_{index}.npy" for index in range(6)),
)  # fmt: skip
VALUES = (
    *("null", "true", "0", "-1", "3", "NaN", "1e400", "1e300", "1" + 400 * "0", "1" + 5000 * "0"),
    *('""', '"20"', '"Jump"', '"Hop"', '"\\ud800"', '"$\\\\frac$\\n"', '"' + 5000 * "n" + '"'),
    *("[]", "[1, 2]", "[2, 1]", "[false, true]", '["0", "1"]', "[1, 2, 3]", "[-1, 1e-300]"),
    *("{}", '{"a": 1, "a": 1}', 100 * "[" + 100 * "]", 100_000 * "[" + 100_000 * "]"),
)
LINES = (
    *("train_3", "test_0", "nobody", " ", "a name", "../train/train_0", "/etc/passwd", "train_0/"),
    *(".", "\\0", "\ufefftrain_1", 300 * "n", 5000 * "n", "größe", "$\\frac$", "|<script>"),
)


BEGINNINGS = (b"PK\3\4", b"\xef\xbb\xbf", b"\xff\xfe", b"\0")
SWAPS = ("nothing", "folder", "loop", "other")


class Damage(NamedTuple):
    """What is done to which file: where, from 0 to 1, or how, and with what bit or number."""

    kind: str
    file: str
    how: Any
    number: Any


place = st.floats(0, 1, exclude_max=True)
files = st.sampled_from(FILES)
arrays = files.filter(lambda name: name.endswith(".npy"))
damages = st.one_of(
    st.tuples(st.just("flip"), files, place, st.integers(0, 7)),
    st.tuples(st.just("flip in the header"), arrays, place, st.integers(0, 7)),
    st.tuples(st.just("cut"), files, place, st.none()),
    st.tuples(st.just("begin"), files, st.sampled_from(BEGINNINGS), st.none()),
    st.tuples(st.just("swap"), files, st.sampled_from(SWAPS), st.none()),
    st.tuples(st.just("value"), st.just("gt.json"), place, st.integers(0, len(VALUES) - 1)),
    st.tuples(st.just("line"), st.sampled_from(SPLITS), place, st.integers(0, len(LINES) - 1)),
).map(lambda row: Damage(*row))


def damage(data: Path, what: Damage) -> None:
    path = data / what.file
    content = path.read_bytes()
    if what.kind == "swap":
        path.unlink()
        if what.how == "folder":
            path.mkdir()
        elif what.how == "loop":
            path.symlink_to(path.name)
        elif what.how == "other":
            path.write_text("train_0\ntrain_1\n")
    elif what.kind == "value":
        path.write_text(with_value(json.loads(content), what.how, VALUES[what.number]))
    elif what.kind == "line":
        lines = content.decode().split("\n")
        lines[int(what.how * len(lines))] = LINES[what.number]
        path.write_text("\n".join(lines))
    elif what.kind == "cut":
        path.write_bytes(content[: int(what.how * len(content))])
    elif what.kind == "begin":
        path.write_bytes(what.how + content)
    else:
        size = len(content) if what.kind == "flip" else 128
        flipped = bytearray(content)
        flipped[int(what.how * size)] ^= 1 << what.number
        path.write_bytes(flipped)


def with_value(content: Any, where: float, value: str) -> str:
    """The JSON text with one of its values, chosen by `where`, replaced by a text."""
    places = list(places_of(content))
    parent, key = places[int(where * len(places))]
    parent[key] = "HERE"
    return json.dumps(content).replace('"HERE"', value, 1)


def places_of(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places_of(content[key])


def run(*words: object) -> tuple[int, str]:
    """The exit status of a command, and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            if isinstance(end.code, int):
                return end.code, said.getvalue()
            return 1, f"{said.getvalue()}{end.code}"
    return 0, said.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound")
    write_tiny_folder(directory / "data")
    (directory / "model.yaml").write_text(BRIEF)
    return directory


@pytest.mark.slow
@settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(damages, min_size=1, max_size=2, unique_by=lambda one: one.file))
def test_check_data_names_the_fault_or_the_folder_trains(sound: Path, what: list[Damage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "run"
        shutil.copytree(sound / "data", data)
        for one in what:
            damage(data, one)
        inputs = ("--config", sound / "model.yaml", "--data", data)
        status, said = run("check-data", *inputs)
        assert status in (0, 1), said
        assert ("error: " in said) == (status == 1)
        if status == 0:
            status, stopped = run("train", *inputs, "--output", output, "--no-progress")
            # What a flipped bit makes too large for float32 was noted.
            assert status == 0 or "features beyond 10000" in said, stopped

"""Each example runs at small size, draws its picture, and shows what it says."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
Run = Callable[..., dict[str, float]]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls an example by its name with arguments, and looks at its picture."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")

    def call(name: str, *arguments: str, needs: str | None = None) -> dict[str, float]:
        if needs is not None:
            pytest.importorskip(needs)
        picture = tmp_path / "made" / f"{name}.png"
        told: dict[str, float] = loaded(name).main([*arguments, "--picture", str(picture)])
        pixels = pyplot.imread(picture)
        assert pixels.shape[0] > 400
        assert pixels.std() > 0.02
        pyplot.close("all")
        return told

    return call


@pytest.mark.slow
def test_a_barycentre_under_the_divergence_is_sharper(run: Run) -> None:
    off = run("averaging", "--steps", "10", "--series", "3", needs="pyts")
    assert off["divergence"] < 0.6 * off["soft-DTW"]


def test_the_layer_learns_what_belongs_together(run: Run) -> None:
    told = run("protein_layer", "--steps", "40", "--batch", "8", needs="Bio")
    assert told["after"] > told["before"] + 0.1


def test_the_transducer_learns(run: Run) -> None:
    told = run("transducer", "--steps", "30", needs="sklearn")
    assert told["last"] < 0.5 * told["first"]
    assert 0 < told["errors"] <= 100


def test_letters_are_found_in_speech(run: Run) -> None:
    told = run("text_to_speech", "--steps", "30", "--texts", "24")
    assert told["after"] < 0.5 * told["before"]


def test_texts_have_less_in_common_in_another_order(run: Run) -> None:
    told = run("text_overlap", "--shuffles", "20", needs="sklearn")
    assert told["in order"] > 2 * told["shuffled"]


def test_shape_and_delay_make_forecasts_sharp(run: Run) -> None:
    told = run("forecast", "--steps", "400")
    assert told["shape and delay: steepest"] > 1.5 * told["squared error: steepest"]


def test_recordings_are_aligned_to_the_step(run: Run) -> None:
    told = run("blockwise_recordings", "--steps", "3000", "--rows", "500", needs="pyts")
    assert told["off"] < 3 < 10 * told["off"] < told["straight"]


def test_wrong_labels_are_found_by_their_gradients(run: Run) -> None:
    told = run("per_sample_gradients", "--steps", "5", needs="pyts")
    assert told["difference"] < 1e-4
    assert told["found"] > 0.6


def test_samples_are_as_frequent_as_they_are_probable(run: Run) -> None:
    told = run("sampling", "--samples", "500", needs="Bio")
    assert told["difference"] < 0.1
    assert told["entropy"] > 1


@pytest.mark.parametrize("name", NAMES)
def test_each_is_in_the_table(name: str) -> None:
    assert f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")

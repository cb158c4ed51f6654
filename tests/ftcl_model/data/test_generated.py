from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftcl_model.cli.main import main
from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.datasets.generated import (
    CORE,
    PHASES,
    SECONDS_PER_SNIPPET,
    Action,
    StreamSettings,
    draw_actions,
    draw_features,
    draw_stream,
    make_world,
    prepare,
)
from ftcl_model.data.features import open_split
from ftcl_model.settings import DatasetSettings

SMALL = StreamSettings(
    n_train=10, n_test=5, snippets=200, classes=6, scripts=4, actions=3, share=0.2, width=8
)
STREAMS = 60


def streams(settings: StreamSettings) -> list[tuple[int, int, list[Action]]]:
    """Script, length and actions of some streams."""
    world = make_world(settings)
    drawn = (draw_stream(settings, world, 0, index) for index in range(STREAMS))
    return [(script, len(features), actions) for script, actions, features in drawn]


def covered(length: int, actions: list[Action]) -> np.ndarray:
    """(snippets,): in how many actions each is."""
    count = np.zeros(length, np.int64)
    for _, borders, _ in actions:
        count[borders[0] : borders[-1]] += 1
    return count


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("change", [{}, {"overlap": 1.0}, {"overlap": 0.0}, {"share": 0.4}])
def test_so_much_of_a_stream_is_action_and_so_much_of_that_overlaps(
    change: dict, ordered: bool
) -> None:
    settings = replace(SMALL, ordered=ordered, **change)
    shares, overlapping = [], 0
    for _, length, actions in streams(settings):
        assert 150 <= length <= 250
        count = covered(length, actions)
        assert count.max() <= 2
        shares.append((count > 0).mean())
        assert shares[-1] == pytest.approx(settings.share, abs=0.02)
        for before, after in itertools.pairwise(actions):
            # Each starts and ends later than the one before, and lies within its stream.
            assert (after.borders[[0, -1]] > before.borders[[0, -1]]).all()
            overlapping += int(after.borders[0] < before.borders[-1])
        assert count[0] == count[-1] == 0
    assert np.mean(shares) == pytest.approx(settings.share, abs=0.005)
    assert overlapping / (2 * STREAMS) == pytest.approx(settings.overlap, abs=0.12)


def test_the_default_is_long_and_nearly_empty() -> None:
    settings, world = StreamSettings(), make_world(StreamSettings())
    rng = np.random.default_rng(0)
    shares = [
        (covered(600, draw_actions(settings, world.scripts[0], 600, rng)) > 0).mean()
        for _ in range(50)
    ]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.003)


def test_a_stream_has_the_classes_of_its_script_and_an_action_its_phases() -> None:
    for ordered in (True, False):
        settings = replace(SMALL, ordered=ordered)
        scripts = make_world(settings).scripts.tolist()
        as_written, phases = [], []
        for script, _, actions in streams(settings):
            labels = [action.label for action in actions]
            assert sorted(labels) == sorted(scripts[script])
            as_written.append(labels == scripts[script])
            for action in actions:
                assert (np.diff(action.borders) >= 1).all()
                assert sorted(action.phases.tolist()) == list(range(PHASES))
                phases.append(action.phases.tolist() == list(range(PHASES)))
        # Of the six orders of three things each is as likely as every other.
        expected = 1.0 if ordered else 1 / 6
        assert np.mean(as_written) == pytest.approx(expected, abs=0.12)
        assert np.mean(phases) == pytest.approx(expected, abs=0.08)


def test_every_class_is_in_as_many_scripts_as_every_other() -> None:
    world = make_world(StreamSettings())
    assert np.bincount(world.scripts.ravel()).tolist() == [2] * 20
    assert all(len(set(script)) == 4 for script in world.scripts.tolist())
    assert len({tuple(sorted(script)) for script in world.scripts.tolist()}) == 10


def test_the_features_are_the_prototypes_of_what_is_there() -> None:
    settings = replace(SMALL, noise=0.0, overlap=1.0, decoys=1.0)
    world = make_world(settings)
    edges = [phase for phase in range(PHASES) if phase != CORE]
    assert np.corrcoef(world.prototypes[0, CORE], world.common[CORE])[0, 1] < 0.9
    decoys = 0
    for index in range(10):
        _, actions, features = draw_stream(settings, world, 0, index)
        expected = np.zeros_like(features)
        for label, borders, phases in actions:
            for phase, start, end in zip(phases, borders, borders[1:], strict=False):
                expected[start:end] += world.prototypes[label, phase]
        inside = covered(len(features), actions) > 0
        np.testing.assert_allclose(features[inside], expected[inside])
        background = features[~inside]
        something = np.abs(background).sum(axis=1) > 0
        alike = [np.isclose(background, world.common[edge]).all(axis=1) for edge in edges]
        assert (something == (alike[0] | alike[1])).all()
        decoys += int(something.sum())
    assert decoys > 0
    rng = np.random.default_rng(0)
    noisy = draw_features(replace(settings, noise=0.5, decoys=0.0), world, [], 5000, rng)
    assert noisy.std() == pytest.approx(0.5, rel=0.05)
    neighbours = (noisy[1:] * noisy[:-1]).mean() / noisy.var()
    assert neighbours == pytest.approx(0.5 * np.exp(-0.1), abs=0.05)


def test_the_folder_is_what_training_reads_and_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        prepare(tmp_path / folder, SMALL)
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(names) == 15 + 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    annotations = read_annotations(tmp_path / "one" / "gt.json", SMALL.names)
    for split, count in (("train", 10), ("test", 5)):
        videos = open_split(
            tmp_path / "one", split, annotations, DatasetSettings(8, SECONDS_PER_SNIPPET)
        )
        assert len(videos) == count
        for name, length in zip(videos.names, videos.lengths, strict=True):
            video = annotations.videos[name]
            assert video.subset == split
            assert video.duration == length * SECONDS_PER_SNIPPET
            assert all(0 < one.start < one.end < video.duration for one in video.segments)
    # Without noise and decoys the background is one value, and nothing else is.
    prepare(tmp_path / "three", replace(SMALL, noise=0.0, decoys=0.0))
    found = np.load(tmp_path / "three" / "test" / "test_0000.npy")
    segments = read_annotations(tmp_path / "three" / "gt.json").videos["test_0000"].segments
    inside = np.zeros(len(found), np.bool_)
    for one in segments:
        inside[int(one.start) : int(one.end)] = True
    assert ((found != found[0]).any(axis=1) == inside).all()


def test_streams_to_choose_by_are_others_and_more_streams_begin_as_fewer(tmp_path: Path) -> None:
    prepare(tmp_path / "test", SMALL)
    prepare(tmp_path / "choose", SMALL, validation=True)
    prepare(tmp_path / "more", replace(SMALL, n_test=6))
    read = {
        (folder, name): np.load(tmp_path / folder / name)
        for folder in ("test", "choose", "more")
        for name in ("train/train_0003.npy", "test/test_0003.npy")
    }
    for folder in ("choose", "more"):
        same = np.array_equal(
            read["test", "train/train_0003.npy"], read[folder, "train/train_0003.npy"]
        )
        assert same
    chosen, tested, more = (
        read[folder, "test/test_0003.npy"] for folder in ("choose", "test", "more")
    )
    assert np.array_equal(tested, more)
    assert not np.array_equal(tested, chosen)
    with pytest.raises(FileExistsError, match="holds other files"):
        prepare(tmp_path / "test", replace(SMALL, seed=1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--share", "0.6"], r"share must be in \(0, 0\.5\], got 0\.6"),
        (["--actions", "3"], "actions must be a divisor of the 20 classes, got 3"),
        (["--scripts", "4"], "scripts must be at least 5, for every class, got 4"),
        (["--snippets", "300"], "snippets must be at least 534 for so many actions, got 300"),
        (["--noise", "-1"], r"noise must be in \[0, 100\], got -1"),
    ],
)
def test_what_no_stream_can_have_is_refused(tmp_path: Path, words: list, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["generate", "--output", str(tmp_path / "data"), *words])
    assert not (tmp_path / "data").exists()


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--n-train 4 --n-test 3 --snippets 200 --classes 6 --scripts 4 --actions 3 --share 0.2"
    main(["generate", "--output", str(tmp_path / "data"), "--unordered", *words.split()])
    assert capsys.readouterr().out == f"{tmp_path / 'data'}: 4 training and 3 test streams\n"
    settings = replace(SMALL, n_train=4, n_test=3, width=32, ordered=False)
    prepare(tmp_path / "data", settings)  # which finds it there
    assert len((tmp_path / "data" / "split_test.txt").read_text().split()) == 3

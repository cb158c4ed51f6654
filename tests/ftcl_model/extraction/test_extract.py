from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import read_annotations
from ftcl_model.data.features import open_split
from ftcl_model.distributed import available_cores
from ftcl_model.extraction.encoders import Encoder, load_encoder
from ftcl_model.extraction.workers import Video, Work, encode
from ftcl_model.settings import ExtractionSettings
from tests.ftcl_model.commands import refused, run
from tests.ftcl_model.extraction.tiny_videos import SMALL, grey, noise, write_video


def extract(videos: Path, output: Path, *more: object) -> tuple[object, ...]:
    """The words of a short extraction."""
    return (
        "extract", videos, "--output", output, "--encoder", SMALL, "--weights", "none",
        "--frames", 4, "--stride", 4, "--device", "cpu", "--no-progress", *more,
    )  # fmt: skip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    write_video(folder / "a.mp4", noise(20))
    write_video(folder / "b" / "c.mkv", noise(13, seed=1))
    return folder


def brightness(weights: str) -> Encoder:
    """An encoder whose features say what it was given."""

    class Mean(nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            assert clips.dtype == torch.float32
            return torch.stack([clips.mean(dim=(1, 2, 3, 4)), clips[:, 0, 0, 0, 0]], dim=1)

    return Encoder(Mean(), weights, size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_a_folder_without_splits_becomes_a_test_split(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "data"
    run(*extract(videos, output))
    assert capsys.readouterr().out.splitlines()[-1] == f"{output}: 2 videos encoded"
    assert (output / "split_test.txt").read_text() == "a\nb/c\n"
    annotations = read_annotations(output / "gt.json")
    assert [video.duration for video in annotations.videos.values()] == [0.8, 0.52]
    split = open_split(output, "test", annotations, load_config(output / "config.yaml").dataset)
    assert (split.lengths.tolist(), split.width) == ([5, 3], 96)
    said = json.loads((output / "dataset.json").read_text())
    assert said["extraction"] | {"digest": ""} == {
        "encoder": SMALL, "weights": "none", "digest": "", "frames": 4, "stride": 4, "rate": 25.0,
        "size": 32, "seed": 0,
    }  # fmt: skip
    assert (said["feature_width"], said["seconds_per_snippet"]) == (96, 0.16)
    assert {"torch", "av", "libavcodec"} <= said["versions"].keys()
    dataset = load_config(output / "config.yaml").dataset
    assert (dataset.feature_width, dataset.seconds_per_snippet) == (96, 0.16)
    assert dataset.extraction is not None
    assert dataset.extraction.encoder == SMALL


def test_snippets_are_encoded_as_they_are_shown(tmp_path: Path) -> None:
    levels = np.repeat([0, 51, 102, 153, 204], 4)
    write_video(tmp_path / "videos" / "a.mp4", grey(levels.tolist()))
    run(*extract(tmp_path / "videos", tmp_path / "data"),
        "--encoder", f"{__name__}:brightness", "--batch", 2)  # fmt: skip
    features = np.load(tmp_path / "data" / "test" / "a.npy")
    assert features.dtype == np.float32
    expected = (np.array([0, 0.2, 0.4, 0.6, 0.8]) - 0.5) / 0.25
    np.testing.assert_allclose(features, np.stack([expected, expected], axis=1), atol=0.06)


def test_batches_jobs_and_what_else_is_encoded_change_nothing(tmp_path: Path, videos: Path) -> None:
    run(*extract(videos, tmp_path / "one", "--jobs", 1, "--batch", 1))
    run(*extract(videos, tmp_path / "two", "--jobs", 2, "--batch", 3))
    for name in ("a", "b/c"):
        one, two = (
            np.load(tmp_path / folder / "test" / f"{name}.npy") for folder in ("one", "two")
        )
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
        assert one.std(axis=0).max() > 0


def test_bfloat16_is_close(tmp_path: Path, videos: Path) -> None:
    run(*extract(videos, tmp_path / "float", "--jobs", 1))
    run(*extract(videos, tmp_path / "half", "--jobs", 1, "--precision", "bfloat16"))
    one, two = (np.load(tmp_path / folder / "test" / "a.npy") for folder in ("float", "half"))
    assert two.dtype == np.float32
    assert 0 < np.abs(one - two).max() < 0.05 * np.abs(one).max()


def test_damaged_and_empty_videos_are_named_and_skipped(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "empty.mp4").touch()
    whole = (videos / "a.mp4").read_bytes()
    (videos / "half.mp4").write_bytes(whole[: len(whole) // 2])
    output = tmp_path / "data"
    assert refused(*extract(videos, output)) == "1"
    said = capsys.readouterr()
    assert f"ftcl_model: {videos / 'empty.mp4'}: the video is empty, skipped\n" in said.err
    assert f"error: {videos / 'empty.mp4'}: the video is empty\n" in said.out
    assert f"error: {videos / 'half.mp4'}: " in said.out
    assert said.out.splitlines()[-1] == f"{output}: 2 videos encoded, 2 skipped"
    assert (output / "split_test.txt").read_text() == "a\nb/c\n"
    written = {path.relative_to(output).as_posix() for path in output.rglob("*.npy")}
    assert written == {"test/a.npy", "test/b/c.npy"}

    # They are tried again, the others are not.
    (videos / "half.mp4").write_bytes(whole)
    before = (output / "test" / "a.npy").stat().st_mtime_ns
    assert refused(*extract(videos, output)) == "1"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{output}: 1 videos encoded, 2 were there, 1 skipped"
    assert (output / "test" / "a.npy").stat().st_mtime_ns == before
    assert (output / "split_test.txt").read_text() == "a\nb/c\nhalf\n"


def fatal(weights: str) -> Encoder:
    """An encoder that bright pictures end the process of."""
    import os
    import signal

    class Fatal(nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            if clips.mean() > 0.5:
                os.kill(os.getpid(), signal.SIGSEGV)
            return clips.mean(dim=(2, 3, 4))

    return Encoder(Fatal(), weights, size=16)


def test_a_video_that_ends_its_process_is_named_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, output = tmp_path / "videos", tmp_path / "data"
    for name, level in (("a", 250), ("b", 20), ("c", 30)):
        write_video(videos / f"{name}.mp4", grey(8 * [level]))
    words = (*extract(videos, output), "--encoder", f"{__name__}:fatal", "--jobs", 1)
    assert refused(*words) == "1"
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"error: {videos / 'a.mp4'}: ended the process that read it (signal SIGSEGV)",
        f"{output}: 2 videos encoded, 1 skipped",
    ]


def test_it_is_told_how_far_a_long_video_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey([50] * 200))
    settings = ExtractionSettings(SMALL, "none", "", 4, 4, 25.0, 16)
    work = Work(settings, "none", torch.device("cpu"), "float32", 1, 1)
    told = list(encode(Video("a", path, tmp_path / "a.npy"), load_encoder(SMALL), work))
    assert len(told) == 6
    assert [one.share for one in told] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1], abs=0.01)
    assert [one.over for one in told] == [False] * 5 + [True]
    assert told[-1] == ("a", 1.0, 8.0, 50, "")


def only_here(weights: str) -> Encoder:
    """An encoder that only the process of the test can make."""
    import multiprocessing

    if multiprocessing.parent_process() is not None:
        raise ValueError("not in another process")
    return brightness(weights)


def test_a_process_without_an_encoder_blames_no_video(tmp_path: Path, videos: Path) -> None:
    output = tmp_path / "data"
    said = refused(*extract(videos, output), "--encoder", f"{__name__}:only_here")
    assert said == ("ftcl_model: a process ended before it had made its encoder (exit status 1)")


def test_an_extraction_that_was_stopped_goes_on(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "data"
    run(*extract(videos, output))
    whole = {path: path.read_bytes() for path in sorted(output.rglob("*.npy"))}
    # As if it had been stopped in its first video.
    for name in ("split_test.txt", "gt.json", "config.yaml", "test/b/c.npy"):
        (output / name).unlink()
    capsys.readouterr()
    run(*extract(videos, output))
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{output}: 1 videos encoded, 1 were there"
    assert {path: path.read_bytes() for path in sorted(output.rglob("*.npy"))} == whole
    assert (output / "split_test.txt").read_text() == "a\nb/c\n"
    durations = [video.duration for video in read_annotations(output / "gt.json").videos.values()]
    assert durations == pytest.approx([0.8, 0.52])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--stride", 8), "extraction.stride was 4 and is 8"),
        (("--rate", 10), "extraction.rate was 25.0 and is 10.0"),
        (("--size", 24), "extraction.size was 32 and is 24"),
        (("--seed", 1), "extraction.digest was "),
        (("--encoder", f"{__name__}:brightness"), "extraction.encoder was "),
    ],
)
def test_features_of_another_make_are_not_mixed(
    tmp_path: Path, videos: Path, more: tuple[object, ...], message: str
) -> None:
    output = tmp_path / "data"
    run(*extract(videos / "a.mp4", output))
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    said = refused(*extract(videos, output), *more)
    assert f"dataset.json: features of another make: {message}" in said
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_folder_of_other_features_is_refused(tmp_path: Path, videos: Path) -> None:
    output = tmp_path / "data"
    (output / "train").mkdir(parents=True)
    assert refused(*extract(videos, output)).endswith("holds features that were not extracted here")
    shutil.rmtree(output)
    output.touch()
    said = refused(*extract(videos, output))
    assert said.endswith("data: the output is a file, expected a folder")


def test_videos_go_to_the_splits_that_name_them(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "data"
    output.mkdir()
    write_video(videos / "spare.mp4", noise(4))
    (output / "split_train.txt").write_text("a\ngone\n")
    (output / "split_test.txt").write_text("b/c\n")
    assert refused(*extract(videos, output)) == "1"
    assert capsys.readouterr().out.splitlines() == [
        "note: 1 videos that no split names, left out: spare",
        f"error: {output / 'split_train.txt'}: no video is named gone",
        f"{output}: 2 videos encoded, 1 skipped",
    ]
    written = {path.relative_to(output).as_posix() for path in output.rglob("*.npy")}
    assert written == {"train/a.npy", "test/b/c.npy"}
    assert not (output / "gt.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--encoder", "s3d"), "expected an encoder such as torchvision:s3d, timm:resnet50"),
        (("--encoder", f"{__name__}:nothing"), "has no function nothing"),
        (("--encoder", "no_such_module:f"), "No module named 'no_such_module'"),
        (("--encoder", "json:dumps"), "json:dumps: expected an ftcl_model.extraction.encoders.E"),
        (("--weights", "kinetics"), "expected the weights none, there are no others"),
    ],
)
def test_what_is_no_encoder_is_refused(
    tmp_path: Path, videos: Path, more: tuple[object, ...], message: str
) -> None:
    output = tmp_path / "data"
    said = refused(*extract(videos, output), *more)
    assert message in said
    assert "\n" not in said
    assert not output.exists()


def test_random_weights_follow_from_the_seed() -> None:
    drawn = torch.get_rng_state()
    first, second, other = (load_encoder(SMALL, "none", seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_no_more_processes_and_threads_than_cores(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftcl_model.extraction import workers

    seen = []
    real = workers.encode_all

    def encode_all(videos, work, jobs):
        seen.append((jobs, work.threads))
        return real(videos, work, jobs)

    monkeypatch.setattr(workers, "encode_all", encode_all)
    for index, asked in enumerate((1, 2, 1000)):
        run(*extract(videos, tmp_path / str(index), "--jobs", asked))
    cores = available_cores()
    assert all(jobs * threads <= cores for jobs, threads in seen)
    assert seen[0] == (1, cores)
    assert seen[2][0] == min(2, cores)

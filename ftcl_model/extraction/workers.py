"""Videos encoded by several processes; what ends one of them is known by the video it had."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ftcl_model.errors import InputError
from ftcl_model.extraction.decoding import read_frames
from ftcl_model.extraction.encoders import Encoder, load_encoder
from ftcl_model.extraction.sampling import batches, snippets
from ftcl_model.files import written_whole
from ftcl_model.settings import ExtractionSettings

_PROCESSES = multiprocessing.get_context("forkserver")
OFTEN = 10
"""Batches of snippets after which it is told how far a video is."""


@dataclass(frozen=True)
class Work:
    """What every video is encoded by.

    settings: of the extraction.
    weights: as they were asked for, see `load_encoder`.
    device: to compute on.
    precision: of the encoder's arithmetic, "float32" or "bfloat16".
    batch: snippets at a time.
    threads: of a process, for the decoder and for the encoder.
    """

    settings: ExtractionSettings
    weights: str
    device: torch.device
    precision: str
    batch: int
    threads: int


class Video(NamedTuple):
    """A video to encode, and the file for its features."""

    name: str
    path: Path
    features: Path


class Encoded(NamedTuple):
    """What became of a video.

    share: how much of it is encoded, 0..1.
    seconds: its length, once it is done.
    snippets: number of them once it is done, None before.
    error: what is wrong with it, a line; empty if nothing is.
    """

    name: str
    share: float
    seconds: float = 0.0
    snippets: int | None = None
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether it is done, well or not."""
        return self.snippets is not None or bool(self.error)


@dataclass
class _Worker:
    """A process, the video it has, and whether it has made its encoder."""

    process: BaseProcess
    video: Video
    ready: bool = False


def encode_all(videos: Mapping[str, Video], work: Work, jobs: int) -> Iterator[Encoded]:
    """Encode videos in `jobs` processes, and tell of each how far it is, and once that it is over.

    A video that is damaged, or whose process is ended by what it holds, is over with an error; the
    others go on.

    Raises:
        ChildProcessError: a process ended before it had made its encoder.
    """
    waiting = list(videos.values())[::-1]
    workers: dict[Connection, _Worker] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                connection, process = _start(work)
                workers[connection] = _Worker(process, waiting.pop())
                connection.send(workers[connection].video)
            ready = wait(list(workers))
            for connection in [one for one in workers if one in ready]:
                worker = workers[connection]
                try:
                    told: Encoded | None = connection.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    del workers[connection]
                    yield _ended(worker)
                    continue
                if told is None:
                    worker.ready = True
                    continue
                if told.over and waiting:
                    worker.video = waiting.pop()
                    connection.send(worker.video)
                elif told.over:
                    del workers[connection]
                    connection.close()
                    worker.process.join()
                yield told
    finally:
        for worker in workers.values():
            worker.process.terminate()
            worker.process.join()


def _ended(worker: _Worker) -> Encoded:
    """What is said of the video of a process that is no more."""
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    if not worker.ready:
        raise ChildProcessError(f"a process ended before it had made its encoder ({how})")
    video = worker.video
    return Encoded(video.name, 1.0, error=f"{video.path}: ended the process that read it ({how})")


def _start(work: Work) -> tuple[Connection, BaseProcess]:
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_work, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(connection: Connection, work: Work) -> None:
    """Encode the videos that come, until none comes any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    torch.set_num_threads(work.threads)
    encoder = load_encoder(work.settings.encoder, work.weights, work.settings.seed)
    encoder.model.to(work.device)
    with suppress(EOFError, BrokenPipeError):
        connection.send(None)
        while True:
            video: Video = connection.recv()
            try:
                for told in encode(video, encoder, work):
                    connection.send(told)
            except (ValueError, OSError, RuntimeError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                connection.send(Encoded(video.name, 1.0, error=_said(error, video)))


def _said(error: Exception, video: Video) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    said = str(error).strip() or type(error).__name__
    return said if isinstance(error, InputError) else f"{video.path}: {said}"


@torch.inference_mode()
def encode(video: Video, encoder: Encoder, work: Work) -> Iterator[Encoded]:
    """Encode one video to its file of features, (snippets, width) float32; tell how far it is.

    Raises:
        InputError: as `read_frames`; or a feature is NaN or infinite.
        OSError: the video cannot be read, or the features not be written.
    """
    settings = work.settings
    time = share = 0.0

    def pictures() -> Iterator[np.ndarray]:
        nonlocal time, share
        for picture, time, share in read_frames(  # noqa: B007
            video.path, rate=settings.rate, size=settings.size, threads=work.threads
        ):
            yield picture

    mean, std = (
        torch.tensor(values, device=work.device).reshape(3, 1, 1, 1)
        for values in (encoder.mean, encoder.std)
    )
    parts = []
    cut = snippets(pictures(), settings.frames, settings.stride)
    for index, batch in enumerate(batches(cut, work.batch)):
        clips = torch.from_numpy(np.stack(batch)).to(work.device).permute(0, 4, 1, 2, 3)
        clips = (clips.float() / 255 - mean) / std
        with torch.autocast(work.device.type, torch.bfloat16, enabled=work.precision == "bfloat16"):
            parts.append(encoder.model(clips).float().cpu())
        if not parts[-1].isfinite().all():
            raise InputError(f"{video.path}: its features are NaN or infinite")
        if index % OFTEN == OFTEN - 1:
            yield Encoded(video.name, share)
    features = torch.cat(parts).numpy()
    with written_whole(video.features) as file:
        np.save(file, features)
    yield Encoded(video.name, 1.0, time + 1 / settings.rate, len(features))

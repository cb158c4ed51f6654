"""Torch files that end in a checksum of all their bytes: what is damaged is never used."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path
from typing import Any

import torch

from ftcl_model.errors import InputError
from ftcl_model.files import write_bytes

_MARK = b"ftcl_model sha256 "
_SEAL_SIZE = len(_MARK) + 2 * hashlib.sha256().digest_size


def save_sealed(path: str | os.PathLike[str], content: Any) -> None:
    """`torch.save` to a file that appears whole or not at all, and ends in its checksum.

    What torch writes is a zip archive, and the checksum its comment, so that `torch.load` reads the
    file as any other.

    Raises:
        OSError: see `files.write_bytes`.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    # An archive ends in the length of its comment, of which torch's has none.
    buffer.seek(-2, os.SEEK_END)
    buffer.write(struct.pack("<H", _SEAL_SIZE))
    buffer.write(_seal(buffer.getbuffer()))
    write_bytes(path, buffer.getbuffer())


def load_sealed(path: str | os.PathLike[str]) -> Any:
    """Read what `save_sealed` wrote, on the CPU.

    Raises:
        InputError: there is no such file, it does not end in a checksum or in that of other bytes
            than it has, or what it holds is not read by this torch. The message is one line and
            names the file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: the checkpoint is missing")
    if not path.is_file():
        raise InputError(f"{path}: expected a checkpoint, which is a regular file")
    with path.open("rb") as file:
        # First, so that gigabytes of something else are not read.
        file.seek(-min(_SEAL_SIZE, file.seek(0, os.SEEK_END)), os.SEEK_END)
        seal = file.read()
        if len(seal) < _SEAL_SIZE or not seal.startswith(_MARK):
            raise InputError(
                f"{path}: damaged or not a checkpoint of this program: does not end in its checksum"
            )
        file.seek(0)
        content = file.read()
    if content[-_SEAL_SIZE:] != _seal(memoryview(content)[:-_SEAL_SIZE]):
        raise InputError(f"{path}: damaged: its checksum is wrong")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever another version's file leads it to
        raise InputError(f"{path}: not readable by torch {torch.__version__} ({error!r})") from None


def _seal(content: memoryview) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode()

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ftcl_model.sealed import load_sealed, save_sealed

CONTENT = {"weights": {"a": torch.arange(60.0).reshape(3, 20)}, "name": "Größe", "step": 3}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_sealed(tmp_path / "file.pt", CONTENT)
    return tmp_path / "file.pt"


def test_what_was_saved_comes_back_and_torch_reads_it_too(path: Path) -> None:
    for content in (load_sealed(path), torch.load(path, weights_only=True)):
        assert content.keys() == CONTENT.keys()
        assert torch.equal(content["weights"]["a"], CONTENT["weights"]["a"])
        assert (content["name"], content["step"]) == ("Größe", 3)


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=r"file\.pt: ") as refusal:
        load_sealed(path)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_bit_that_is_flipped_anywhere_is_found(path: Path) -> None:
    whole = path.read_bytes()
    bits = np.random.default_rng(0).integers(8, size=len(whole))
    assert len(whole) > 1000
    for place, bit in enumerate(bits.tolist()):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        assert "file.pt: damaged" in refused(path)
    path.write_bytes(whole)
    load_sealed(path)


def test_a_file_that_is_cut_or_has_grown_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 1, 50, len(whole) // 2, len(whole) - 82, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "damaged or not a checkpoint of this program" in refused(path)
    path.write_bytes(whole + b"\0")
    assert "does not end in its checksum" in refused(path)
    path.write_bytes(whole[:-4096] + bytes(4096 - 82) + whole[-82:])
    assert refused(path).endswith("damaged: its checksum is wrong")


def test_a_file_without_a_checksum_is_refused(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "file.pt")
    assert "does not end in its checksum" in refused(tmp_path / "file.pt")


def test_what_is_no_file_is_refused_and_a_fifo_not_waited_for(tmp_path: Path) -> None:
    assert refused(tmp_path / "file.pt").endswith("the checkpoint is missing")
    os.mkfifo(tmp_path / "file.pt")
    assert "expected a checkpoint, which is a regular file" in refused(tmp_path / "file.pt")


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_no_code_is_run_from_a_file_however_it_is_sealed(tmp_path: Path) -> None:
    save_sealed(tmp_path / "file.pt", {"step": Runs()})
    assert pickle.UnpicklingError.__name__ in refused(tmp_path / "file.pt")

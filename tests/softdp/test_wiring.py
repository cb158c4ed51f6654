"""Which kernels run is a matter of the tensors' device; where it has none there is an error."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses import FakeTensorMode

import softdp
from softdp import _extension

CALLS = {
    "edit_similarity": (-1.0, -1.0),
    "edit_distance": (1.0, 1.0),
    "lcs": (0.5,),
    "soft_dtw": (),
    "sweep": (),
    "expected_alignment": (-1.0, -1.0),
    "best_alignment": (-1.0, -1.0),
    "EditAlignment": (-1.0, -1.0),
    "LCSAlignment": (0.5,),
    "SoftDTWAlignment": (),
    "monotonic_alignment": (),
    "needleman_wunsch": (),
    "NeedlemanWunschAlignment": (),
    "smith_waterman": (),
    "SmithWatermanAlignment": (),
    "drop_dtw": (1.0, 1.0),
    "DropDTWAlignment": (1.0, 1.0),
}
KEYWORDS = {
    name: {"gap": 1.0}
    for name in CALLS
    if name.lower().replace("_", "").startswith(("needlemanwunsch", "smithwaterman"))
}


@pytest.mark.host
@pytest.mark.parametrize("name", [name for name in softdp.__all__ if name in CALLS])
def test_without_cuda_kernels_a_cuda_tensor_gives_an_error_that_says_how_to_build_them(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(_extension, "_devices", {"cpu", "meta"})
    message = f"{name}: no kernels for device cuda:0, only for cpu; build them where an nvcc"
    with FakeTensorMode():
        table = torch.empty(2, 3, 4, device="cuda")
        family = ("soft_dtw",) if name == "sweep" else ()
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}") as caught:
            getattr(softdp, name)(*family, table, *CALLS[name], **KEYWORDS.get(name, {}))
    assert "SOFTDP_CUDA=1 pip install --no-build-isolation" in str(caught.value)


@pytest.mark.host
def test_without_cuda_kernels_transducers_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extension, "_devices", {"cpu", "meta"})
    with FakeTensorMode():
        blank, label = (torch.empty(2, 3, u, device="cuda") for u in (4, 3))
        with pytest.raises(RuntimeError, match=r"^rnnt: no kernels for device cuda:0"):
            softdp.rnnt(blank, label)


@pytest.mark.host
def test_every_function_is_asked() -> None:
    elsewhere = {"dtw_divergence", "rnnt", "rnnt_loss"}  # in test_divergence.py; above
    no_kernels = {"reference", "pairwise_cost", "itakura", "sakoe_chiba", "check_values"}
    made_of_others = {"blockwise"}
    functions = {name for name in softdp.__all__ if name.islower()}
    functions -= elsewhere | no_kernels | made_of_others
    assert functions <= CALLS.keys()


@pytest.mark.host
def test_where_there_are_kernels_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extension, "_devices", {"cpu", "meta", "cuda"})
    _extension.require_kernels("lcs", torch.device("cuda", 1))

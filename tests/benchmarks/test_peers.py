"""Every peer computes what softdp computes: without that its timing means nothing."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import softdp.reference
from benchmarks import peers
from benchmarks.cases import CASES, Case, Program

CPU = torch.device("cpu")
PEERS = pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)


@pytest.fixture
def installed(peer):
    """The peer, where it can be imported, with as many threads as PyTorch."""
    pytest.importorskip("numba", reason="the peers compile with numba, which is absent")
    pytest.importorskip(peer.name, reason=f"the optional peer {peer.name} is absent")
    assert peer in peers.implementations(CPU)
    return peer


def assert_agrees(peer, case):
    """Within what the peers' float32 gradients, exponentials of differences, hold at this size."""
    (inputs,) = case.inputs(CPU)
    prepared = peer.prepare(case, [inputs])
    (scores,) = prepared.scores()
    (gradient,) = prepared.gradients()

    cost = inputs.tables[0].double().requires_grad_()
    expected = softdp.reference.soft_dtw(cost, gamma=case.programs[0].gamma, lengths=inputs.lengths)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), cost)
    total = (scores * prepared.weights[0]).sum()
    torch.testing.assert_close(total.double(), expected.sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=0, atol=1e-4)


@PEERS
def test_value_and_gradient_agree_with_the_reference(installed):
    case = Case("small", (Program("dtw", 3, 7, 9),))
    assert installed.runs(case)
    assert_agrees(installed, case)


@pytest.mark.parametrize("peer", [item for item in peers.PEERS if item.name == "ddtw"])
def test_the_peer_that_takes_lengths_agrees_with_the_reference(installed):
    case = Case("ragged", (Program("dtw", 6, 7, 9, ragged=True),))
    assert installed.runs(case)
    assert_agrees(installed, case)


@PEERS
def test_peers_are_offered_soft_dtw_only(peer):
    offered = {name for name, case in CASES.items() if peer.runs(case)}
    assert {"dtw-32x256x256", "dtw-1x4096x4096"} <= offered
    assert all(name.startswith("dtw") for name in offered)


def test_peers_on_a_gpu_are_offered_what_they_can_run():
    offered = {
        peer.name: {
            name for name, case in CASES.items() if "cuda" in case.devices if peer.runs(case)
        }
        for peer in peers.CUDA_PEERS
    }
    assert all(name.startswith("dtw") for names in offered.values() for name in names)
    short = {"dtw-512x256x256", "dtw-64x1024x1024"}
    assert offered["maghoumi"] == offered["ddtw"] == short | {"dtw-65536x30x30"}
    assert offered["pysdtw"] == short | {"dtw-1x16384x16384"}
    assert offered["sdtw-cuda-torch"] == short | {"dtw-1x16384x16384", "dtw-65536x30x30"}


def test_absent_peers_are_not_listed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for device in (CPU, torch.device("cuda")):
        assert [item.name for item in peers.implementations(device)] == ["softdp", "reference"]


def test_listing_leaves_the_thread_count_alone():
    threads = torch.get_num_threads()
    peers.implementations(CPU)
    assert torch.get_num_threads() == threads

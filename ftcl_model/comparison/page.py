"""A page to look at: variants side by side, paired by seed."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ftcl_model.comparison.statistics import (
    draw_comparison,
    explanation,
    read_comparison,
    summary_table,
    tiou_table,
)
from ftcl_model.files import check_output_file, write_text
from ftcl_model.report import html


def report_comparison(folder: Path, path: str | os.PathLike[str]) -> None:
    """Write one HTML file that needs no other of what `compare` left in a folder.

    Raises:
        OSError: the file cannot be written, which is tried first.
        InputError: compare.json is broken.
    """
    check_output_file(path)
    rows, seeds, tious = read_comparison(folder / "compare.json")
    name = folder.resolve().name
    means = ", ".join(f"{row.name} {html.percent(row.mean)} %" for row in rows)
    best = max(rows, key=lambda row: row.mean)
    items = [
        ("highest mean mAP", f"{best.name}, {html.percent(best.mean)} %"),
        ("variants", str(len(rows))),
        ("seeds", str(len(seeds))),
    ]
    head, *body = summary_table(rows)
    tiou_head, *tiou_body = tiou_table(rows, tious)
    parts = [
        f"<header>\n<h1>Comparison: {html.escaped(name)}</h1>\n{html.facts(items)}\n</header>",
        html.section(
            "Mean average precision",
            html.paragraph(explanation(rows, seeds, tious)),
            html.number_table(head, body),
            html.picture(
                partial(draw_comparison, rows=rows, seeds=seeds),
                f"Average mAP of each variant, a line a seed. Means: {means}.",
                "A line is a seed, a bar the mean of its variant.",
            ),
        ),
        html.section("By tIoU", html.number_table(tiou_head, tiou_body)),
        html.section(
            "Single runs",
            html.paragraph(
                f"python -m ftcl_model report {name}/{rows[0].name}/seed_{seeds[0]} --data DIR "
                "makes the page of one of them: classes, errors, timelines, alignments."
            ),
        ),
    ]
    write_text(path, html.page(f"FTCL: {name}", "\n".join(parts)))

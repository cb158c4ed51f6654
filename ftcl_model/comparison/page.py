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
from ftcl_model.files import write_text
from ftcl_model.report import html as page


def write_comparison_page(path: str | os.PathLike[str], folder: Path) -> None:
    """Write one HTML file that needs no other of what `compare` left in a folder.

    Raises:
        InputError: compare.json is broken.
    """
    rows, seeds, tious = read_comparison(folder / "compare.json")
    name = folder.resolve().name
    means = ", ".join(f"{row.name} {page.percent(row.mean)} %" for row in rows)
    best = max(rows, key=lambda row: row.mean)
    items = [
        ("highest mean mAP", f"{best.name}, {page.percent(best.mean)} %"),
        ("variants", str(len(rows))),
        ("seeds", str(len(seeds))),
    ]
    head, *body = summary_table(rows)
    tiou_head, *tiou_body = tiou_table(rows, tious)
    parts = [
        f"<header>\n<h1>Comparison: {page.escaped(name)}</h1>\n{page.facts(items)}\n</header>",
        page.section(
            "Mean average precision",
            page.paragraph(explanation(rows, seeds, tious)),
            page.number_table(head, body),
            page.picture(
                partial(draw_comparison, rows=rows, seeds=seeds),
                f"Average mAP of each variant, a line a seed. Means: {means}.",
                "A line is a seed, a bar the mean of its variant.",
            ),
        ),
        page.section("By tIoU", page.number_table(tiou_head, tiou_body)),
        page.section(
            "Single runs",
            page.paragraph(
                f"python -m ftcl_model report {name}/{rows[0].name}/seed_{seeds[0]} --data DIR "
                "makes the page of one of them: classes, errors, timelines, alignments."
            ),
        ),
    ]
    write_text(path, page.page(f"FTCL: {name}", "\n".join(parts)))

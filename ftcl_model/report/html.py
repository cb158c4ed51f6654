"""The parts of an HTML page that needs nothing but itself: tables, bars, curves, pictures."""

from __future__ import annotations

import base64
import html
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ftcl_model.report.sheet import FLOOR, FRAME, INK, PALETTE
from ftcl_model.texts import one_line

WIDE, NARROW = 11.0, 4.6
"""Widths of the pictures in inches, for wide and for narrow windows."""

Draw = Callable[..., None]
"""Draws a PNG, called with its path and `width` in inches."""

KIND_COLOURS = ("#2e9e6b", "#a5d9bf", "#e68a00", "#f2c166", "#2f6fb0", "#a9b0b8")
"""Of `false_positives.KINDS`, in their order."""

_STYLE = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: {INK}; line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }}
main {{ max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }}
h2 {{ font-size: 1.3rem; margin: 2.8rem 0 .6rem; padding-top: .9rem;
  border-top: 1px solid {FRAME}; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
p {{ max-width: 46rem; margin: .4rem 0 .9rem; }}
.muted, figcaption {{ color: #565c63; font-size: .9rem; }}
.big {{ font-size: 2.1rem; font-weight: 650; }}
dl.facts {{ display: flex; flex-wrap: wrap; gap: .6rem 1.7rem; margin: 1rem 0 0; }}
dl.facts dt {{ color: #565c63; font-size: .85rem; }}
dl.facts dd {{ margin: 0; font-weight: 600; }}
.columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: 1.2rem 3rem; align-items: start; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: .95rem; }}
caption {{ text-align: left; font-weight: 600; padding: .3rem 0; }}
th, td {{ padding: .28rem .5rem .28rem 0; text-align: left; font-weight: 400;
  vertical-align: top; border-bottom: 1px solid {FLOOR}; }}
thead th, thead td {{ color: #565c63; font-size: .85rem; border-bottom-color: {FRAME}; }}
td.number, th.number {{ text-align: right; width: 4.4rem; padding-right: 0; }}
.scroll {{ overflow-x: auto; overflow-wrap: normal; margin: .8rem 0; }}
.scroll th, .scroll td {{ padding-right: .9rem; vertical-align: bottom; }}
.scroll td, .scroll th[scope=row] {{ white-space: nowrap; }}
summary {{ cursor: pointer; color: {PALETTE[0]}; }}
td.bar {{ padding-left: .8rem; width: 55%; vertical-align: middle; }}
.track {{ display: block; height: .8rem; background: {FLOOR}; }}
.track span {{ display: block; height: 100%; background: {PALETTE[0]}; }}
.stack {{ display: flex; height: 1.15rem; background: {FLOOR}; overflow: hidden; }}
.stack.tall {{ height: 2.6rem; margin: 1rem 0; }}
.stack span {{ height: 100%; border-right: 1px solid #fff; }}
.swatch {{ display: inline-block; width: .85em; height: .85em; margin-right: .5em; }}
.ranks {{ display: grid; grid-template-columns: 3.2rem 1fr; gap: .25rem .5rem;
  align-items: center; font-size: .85rem; }}
.curves {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
  gap: 1rem 1.5rem; }}
figure {{ margin: 0 0 1.6rem; }}
.curves figure {{ margin: 0; }}
figcaption b {{ color: {INK}; }}
.chart {{ max-width: 46rem; }}
.plot {{ display: grid; grid-template: auto 1fr auto auto / auto 1fr auto; font-size: .8rem;
  column-gap: .5rem; color: #565c63; margin-top: .4rem; }}
.plot svg {{ grid-area: 1 / 2 / 4 / 4; height: 10rem; overflow: visible; }}
.plot .low {{ grid-area: 3 / 1; }} .plot .high {{ grid-area: 1 / 1; }}
.plot .from {{ grid-area: 4 / 2; }} .plot .to {{ grid-area: 4 / 3; }}
.lines * {{ vector-effect: non-scaling-stroke; }}
img, svg {{ display: block; width: 100%; height: auto; }}
@media (max-width: 40rem) {{
  main {{ padding: 1.2rem 1rem 3rem; }}
  h1 {{ font-size: 1.5rem; }}
  .kinds td.definition {{ display: none; }}
  .curves {{ grid-template-columns: repeat(2, 1fr); gap: .9rem 1rem; }}
}}
"""


def escaped(text: str) -> str:
    """Text, as it has to be written in HTML to mean itself."""
    return html.escape(one_line(text))


def page(title: str, body: str) -> str:
    """A whole document; title is text, body is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escaped(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A part of the page under a heading."""
    return "\n".join([f"<section>\n<h2>{escaped(heading)}</h2>", *parts, "</section>"])


def paragraph(text: str, kind: str = "") -> str:
    """Text, not HTML."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def facts(items: Sequence[tuple[str, str]]) -> str:
    """Names with their values."""
    cells = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in items
    )
    return f'<dl class="facts">{cells}</dl>'


def columns(content: str, *, folded: bool = False) -> str:
    """HTML side by side where there is room; folded until a reader opens it."""
    content = f'<div class="columns">{content}</div>'
    return f"<details><summary>show</summary>{content}</details>" if folded else content


def bar_table(caption: str, head: str, rows: Sequence[tuple[str, float]]) -> str:
    """Shares in 0..1 as percentages with a bar each; NaN is left out."""
    lines = [
        f'<tr><th scope="row">{escaped(name)}</th><td class="bar" aria-hidden="true">'
        f'<span class="track"><span style="width:{100 * value:.2f}%"></span></span></td>'
        f'<td class="number">{percent(value)}</td></tr>'
        for name, value in rows
        if value == value
    ]
    return (
        f"<table><caption>{escaped(caption)}</caption><thead><tr><th>{escaped(head)}</th><td></td>"
        f'<th class="number">%</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def percent(value: float) -> str:
    """One decimal; a dash for NaN."""
    return f"{100 * value:.1f}" if value == value else "-"


def signed(value: float) -> str:
    """Percentage points with their sign; a dash for NaN."""
    # Rounded first: what rounds to zero has no minus.
    return f"{round(100 * value, 1) + 0.0:+.1f}" if value == value else "-"


def stack(counts: Sequence[int], names: Sequence[str], *, tall: bool = False) -> str:
    """A bar of parts in KIND_COLOURS, as wide as their shares; empty if there are none."""
    total = sum(counts)
    shares = [
        (name, count / total, colour)
        for name, count, colour in zip(names, counts, KIND_COLOURS, strict=True)
        if count
    ]
    said = ", ".join(f"{name} {percent(share)} %" for name, share, _ in shares) or "no predictions"
    parts = "".join(
        f'<span style="width:{100 * share:.3f}%;background:{colour}" '
        f'title="{escaped(name)} {percent(share)} %"></span>'
        for name, share, colour in shares
    )
    return (
        f'<div class="stack{" tall" * tall}" role="img" aria-label="{escaped(said)}">{parts}</div>'
    )


def kind_table(
    counts: Sequence[int],
    gains: Sequence[float],
    names: Sequence[str],
    definitions: Sequence[str],
) -> str:
    """What the colours of a stack stand for, with count, share and gain; NaN is no gain."""
    total = max(sum(counts), 1)
    rows = "".join(
        f'<tr><th scope="row"><span class="swatch" style="background:{colour}"></span>'
        f'{escaped(name)}</th><td class="definition">{escaped(definition)}</td>'
        f'<td class="number">{count}</td><td class="number">{percent(count / total)}</td>'
        f'<td class="number">{signed(gain)}</td></tr>'
        for name, definition, count, gain, colour in zip(
            names, definitions, counts, gains, KIND_COLOURS, strict=True
        )
    )
    return (
        '<table class="kinds"><thead><tr><th>kind</th><td class="definition"></td>'
        '<th class="number">count</th><th class="number">%</th><th class="number">gain</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def number_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of a name and numbers, which scroll sideways where there is no room."""

    def line(cells: Sequence[str], scope: str) -> str:
        kind = "th" if scope == "col" else "td"
        numbers = "".join(f'<{kind} class="number">{escaped(cell)}</{kind}>' for cell in cells[1:])
        return f'<tr><th scope="{scope}">{escaped(cells[0])}</th>{numbers}</tr>'

    body = "".join(line(row, "row") for row in rows)
    return (
        f'<div class="scroll"><table><thead>{line(head, "col")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def curve(name: str, values: Sequence[float]) -> str:
    """A small picture of a value by epoch, with its first, last and lowest in words."""
    low, high = min(*values, 0.0), max(values)
    span = high - low or 1.0
    step = 200 / max(len(values) - 1, 1)
    points = " ".join(
        f"{index * step:.1f},{86 - 80 * (value - low) / span:.1f}"
        for index, value in enumerate(values)
    )
    if len(values) == 1:
        points = f"{points} 200,{points.partition(',')[2]}"
    zero = 86 + 80 * low / span
    said = f"{name}: {values[0]:.3g} in the first epoch, {values[-1]:.3g} in the last"
    return (
        f'<figure><svg viewBox="-3 0 206 92" role="img" aria-label="{escaped(said)}">'
        f'<line x1="0" x2="200" y1="{zero:.1f}" y2="{zero:.1f}" stroke="{FRAME}"/>'
        f'<polyline points="{points}" fill="none" stroke="{PALETTE[0]}" stroke-width="2" '
        f'stroke-linejoin="round" vector-effect="non-scaling-stroke"/></svg>'
        f"<figcaption><b>{escaped(name)}</b> {values[0]:.3g} → {values[-1]:.3g}</figcaption>"
        "</figure>"
    )


def chart(name: str, stages: Mapping[str, Mapping[int, float]], *, kept: int) -> str:
    """A share in 0..1 by training step, {stage: {step: value}}, with a dot on a step kept."""
    values = {step: value for stage in stages.values() for step, value in stage.items()}
    steps = list(values)
    low = min(10 * math.floor(10 * min(values.values())), 90)
    high = max(10 * math.ceil(10 * max(values.values())), low + 10)

    def place(step: int) -> str:
        height = (100 * values[step] - low) / (high - low)
        return f"{100 * step / steps[-1]:.2f},{100 - 100 * height:.2f}"

    marks = ""
    for stage in list(stages.values())[:-1]:
        x = f"{100 * max(stage) / steps[-1]:.2f}"
        marks += f'<line x1="{x}" x2="{x}" y1="0" y2="100" stroke="{PALETTE[1]}"/>'
    if kept in values:
        marks += (
            f'<path d="M{place(kept)}h0" stroke="{INK}" stroke-width="9" stroke-linecap="round"/>'
        )
    points = " ".join(map(place, steps))
    best = max(steps, key=lambda step: values[step])
    said = (
        f"{percent(values[steps[0]])} % → {percent(values[steps[-1]])} %, highest "
        f"{percent(values[best])} % at step {best}"
    )
    frame = "".join(
        f'<line x1="0" x2="100" y1="{y}" y2="{y}" stroke="{FRAME}"/>' for y in (0, 50, 100)
    )
    return (
        f'<figure class="chart"><figcaption><b>{escaped(name)}</b> {said}</figcaption>'
        f'<div class="plot"><span class="high">{high} %</span><span class="low">{low} %</span>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escaped(name)}: {said}"><g fill="none" class="lines">{frame}'
        f'<polyline points="{points}" stroke="{PALETTE[0]}" stroke-width="2" '
        f'stroke-linejoin="round"/>{marks}</g></svg>'
        f'<span class="from">0</span><span class="to">step {steps[-1]}</span></div></figure>'
    )


def picture(draw: Draw, alt: str, caption: str, *, narrow: Draw | None = None) -> str:
    """What `draw` draws, in its own size where the window is narrow; `narrow` may draw that one."""
    wide_data, narrow_data = (
        f"data:image/png;base64,{base64.b64encode(_drawn(*how)).decode()}"
        for how in ((draw, WIDE), (narrow or draw, NARROW))
    )
    return (
        f'<figure><picture><source media="(max-width: 40rem)" srcset="{narrow_data}">'
        f'<img src="{wide_data}" alt="{escaped(alt)}"></picture>'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def _drawn(draw: Draw, width: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, width=width)
        return path.read_bytes()

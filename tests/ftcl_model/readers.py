"""What a reader sees of a page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """What a reader gets: the text, the pictures, and whatever is fetched from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.tags, self.sources = [], [], []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attributes)
        self.sources += [named[key] for key in ("src", "srcset", "href") if key in named]
        if tag in ("img", "svg"):
            self.images.append(named)
        if tag not in ("img", "source", "meta", "link", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

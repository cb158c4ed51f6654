"""The site is built without a warning, and asks nothing of the network when it is read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import softdp
from tests.docs.pages import ROOT

for _package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
    pytest.importorskip(_package, reason="the extra docs is not installed")


class _Document(HTMLParser):
    """What a page loads, where its links lead, and which anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(str(given["id"]))
        if given.get("src"):
            self.loads.append(str(given["src"]))
        if given.get("href"):
            rel = given.get("rel") or ""
            loaded = tag == "link" and rel not in {"canonical", "next", "prev"}
            (self.loads if loaded else self.links).append(str(given["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[Path, _Document]:
    found = {}
    for page in site.rglob("*.html"):
        found[page] = _Document()
        found[page].feed(page.read_text(encoding="utf-8"))
    assert site / "index.html" in found
    return found


def test_nothing_is_loaded_from_elsewhere(site: Path, documents: dict[Path, _Document]) -> None:
    for page, document in documents.items():
        for source in document.loads:
            assert not re.match(r"(\w+:)?//", source), (page, source)
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", text), sheet


def test_links_lead_somewhere(documents: dict[Path, _Document]) -> None:
    for page, document in documents.items():
        if page.name == "404.html":
            continue  # it does not know where it stands
        for link in document.links + document.loads:
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            if target.is_dir():
                target = target / "index.html"
            assert target.exists(), (page, link)
            if anchor and target in documents:
                assert anchor in documents[target].anchors, (page, link)


def test_public_names_have_their_place(documents: dict[Path, _Document]) -> None:
    anchors = set().union(*(document.anchors for document in documents.values()))
    assert {f"softdp.{name}" for name in softdp.__all__ if name != "reference"} <= anchors


def test_examples_are_code(site: Path) -> None:
    text = (site / "families" / "soft-dtw.html").read_text(encoding="utf-8")
    assert "Examples:" in text
    assert "<blockquote>" not in text


def test_the_search_finds_pages_from_a_folder(site: Path, tmp_path: Path) -> None:
    """A browser starts no worker there: docs/assets/iframe-worker.js stands in for it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    page = (site / "families" / "edit.html").as_uri()
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu",
            "--virtual-time-budget=20000", f"--user-data-dir={tmp_path}", "--dump-dom",
            f"{page}?q=affine",
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = re.findall(r'<a href="([^"]+)" class="md-search-result__link"', done.stdout)
    assert any("gaps.html" in link for link in found), found

"""Links of the repository's pages lead somewhere; test_site.py has those of the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import softdp
from tests.docs.pages import ROOT, name_of, pages, without_blocks

_LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = pages()


def _anchors(page: Path) -> set[str]:
    """Of its headings, as hosts of repositories and MkDocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(without_blocks(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), link


def test_every_public_name_is_documented_on_a_page() -> None:
    texts = [
        page.read_text(encoding="utf-8") for page in PAGES if page.is_relative_to(ROOT / "docs")
    ]
    shown = {
        name for text in texts for name in re.findall(r"^::: softdp\.(\w+)$", text, re.MULTILINE)
    }
    assert shown == set(softdp.__all__) - {"reference"}


def test_the_readme_is_short_and_begins_with_code() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").split("\n")
    assert len(lines) <= 101  # the last one is empty
    assert max(map(len, lines)) <= 120
    assert lines.index("```python") < 15

"""A hook of MkDocs: pages that stand elsewhere in the repository join the site.

Links are written for the repository, where a reader may stand too. In the site those to pages and
pictures lead to these, and those to other files, which a site has not, are shown as their paths.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

JOINING = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "ftcl_model/README.md": "ftcl_model.md",
    "benchmarks/README.md": "numbers.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them under the names that they have in the site."""
    for source, name in JOINING.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page into those of the site."""
    here = page.file.src_uri
    sources = {name: source for source, name in JOINING.items()}
    source = PurePosixPath(sources.get(here, f"docs/{here}"))

    def in_site(link: re.Match[str]) -> str:
        path, _, anchor = link["target"].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return link[0]
        target = os.path.normpath(source.parent / path)
        name = JOINING.get(target, target.removeprefix("docs/"))
        if target not in JOINING and not target.startswith("docs/"):
            return link["text"] if "`" in link["text"] else f"{link['text']} (`{target}`)"
        relative = os.path.relpath(name, PurePosixPath(here).parent)
        return f"{link['image']}[{link['text']}]({relative}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(in_site, markdown)

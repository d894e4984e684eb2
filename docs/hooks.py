"""What MkDocs calls while it builds the site: tables made from the code, and files of the repository outside docs/.

Links are written as they work in the repository. README.md is the site's first page; a page of the repository that
the navigation names, and every file that a page links to, comes along under its own path. A folder has no page: its
name stays, as text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\[\]]*)\]\((?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"^([ ]*)```.*?^\1```", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add every published report to the navigation's Results."""
    results = next(section["Results"] for section in config.nav or () if "Results" in section)
    for report in sorted((ROOT / "results").glob("*/report.md")):
        results.append({report.parent.name: report.relative_to(ROOT).as_posix()})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the navigation names, and what pages link to, from outside docs/."""
    wanted = ["README.md", *(page for page in pages_of(config.nav) if not (ROOT / "docs" / page).exists())]
    wanted = [page for page in wanted if page != "index.md"]
    wanted += [target for page in (ROOT / "docs").glob("*.md") for target in outside(page)]
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        if path in seen or not (ROOT / path).is_file():  # a page that is not there: MkDocs says so
            continue
        seen.add(path)
        files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            wanted += outside(ROOT / path)
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is made from the code, and turn links of the repository into those of the site."""
    source = repository_path(page.file.src_uri)
    return linked(made.filled(markdown), source)


def pages_of(nav: Any) -> list[str]:
    """All paths of a navigation."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav or ()
    return [path for entry in entries for path in pages_of(entry)]


def site_path(path: str) -> str:
    """Where a file of the repository stands in the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def repository_path(uri: str) -> str:
    """Inverse of :func:`site_path`."""
    if uri == "index.md":
        return "README.md"
    return f"docs/{uri}" if (ROOT / "docs" / uri).is_file() else uri


def outside(page: Path) -> list[str]:
    """Files of the repository outside docs/ that a page links to."""
    found: list[str] = []
    source = page.relative_to(ROOT).as_posix()
    text = made.filled(page.read_text(encoding="utf-8"))
    with_links(text, lambda link: found.append(resolved(source, link[2])) or "")
    return [path for path in found if not path.startswith("docs/")]


def linked(markdown: str, source: str) -> str:
    """A page's text with its links as the site has them; ``source``: its path in the repository."""
    here = posixpath.dirname(site_path(source))

    def target(link: re.Match[str]) -> str:
        path = resolved(source, link[2])
        if (ROOT / path).is_dir():
            return link[1]
        return f"[{link[1]}]({posixpath.relpath(site_path(path), here or '.')}{link[3] or ''})"

    return with_links(markdown, target)


def with_links(markdown: str, change: Callable[[re.Match[str]], str]) -> str:
    """The text with each relative link outside of code blocks replaced."""
    parts, end = [], 0
    for block in FENCED.finditer(markdown):
        parts += [LINK.sub(change, markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, LINK.sub(change, markdown[end:])])


def resolved(source: str, target: str) -> str:
    """Path in the repository of a link's target."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))

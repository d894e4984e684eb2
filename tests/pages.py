"""README.md and the pages of docs/ as tests look at them: their code blocks, inline commands and links."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import made

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block; ``title`` is the name of the file that it is, empty of others."""

    page: str
    number: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.title or self.language}"


def text_of(page: str) -> str:
    """A page with the tables that the site would have."""
    return made.filled((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    found = []
    for number, (_, info, text) in enumerate(_FENCE.findall(text_of(page))):
        title = _TITLE.search(info)
        found.append(
            Block(page, number, info.split(" ")[0], title[1] if title else "", textwrap.dedent(text))
        )
    return found


def of_language(language: str, *pages: str) -> list[Block]:
    """The blocks of one language."""
    return [block for page in pages or PAGES for block in blocks(page) if block.language == language]


def shell_lines(page: str) -> list[str]:
    """The lines of a page that are for a shell: in blocks for it, and in indented blocks that begin with a command."""
    text = _FENCE.sub("", text_of(page))
    indented = "\n".join(re.findall(r"^    (?:hiersrec |make |pip |\s+--).*$", text, re.MULTILINE))
    whole = "\n".join([*(block.text for block in blocks(page) if block.language == "sh"), indented])
    return [line.strip() for line in whole.replace("\\\n", " ").splitlines() if line.strip()]


def inline_commands(page: str) -> Iterator[list[str]]:
    """The words of each `hiersrec ...` within the text of a page."""
    text = _FENCE.sub("", text_of(page))
    for found in re.findall(r"(?<!`)`(hiersrec [^`]+)`(?!`)", text):
        yield shlex.split(found)[1:]

"""A report as Markdown, to be read on a forge or as it is."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_hiersrec.report.document import Block, Bullets, Code, Figure, Heading, Text
from recbole_hiersrec.report.escaping import markdown


def to_markdown(blocks: Sequence[Block]) -> str:
    """The whole file."""
    return "\n\n".join(_written(block) for block in blocks) + "\n"


def _written(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {markdown(block.text)}"
        case Text():
            return markdown(block.text)
        case Bullets():
            return "\n".join(f"- {markdown(line)}" for line in block.lines)
        case Code():
            return "\n".join(["```", *block.lines, "```"])
        case Figure():
            says = markdown(f"{block.caption} {block.says}".rstrip()).replace("[", "(").replace("]", ")")
            return f"![{says}](figures/{block.file})\n\n*{markdown(block.full_caption)}*"
        case _:
            return block.text("github")

"""A report's tables as LaTeX, to be put into a paper with \\input."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_hiersrec.report.document import Block, Heading
from recbole_hiersrec.report.table import Table

PREAMBLE = (
    r"% needs \usepackage{booktabs} and \usepackage{graphicx}; best bold, second underlined"
    "\n% names in other than Latin letters: lualatex or xelatex with a font that has them"
)


def to_latex(blocks: Sequence[Block]) -> str:
    """Every table as a float; its caption names the section and the table."""
    parts, section, title = [PREAMBLE], "", ""
    for block in blocks:
        if isinstance(block, Heading):
            section, title = (block.text, "") if block.level == 2 else (section, block.text)
        elif isinstance(block, Table):
            parts.append(block.latex(f"{section}: {title}." if title else f"{section}."))
    return "\n\n".join(parts) + "\n"

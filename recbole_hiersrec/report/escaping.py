"""Text that others chose (names of models, data sets, settings), safe within a language of markup.

Paragraphs of reports mark words as **strong**; :func:`markdown` leaves that to Markdown, others turn it into theirs.
"""

from __future__ import annotations

import re

STRONG = re.compile(r"\*\*(.+?)\*\*")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}",
    "±": r"$\pm$", "†": r"$\dagger$", "‡": r"$\ddagger$", "▲": r"$\uparrow$", "▼": r"$\downarrow$", "\n": " ",
}  # fmt: skip


def markdown(text: str) -> str:
    """Text without HTML: what would begin a tag is shown as it is."""
    return _TAG.sub("&lt;", text).replace("\n", " ")


def latex(text: str) -> str:
    """Text with LaTeX's special characters as they are."""
    return STRONG.sub(r"\\textbf{\1}", "".join(_LATEX.get(sign, sign) for sign in text))

"""A report as one HTML file that needs no network, and what other pages are made of: table, style, script.

Jinja2 escapes whatever stands in a page; :class:`Markup` is given to it for drawings, style and script alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from recbole_hiersrec.report.document import Block, Figure, Heading
from recbole_hiersrec.report.escaping import STRONG
from recbole_hiersrec.report.pictures import inline
from recbole_hiersrec.report.table import is_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = "recbole_hiersrec.report", "templates"


def to_html(blocks: Sequence[Block], figures: Mapping[str, bytes], colours: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        blocks: of the report.
        figures: file name -> SVG of every figure among them.
        colours: name of a model, as tables have it -> its colour.
    """
    from markupsafe import Markup

    drawings = {
        block.file: Markup(inline(figures[block.file], f"figure-{number}"))
        for number, block in enumerate(blocks)
        if isinstance(block, Figure)
    }
    kinds = [type(block).__name__ for block in blocks]
    headings = [(number, block) for number, block in enumerate(blocks, start=1) if isinstance(block, Heading)]
    return rendered(
        "report.html.j2",
        title=headings[0][1].text,
        blocks=list(zip(kinds, blocks, strict=True)),
        sections=[(number, block.text) for number, block in headings if block.level == 2] or [(0, "")],
        drawings=drawings,
        colours=colours,
    )


def rendered(template: str, **values: Any) -> str:
    """A page of templates/, with our style and script; it may load nothing and run no other script."""
    from markupsafe import Markup

    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().get_template(template)
    return page.render(style=Markup(_file("page.css")), script=Markup(script), script_hash=digest, **values)


def environment() -> Environment:
    """Jinja2 with our templates and filters, all text escaped, unknown names refused."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader(*TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {"strong": strong, "is_text": is_text}
    return found


def strong(text: str) -> Markup:
    """A paragraph's text, escaped; words between ** are strong."""
    from markupsafe import Markup, escape

    parts = STRONG.split(text)  # words and strong words in turn
    tag = Markup("<strong>{}</strong>")
    return Markup("").join(
        tag.format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _file(name: str) -> str:
    return (files(TEMPLATES[0]) / TEMPLATES[1] / name).read_text(encoding="utf-8")

"""Drawings -> bytes of a picture, the same for the same drawing: SVG for reports, PNG where a file is looked at alone.

In an SVG every text stays text, and ink, grid and paper have colours of their own, which a page exchanges for its
variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#262626", "#666666", "#cccccc", "#ffffff"
SPREAD = "#424242"  # seaborn's, of bars
VARIABLES = {
    INK: "var(--ink)", MUTED: "var(--muted)", SPREAD: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)",
}  # fmt: skip
"""Colour of a drawing -> the page's."""
STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("grid.color", "axes.edgecolor"), GRID),
}
_NUMBERS = re.compile(r'(?<= )(?:d|x|y|x1|x2|y1|y2|points|transform)="[^"]*"')


def png(drawing: Callable[[Axes], None], title: str) -> bytes:
    """One titled picture as PNG."""
    return panels([drawing], title, "png")


def svg(drawing: Callable[[Axes], None], title: str) -> bytes:
    """One titled picture as SVG, a single element."""
    return panels([drawing], title)


def panels(
    drawings: Sequence[Callable[[Axes], None]], title: str, kind: Literal["svg", "png"] = "svg"
) -> bytes:
    """Pictures side by side below one title."""
    import seaborn as sns
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    exact: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": title}
    with sns.axes_style("whitegrid", STYLE), sns.plotting_context("notebook"), rc_context(exact):
        figure = Figure(figsize=(9.0, 4.8), layout="constrained")
        FigureCanvasAgg(figure)  # no window system, and the caller's own backend stays as it is
        every = [figure.add_subplot(1, len(drawings), number) for number in range(1, len(drawings) + 1)]
        for drawing, axes in zip(drawings, every, strict=True):
            drawing(axes)
        if len(every) == 1:
            every[0].set_title(title, fontsize="medium")
        else:
            figure.suptitle(title, fontsize="medium")
        content = BytesIO()
        nothing = {"png": {"Software": None}, "svg": {"Date": None}}
        figure.savefig(content, format=kind, dpi=120, metadata=nothing[kind])
    return content.getvalue() if kind == "png" else _small(content.getvalue().decode()).encode()


def labelled(picture: bytes, title: str, says: str) -> bytes:
    """An SVG with a name and a text in its place for those who do not see it."""
    text = f"<title>{escape(title)}</title>\n<desc>{escape(says)}</desc>\n"
    label = f' role="img" aria-label="{escape(f"{title} {says}", quote=True)}">\n'
    return re.sub(r"\s*>\n?", lambda _: label + text, picture.decode(), count=1).encode()


def inline(picture: bytes, name: str) -> str:
    """An SVG as part of a page, in the page's colours, as wide as there is room.

    Args:
        picture: the SVG.
        name: unlike that of the page's other pictures, which have parts of the same names.
    """
    text = re.sub(r' width="[^"]*" height="[^"]*"', "", picture.decode(), count=1)
    return re.sub(r"<[^>]+>", lambda found: _of_page(found.group(), name), text)


def _of_page(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    for colour, variable in VARIABLES.items():
        tag = tag.replace(f": {colour}", f": {variable}")
    return tag


def _small(text: str) -> str:
    """Without the XML heading, metadata, names of groups and digits that nobody sees."""
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[A-Za-z0-9.]+_\d+"', "<g", text)
    return _NUMBERS.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found.group()), text)

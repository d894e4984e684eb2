"""Drawings -> bytes of a picture, the same for the same drawing: SVG for reports, PNG where a file is looked at alone.

In an SVG every text stays text, and ink, grid and paper have colours of their own, which a page exchanges for its
variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from math import ceil
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from matplotlib.artist import Artist
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
WIDTH, HEIGHT = 5.4, 3.4
"""Inches of an SVG: text of 10 points, the smallest, has 9 pixels on a phone of 390 and 14 where there is room."""
WIDE = (9.0, 4.8)
"""Of a PNG."""
LABEL, TITLE = 24, 56
"""Characters of a name, and of a title's line, that have room beside or above an SVG."""
_NUMBERS = re.compile(r'(?<= )(?:d|x|y|x1|x2|y1|y2|points|transform)="[^"]*"')


def png(drawing: Callable[[Axes], None], title: str) -> bytes:
    """One titled picture as PNG."""
    return panels([drawing], title, "png")


def svg(drawing: Callable[[Axes], None], title: str, height: float = HEIGHT) -> bytes:
    """One titled picture as SVG, a single element, ``height`` inches high without a legend below it."""
    return panels([drawing], title, height=height)


def panels(
    drawings: Sequence[Callable[[Axes], None]],
    title: str,
    kind: Literal["svg", "png"] = "svg",
    height: float = HEIGHT,
    legend: Mapping[str, Artist] | None = None,
) -> bytes:
    """Pictures below one title, two beside each other, with a legend of all of them."""
    import seaborn as sns
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title = "\n".join(wrap(short(title, 3 * TITLE), TITLE))
    exact: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": title}
    if kind == "svg":
        exact["axes.labelsize"] = "small"
    with (
        sns.axes_style("whitegrid", STYLE),
        sns.plotting_context("notebook"),
        rc_context(exact),
        catch_warnings(),
    ):
        # Only the reader's fonts matter: text stays text.
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        n_rows, n_columns = ceil(len(drawings) / 2), min(2, len(drawings))
        size = WIDE if kind == "png" else (WIDTH, height * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)  # no window system, and the caller's own backend stays as it is
        every = [figure.add_subplot(n_rows, n_columns, place + 1) for place in range(len(drawings))]
        for drawing, axes in zip(drawings, every, strict=True):
            drawing(axes)
        if legend:
            legend_below(every[0], legend)
        figure.suptitle(title, fontsize="medium")
        content = BytesIO()
        nothing = {"png": {"Software": None}, "svg": {"Date": None}}
        figure.savefig(content, format=kind, dpi=120, metadata=nothing[kind])
    return content.getvalue() if kind == "png" else _small(content.getvalue().decode()).encode()


def legend_below(axes: Axes, entries: Mapping[str, Artist] | None = None) -> None:
    """A legend below the whole figure, in as many columns as fit; the figure grows by it.

    Args:
        axes: any of the figure's.
        entries: what stands in it, by name; what the axes name themselves without it.
    """
    if entries is None:
        handles, names = axes.get_legend_handles_labels()
        entries = dict(zip(names, handles, strict=True))
    if old := axes.get_legend():
        old.remove()
    columns = max(1, int(WIDTH / (0.6 + 0.075 * max(map(len, entries)))))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(figure.get_figheight() + 0.15 + 0.2 * ceil(len(entries) / columns))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize="small"
    )


def short(text: str, most: int = LABEL) -> str:
    """Text as pictures can show it: without control characters, and with an ellipsis in the middle if it is long."""
    shown = _printable(text)
    if len(shown) > most:
        shown = f"{shown[: most // 2]}…{shown[len(shown) - (most - 1) // 2 :]}"
    return shown


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> :func:`short`, no two of them alike."""
    found: dict[str, str] = {}
    for name in names:
        shown = short(name)
        if shown.startswith("_"):  # matplotlib leaves such names out of legends
            shown = f" {shown}"
        number = 1
        while shown in found.values():
            number += 1
            shown = f"{short(name, LABEL - 5)} ({number})"
        found[name] = shown
    return found


def labelled(picture: bytes, title: str, says: str) -> bytes:
    """An SVG with a name and a text in its place for those who do not see it."""
    title, says = _printable(title), _printable(says)
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


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


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

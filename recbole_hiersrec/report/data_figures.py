"""Figures of a data set: session lengths, item popularity, category sizes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_hiersrec.atomic import writable_folder, write_bytes
from recbole_hiersrec.data.describe import Description, top_share
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.report.pictures import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 2000
"""Points of a line over ranks, at most; a million of them would look the same."""


def draw(description: Description, folder: Path) -> list[Path]:
    """Write lengths.png, popularity.png and, if there are category levels, categories.png.

    Raises:
        InputError: the folder cannot be written.
    """
    writable_folder(folder)
    drawings = {"lengths": _lengths, "popularity": _popularity}
    if description.levels:
        drawings["categories"] = _categories
    paths = []
    for stem, drawing in drawings.items():
        path = folder / f"{stem}.png"
        write_bytes(path, png(partial(drawing, description), description.name))
        paths.append(path)
    return paths


def ranked(values: IntArray) -> tuple[IntArray, IntArray]:
    """Ranks from 1, evenly spread on a logarithmic axis, and the value at each, largest value first."""
    ranks = np.unique(np.geomspace(1, len(values), POINTS).astype(np.int64))
    return ranks, np.sort(values)[::-1][ranks - 1]


def _lengths(description: Description, axes: Axes) -> None:
    """Share of sessions with at least so many clicks: the same figure for short and long ones, without bins."""
    sessions = np.bincount(description.lengths)
    lengths = np.flatnonzero(sessions)
    at_least = np.cumsum(sessions[::-1])[::-1][lengths]
    colours = _colours(2)
    axes.plot(lengths, 100 * at_least / description.n_sessions, marker="o", markersize=3, color=colours[0])
    for percent, name, style in ((50, "median", "-"), (95, "95 % at most", "--")):
        value = np.percentile(description.lengths, percent, method="inverted_cdf")
        axes.axvline(value, color=colours[1], linestyle=style, linewidth=1.2, label=f"{name} {value:,}")
    _log_log(axes)
    axes.set(xlabel="clicks", ylabel="sessions with at least so many (%)")
    axes.legend(fontsize="small")


def _popularity(description: Description, axes: Axes) -> None:
    colours = _colours(2)
    axes.plot(*ranked(description.clicks), color=colours[0])
    for percent, style in ((1, "-"), (10, "--")):
        rank = max(1, description.n_items * percent // 100)
        share = top_share(description.clicks, percent)
        label = f"top {percent} % of items: {100 * share:.1f} % of clicks"
        axes.axvline(rank, color=colours[1], linestyle=style, linewidth=1.2, label=label)
    _log_log(axes)
    axes.set(xlabel="rank of the item, most clicked first", ylabel="clicks")
    axes.legend(fontsize="small")


def _categories(description: Description, axes: Axes) -> None:
    for level, colour in zip(description.levels, _colours(len(description.levels)), strict=True):
        label = f"{level.name}: {len(level.sizes):,} categories{', learned' if level.learned else ''}"
        axes.plot(*ranked(level.sizes), marker="o", markersize=3, color=colour, label=label)
    _log_log(axes)
    axes.set(xlabel="rank of the category, largest first", ylabel="items")
    axes.legend(fontsize="small")


def _colours(number: int) -> list[tuple[float, float, float]]:
    """Of a palette that colour-blind readers can tell apart, as in report/figures.py."""
    import seaborn as sns

    return list(sns.color_palette("colorblind", number))


def _log_log(axes: Axes) -> None:
    """Both axes logarithmic, with plain numbers at powers of ten, and between them where there are few."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:,g}")

"""Wikispeedia: click paths of people who try to get from one Wikipedia article to another by links alone.

Raw format: tab-separated text without quoting, names URL-encoded. The published files begin with comment lines (``#``)
and have no header; copies whose ``articles.tsv`` and ``categories.tsv`` begin with a header (``Article_Name``) are read
as well.

- ``paths_unfinished.tsv``: hashed IP address, time, seconds, path, target, type; ``paths_finished.tsv``: hashed IP
  address, time, seconds, path, rating. One of them is enough. Articles of a path are separated by ``;``, and ``<`` is a
  click on "back".
- ``articles.tsv``: one article a line. ``categories.tsv``: article and one of its categories, ``subject.A``,
  ``subject.A.B`` or ``subject.A.B.C``.

Rules:

1. **A session is the sequence of pages seen.** ``<`` returns to the page before on the path's stack, and that page is a
   visit again: ``A;B;<;C`` is A, B, A, C. The next click is made on the page that is seen, so leaving the return out
   would invent the step from B to C, which may not even be a link. Of 129,295 visits of the unfinished paths, 12,907
   are returns.
2. **Sessions** are named ``u1``, ``u2``, ... (unfinished) and ``f1``, ``f2``, ... (finished) by their place in the
   file: address and time together are not unique. All visits of a path have its one time stamp.
3. **Primary category.** Of several categories of an article the deepest counts; of equally deep ones the one that more
   articles have, then the first in the alphabet. The levels are A, B, C; unknown where a category ends earlier. (So
   "Countries" of the 15 subjects is nowhere primary: countries are in "Geography" too, and deeper.)
4. An item is the decoded name; its title is the same with spaces for underscores.

Published: 51,318 finished and 24,875 unfinished paths, 4,604 articles. Licence: none stated; please cite R. West and
J. Leskovec, Human wayfinding in information networks, WWW 2012, and R. West, J. Pineau and D. Precup, Wikispeedia: An
online game for inferring semantic distances between concepts, IJCAI 2009.
Source: https://snap.stanford.edu/data/wikispeedia.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from recbole_hiersrec.data.log import ROW, BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.raw import read_lines
from recbole_hiersrec.data.validate import check_ids, check_times
from recbole_hiersrec.errors import InputError

LEVELS = ("subject", "topic", "subtopic")
PATHS = {
    "u": ("paths_unfinished.tsv", ("user", "time", "seconds", "path", "target", "type")),
    "f": ("paths_finished.tsv", ("user", "time", "seconds", "path", "rating")),
}
"""First letter of the sessions' names -> file and its columns."""
BACK = "<"
_HEADER = "Article_Name"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the paths that are there, the articles and their categories.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    there = {letter: name for letter, (name, _) in PATHS.items() if (folder / name).is_file()} or PATHS
    clicks = [_clicks(folder / PATHS[x][0], PATHS[x][1], x, bad_rows) for x in there]
    articles = _articles(folder / "articles.tsv", bad_rows)
    categories = _categories(folder / "categories.tsv", articles.frame["item"], bad_rows)
    notes = [
        "A click on 'back' is a visit to the page returned to; all visits of a path have its one time stamp."
    ]
    notes += [f"{name} was not there and is left out." for x, (name, _) in PATHS.items() if x not in there]
    return RawLog(
        clicks=pl.concat([table.frame.select("session", "item", "time") for table in clicks]),
        items=articles.frame.select("item", title=pl.col("item").str.replace_all("_", " ")).join(
            primary_category(categories.frame), on="item", how="left", maintain_order="left"
        ),
        levels=LEVELS,
        title="title",
        time="session",
        rejected=pl.concat([table.rejected for table in (*clicks, articles, categories)]),
        notes=tuple(notes),
    )


def pages_seen(path: str) -> list[str] | None:
    """Decoded names of a path's pages in the order in which they were seen; None where the path is malformed.

    It is malformed where a name is empty or not URL-encoded UTF-8, or where ``<`` has no page to return to.
    """
    seen: list[str] = []
    stack: list[str] = []
    for step in path.split(";"):
        if step == BACK:
            if len(stack) < 2:
                return None
            stack.pop()
        elif name := _decoded(step):
            stack.append(name)
        else:
            return None
        seen.append(stack[-1])
    return seen


@cache
def _decoded(name: str) -> str | None:
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        return None


def primary_category(categories: pl.DataFrame) -> pl.DataFrame:
    """One category an article.

    Args:
        categories: columns ``item`` and ``category`` ("subject.A.B.C"), one row for each category of an article.

    Returns:
        columns ``item`` and :data:`LEVELS`, null from where the category ends.
    """
    ranked = categories.unique().with_columns(
        depth=pl.col("category").str.count_matches(".", literal=True), articles=pl.len().over("category")
    )
    best = ranked.sort("item", "depth", "articles", "category", descending=[False, True, True, False]).unique(
        "item", keep="first", maintain_order=True
    )
    parts = pl.col("category").str.split(".")
    return best.select(
        "item",
        *(
            parts.list.get(depth, null_on_oob=True).str.replace_all("_", " ").alias(level)
            for depth, level in enumerate(LEVELS, start=1)
        ),
    )


def _clicks(path: Path, columns: Sequence[str], letter: str, bad_rows: BadRows) -> Table:
    """One row a visit: ``session``, ``item`` and ``time``."""
    table = _cells(path, columns, bad_rows)
    table = check_times(table, "time")
    pages = pl.Series("item", list(map(pages_seen, table.frame["path"])), dtype=pl.List(pl.String))
    table = replace(table, frame=table.frame.with_columns(pages, session=pl.format(letter + "{}", "place")))
    table = table.refuse(
        "path",
        pl.col("item").is_null(),
        f"allowed: URL-encoded names with ';' between them, and '{BACK}' where there is a page to return to",
    )
    return check_ids(replace(table, frame=table.frame.explode("item")), "item")


def _articles(path: Path, bad_rows: BadRows) -> Table:
    """One row an article: ``item``."""
    table = _with_items(_cells(path, ["article"], bad_rows))
    return replace(table, frame=table.frame.unique("item", keep="first", maintain_order=True))


def _categories(path: Path, articles: pl.Series, bad_rows: BadRows) -> Table:
    """One row for each category of an article: ``item`` and ``category``."""
    table = _with_items(_cells(path, ["article", "category"], bad_rows))
    unknown = ~pl.col("item").is_in(articles.implode())
    table = table.refuse("article", unknown, "articles.tsv has no such article; allowed: its articles")
    form = r"^subject(\.[^.]+){1,3}$"
    return table.refuse(
        "category", ~pl.col("category").str.contains(form), "allowed: subject.A, subject.A.B or subject.A.B.C"
    )


def _with_items(table: Table) -> Table:
    """The table with the column ``item``, the decoded name."""
    names = pl.Series("item", [_decoded(name) for name in table.frame["article"]], dtype=pl.String)
    table = replace(table, frame=table.frame.with_columns(names))
    table = table.refuse("article", pl.col("item").is_null(), "allowed: a URL-encoded name")
    return check_ids(table, "item")


def _cells(path: Path, columns: Sequence[str], bad_rows: BadRows) -> Table:
    """Cells of a file that may begin with comments or a header; ``place`` counts its rows from 1 without those."""
    table = read_lines(path, bad_rows)
    line = pl.col("line")
    data = table.frame.filter(~line.str.starts_with("#") & ~line.str.contains(f"^{_HEADER}(\t|$)"))
    if not len(data):
        raise InputError(f"{path}: holds no rows")
    tabs = line.str.count_matches("\t", literal=True)
    table = replace(table, frame=data.with_row_index("place", offset=1)).refuse(
        "line",
        tabs != len(columns) - 1,
        f"allowed: {len(columns)} cells with tabs between them ({', '.join(columns)})",
    )
    cells = line.str.split("\t")
    return replace(
        table,
        frame=table.frame.select(
            ROW, "place", *(cells.list.get(place).alias(column) for place, column in enumerate(columns))
        ),
    )


SOURCE = Source(
    name="wikispeedia",
    domain="encyclopedia: articles on the way through a game",
    licence="none stated",
    obtain="wikispeedia_paths-and-graph.tar.gz of https://snap.stanford.edu/data/wikispeedia.html",
    files=("articles.tsv", "categories.tsv", "paths_*finished.tsv"),
    published=(76_193, 4_604, None),
    levels=LEVELS,
    read=read,
)

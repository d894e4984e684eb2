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
   articles have, then the first in the alphabet. The levels are A, B, C; unknown where a category ends earlier.
4. An item is the decoded name; its title is the same with spaces for underscores.

Published: 51,318 finished and 24,875 unfinished paths, 4,604 articles. Licence: none stated; please cite R. West and
J. Leskovec, Human wayfinding in information networks, WWW 2012, and R. West, J. Pineau and D. Precup, Wikispeedia: An
online game for inferring semantic distances between concepts, IJCAI 2009.
Source: https://snap.stanford.edu/data/wikispeedia.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids, check_times

LEVELS = ("subject", "topic", "subtopic")
UNFINISHED = ("user", "time", "seconds", "path", "target", "type")
FINISHED = ("user", "time", "seconds", "path", "rating")
BACK = "<"
_HEADER = "Article_Name"
_NO_CHARACTER_OF_THE_FILE = "\x1f"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the paths that are there, the articles and their categories.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    files = {"u": (folder / "paths_unfinished.tsv", UNFINISHED), "f": (folder / "paths_finished.tsv", FINISHED)}
    there = {letter: file for letter, file in files.items() if file[0].is_file()} or files
    paths = [_paths(path, columns, letter, bad_rows) for letter, (path, columns) in there.items()]
    articles = _articles(folder / "articles.tsv", bad_rows)
    categories = _categories(folder / "categories.tsv", articles.frame["item"], bad_rows)
    notes = ["A click on 'back' is a visit to the page returned to; all visits of a path have its one time stamp."]
    notes += [f"{files[letter][0].name} was not there and is left out." for letter in files if letter not in there]
    return RawLog(
        clicks=_clicks([table.frame for table in paths]),
        items=articles.frame.select("item", title=pl.col("item").str.replace_all("_", " ")).join(
            primary_category(categories.frame), on="item", how="left", maintain_order="left"
        ),
        levels=LEVELS,
        title="title",
        time="session",
        rejected=pl.concat([table.rejected for table in (*paths, articles, categories)]),
        notes=tuple(notes),
    )


def pages_seen(path: str) -> list[str] | None:
    """Pages of a path in the order in which they were seen; None where a name is empty or ``<`` has nowhere to go."""
    seen: list[str] = []
    stack: list[str] = []
    for step in path.split(";"):
        if step == BACK:
            if len(stack) < 2:
                return None
            stack.pop()
        elif step:
            stack.append(step)
        else:
            return None
        seen.append(stack[-1])
    return seen


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
    best = ranked.sort(
        "item", "depth", "articles", "category", descending=[False, True, True, False]
    ).unique("item", keep="first", maintain_order=True)
    parts = pl.col("category").str.split(".")
    return best.select(
        "item",
        *(
            parts.list.get(depth, null_on_oob=True).str.replace_all("_", " ").alias(level)
            for depth, level in enumerate(LEVELS, start=1)
        ),
    )


def _paths(path: Path, columns: Sequence[str], letter: str, bad_rows: BadRows) -> Table:
    """Columns ``session``, ``pages`` (a list of names) and ``time``."""
    table = _cells(path, columns, bad_rows, name=lambda frame: frame.with_row_index("place", offset=1))
    table = check_times(table, "time")
    seen = pl.Series("pages", map(pages_seen, table.frame["path"]), dtype=pl.List(pl.String))
    table = replace(table, frame=table.frame.with_columns(seen, session=pl.format(letter + "{}", "place")))
    table = table.refuse(
        "path", pl.col("pages").is_null(), "allowed: names separated by ';', and '<' where there is a page before"
    )
    pages = table.frame["pages"].explode().unique()
    decoded = _decoded(pages)
    broken = pages.filter(decoded.is_null()).implode()
    table = table.refuse(
        "path", pl.col("pages").list.set_intersection(broken).list.len() > 0, "a name is not URL-encoded UTF-8"
    )
    return replace(
        table,
        frame=table.frame.select(
            "session", pl.col("pages").list.eval(pl.element().replace_strict(pages, decoded)), "time"
        ),
    )

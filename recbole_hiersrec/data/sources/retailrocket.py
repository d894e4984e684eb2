"""Retailrocket: visits of an online shop and its real category tree, with item properties that change over time.

Raw format: comma-separated files, times in milliseconds since 1970.

- ``events.csv``: ``timestamp,visitorid,event,itemid,transactionid``; the event is view, addtocart or transaction.
- ``item_properties_part1.csv`` and ``..._part2.csv``: ``timestamp,itemid,property,value``, 20,275,902 rows of
  weekly snapshots in no order. Only ``property`` = ``categoryid`` (788,214 rows) is kept; the others are hashed.
- ``category_tree.csv``: ``categoryid,parentid``; a root has no parent. 1,669 categories, 25 roots, up to 6 levels.

Rules: only views are clicks. There are no session ids: ``session`` is the visitor, cut by the setting
``gap_minutes`` (30 unless set). An item's levels are the path from the root to its category, ``level_1`` to
``level_k``, where k is the longest path of any item's category; a shorter path leaves the deeper levels unknown.
The category that counts is the last one before the split (:func:`~recbole_hiersrec.data.sources.history.as_of`), so
an item first described later has none. With bad rows skipped, a category whose parent is refused is refused as
well, and so are rows that name it.

Licence: CC BY-NC-SA 4.0. Source: https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset
Published counts: 2,756,101 events of 1,407,580 visitors, of which 2,664,312 are views. Users of the files report
1,404,179 visitors and 234,838 items of the views, and a tree without cycles and missing parents.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.history import as_of, changes
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids, check_times, one_row_an_item
from recbole_hiersrec.errors import InputError

EVENTS = "events.csv"
PROPERTIES = ("item_properties_part1.csv", "item_properties_part2.csv")
TREE = "category_tree.csv"
EVENT_KINDS = ("view", "addtocart", "transaction")


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the four files; ``items`` of the result is a function of the time of the split.

    Raises:
        InputError: a file is missing or damaged, a row is bad and ``bad_rows`` is "stop", or the tree has a cycle.
    """
    events = _events(folder / EVENTS, bad_rows)
    tree = _tree(folder / TREE, bad_rows)
    parents = dict(tree.frame.select("categoryid", "parentid").iter_rows())
    properties = [_categories(folder / name, bad_rows, parents) for name in PROPERTIES]
    history = changes(
        pl.concat(table.frame.select(item="itemid", time="timestamp", value="value") for table in properties)
    )
    paths = _paths(history["value"].unique().sort().to_list(), parents)
    return RawLog(
        clicks=events.frame.select(session="visitorid", item="itemid", time="timestamp"),
        items=partial(_items, history, paths),
        levels=tuple(paths.columns[1:]),
        rejected=pl.concat([events.rejected, tree.rejected, *(table.rejected for table in properties)]),
        notes=(
            "Only views are clicks; adding to the cart and buying are left out.",
            "An item's category is its last one before the split; without a time of the split, its first one.",
        ),
    )


def _events(path: Path, bad_rows: BadRows) -> Table:
    """The views, times in seconds."""
    table = read_table(path, ["timestamp", "visitorid", "event", "itemid"], bad_rows, separator=",")
    allowed = f"allowed: {', '.join(EVENT_KINDS)}"
    table = table.refuse("event", ~pl.col("event").is_in(EVENT_KINDS), allowed)
    table = _only(table, "event", "view")
    return check_times(check_ids(table, "visitorid", "itemid"), "timestamp")


def _categories(path: Path, bad_rows: BadRows, parents: dict[str, str]) -> Table:
    """The rows that tell an item's category. All others go at once: together they are several times as large."""
    table = read_table(path, ["timestamp", "itemid", "property", "value"], bad_rows, separator=",")
    table = _only(table, "property", "categoryid")
    table = check_times(check_ids(table, "itemid"), "timestamp")
    known = pl.Series(list(parents), dtype=pl.String)
    return table.refuse("value", ~pl.col("value").is_in(known.implode()), f"allowed: a category of {TREE}")


def _only(table: Table, column: str, value: str) -> Table:
    """The rows with this value, without the column; at least one."""
    frame = table.frame.filter(pl.col(column) == value).drop(column)
    if not len(frame):
        raise InputError(f"{table.path}: no row has {column} '{value}'; is it complete?")
    return replace(table, frame=frame)


def _tree(path: Path, bad_rows: BadRows) -> Table:
    """The category tree, every category with a path to a root."""
    table = check_ids(read_table(path, ["categoryid", "parentid"], bad_rows, separator=","), "categoryid")
    table = one_row_an_item(table, "categoryid", ["parentid"])
    while cycle := find_cycle(dict(table.frame.select("categoryid", "parentid").iter_rows())):
        shown = " > ".join([*cycle, cycle[0]])
        table = table.refuse(
            "parentid", pl.col("categoryid").is_in(cycle), f"is in the cycle {shown}; allowed: a tree"
        )
    rows = None
    while rows != (rows := table.frame.height):  # a refused category leaves its own children without a parent
        missing = (pl.col("parentid") != "") & ~pl.col("parentid").is_in(pl.col("categoryid").implode())
        table = table.refuse(
            "parentid", missing, f"is no category of {path.name}; allowed: one, or nothing for a root"
        )
    return table


def find_cycle(parents: dict[str, str]) -> list[str]:
    """Categories of which each one's parent is the next and the last one's the first; empty if there are none."""
    safe: set[str] = set()
    for start in parents:
        trail: dict[str, None] = {}
        node = start
        while node in parents and node not in safe and node not in trail:
            trail[node] = None
            node = parents[node]
        if node in trail:
            return list(trail)[list(trail).index(node) :]
        safe.update(trail)
    return []


def _paths(categories: list[str], parents: dict[str, str]) -> pl.DataFrame:
    """Columns ``value``, ``level_1`` to ``level_k``: the path from the root to each category, "" below its end."""
    paths = []
    for category in categories:
        path = [category]
        while parents[path[-1]]:
            path.append(parents[path[-1]])
        paths.append(path[::-1])
    depth = max(map(len, paths), default=1)
    levels = {
        f"level_{level + 1}": pl.Series(
            [path[level] if level < len(path) else "" for path in paths], dtype=pl.String
        )
        for level in range(depth)
    }
    return pl.DataFrame({"value": pl.Series(categories, dtype=pl.String), **levels})


def _items(history: pl.DataFrame, paths: pl.DataFrame, cut: float | None) -> pl.DataFrame:
    """Items with a category known at ``cut``, and its path."""
    return as_of(history, cut).join(paths, on="value", how="left", maintain_order="left").drop("value")


SOURCE = Source(
    name="retailrocket",
    domain="online shop: product views",
    licence="CC BY-NC-SA 4.0",
    obtain="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset, unpacked",
    files=(EVENTS, *PROPERTIES, TREE),
    published=(None, 234_838, 2_664_312),
    levels=tuple(f"level_{level}" for level in range(1, 7)),
    read=read,
    defaults={"gap_minutes": 30},
)

"""Amazon product reviews of 2014: one data set a category, with category paths, titles, brands and prices.

Raw format: gzipped lines.

- ``reviews_NAME_5.json.gz`` (users and items with at least five reviews) or ``reviews_NAME.json.gz`` (all of them):
  JSON, ``{"reviewerID": "A1YJEY40YUW4SE", "asin": "7806397051", "unixReviewTime": 1391040000, "overall": 1.0,
  ...}``. The time is a day.
- ``meta_NAME.json.gz``: Python literals, not JSON, ``{'asin': '0000031852', 'title': ..., 'price': 3.17, 'brand':
  ..., 'categories': [['Sports & Outdoors', 'Other Sports', 'Dance']], ...}``; every key but ``asin`` may be
  missing. They are read as literals, never run. Copies that were converted to JSON are read as well.

Rules
- A session is all that a user reviewed. Reviews of one day keep the order of the file.
- Of an item's paths, the deepest below the root counts, of equally deep ones the first. The root, the most frequent
  first entry of all paths in the file (the shop's department), is left out, because it is the same for all. An item
  with no path below the root takes its deepest other path, beginning with that path's own root.
- The levels are ``level_1`` to ``level_k``. k is the greatest depth that at least 1 % of the items with a path
  reach; what lies deeper is left out, and the notes of the prepared data say of how many items.
- ``price`` is a token 1 to 10: the tenth of all prices in the file in which the item's lies, 1 the cheapest. Equal
  prices share a token. Prices are part of the catalogue, so no click is looked at.
- HTML entities in text (``&amp;``) are resolved.

The split is leave-one-out, as in the papers that use these files: a user's history spans years.

Licence: none stated; the publisher asks to cite R. He and J. McAuley, Ups and downs, WWW 2016, and J. McAuley et
al., Image-based recommendations on styles and substitutes, SIGIR 2015.
Source: https://jmcauley.ucsd.edu/data/amazon/links.html
"""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from recbole_hiersrec.data.content import Faults, open_content
from recbole_hiersrec.data.log import ROW, BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids, check_times, one_row_an_item
from recbole_hiersrec.errors import InputError

LEAST_SHARE = 0.01
"""Share of the items with a path that must reach a level."""
PRICES = 10
"""Number of price tokens."""
_BATCH = 50_000
_SCHEMA = {
    ROW: pl.UInt32(),
    "asin": pl.String(),
    "title": pl.String(),
    "brand": pl.String(),
    "price": pl.String(),
    "amount": pl.Float64(),
    "categories": pl.String(),
    "paths": pl.List(pl.List(pl.String)),
}
"""Of a line of the metadata; ``amount`` and ``paths`` are ``price`` and ``categories`` if these are as they must be."""

Paths = Sequence[Sequence[str]]


def read(reviews: Path, metadata: Path, bad_rows: BadRows) -> RawLog:
    """Read the two files.

    Raises:
        InputError: a file is damaged or cut short, or a row is bad and ``bad_rows`` is "stop".
    """
    log = read_table(reviews, ["reviewerID", "asin", "unixReviewTime"], bad_rows)
    log = check_times(check_ids(log, "reviewerID", "asin"), "unixReviewTime")
    catalogue = _metadata(metadata, bad_rows)
    levels, cut = _levels(catalogue.frame["paths"].to_list())
    items = catalogue.frame.select(
        pl.col("asin").alias("item"), "title", "brand", _price_tokens(catalogue.frame["amount"])
    ).hstack(levels)
    return RawLog(
        clicks=log.frame.select(session="reviewerID", item="asin", time="unixReviewTime"),
        items=items,
        levels=tuple(levels.columns),
        title="title",
        metadata=("brand", "price"),
        rejected=pl.concat([log.rejected, catalogue.rejected]),
        notes=(
            "Times are days: reviews of one day keep the order of the file.",
            f"Categories below level {levels.width} are left out ({cut} items of the catalogue have them).",
        ),
    )


def _metadata(path: Path, bad_rows: BadRows) -> Table:
    """One checked row an item, with the columns of ``_SCHEMA``."""
    faults = Faults(path, bad_rows)
    records = _records(path, faults)
    frames = [pl.DataFrame(schema=_SCHEMA)]
    while batch := list(islice(records, _BATCH)):
        frames.append(pl.DataFrame(batch, schema=_SCHEMA, orient="row"))
    table = Table(path, pl.concat(frames), bad_rows, faults.frame())
    if not len(table.frame):
        raise InputError(f"{path}: holds no items")
    table = table.refuse(
        "price",
        pl.col("price").is_not_null() & pl.col("amount").is_null(),
        "allowed: a number of 0 or more, or none",
    )
    table = table.refuse(
        "categories",
        pl.col("categories").is_not_null() & pl.col("paths").is_null(),
        "allowed: lists of names in a list, or none",
    )
    return one_row_an_item(check_ids(table, "asin"), "asin", ["categories"])


def _records(path: Path, faults: Faults) -> Iterator[tuple[Any, ...]]:
    """The lines as rows of ``_SCHEMA``; a line that is no object is a fault."""
    number = 0
    for line in open_content(path).lines():
        if not line.strip():
            continue
        number += 1
        found = parse_line(line)
        if found is None:
            received = line.decode("utf-8", "backslashreplace").strip()
            faults.add(
                number, "", received, "allowed: one object a line, as a Python literal or JSON, in UTF-8"
            )
            continue
        price, categories = found.get("price"), found.get("categories")
        yield (
            number,
            *(_text(found.get(field)) for field in ("asin", "title", "brand")),
            None if price is None else repr(price),
            _amount(price),
            None if categories is None else repr(categories),
            _paths(categories),
        )


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object in a line of JSON or of a Python literal; None where there is none. Nothing is executed."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # a Python literal fails at its first quote
        found = _literal(line)
    return found if isinstance(found, dict) else None


def _literal(line: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # an unknown escape such as "\d" in a description is kept as it is
            return ast.literal_eval(line.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return None if value is None else unescape(str(value))


def _amount(price: Any) -> float | None:
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < math.inf:
        return None
    return float(price)


def _paths(categories: Any) -> Paths | None:
    """The paths without empty names, if they are lists of text."""
    if not isinstance(categories, list) or not all(isinstance(path, list) for path in categories):
        return None
    if not all(isinstance(name, str) for path in categories for name in path):
        return None
    return [[unescape(name).strip() for name in path if name.strip()] for path in categories]


def primary_path(paths: Paths, root: str) -> Sequence[str]:
    """The path that stands for an item: the deepest below ``root``, without it; else the deepest other one."""
    below = [path[1:] for path in paths if len(path) > 1 and path[0] == root]
    return max(below or [path for path in paths if path[:1] != [root]], key=len, default=[])


def _levels(paths: Sequence[Paths | None]) -> tuple[pl.DataFrame, int]:
    """Columns ``level_1`` to ``level_k`` of all items, "" below the end of a path; and how many paths are longer."""
    first = Counter(path[0] for item in paths for path in item or [] if path)
    root = min(first, key=lambda name: (-first[name], name), default="")
    primary = [primary_path(item or [], root) for item in paths]
    depth = common_depth([len(path) for path in primary])
    columns = {
        f"level_{level + 1}": pl.Series(
            [path[level] if level < len(path) else "" for path in primary], dtype=pl.String
        )
        for level in range(depth)
    }
    return pl.DataFrame(columns), sum(len(path) > depth for path in primary)


def common_depth(lengths: Sequence[int]) -> int:
    """The greatest depth that at least ``LEAST_SHARE`` of the paths that are not empty reach; 1 if all are empty."""
    known = sorted((length for length in lengths if length), reverse=True)
    return known[math.ceil(LEAST_SHARE * len(known)) - 1] if known else 1


def _price_tokens(amount: pl.Series) -> pl.Series:
    """1 to ``PRICES`` by the quantiles of the known prices, "" where there is none."""
    known = amount.drop_nulls()
    tenths = [known.quantile(tenth / PRICES, "lower") for tenth in range(1, PRICES)]
    edges = pl.Series(tenths, dtype=pl.Float64).drop_nulls().unique().sort()
    token = edges.search_sorted(amount.fill_null(0), "left") + 1
    return token.cast(pl.String).zip_with(amount.is_not_null(), pl.Series([""])).alias("price")


def _source(name: str, category: str, published: tuple[int | None, int | None, int | None]) -> Source:
    def read_folder(folder: Path, bad_rows: BadRows) -> RawLog:
        reviews, metadata = source.inputs(folder)
        return read(reviews, metadata, bad_rows)

    source = Source(
        name=f"amazon-2014-{name}",
        domain="online shop: reviews of products",
        licence="none stated",
        obtain="https://jmcauley.ucsd.edu/data/amazon/links.html, per-category files",
        files=(f"reviews_{category}_5.json.gz|reviews_{category}.json.gz", f"meta_{category}.json.gz"),
        published=published,
        levels=("level_1", "...", "level_k"),
        read=read_folder,
        defaults={"split": "leave-one-out", "min_length": 5},
    )
    return source


SOURCES = (
    _source("beauty", "Beauty", (22_363, 12_101, 198_502)),
    _source("sports", "Sports_and_Outdoors", (35_598, 18_357, 296_337)),
    _source("toys", "Toys_and_Games", (19_412, 11_924, 167_597)),
    _source("cds", "CDs_and_Vinyl", (75_258, 64_443, 1_097_592)),
    _source("games", "Video_Games", (24_303, 10_672, 231_780)),
    _source("books", "Books", (603_668, 367_982, 8_898_041)),
)
"""Published counts: users, items and reviews of the five-core files."""

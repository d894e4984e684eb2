"""Yoochoose (RecSys Challenge 2015): clicks of an online shop over six months, with the context of each click.

Raw format: ``yoochoose-clicks.dat``, comma-separated lines ``session,time,item,category`` without a header, as in
``1,2014-04-07T10:51:09.277Z,214536502,0``. Copies that begin with the line
``session_id,timestamp,item_id,category`` are read as well. The fourth cell is the context of the click: "S" a
special offer, "0" missing, 1 to 12 a category of the shop, any other number (8 to 10 digits) a brand.

Rules: the context changes from click to click, an item's category must not. The level ``category`` of an item is
the last category 1 to 12 it was clicked in before the split (:func:`~recbole_hiersrec.data.sources.history.as_of`),
the metadata column ``brand`` the last brand. A special offer and a missing context say nothing about the item, so
one that was clicked in no other context has an unknown category.

The test part is the last day, the validation part the day before, as in B. Hidasi et al., Session-based
recommendations with recurrent neural networks, ICLR 2016. yoochoose-64 and yoochoose-4 train on the most recent
1/64 and 1/4 of the training sessions, as in Y. K. Tan et al., Improved recurrent neural networks for session-based
recommendations, DLRS 2016.

Licence: CC BY-NC-ND 4.0. Source: https://2015.recsyschallenge.com/challenge.html
Published counts: 9,249,729 sessions, 52,739 items, 33,003,944 clicks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.history import as_of, changes
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids, check_times

CLICKS = "yoochoose-clicks.dat"
COLUMNS = ("session_id", "timestamp", "item_id", "category")
CATEGORIES = tuple(str(number) for number in range(1, 13))
SPECIAL_OFFER, MISSING = "S", "0"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the clicks; ``items`` of the result is a function of the time of the split.

    Raises:
        InputError: the file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    path = folder / CLICKS
    header = None if _has_header(path) else COLUMNS
    table = read_table(path, COLUMNS, bad_rows, separator=",", header=header)
    table = check_times(check_ids(table, "session_id", "item_id"), "timestamp")
    table = table.refuse(
        "category",
        ~pl.col("category").str.contains(r"^(S|[0-9]+)$"),
        "allowed: S (special offer), 0 (missing), 1 to 12 (category), any other number (brand)",
    )
    clicks = table.frame.select(session="session_id", item="item_id", time="timestamp", value="category")
    is_category = pl.col("value").is_in(CATEGORIES)
    is_brand = ~pl.col("value").is_in([*CATEGORIES, SPECIAL_OFFER, MISSING])
    observed = clicks.lazy().select("item", "time", "value")
    return RawLog(
        clicks=clicks.drop("value"),
        items=partial(
            _items,
            changes(observed.filter(is_category).collect()),
            changes(observed.filter(is_brand).collect()),
        ),
        levels=("category",),
        metadata=("brand",),
        rejected=table.rejected,
        notes=(
            "An item's category (1 to 12) and brand are those of its last click with one before the split; without a "
            "time of the split, of its first. Special offers and missing contexts count as unknown.",
        ),
    )


def _has_header(path: Path) -> bool:
    """Whether the first line holds names instead of a click, which begins with a number."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(200).startswith(COLUMNS[0].encode())


def _items(categories: pl.DataFrame, brands: pl.DataFrame, cut: float | None) -> pl.DataFrame:
    """Items with a category or a brand known at ``cut``: columns ``item``, ``category``, ``brand``."""
    return (
        as_of(categories, cut)
        .rename({"value": "category"})
        .join(as_of(brands, cut).rename({"value": "brand"}), on="item", how="full", coalesce=True)
    )


def _source(name: str, defaults: Mapping[str, Any]) -> Source:
    return Source(
        name=name,
        domain="online shop: clicks",
        licence="CC BY-NC-ND 4.0",
        obtain="yoochoose-data.7z of the RecSys Challenge 2015, https://2015.recsyschallenge.com/challenge.html",
        files=(CLICKS,),
        published=(9_249_729, 52_739, 33_003_944),
        levels=("category",),
        read=read,
        defaults={"test": "1d", "valid": "1d", "straddling": "keep", **defaults},
    )


SOURCES = (
    _source("yoochoose", {}),
    _source("yoochoose-64", {"train_fraction": "1/64"}),
    _source("yoochoose-4", {"train_fraction": "1/4"}),
)

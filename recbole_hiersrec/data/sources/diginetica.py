"""Diginetica (CIKM Cup 2016, track 2): product views of an online shop, one category level, hashed names, prices.

Raw format: three files with cells separated by ``;``.

- ``train-item-views.csv``: ``sessionId;userId;itemId;timeframe;eventdate``; ``timeframe`` is the time since the
  first query of the session in milliseconds, ``eventdate`` a day (2016-05-09), ``userId`` mostly ``NA`` and not
  used.
- ``products.csv``: ``itemId;pricelog2;product.name.tokens``; the price is published as a whole logarithm, the name
  as hashed words between commas.
- ``product-categories.csv``: ``itemId;categoryId``, one row an item.

Copies whose headers say ``session_id``, ``item_id`` and so on are read as well.

Rules: views are in the order of ``eventdate`` + ``timeframe``; every view of a session then has the stamp of the day of
its last one, because the time of day is not published: a split that cut by ``timeframe`` would put the long sessions of
a day into the later part. The level is ``categoryId``, the title the name's hashed words, and the price
the published logarithm as a token.

The last seven days are the test part, as in S. Wu et al., Session-based recommendation with graph neural networks,
AAAI 2019.

Licence: none stated by the publisher. Source: https://competitions.codalab.org/competitions/11161
The publisher gives no counts; users of the files report 310,324 sessions, 122,993 viewed items (184,047 in the
catalogue, 1,217 categories) and 1,235,380 views.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.tables import column_names, read_table
from recbole_hiersrec.data.validate import check_ids, check_times, one_row_an_item

VIEWS = "train-item-views.csv"
PRODUCTS = "products.csv"
CATEGORIES = "product-categories.csv"
_SPELLINGS = {
    "sessionId": "session_id",
    "itemId": "item_id",
    "categoryId": "category_id",
    "product.name.tokens": "product_name_tokens",
}
"""Column as published -> as some copies have it."""


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the three files.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    views = _views(folder / VIEWS, bad_rows)
    products = _products(folder / PRODUCTS, bad_rows)
    categories = _categories(folder / CATEGORIES, bad_rows)
    return RawLog(
        clicks=views.frame.sort("session", "time", maintain_order=True).select(
            "session", "item", time=pl.col("day").max().over("session")
        ),
        items=categories.frame.select("item", "category").join(
            products.frame.select("item", "title", "price"), on="item", how="full", coalesce=True
        ),
        levels=("category",),
        title="title",
        metadata=("price",),
        time="session",
        rejected=pl.concat([views.rejected, products.rejected, categories.rejected]),
        notes=("The time of day is not published: every view of a session has the stamp of its day.",),
    )


def _views(path: Path, bad_rows: BadRows) -> Table:
    session, item, offset, day = names = _spelt(path, "sessionId", "itemId", "timeframe", "eventdate")
    table = check_ids(read_table(path, names, bad_rows, separator=";"), session, item)
    table = check_times(check_times(table, day), offset, "ms")
    time = pl.col(day) + pl.col(offset)
    return _with(table, session=pl.col(session), item=pl.col(item), day=pl.col(day), time=time)


def _products(path: Path, bad_rows: BadRows) -> Table:
    item, price, name = names = _spelt(path, "itemId", "pricelog2", "product.name.tokens")
    table = check_ids(read_table(path, names, bad_rows, separator=";"), item)
    number = pl.col(price).cast(pl.Float64, strict=False)
    table = table.refuse(
        price,
        (pl.col(price) != "") & ~number.is_finite().fill_null(False),
        "allowed: a number, the price's logarithm, or nothing",
    )
    table = one_row_an_item(table, item, [price, name])
    return _with(table, item=pl.col(item), price=pl.col(price), title=pl.col(name).str.replace_all(",", " "))


def _categories(path: Path, bad_rows: BadRows) -> Table:
    item, category = names = _spelt(path, "itemId", "categoryId")
    table = check_ids(read_table(path, names, bad_rows, separator=";"), item)
    table = one_row_an_item(table, item, [category])
    return _with(table, item=pl.col(item), category=pl.col(category))


def _with(table: Table, **columns: pl.Expr) -> Table:
    """The table with only these columns."""
    return Table(table.path, table.frame.select(**columns), table.bad_rows, table.rejected)


def _spelt(path: Path, *names: str) -> list[str]:
    """The columns as this copy of the file spells them; as published where it has neither spelling."""
    header = column_names(path, separator=";")
    return [_SPELLINGS[name] if _SPELLINGS.get(name) in header else name for name in names]


SOURCE = Source(
    name="diginetica",
    domain="online shop: product views",
    licence="none stated",
    obtain="dataset-train-diginetica.zip of CIKM Cup 2016 track 2, https://competitions.codalab.org/competitions/11161",
    files=(VIEWS, PRODUCTS, CATEGORIES),
    published=(310_324, 122_993, 1_235_380),
    levels=("category",),
    read=read,
    defaults={"test": "7d", "straddling": "keep"},
)

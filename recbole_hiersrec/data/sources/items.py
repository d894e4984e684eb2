"""One row an item, out of tables that have several: repeated rows, and properties that change with time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from recbole_hiersrec.data.log import Table


def one_row_an_item(table: Table, item: str, columns: Sequence[str]) -> Table:
    """Keep the first row of each item; a further one that says something else in ``columns`` is refused.

    Args:
        table: rows of a catalogue.
        item: column that names the item.
        columns: columns in which all rows of an item must agree, empty or missing cells included.

    Raises:
        InputError: two rows of an item differ, and bad rows stop.
    """
    for column in columns:
        differs = pl.col(column).ne_missing(pl.col(column).first().over(item))
        table = table.refuse(
            column, differs, f"an earlier row of the same {item} says otherwise; allowed: one value an item"
        )
    return replace(table, frame=table.frame.unique(item, keep="first", maintain_order=True))


def changes(observed: pl.DataFrame) -> pl.DataFrame:
    """The observations at which an item's value is new, in the order of item and time.

    Args:
        observed: columns ``item``, ``time`` and ``value``; of equal times the later row is the later observation.
    """
    ordered = observed.sort("item", "time", maintain_order=True)
    same = (pl.col("item") == pl.col("item").shift()) & (pl.col("value") == pl.col("value").shift())
    return ordered.filter(~same.fill_null(False))


def as_of(history: pl.DataFrame, cut: float | None) -> pl.DataFrame:
    """What was known of each item: columns ``item`` and ``value``, only items of which something was.

    Args:
        history: as :func:`changes` returns it.
        cut: unix seconds: the last value strictly earlier counts, so that nothing later is looked at. None: the first
            value counts. Leave-one-out has no single time at which training ends, and an item's last value may have
            been set after most of the clicks that are tested; its first one is the earliest thing known.
    """
    if cut is None:
        return history.unique("item", keep="first", maintain_order=True).select("item", "value")
    known = history.filter(pl.col("time") < cut)
    return known.unique("item", keep="last", maintain_order=True).select("item", "value")

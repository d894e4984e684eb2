"""Properties of items that change with time: what was known at the split, and nothing that came later."""

from __future__ import annotations

import polars as pl


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

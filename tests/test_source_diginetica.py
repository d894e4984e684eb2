"""The reader of Diginetica, on files in the true raw format."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.diginetica import SOURCE
from recbole_hiersrec.errors import InputError

VIEWS = """sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;NA;31331;1031018;2016-05-09
2;17;32118;243569;2016-05-10
1;NA;81766;0;2016-05-09
"""
PRODUCTS = """itemId;pricelog2;product.name.tokens
81766;10;4875,776,56689
31331;8;
7;;12
"""
CATEGORIES = """itemId;categoryId
81766;1096
32118;16
"""
DAY = 1_462_752_000.0  # 2016-05-09T00:00Z = 16,930 days


def write(folder: Path, views: str = VIEWS, products: str = PRODUCTS, categories: str = CATEGORIES) -> Path:
    """The three files."""
    (folder / "train-item-views.csv").write_text(views)
    (folder / "products.csv").write_text(products)
    (folder / "product-categories.csv").write_text(categories)
    return folder


def items(log: RawLog) -> dict[str, tuple[str | None, ...]]:
    """Item -> category, title, price."""
    assert isinstance(log.items, pl.DataFrame)
    return {row[0]: row[1:] for row in log.items.select("item", "category", "title", "price").iter_rows()}


def test_views(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert DAY == 16_930 * 86_400
    assert (
        log.time == "session"
    )  # the time of day is not published: the stamp is the day's, timeframe the order
    assert log.clicks.rows() == [
        ("1", "81766", DAY),
        ("1", "81766", DAY),
        ("1", "31331", DAY),
        ("2", "32118", DAY + 86_400),
    ]


def test_items_of_both_files(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert (log.levels, log.title, log.metadata) == (("category",), "title", ("price",))
    assert items(log) == {
        "81766": ("1096", "4875 776 56689", "10"),
        "32118": ("16", None, None),  # no product row
        "31331": (None, "", "8"),  # no category row
        "7": (None, "12", ""),
    }


def test_other_spelling_of_the_headers(tmp_path: Path) -> None:
    other = write(
        tmp_path,
        VIEWS.replace("sessionId;userId;itemId", "session_id;user_id;item_id"),
        PRODUCTS.replace("itemId", "item_id").replace("product.name.tokens", "product_name_tokens"),
        CATEGORIES.replace("itemId;categoryId", "item_id;category_id"),
    )
    log = SOURCE.read(other, "stop")
    (tmp_path / "published").mkdir()
    published = SOURCE.read(write(tmp_path / "published"), "stop")
    assert log.clicks.equals(published.clicks)
    assert items(log) == items(published)


def test_same_row_twice_is_merged(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path, categories=CATEGORIES + "81766;1096\n"), "stop")
    assert items(log)["81766"][0] == "1096"


@pytest.mark.parametrize(
    ("part", "row", "message"),
    [
        ("views", "3;NA;5;-1;2016-05-09", r"train-item-views.csv, row 6, column 'timeframe': received '-1'"),
        ("views", "3;NA;5;x;2016-05-09", r"row 6, column 'timeframe': received 'x'"),
        ("views", "3;NA;5;1;09.05.2016", r"row 6, column 'eventdate': received '09.05.2016'"),
        ("views", ";NA;5;1;2016-05-09", r"row 6, column 'sessionId': received ''; is empty"),
        ("views", "3;NA;NA;1;2016-05-09", r"row 6, column 'itemId': received 'NA'"),
        ("views", "3;NA;5;1", r"train-item-views.csv, row 6"),
        (
            "products",
            "9;cheap;1",
            r"products.csv, row 5, column 'pricelog2': received 'cheap'; allowed: a number",
        ),
        ("products", "81766;11;4875,776,56689", r"products.csv, row 5, column 'pricelog2': received '11'"),
        (
            "categories",
            "81766;5",
            r"product-categories.csv, row 4, column 'categoryId': received '5'.*'1096'",
        ),
    ],
)
def test_bad_rows(tmp_path: Path, part: str, row: str, message: str) -> None:
    files = {"views": VIEWS, "products": PRODUCTS, "categories": CATEGORIES}
    write(tmp_path, **{**files, part: files[part] + row + "\n"})
    with pytest.raises(InputError, match=message):
        SOURCE.read(tmp_path, "stop")
    skipped = SOURCE.read(tmp_path, "skip")
    assert len(skipped.rejected) == 1
    whole = SOURCE.read(write(tmp_path), "stop")
    assert skipped.clicks.equals(whole.clicks)
    assert items(skipped) == items(whole)


def test_wrong_separator_and_missing_column(tmp_path: Path) -> None:
    write(tmp_path, VIEWS.replace(";", ","))
    with pytest.raises(InputError, match="train-item-views.csv.*comma"):
        SOURCE.read(tmp_path, "stop")
    write(tmp_path, VIEWS.replace("timeframe", "timefame"))
    with pytest.raises(InputError, match="did you mean 'timefame'"):
        SOURCE.read(tmp_path, "stop")


def test_defaults_test_the_last_week() -> None:
    assert SOURCE.defaults["test"] == "7d"

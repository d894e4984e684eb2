"""The reader of the Amazon reviews of 2014, on files in the true raw format: JSON reviews, Python-literal metadata."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources import amazon2014
from recbole_hiersrec.data.sources.amazon2014 import common_depth, parse_line, primary_path
from recbole_hiersrec.errors import InputError

BEAUTY = amazon2014.SOURCES[0]
ITEMS: list[dict[str, Any]] = [
    {
        "asin": "0000031852",
        "title": "Hair Rollers &amp; Clips",
        "price": 3.17,
        "imUrl": "http://x/y.jpg",
        "related": {"also_bought": ["B00JHONN1S"]},
        "salesRank": {"Beauty": 211836},
        "brand": "Coxlures",
        "categories": [["Beauty", "Hair Care"], ["Beauty", "Hair Care", "Rollers"], ["Baby", "A", "B", "C"]],
    },
    {"asin": "B1", "categories": [["Beauty", "Makeup", "Lips"], ["Beauty", "Makeup", "Eyes"]], "price": 9.0},
    {"asin": "B2", "categories": [["Health &amp; Care", "Vitamins"]], "title": 'It\'s a "pill"\n'},
    {"asin": "B3", "categories": [["Beauty"]]},
    {"asin": "B4"},
]


def review(user: str, item: str, day: int) -> str:
    """One line of a reviews file."""
    return json.dumps(
        {
            "reviewerID": user,
            "asin": item,
            "reviewerName": "A\tB",
            "helpful": [0, 0],
            "reviewText": "Fine, \u00e9\n",
            "overall": 5.0,
            "summary": "s",
            "unixReviewTime": 86_400 * day,
            "reviewTime": "01 30, 2014",
        }
    )


REVIEWS = [review("U1", "B1", 2), review("U2", "B1", 1), review("U1", "0000031852", 1), review("U1", "B9", 2)]


def write(
    folder: Path, metadata: list[str], reviews: list[str] = REVIEWS, name: str = "reviews_Beauty_5"
) -> Path:
    """The two gzipped files."""
    for file, lines in ((f"{name}.json.gz", reviews), ("meta_Beauty.json.gz", metadata)):
        with gzip.open(folder / file, "wb") as stream:
            stream.write("".join(line + "\n" for line in lines).encode())
    return folder


def literals(items: list[dict[str, Any]]) -> list[str]:
    """Python literals, as in the published metadata."""
    return [repr(item) for item in items]


def read(folder: Path, metadata: list[str]) -> RawLog:
    """The log of a folder with this metadata."""
    return BEAUTY.read(write(folder, metadata), "stop")


def table(log: RawLog) -> dict[str, tuple[Any, ...]]:
    """Item -> the other columns."""
    assert isinstance(log.items, pl.DataFrame)
    return {
        row[0]: row[1:]
        for row in log.items.select("item", *log.levels, "title", "brand", "price").iter_rows()
    }


def test_reviews_in_file_order(tmp_path: Path) -> None:
    log = read(tmp_path, literals(ITEMS))
    assert log.clicks.rows() == [
        ("U1", "B1", 172_800.0),
        ("U2", "B1", 86_400.0),
        ("U1", "0000031852", 86_400.0),
        ("U1", "B9", 172_800.0),
    ]
    assert log.time == "click"


def test_paths_titles_brands_prices(tmp_path: Path) -> None:
    log = read(tmp_path, literals(ITEMS))
    assert (log.levels, log.title, log.metadata) == (("level_1", "level_2"), "title", ("brand", "price"))
    assert table(log) == {
        # the root Beauty is left out, the deepest path below it counts, not the still deeper one below Baby
        "0000031852": ("Hair Care", "Rollers", "Hair Rollers & Clips", "Coxlures", "1"),
        "B1": ("Makeup", "Lips", None, None, "2"),  # of equally deep paths the first
        "B2": ("Health & Care", "Vitamins", 'It\'s a "pill"\n', None, ""),  # elsewhere: with its own root
        "B3": ("", "", None, None, ""),
        "B4": ("", "", None, None, ""),
    }


def test_real_json_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    as_literals = read(tmp_path / "a", literals(ITEMS))
    as_json = read(tmp_path / "b", [json.dumps(item) for item in ITEMS])
    assert table(as_literals) == table(as_json)


def test_full_reviews_are_taken_where_the_five_core_is_missing(tmp_path: Path) -> None:
    write(tmp_path, literals(ITEMS), [review("U7", "B1", 3)], "reviews_Beauty")
    assert BEAUTY.read(tmp_path, "stop").clicks["session"].to_list() == ["U7"]
    write(tmp_path, literals(ITEMS))
    assert "U7" not in BEAUTY.read(tmp_path, "stop").clicks["session"].to_list()


def test_primary_path_of_a_root_only_item_is_elsewhere() -> None:
    assert primary_path([["Books"], ["Toys", "Games"]], "Books") == ["Toys", "Games"]
    assert primary_path([["Books"]], "Books") == []
    assert primary_path([], "Books") == []


def test_depth_is_reached_by_one_in_a_hundred() -> None:
    assert common_depth([2] * 198 + [3, 5]) == 3  # 2 of 200 reach 3, 1 of 200 reaches 5
    assert common_depth([0] * 1000 + [1, 2]) == 2  # items without a path do not count
    assert common_depth([0]) == 1


def test_what_is_cut_is_said(tmp_path: Path) -> None:
    items = [{"asin": f"A{i}", "categories": [["R", "x"]]} for i in range(200)]
    log = read(tmp_path, literals([*items, {"asin": "deep", "categories": [["R", "x", "y"]]}]))
    assert log.levels == ("level_1",)
    assert "below level 1 are left out (1 items" in log.notes[1]


def test_price_tokens_are_tenths_of_the_catalogue(tmp_path: Path) -> None:
    prices = [float(price) for price in range(1, 101)] + [1.0] * 5
    items: list[dict[str, Any]] = [{"asin": f"A{i:03}", "price": price} for i, price in enumerate(prices)]
    tokens = {name: row[-1] for name, row in table(read(tmp_path, literals(items))).items()}
    ordered = sorted(prices)
    # the naive rule: one more than the number of tenths' edges below the price
    edges = {ordered[math.floor(tenth / 10 * (len(prices) - 1))] for tenth in range(1, 10)}
    for item, price in zip(items, prices, strict=True):
        assert tokens[item["asin"]] == str(1 + sum(edge < price for edge in edges))
    assert set(tokens.values()) == {str(token) for token in range(1, 11)}


def test_metadata_is_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    line = f"{{'asin': __import__('pathlib').Path({str(mark)!r}).touch()}}"
    with pytest.raises(InputError, match=r"meta_Beauty.json.gz, row 6: .*allowed: one object a line"):
        read(tmp_path, [*literals(ITEMS), line])
    assert not mark.exists()


def test_escapes_of_python_2_are_read() -> None:
    assert parse_line(b"{'asin': u'A', 'title': u'caf\\xe9 \\u2019'}\n") == {
        "asin": "A",
        "title": "caf\u00e9 \u2019",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'asin': 'B7', 'price': '$9'}", r"row 6, column 'price': received \"'\$9'\"; allowed: a number"),
        (
            "{'asin': 'B7', 'price': -1}",
            "row 6, column 'price': received '-1'; allowed: a number of 0 or more",
        ),
        (
            "{'asin': 'B7', 'categories': ['Beauty']}",
            "row 6, column 'categories': .*lists of names in a list",
        ),
        ("{'asin': 'B7', 'categories': [[1]]}", "row 6, column 'categories'"),
        ("{'title': 'no asin'}", "row 6, column 'asin': received nothing; is empty"),
        ("{'asin': 'NA'}", "row 6, column 'asin': received 'NA'"),
        ("{'asin': 'B4', 'categories': [['Beauty', 'x']]}", "row 6, column 'categories': .*row 5 .*'B4'"),
        ("{'asin': 'B7'", r"row 6: received \"\{'asin': 'B7'\"; allowed: one object a line"),
        ("['B7']", "row 6: .*allowed: one object a line"),
    ],
)
def test_bad_metadata(tmp_path: Path, line: str, message: str) -> None:
    lines = [*literals(ITEMS), line]
    with pytest.raises(InputError, match=message):
        read(tmp_path, lines)
    skipped = BEAUTY.read(tmp_path, "skip")
    assert skipped.rejected.select("file", "row").rows() == [("meta_Beauty.json.gz", 6)]
    assert table(skipped) == table(read(tmp_path, literals(ITEMS)))


def test_same_row_twice_is_merged(tmp_path: Path) -> None:
    assert len(table(read(tmp_path, literals([*ITEMS, ITEMS[0]])))) == len(ITEMS)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    with gzip.open(write(tmp_path, []) / "meta_Beauty.json.gz", "wb") as stream:
        stream.write(b"{'asin': 'A'}\n\n{'asin': 'B\xff'}\n")
    with pytest.raises(InputError, match=r"row 2: received .*\\xff.*UTF-8"):
        BEAUTY.read(tmp_path, "stop")


@pytest.mark.parametrize("name", ["reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"])
def test_gzip_cut_short_is_one_line(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, literals(ITEMS)) / name
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match="cut short") as caught:
        BEAUTY.read(tmp_path, "stop")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_review(tmp_path: Path) -> None:
    write(tmp_path, literals(ITEMS), [*REVIEWS, review("U1", "B1", -1)])
    with pytest.raises(
        InputError, match="reviews_Beauty_5.json.gz, row 5, column 'unixReviewTime'.*negative"
    ):
        BEAUTY.read(tmp_path, "stop")
    assert len(BEAUTY.read(tmp_path, "skip").clicks) == len(REVIEWS)


def test_missing_file_names_both(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="reviews_Beauty_5.json.gz or reviews_Beauty.json.gz, meta_Beauty.json.gz"
    ):
        BEAUTY.read(tmp_path, "stop")


def test_no_items_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="meta_Beauty.json.gz"):
        read(tmp_path, [""])

"""The reader of Yoochoose, on a file in the true raw format: no header, ISO times, the context of each click."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.yoochoose import SOURCES
from recbole_hiersrec.errors import InputError

SOURCE = SOURCES[0]
CLICKS = """1,2014-04-07T10:51:09.277Z,214536502,0
1,2014-04-07T10:54:09.868Z,214536500,S
2,2014-04-07T13:56:37.614Z,214536502,3
2,2014-04-07T13:57:19.373Z,214662742,2089072658
3,2014-04-08T00:00:00.000Z,214536502,12
3,2014-04-08T00:00:01.000Z,214536502,S
3,2014-04-08T00:00:02.000Z,214536502,13
"""
DAY = 1_396_828_800.0  # 2014-04-07T00:00Z = 16,167 days


def write(folder: Path, text: str = CLICKS) -> Path:
    """The one file."""
    (folder / "yoochoose-clicks.dat").write_text(text)
    return folder


def items(log: RawLog, cut: float | None) -> dict[str, tuple[str | None, str | None]]:
    """Item -> category and brand as known at ``cut``."""
    assert callable(log.items)
    return {item: (category, brand) for item, category, brand in log.items(cut).iter_rows()}


def test_clicks(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert DAY == 16_167 * 86_400
    assert log.clicks.columns == ["session", "item", "time"]
    first = DAY + 10 * 3600 + 51 * 60 + 9.277
    assert log.clicks.row(0) == ("1", "214536502", pytest.approx(first, abs=1e-6))
    assert log.clicks["session"].to_list() == ["1", "1", "2", "2", "3", "3", "3"]
    assert log.clicks["time"][4] == DAY + 86_400


def test_category_and_brand_before_the_split(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert (log.levels, log.metadata, log.title) == (("category",), ("brand",), None)
    assert items(log, DAY) == {}
    assert items(log, DAY + 50_000) == {}  # until 13:53 only a missing context and a special offer
    brand_only = {"214662742": (None, "2089072658")}
    assert items(log, DAY + 86_400) == {"214536502": ("3", None)} | brand_only  # strictly before
    # neither the special offer nor the brand after it takes the category away
    assert items(log, DAY + 86_410) == {"214536502": ("12", "13")} | brand_only


def test_without_a_split_time_the_first_value_counts(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert items(log, None) == {"214536502": ("3", "13"), "214662742": (None, "2089072658")}


def test_a_copy_with_a_header(tmp_path: Path) -> None:
    plain = SOURCE.read(write(tmp_path), "stop").clicks
    text = "session_id,timestamp,item_id,category\n" + CLICKS
    assert SOURCE.read(write(tmp_path, text), "stop").clicks.equals(plain)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "4,2014-04-07 at noon,5,0",
            "yoochoose-clicks.dat, row 8, column 'timestamp': received '2014-04-07 at noon'",
        ),
        ("4,2014-13-07T10:51:09.277Z,5,0", "row 8, column 'timestamp'"),
        ("4,1396867869277,5,0", "row 8, column 'timestamp': received '1396867869277'"),
        ("4,2014-04-07T10:51:09.277Z,,0", "row 8, column 'item_id': received ''; is empty"),
        (
            "4,2014-04-07T10:51:09.277Z,5,X",
            r"row 8, column 'category': received 'X'; allowed: S \(special offer\)",
        ),
        ("4,2014-04-07T10:51:09.277Z,5,", "row 8, column 'category': received ''"),
        ("4,2014-04-07T10:51:09.277Z,5", "yoochoose-clicks.dat, row 8"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, message: str) -> None:
    write(tmp_path, CLICKS + row + "\n")
    with pytest.raises(InputError, match=message):
        SOURCE.read(tmp_path, "stop")
    skipped = SOURCE.read(tmp_path, "skip")
    assert skipped.rejected["row"].to_list() == [8]
    whole = SOURCE.read(write(tmp_path), "stop")
    assert skipped.clicks.equals(whole.clicks)
    assert items(skipped, None) == items(whole, None)


def test_row_numbers_count_a_header(tmp_path: Path) -> None:
    write(tmp_path, "session_id,timestamp,item_id,category\n" + CLICKS + "4,2014-04-07T10:51:09.277Z,5,X\n")
    with pytest.raises(InputError, match="row 9, column 'category'"):
        SOURCE.read(tmp_path, "stop")


def test_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="yoochoose-clicks.dat"):
        SOURCE.read(tmp_path, "stop")


def test_fractions() -> None:
    assert {source.name: source.defaults.get("train_fraction") for source in SOURCES} == {
        "yoochoose": None,
        "yoochoose-64": "1/64",
        "yoochoose-4": "1/4",
    }
    assert {source.defaults["test"] for source in SOURCES} == {"1d"}

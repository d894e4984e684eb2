"""Checks of ids, times and duplicate rows, on values worked out by hand."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recbole_hiersrec.data.files import MISSING
from recbole_hiersrec.data.log import ROW, BadRows, Table
from recbole_hiersrec.data.validate import TimeUnit, check_ids, check_times, one_row_an_item
from recbole_hiersrec.errors import InputError

SECONDS = 1_396_867_869  # 2014-04-07T10:51:09Z


def table(values: Any, bad_rows: BadRows = "stop", **more: Any) -> Table:
    """Column "x" (and more), rows numbered from 2."""
    frame = pl.DataFrame({"x": values, **more}).with_row_index(ROW, offset=2)
    return Table(Path("log.csv"), frame, bad_rows)


def ids(values: Any) -> list[Any]:
    return check_ids(table(values), "x").frame["x"].to_list()


def seconds(values: Any, unit: TimeUnit = "auto") -> list[float]:
    checked = check_times(table(values), "x", unit).frame
    assert checked.schema == {ROW: pl.UInt32, "x": pl.Float64}
    return checked["x"].to_list()


def test_good_ids_stay_as_they_are() -> None:
    good = ["a", "0", "007", "-1", " a b ", "é", "nan.", 'say "x"', "#1", "12.0"]
    assert ids(good) == good


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, -2], pl.Int64, [1, -2]),
        ([1, 2], pl.UInt8, [1, 2]),
        ([1, 2], pl.UInt64, [1, 2]),
        ([1, 2**63], pl.UInt64, ["1", "9223372036854775808"]),
        ([1.0, 2.0], pl.Float64, [1, 2]),
        (["1", "2"], pl.Decimal(20, 0), [1, 2]),
        (["u", "v"], pl.Categorical, ["u", "v"]),
        (["u", "v"], pl.Enum(["v", "u"]), ["u", "v"]),
    ],
)
def test_whole_numbers_become_int64_or_text(values: Any, dtype: Any, expected: list[Any]) -> None:
    checked = check_ids(table(pl.Series(values).cast(dtype)), "x").frame["x"]
    assert checked.to_list() == expected
    assert checked.dtype == (pl.Int64 if isinstance(expected[0], int) else pl.String)


BAD_IDS = [
    ("", "is empty"),
    (None, "is empty"),
    ("NA", "RecBole reads this as missing"),
    ("null", "RecBole reads this as missing"),
    ("a\tb", "holds a tab, a line break or another control character"),
    ("a\nb", "holds a tab"),
    ("a\r", "holds a tab"),
    ("a\x00", "holds a tab"),
    ("a\u2028b", "holds a tab"),
    ('"a', "begins with a quote"),
]


@pytest.mark.parametrize(("value", "reason"), BAD_IDS)
def test_bad_ids_are_named(value: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        ids(["a", value, "b"])
    shown = "nothing" if value is None else repr(value)
    assert str(caught.value).startswith(f"log.csv, row 3, column 'x': received {shown}; {reason}")
    checked = check_ids(table(["a", value, "b"], "skip"), "x")
    assert checked.frame.rows() == [(2, "a"), (4, "b")]
    ((file, row, column, received, why),) = checked.rejected.rows()
    assert (file, row, column, received) == ("log.csv", 3, "x", value)
    assert why.startswith(reason)


def test_all_that_pandas_reads_as_missing_is_refused() -> None:
    checked = check_ids(table([*sorted(MISSING), "good"], "skip"), "x")
    assert checked.frame["x"].to_list() == ["good"]
    assert len(checked.rejected) == len(MISSING)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.5, "is not a whole number"),
        (float("nan"), "is not a whole number"),
        (float("inf"), "is not a whole number"),
        (2.0**54, "is too large to be an exact id"),
        (None, "is empty"),
    ],
)
def test_floats_are_ids_only_where_they_are_whole(value: float | None, reason: str) -> None:
    with pytest.raises(InputError, match=f"row 3, column 'x': received .*; {reason}"):
        ids([1.0, value])
    assert check_ids(table([1.0, value], "skip"), "x").frame.rows() == [(2, 1)]


@pytest.mark.parametrize("values", [[True, False], [date(2020, 1, 1)], [["a"]], [b"a"]])
def test_other_types_are_no_ids(values: list[Any]) -> None:
    with pytest.raises(InputError, match="log.csv: column 'x' has type .*; allowed for ids: text or whole"):
        ids(values)


def test_several_columns_are_checked_and_no_row_left_is_an_error() -> None:
    with pytest.raises(InputError, match="row 2, column 'y': received ''"):
        check_ids(table(["a"], y=[""]), "x", "y")
    with pytest.raises(
        InputError, match="log.csv: every row was refused; row 2, column 'y': received ''; is empty"
    ):
        check_ids(table(["a"], "skip", y=[""]), "x", "y")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 3, 99_999_999], [0.0, 3.0, 99_999_999.0]),
        ([SECONDS, SECONDS + 1], [SECONDS, SECONDS + 1]),
        ([SECONDS * 1000 + 277], [SECONDS + 0.277]),
        ([SECONDS * 10**6 + 277_000], [SECONDS + 0.277]),
        ([SECONDS * 10**9 + 277_000_000], [SECONDS + 0.277]),
        ([float(SECONDS)], [SECONDS]),
        (["1396867869", " 1396867869.5 ", "1.396867869e9"], [SECONDS, SECONDS + 0.5, SECONDS]),
        (["1396867869277"], [SECONDS + 0.277]),
        (["2014-04-07T10:51:09.277Z"], [SECONDS + 0.277]),
        (["2014-04-07T10:51:09", "2014-04-07 10:51:09 UTC", "2014-04-07t10:51:09z"], [SECONDS] * 3),
        (["2014-04-07T12:51:09+02:00", "2014-04-07 02:21:09-0830", "2014-04-07T11:51:09+01"], [SECONDS] * 3),
        (["2014-04-07", "2014-04-07 10:51", "1970-01-01"], [SECONDS - 39069, SECONDS - 9, 0.0]),
        ([date(2014, 4, 7)], [SECONDS - 39069]),
        ([datetime(2014, 4, 7, 10, 51, 9, 277000)], [SECONDS + 0.277]),
        ([datetime(2014, 4, 7, 12, 51, 9, tzinfo=timezone(timedelta(hours=2)))], [SECONDS]),
    ],
)
def test_times_become_unix_seconds(values: list[Any], expected: list[float]) -> None:
    assert seconds(values) == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize("time_unit", ["ms", "us", "ns"])
def test_parquet_dates_of_any_resolution(time_unit: Any) -> None:
    stamps = pl.Series([SECONDS * 1000]).cast(pl.Datetime("ms")).cast(pl.Datetime(time_unit))
    assert seconds(stamps) == [SECONDS]


@pytest.mark.parametrize(("unit", "expected"), [("s", 5000.0), ("ms", 5.0), ("us", 0.005), ("ns", 5e-6)])
def test_a_given_unit_is_taken_at_its_word(unit: TimeUnit, expected: float) -> None:
    assert seconds(["5000"], unit) == [expected]
    assert seconds([SECONDS * 1000, 5], "ms") == [SECONDS, 0.005]
    assert seconds(["2014-04-07T10:51:09Z"], unit) == [SECONDS]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (None, "is empty"),
        ("soon", "is not a time"),
        ("2014-13-01", "is not a time"),
        ("2014-02-30T00:00:00Z", "is not a time"),
        ("2014-02-03T25:00:00Z", "is not a time"),
        ("2014-02-03T05:00:00+25:00", "is not a time"),
        ("07.04.2014", "is not a time"),
        ("1,396", "is not a time"),
        ("nan", "is not finite"),
        ("inf", "is not finite"),
        ("1e400", "is not finite"),
        ("-5", "is negative"),
        ("1969-12-31", "is negative"),
    ],
)
def test_bad_times_are_named(value: str | None, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        seconds(["1396867869", value])
    shown = "nothing" if value is None else repr(value)
    assert str(caught.value).startswith(f"log.csv, row 3, column 'x': received {shown}; {reason}")
    assert "allowed: a number of 0 or more, or a date as 2014-04-07T10:51:09Z" in str(caught.value)
    checked = check_times(table(["1396867869", value], "skip"), "x")
    assert checked.frame.rows() == [(2, SECONDS)]
    assert checked.rejected["row"].to_list() == [3]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), None])
def test_bad_numbers(value: float | None) -> None:
    with pytest.raises(InputError, match="row 3, column 'x'"):
        seconds([5.0, value])


def test_units_do_not_mix() -> None:
    stamps = [SECONDS * 1000, SECONDS, SECONDS * 1000 + 5, SECONDS + 1, SECONDS * 1000 + 9]
    with pytest.raises(InputError) as caught:
        seconds(stamps)
    assert str(caught.value) == (
        "log.csv, row 3, column 'x': received '1396867869'; is in seconds, while row 2 ('1396867869000') is in "
        "milliseconds; allowed: one unit in a file"
    )
    checked = check_times(table(stamps, "skip"), "x")
    assert checked.frame[ROW].to_list() == [2, 4, 6]
    assert checked.rejected["row"].to_list() == [3, 5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, SECONDS, SECONDS], "row 2, .* received '0'; is too small for a date after 1973, while row 3 "),
        ([SECONDS, 0], r"row 3, .* received '0'; is too small .* while row 2 \('1396867869'\) is in seconds"),
        (["2014-04-07", "1396867869", "2014-04-07"], "row 3, .* is in seconds, while row 2 .* is a date"),
        ([10**8, 10**11], "row 3, .* is in milliseconds, while row 2 .* in seconds"),
        ([10**14, 10**11], "row 3, .* is in milliseconds, while row 2 .* in microseconds"),
        ([10**14, 10**17], "row 3, .* is in nanoseconds, while row 2 .* in microseconds"),
        ([10**8 - 1, 10**8], "row 3, .* is in seconds, while row 2 .* too small"),
    ],
)
def test_the_rarer_unit_is_refused_and_of_two_equal_ones_the_later(values: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        seconds(values)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["20200913", "20200914"], "20200913"),
        ([19700101, 21001231], "19700101"),
        (["20200913122640", "20200914000000"], "20200913122640"),
        ([20200913122640.0, 21001231235959.0], "20200913122640.0"),
    ],
)
def test_dates_written_as_numbers_are_refused(values: list[Any], shown: str) -> None:
    with pytest.raises(InputError) as caught:
        seconds(values)
    assert str(caught.value) == (
        f"log.csv, row 2, column 'x': received {shown!r}; looks like a date, as all rows do; write it as 2020-09-13, "
        "with a time as 2020-09-13T12:26:40, or say the unit (--time-unit)"
    )
    assert seconds(values, "s") == [float(value) for value in values]
    with pytest.raises(InputError, match="looks like a date"):
        check_times(table(values, "skip"), "x")


@pytest.mark.parametrize(
    ("values", "divisor"),
    [
        ([20200913, 20201301], 1),  # no month 13
        ([20200913, 20200932], 1),
        ([20200913, 20200900], 1),
        ([20200913.5], 1),
        ([19691231], 1),
        ([21010101], 1),
        ([20200913, 5], 1),
        ([20200913246060], 1e3),
        ([20200913122640, 20200913126000], 1e3),
        ([20200913122640, 20200913120060], 1e3),
    ],
)
def test_other_numbers_are_no_dates(values: list[float], divisor: float) -> None:
    assert seconds([float(value) for value in values]) == [value / divisor for value in values]


def test_times_of_other_types_and_unknown_units() -> None:
    with pytest.raises(InputError, match="column 'x' has type Boolean; allowed for times"):
        seconds([True])
    with pytest.raises(InputError, match="time unit: received 'sec'; allowed: auto, s, ms, us, ns"):
        seconds([1], "sec")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every row was refused; row 2"):
        check_times(table(["x"], "skip"), "x")
    with pytest.raises(InputError, match="every row was refused; row 2"):
        check_times(table(["x"], "skip"), "x", "s")


def test_long_values_are_shortened_in_messages() -> None:
    long = "x" * 1000
    with pytest.raises(InputError) as caught:
        one_row_an_item(table(["a", "a"], level=["y", long]), "x", ["level"])
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError) as caught:
        check_times(table([long], "skip"), "x")
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError) as caught:
        seconds(["0" * 1000 + "5", "1396867869"])
    assert len(str(caught.value)) < 400


def test_the_same_rows_of_an_item_are_merged() -> None:
    merged = one_row_an_item(
        table(["b", "a", "b"], level=["1", None, "1"], name=["p", "q", "r"]), "x", ["level"]
    )
    assert merged.frame.rows() == [(2, "b", "1", "p"), (3, "a", None, "q")]
    assert merged.rejected.is_empty()


def test_rows_of_an_item_with_different_categories_are_refused() -> None:
    values = {"dept": ["u", "u", "u", "w"], "kind": ["sh\noes", "hats", "so\ncks", "shoes"]}
    with pytest.raises(InputError) as caught:
        one_row_an_item(table(["a{}", "b", "a{}", "a{}"], **values), "x", ["dept", "kind"])
    assert str(caught.value) == (
        "log.csv, row 5, column 'dept': received 'w'; row 2 has 'u' for the same x 'a{}'; allowed: one value"
    )
    with pytest.raises(InputError, match="received .*; row 2 has 'sh oes' for"):
        one_row_an_item(table(["a{}", "b", "a{}", "a{}"], **values), "x", ["kind"])
    kept = one_row_an_item(table(["a{}", "b", "a{}", "a{}"], "skip", **values), "x", ["dept", "kind"])
    assert kept.frame[ROW].to_list() == [2, 3]
    assert kept.rejected.select("row", "column", "received").rows() == [
        (5, "dept", "w"),
        (4, "kind", "so\ncks"),
    ]


def test_a_known_and_an_unknown_category_are_different() -> None:
    with pytest.raises(InputError, match="received 'hats'; row 2 has '' for the same x 'a'"):
        one_row_an_item(table(["a", "a"], level=[None, "hats"]), "x", ["level"])

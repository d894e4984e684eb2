"""Checks of raw columns before anything is computed from them: ids, times, and one row an item.

All rows are checked by Polars expressions, never one by one; a row is looked at alone only to be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import polars as pl

from recbole_hiersrec.data.files import MISSING
from recbole_hiersrec.data.log import ROW, Table, short
from recbole_hiersrec.errors import InputError, nearest

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Unit of a time stamp -> how many of it make a second."""

# What a stamp is by its size: from each bound on the next unit; every unit then means 1973 or later.
_BOUNDS = (1e8, 1e11, 1e14, 1e17)
_DIVISORS = (1.0, *UNITS.values(), 1.0)
_KINDS = (
    "too small for a date after 1973",
    "in seconds",
    "in milliseconds",
    "in microseconds",
    "in nanoseconds",
    "a date",
)
_DATE = len(_KINDS) - 1
_ISO = (
    r"^\s*(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?<minute>\d{2}:\d{2})(?::(?<second>\d{2})(?<fraction>\.\d+)?)?"
    r"\s*(?:Z|z|UTC|(?<sign>[+-])(?<hours>[01]\d|2[0-3]):?(?<minutes>[0-5]\d)?)?)?\s*$"
)
_EXACT = 2.0**53  # up to here every whole number is a float64
_CONTROL = r"[\p{Cc}\u2028\u2029]"
_VALUE, _KIND = "__time_value__", "__time_kind__"


def check_ids(table: Table, *columns: str) -> Table:
    """Make sure that every id can stand in an atomic file and be read back as it is.

    Text stays as it is; whole numbers become Int64, or text where they are too large for that.

    Raises:
        InputError: an id is empty; is read as missing by RecBole ("NA", "null", ...); holds a tab, a line break or
            another control character; begins with a quote, which RecBole's reader takes for a quoted cell; or is
            a number that is not whole. (``bad_rows`` "skip": such rows are moved to ``rejected``.)
    """
    for column in columns:
        dtype = table.frame.schema[column]
        if isinstance(dtype, pl.Categorical | pl.Enum):
            table = replace(table, frame=table.frame.with_columns(pl.col(column).cast(pl.String)))
        elif dtype.is_numeric():
            table = _whole(table, column, dtype)
        elif dtype != pl.String:
            raise InputError(
                f"{table.path}: column '{column}' has type {dtype}; allowed for ids: text or whole numbers"
            )
        if table.frame.schema[column] == pl.String:
            table = _check_text_ids(table, column)
    return _not_empty(table)


def _check_text_ids(table: Table, column: str) -> Table:
    value = pl.col(column)
    faults = (
        (value.is_null() | (value.str.strip_chars() == ""), "is empty or blank; allowed: any text"),
        (value.is_in(sorted(MISSING)), "RecBole reads this as missing; rename it"),
        (value.str.contains(_CONTROL), "holds a tab, a line break or another control character; rename it"),
        (value.str.starts_with('"'), "begins with a quote, which RecBole takes for a quoted cell; rename it"),
    )
    for bad, reason in faults:
        table = table.refuse(column, bad, reason)
    return table


def _whole(table: Table, column: str, dtype: pl.DataType) -> Table:
    """Numbers as Int64, or as text where one of them does not fit."""
    value = pl.col(column)
    table = table.refuse(column, value.is_null(), "is empty; allowed: text or a whole number")
    if dtype.is_float() or dtype.is_decimal():
        exact = value.is_finite() & (value == value.floor()) if dtype.is_float() else value == value.floor()
        table = table.refuse(column, ~exact, "is not a whole number; allowed: text or a whole number")
    if dtype.is_float():
        table = table.refuse(
            column,
            value.abs() > _EXACT,
            "is too large to be an exact id as a floating-point number; write text",
        )
    number = table.frame[column].cast(pl.Int64, strict=False)
    if number.null_count():  # beyond Int64
        number = table.frame[column].cast(pl.String)
    return replace(table, frame=table.frame.with_columns(number.alias(column)))


def check_times(table: Table, column: str, unit: TimeUnit = "auto") -> Table:
    """Replace a column of time stamps by unix seconds (Float64).

    Numbers (as text or as numbers), ISO 8601 text with or without time, fraction, Z or offset (none: UTC), and
    Parquet dates are read. With ``unit`` "auto" the size of the numbers tells their unit, and all must agree: below
    1e8 they are taken as they are, from 1e8 as seconds, from 1e11 as milliseconds, from 1e14 as microseconds, from
    1e17 as nanoseconds (each of them 1973 or later).

    Raises:
        InputError: a time is empty, not a time, not finite or negative; or the units differ between rows.
            (``bad_rows`` "skip": such rows are moved to ``rejected``, of two units the rarer one's.) Or with ``unit``
            "auto" all times look like dates written as numbers, as 20140407.
    """
    if unit not in get_args(TimeUnit):
        units = ", ".join(get_args(TimeUnit))
        raise InputError(f"time unit: received '{unit}'{nearest(unit, get_args(TimeUnit))}; allowed: {units}")
    allowed = "allowed: a number of 0 or more, or a date as 2014-04-07T10:51:09Z"
    table = replace(table, frame=table.frame.with_columns(_numbers(table, column)))
    table = table.refuse(column, _is_empty(table, column), f"is empty; {allowed}")
    table = table.refuse(column, pl.col(_VALUE).is_null(), f"is not a time; {allowed}")
    table = table.refuse(column, ~pl.col(_VALUE).is_finite(), f"is not finite; {allowed}")
    table = table.refuse(column, pl.col(_VALUE) < 0, f"is negative (before 1970); {allowed}")
    if unit == "auto":
        table = _not_empty(_one_unit(table, column))
        _no_written_dates(table, column)
        divisor = _DIVISORS[table.frame[_KIND][0]]
    else:
        divisor = UNITS[unit]
    seconds = (
        pl.when(pl.col(_KIND) == _DATE).then(pl.col(_VALUE)).otherwise(_divided(pl.col(_VALUE), divisor))
    )
    frame = table.frame.with_columns(seconds.alias(column)).drop(_VALUE, _KIND)
    return _not_empty(replace(table, frame=frame))


def one_row_an_item(table: Table, item: str, levels: Sequence[str]) -> Table:
    """Merge the rows of each item into its first one.

    Raises:
        InputError: two rows of an item have different categories; both rows and both values are named.
            (``bad_rows`` "skip": the first row of an item stays, those that differ from it are moved to ``rejected``.)
    """
    for level in levels:
        table = _same_category(table, item, level)
    return replace(table, frame=table.frame.unique(subset=item, keep="first", maintain_order=True))


def _same_category(table: Table, item: str, level: str) -> Table:
    first_row, first = pl.col(ROW).first().over(item), pl.col(level).first().over(item)
    bad = table.frame.select(bad=pl.col(level).ne_missing(first))["bad"]
    if not bad.any():
        return table
    found = table.frame.select(
        pl.lit(table.path.name).alias("file"),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.lit(level).alias("column"),
        pl.col(level).cast(pl.String).fill_null("").alias("received"),
        pl.format(
            "row {} has '{}' for the same {} '{}'; allowed: one value",
            first_row,
            _one_line(first),
            pl.lit(item),
            _one_line(pl.col(item)),
        ).alias("reason"),
    ).filter(bad)
    if table.bad_rows == "stop":
        _, row, column, received, reason = found.row(0)
        raise InputError(
            f"{table.path}, row {row}, column '{column}': received {short(received)!r}; {reason}"
        )
    return replace(table, frame=table.frame.filter(~bad), rejected=pl.concat([table.rejected, found]))


def _one_line(value: pl.Expr) -> pl.Expr:
    return value.cast(pl.String).fill_null("").str.replace_all(r"\s+", " ").str.head(80)


def _numbers(table: Table, column: str) -> list[pl.Expr]:
    """The times as numbers (null: not a time), dates already in seconds, and the kind of each by its size."""
    value, dtype = pl.col(column), table.frame.schema[column]
    if dtype in (pl.Date, pl.Datetime):
        return [_divided(value.dt.epoch("us"), 1e6).alias(_VALUE), pl.lit(_DATE, pl.UInt8).alias(_KIND)]
    if dtype.is_numeric():
        return [value.cast(pl.Float64).alias(_VALUE), _kind(value.cast(pl.Float64)).alias(_KIND)]
    if dtype != pl.String and not isinstance(dtype, pl.Categorical | pl.Enum):
        raise InputError(
            f"{table.path}: column '{column}' has type {dtype}; allowed for times: numbers, text or dates"
        )
    number = value.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    if table.frame.select(number.is_null().any()).item():
        date = _dates(table.frame[column].cast(pl.String), table.frame.select(number).to_series().is_null())
        kind = pl.when(number.is_null()).then(pl.lit(_DATE, pl.UInt8)).otherwise(_kind(number))
        return [pl.coalesce(number, date).alias(_VALUE), kind.alias(_KIND)]
    return [number.alias(_VALUE), _kind(number).alias(_KIND)]


def _kind(number: pl.Expr) -> pl.Expr:
    """0 small, 1 seconds, 2 milliseconds, 3 microseconds, 4 nanoseconds."""
    return pl.sum_horizontal((number >= bound).cast(pl.UInt8) for bound in _BOUNDS).cast(pl.UInt8)


def _divided(value: pl.Expr, divisor: float) -> pl.Expr:
    """``value / divisor``, rounded once; by a scalar, Polars multiplies with the inverse, which rounds twice."""
    return value.map_batches(
        lambda column: pl.Series(column.to_numpy() / divisor, nan_to_null=True), return_dtype=pl.Float64
    )


def _dates(text: pl.Series, wanted: pl.Series) -> pl.Series:
    """Unix seconds of ISO 8601 text, at least where ``wanted`` is true.

    The usual way to write it is tried first, which needs less time and memory.
    """
    stamp = pl.col("text").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    frame = text.alias("text").to_frame()
    usual = frame.select(_divided(stamp.dt.epoch("us"), 1e6)).to_series()
    if not (wanted & usual.is_null()).any():
        return usual
    return frame.select(_iso_seconds(pl.col("text"))).to_series()


def _iso_seconds(text: pl.Expr) -> pl.Expr:
    """Unix seconds of ISO 8601 text; null where it is something else."""
    parts = text.str.extract_groups(_ISO)

    def part(name: str, default: str) -> pl.Expr:
        return parts.struct.field(name).fill_null(default)

    stamp = pl.concat_str(
        parts.struct.field("date"),
        pl.lit("T"),
        part("minute", "00:00"),
        pl.lit(":"),
        part("second", "00"),
    )
    whole = stamp.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).dt.epoch("us")
    offset = part("hours", "0").cast(pl.Int64) * 3600 + part("minutes", "0").cast(pl.Int64) * 60
    sign = pl.when(part("sign", "+") == "-").then(-1).otherwise(1)
    fraction = (part("fraction", "0").cast(pl.Float64) * 1e6).round()
    return _divided(whole - sign * offset * 1_000_000 + fraction, 1e6)


def _is_empty(table: Table, column: str) -> pl.Expr:
    if table.frame.schema[column] == pl.String:
        return pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    return pl.col(column).is_null()


def _one_unit(table: Table, column: str) -> Table:
    """Refuse the rows whose unit is not the one of most rows (of equally many, of the first)."""
    kinds = table.frame.group_by(_KIND, maintain_order=True).agg(
        pl.len().alias("rows"), pl.col(ROW).first(), pl.col(column).first().cast(pl.String).alias("example")
    )
    if len(kinds) < 2:
        return table
    usual, _, row, example = kinds.sort("rows", descending=True, maintain_order=True).row(0)
    for kind in kinds[_KIND]:
        if kind != usual:
            other = f"row {row} ({short(example)!r}) is {_KINDS[usual]}"
            reason = f"is {_KINDS[kind]}, while {other}; allowed: one unit in a file"
            table = table.refuse(column, pl.col(_KIND) == kind, reason)
    return table


def _no_written_dates(table: Table, column: str) -> None:
    """Refuse numbers all of which look like YYYYMMDD or YYYYMMDDhhmmss: as counts of a unit they mean nothing.

    Raises:
        InputError: they do. It is no single row that is at fault, so no rule for bad rows can go on.
    """
    if table.frame[_KIND][0] == _DATE:
        return
    value = pl.col(_VALUE)
    low, high = table.frame.select(value.min(), value.max().alias("high")).row(0)
    for clock in (1, 1_000_000):  # what the digits of the time of day multiply the date by
        if low < 19700101 * clock or high >= 21010101 * clock:
            continue
        whole = value.cast(pl.Int64)
        month, day = whole // clock // 100 % 100, whole // clock % 100
        hour, minute, second = (whole % clock // part % 100 for part in (10_000, 100, 1))
        date = month.is_between(1, 12) & day.is_between(1, 31) & (value == value.floor())
        if clock > 1:
            date &= (hour < 24) & (minute < 60) & (second < 60)
        if table.frame.select(date.all()).item():
            row, received = table.frame.select(ROW, pl.col(column).cast(pl.String)).row(0)
            raise InputError(
                f"{table.path}, row {row}, column '{column}': received {short(received)!r}; looks like a date, as "
                "all rows do; write it as 2020-09-13, with a time as 2020-09-13T12:26:40, or say the unit (--time-unit)"
            )


def _not_empty(table: Table) -> Table:
    if len(table.frame):
        return table
    _, row, column, received, reason = table.rejected.row(0)
    shown = "nothing" if received is None else repr(short(received))
    raise InputError(
        f"{table.path}: every row was refused; row {row}, column '{column}': received {shown}; {reason}"
    )

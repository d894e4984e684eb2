"""A user's own log: a table of events, and where there is one a table of items with their categories.

Both are CSV, TSV, Parquet or JSON lines, plain or gzipped, with any column names. One row of the events is one click;
rows of a session may lie anywhere in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.delimited import missing_column
from recbole_hiersrec.data.log import ROW, BadRows, RawLog, Table, short
from recbole_hiersrec.data.tables import column_names, read_table
from recbole_hiersrec.data.taxonomy import LEARNED
from recbole_hiersrec.data.validate import TimeUnit, check_ids, check_times, one_row_an_item
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import Settings

RESERVED = ("item", "item_id", "title", "user_id", "timestamp", "part", "item_length", "position_id")
"""Columns of the written files that are not the user's."""

_LIST = "_list"  # RecBole's own columns of histories
_NO_TEXT = (pl.Binary, pl.Duration, pl.Object)  # what has no one way to be written as text
_TABS = {"\\t": "\t", "tab": "\t"}


class LogColumns(Settings):
    """Which column of the events holds what; ``time`` None: the rows are in order and have no stamps."""

    session: str
    item: str
    time: str | None = None


DEFAULT_COLUMNS = LogColumns(session="session_id", item="item_id", time="timestamp")


def parse_map(entries: Sequence[str]) -> dict[str, str]:
    """Columns out of ``["session=visit_id", "item=sku", "time=ts"]``; an empty time says that there are none.

    Raises:
        InputError: an entry is not KEY=COLUMN, or a key is unknown or given twice.
    """
    keys = list(LogColumns.model_fields)
    found: dict[str, str] = {}
    for entry in entries:
        key, equals, column = (part.strip() for part in entry.partition("="))
        if not (key and equals and (column or key == "time")):
            raise InputError(f"--map: received {entry!r}; expected KEY=COLUMN, as session=visit_id")
        if key not in keys:
            raise InputError(f"--map: unknown key '{key}'{nearest(key, keys)} (allowed: {', '.join(keys)})")
        if key in found:
            raise InputError(f"--map: {key} is given twice: '{found[key]}' and '{column}'")
        found[key] = column
    return found


def resolve_columns(events: Path, columns_given: Sequence[str], separator: str | None = None) -> LogColumns:
    """The columns of a log: those given, and :data:`DEFAULT_COLUMNS` for each key that is not.

    Args:
        events: the table of clicks; it is looked at only for whether it has the default column of time stamps.
            Without it, and where none is given, the log has no stamps.
        columns_given: as in :func:`parse_map`; ``"time="`` says that there are no stamps, whatever the columns are.
        separator: as in :func:`read_user_log`.

    Raises:
        InputError: as in :func:`parse_map`; two keys share a column; or ``events`` cannot be read.
    """
    given = parse_map(columns_given)
    session, item = given.get("session", DEFAULT_COLUMNS.session), given.get("item", DEFAULT_COLUMNS.item)
    time = given.get("time")
    if time is None:
        there = column_names(events, [session, item], separator=_separator(separator))
        time = DEFAULT_COLUMNS.time if DEFAULT_COLUMNS.time in there else None
    columns = LogColumns(session=session, item=item, time=time or None)
    key_of: dict[str, str] = {}
    for key, column in columns.model_dump(exclude_none=True).items():
        if column in key_of:
            raise InputError(
                f"--map: column '{column}' is both {key_of[column]} and {key}; each key needs its own column "
                "(time= says that there are no times)"
            )
        key_of[column] = key
    return columns


def read_user_log(
    events: Path,
    items: Path | None,
    columns: LogColumns,
    levels: Sequence[str],
    *,
    title: str | None = None,
    metadata: Sequence[str] = (),
    item_column: str | None = None,
    separator: str | None = None,
    time_unit: TimeUnit = "auto",
    bad_rows: BadRows = "stop",
) -> RawLog:
    """Read a user's events and items.

    Args:
        events: the table of clicks.
        items: the table of items; None: there is none.
        columns: columns of ``events``.
        levels: columns of ``items`` that are the category levels, coarse to fine.
        title: text column of ``items``.
        metadata: further columns of ``items``.
        item_column: the column of ``items`` with the item's id; None: it is named as in ``events``.
        separator: between the cells of both files, if they are text; None: each file's own, by its name or its header.
        time_unit: of numeric time stamps; see :func:`~recbole_hiersrec.data.validate.check_times`.
        bad_rows: "stop" at the first bad row, or "skip" them.

    Raises:
        InputError: a file or a column is missing or damaged, a column's name cannot be written, a row is bad and
            ``bad_rows`` is "stop", rows of an item name different categories, or no clicked item is in ``items``.
    """
    _check_features(items, [*levels, *metadata], title)
    separator = _separator(separator)
    clicks = _clicks(events, columns, separator, time_unit, bad_rows)
    log = RawLog(
        clicks=clicks.frame,
        time="click" if columns.time else "order",
        rejected=clicks.rejected,
        notes=() if columns.time else ("The log has no time stamps: clicks are in the order of the file.",),
    )
    if items is None:
        return log
    features = {column: column for column in (*levels, *metadata)} | ({title: "title"} if title else {})
    name = item_column or columns.item
    _check_item_column(items, name, features, separator)
    table = _items(items, name, features, separator, bad_rows)
    merged = one_row_an_item(table, "item", levels)
    log, catalogue = _same_ids(log, merged.frame.drop(ROW), events, items)
    return replace(
        log,
        items=catalogue,
        levels=tuple(levels),
        title="title" if title else None,
        metadata=tuple(metadata),
        rejected=pl.concat([log.rejected, merged.rejected]),
        notes=(*log.notes, *_differing(table, merged)),
    )


def _clicks(
    events: Path, columns: LogColumns, separator: str | None, unit: TimeUnit, bad_rows: BadRows
) -> Table:
    """Columns session, item, time."""
    wanted = [columns.session, columns.item, *([columns.time] if columns.time else [])]
    ids = columns.session, columns.item
    table = check_ids(read_table(events, wanted, bad_rows, separator=separator, ids=ids), *ids)
    if columns.time:
        table = check_times(table, columns.time, unit)
        time = pl.col(columns.time)
    else:
        time = pl.int_range(pl.len()).cast(pl.Float64)
    frame = table.frame.select(session=pl.col(columns.session), item=pl.col(columns.item), time=time)
    return replace(table, frame=frame)


def _items(
    path: Path, name: str, features: Mapping[str, str], separator: str | None, bad_rows: BadRows
) -> Table:
    """Columns ROW, item, and the features (column -> its name here) as trimmed text, "" where there is none."""
    if name in features:
        raise InputError(
            f"{path}: column '{name}' holds the items' ids; it cannot be a level, title or metadata"
        )
    table = check_ids(read_table(path, [name, *features], bad_rows, separator=separator, ids=[name]), name)
    for feature in features:
        dtype = table.frame.schema[feature]
        if dtype.is_nested() or dtype in _NO_TEXT:
            raise InputError(
                f"{path}: column '{feature}' has type {dtype}; allowed: text or numbers, dates, true and false"
            )
    texts = [_text(column, table.frame.schema[column]).alias(own) for column, own in features.items()]
    return replace(table, frame=table.frame.select(ROW, pl.col(name).alias("item"), *texts))


def _text(column: str, dtype: pl.DataType) -> pl.Expr:
    """A feature as text; 12.0 becomes "12": missing values make whole numbers floats in many programs."""
    value = pl.col(column)
    text = value.cast(pl.String)
    if dtype.is_float():
        text = pl.when(value.is_nan()).then(None).otherwise(text.str.replace(r"\.0$", ""))
    return text.str.strip_chars().fill_null("")


def _check_item_column(path: Path, name: str, features: Mapping[str, str], separator: str | None) -> None:
    there = column_names(path, [name, *features], separator=separator)
    if name not in there:
        raise InputError(
            f"{missing_column(path, name, there)}; pass the column of the items' ids as --item-column COLUMN"
        )


def _separator(received: str | None) -> str | None:
    return _TABS.get(received, received) if received else received


def _check_features(items: Path | None, written: Sequence[str], title: str | None) -> None:
    """Levels and metadata become columns of the .item file under their own names, the title as "title"."""
    features = [*written, *([title] if title else [])]
    if features and items is None:
        raise InputError(
            f"levels, title and metadata ({', '.join(features)}) need a table of items (--items FILE)"
        )
    for name in features:
        if features.count(name) > 1:
            raise InputError(f"column '{name}' is given twice among levels, title and metadata")
    for name in written:
        if not name or name.startswith('"') or re.search(r"[:\x00-\x1f\x7f-\x9f\u2028\u2029]", name):
            raise InputError(
                f"column {name!r} cannot be a level or metadata: its name must not be empty, begin with a quote, or "
                "hold a colon, a tab or a line break; rename the column"
            )
        if name.startswith(LEARNED) or name in RESERVED or name.endswith(_LIST):
            raise InputError(
                f"column '{name}' cannot be a level or metadata: {', '.join(RESERVED)} and names that begin "
                f"with {LEARNED} or end in {_LIST} have their own meaning in a prepared data set; rename the column"
            )


def _same_ids(log: RawLog, catalogue: pl.DataFrame, events: Path, items: Path) -> tuple[RawLog, pl.DataFrame]:
    """Give the item ids of both tables one type.

    Raises:
        InputError: no clicked item is in the catalogue, so one of the columns must be another one.
    """
    clicks = log.clicks
    if clicks.schema["item"] != catalogue.schema["item"]:
        clicks, catalogue = (
            table.with_columns(pl.col("item").cast(pl.String)) for table in (clicks, catalogue)
        )
    if not clicks["item"].is_in(catalogue["item"].implode()).any():
        raise InputError(
            f"{events}: no item is in {items}; received {short(str(clicks['item'][0]))!r} and "
            f"{short(str(catalogue['item'][0]))!r} as first items; expected the same ids in both"
        )
    return replace(log, clicks=clicks), catalogue


def _differing(table: Table, merged: Table) -> list[str]:
    """A note on items whose rows agree in their categories (the others are refused) but not in title or metadata."""
    rows = table.frame.filter(~pl.col(ROW).is_in(merged.rejected["row"].implode()))
    features = [column for column in rows.columns if column not in (ROW, "item")]
    other = [pl.col(column).ne_missing(pl.col(column).first().over("item")) for column in features]
    more = rows.select(pl.any_horizontal(other).sum()).item() if features else 0
    if not more:
        return []
    return [
        f"{more} rows of {table.path.name} name another title or metadata for an item; its first row is taken."
    ]

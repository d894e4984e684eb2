"""Raw files as tables: delimited text, JSON lines and Parquet, plain or gzipped, faults named."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.content import Content, open_content
from recbole_hiersrec.data.delimited import header_of, missing_column, read_delimited
from recbole_hiersrec.data.jsonl import json_keys, read_json_lines
from recbole_hiersrec.data.log import ROW, BadRows, Table, short
from recbole_hiersrec.errors import InputError

PARQUET = (".parquet", ".pq")
JSON = (".json", ".jsonl", ".ndjson")


def read_table(
    path: Path,
    columns: Sequence[str],
    bad_rows: BadRows = "stop",
    *,
    separator: str | None = None,
    header: Sequence[str] | None = None,
    quote: str | None = '"',
    ids: Sequence[str] = (),
) -> Table:
    """Read the named columns of a raw file.

    Args:
        path: .parquet, .json / .jsonl / .ndjson (one object a line), or else delimited text; any of them gzipped.
        columns: the columns to read.
        bad_rows: "stop" raises at the first bad row, "skip" moves bad rows to the table's ``rejected``.
        separator: between the cells of text; None: a tab in .tsv and .tab files, otherwise a comma, or else the one of
            tab, comma, semicolon and bar that makes the columns appear in the header line.
        header: names of all columns, in order, where the text has no header line.
        quote: around cells of text that hold separators or line breaks; None: quotes are letters like any other.
        ids: columns in which the true, false, arrays and objects of JSON are refused.

    Returns:
        the table: text and JSON values as String ("" where a cell of text is empty, null where JSON has none),
        Parquet columns in their own types; :data:`~recbole_hiersrec.data.log.ROW` numbers the records from 1,
        a header line and blank lines of text included.

    Raises:
        InputError: the file is missing, empty, not what its name says, cut short, or has another separator; a column
            is missing; or a row is malformed, has too few or too many cells, or is not UTF-8.
    """
    content = open_content(Path(path))
    if ROW in columns:
        raise InputError(f"{path}: a column may not be named '{ROW}'; rename it")
    if is_parquet(content):
        return _read_parquet(content, columns, bad_rows)
    if content.kind in JSON:
        return read_json_lines(content, columns, bad_rows, ids)
    return read_delimited(content, columns, bad_rows, separator, header, quote)


def column_names(
    path: Path, columns: Sequence[str] = (), *, separator: str | None = None, quote: str | None = '"'
) -> list[str]:
    """Names of the columns of a raw file that has a header; ``columns`` are expected, which tells the separator.

    Raises:
        InputError: as :func:`read_table`.
    """
    content = open_content(Path(path))
    if is_parquet(content):
        return _parquet_names(content)
    if content.kind in JSON:
        return json_keys(content)
    return header_of(content, columns, separator, quote)[1]


def is_parquet(content: Content) -> bool:
    """Whether a file is Parquet, by its name or its first bytes."""
    return content.kind in PARQUET or content.data[:4] == b"PAR1"


def _parquet_names(content: Content) -> list[str]:
    try:
        return _scan(content).collect_schema().names()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _not_parquet(content, error) from None


def _read_parquet(content: Content, columns: Sequence[str], bad_rows: BadRows) -> Table:
    names = _parquet_names(content)
    for column in columns:
        if column not in names:
            raise InputError(missing_column(content.path, column, names))
    try:
        frame = _scan(content).select(list(dict.fromkeys(columns))).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _not_parquet(content, error) from None
    if not len(frame):
        raise InputError(f"{content.path}: holds no rows")
    return Table(content.path, frame.with_row_index(ROW, offset=1), bad_rows)


def _scan(content: Content) -> pl.LazyFrame:
    source = io.BytesIO(content.data) if isinstance(content.data, bytes) else content.path
    return pl.scan_parquet(source, glob=False, hive_partitioning=False)


def _not_parquet(content: Content, error: BaseException) -> InputError:
    reason = short(str(error).splitlines()[0], 300)
    return InputError(f"{content.path}: is not Parquet, or is cut short or damaged ({reason})")

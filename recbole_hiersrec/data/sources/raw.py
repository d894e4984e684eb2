"""What several readers need: a file's lines as they are, and ids that must be whole numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.log import BadRows, Table
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids

_IN_NO_FILE = "\x1f"


def read_lines(path: Path, bad_rows: BadRows) -> Table:
    """The lines of a text file that are not blank, in the column ``line``.

    Raises:
        InputError: the file is missing, empty or cut short, or a line is not UTF-8 and ``bad_rows`` is "stop".
    """
    return read_table(path, ["line"], bad_rows, separator=_IN_NO_FILE, header=["line"], quote=None)


def check_whole_ids(table: Table, *columns: str) -> Table:
    """Make sure that ids are whole numbers, whatever the file's form, and make them Int64.

    Raises:
        InputError: an id is something else, and ``bad_rows`` is "stop".
    """
    for column in columns:
        table = check_ids(table, column)
        number = pl.col(column).cast(pl.Int64, strict=False)
        table = table.refuse(column, number.is_null(), "allowed: a whole number")
        table = replace(table, frame=table.frame.with_columns(number))
    return table

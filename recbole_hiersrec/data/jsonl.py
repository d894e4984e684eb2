"""JSON lines: one object a line, its values as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import polars as pl

from recbole_hiersrec.data.content import Content, Faults
from recbole_hiersrec.data.delimited import missing_column
from recbole_hiersrec.data.log import ROW, BadRows, Table, short
from recbole_hiersrec.errors import InputError

_BATCH = 100_000
_LOOKED_AT = 1000  # objects whose keys are taken for the columns of the file


def read_json_lines(
    content: Content, columns: Sequence[str], bad_rows: BadRows, ids: Sequence[str] = ()
) -> Table:
    """Read the named keys as text; see :func:`~recbole_hiersrec.data.tables.read_table`. Blank lines are no records."""
    table = _fast(content, columns, bad_rows)
    if table is None or _doubtful(table.frame, columns, ids):
        table = _exact(content, columns, bad_rows, ids)
    if not len(table.frame):
        raise InputError(f"{content.path}: holds no rows")
    for column in columns:
        if table.frame[column].null_count() == len(table.frame) and column not in json_keys(content):
            raise InputError(missing_column(content.path, column, json_keys(content)))
    return table


def _fast(content: Content, columns: Sequence[str], bad_rows: BadRows) -> Table | None:
    """The table as Polars reads it; None where a line is bad, which it does not name."""
    wanted = dict.fromkeys(columns, pl.String())
    try:
        if isinstance(content.data, bytes):
            frame = pl.read_ndjson(content.data, schema=wanted)
        else:
            with content.path.open("rb") as file:  # a path would be taken for a pattern
                frame = pl.read_ndjson(file, schema=wanted)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return Table(content.path, frame.with_row_index(ROW, offset=1), bad_rows)


def _doubtful(frame: pl.DataFrame, columns: Sequence[str], ids: Sequence[str]) -> bool:
    """Whether a cell may be an array, an object or, among ids, true or false: Polars' text does not tell."""
    nested = [pl.col(column).str.contains(r"^[\[{]").any() for column in dict.fromkeys(columns)]
    truth = [pl.col(column).is_in(["true", "false"]).any() for column in dict.fromkeys(ids)]
    found = frame.select(pl.any_horizontal(*nested, *truth)) if nested else None
    return found is not None and bool(found.item())


def json_keys(content: Content) -> list[str]:
    """Keys of the first objects, in the order in which they appear."""
    found: dict[str, None] = {}
    for _, value in islice(_objects(content, Faults(content.path, "skip")), _LOOKED_AT):
        found.update(dict.fromkeys(value))
    return list(found)


def _exact(content: Content, columns: Sequence[str], bad_rows: BadRows, ids: Sequence[str]) -> Table:
    """Read object by object; every bad one is named."""
    faults = Faults(content.path, bad_rows)
    schema = {ROW: pl.UInt32(), **dict.fromkeys(columns, pl.String())}
    objects = (
        (number, *(_text(value.get(key)) for key in dict.fromkeys(columns)))
        for number, value in _objects(content, faults)
        if _has_ids(number, value, ids, faults)
    )
    frames = [pl.DataFrame(schema=schema)]
    while batch := list(islice(objects, _BATCH)):
        frames.append(pl.DataFrame(batch, schema=schema, orient="row"))
    frame = pl.concat(frames)
    if not len(frame):
        raise InputError(faults.nothing_left())
    return Table(content.path, frame, bad_rows, faults.frame())


def _has_ids(number: int, value: dict[str, Any], ids: Sequence[str], faults: Faults) -> bool:
    """Refuse an object in which an id is true, false, an array or an object."""
    for key in ids:
        if isinstance(value.get(key), bool | list | dict):
            kind = {bool: "true or false", list: "an array", dict: "an object"}[type(value[key])]
            faults.add(
                number, key, _text(value[key]) or "", f"is {kind}; allowed for ids: text or whole numbers"
            )
            return False
    return True


def _objects(content: Content, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for line in content.lines():
        if not line.strip():
            continue
        number += 1
        received = line.decode("utf-8", "backslashreplace").strip()
        try:
            value = json.loads(line, parse_float=_finite, parse_constant=_no_number)
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeError:
            faults.add(number, "", received, "is not UTF-8; allowed: UTF-8 text")
        except (ValueError, RecursionError) as error:
            faults.add(number, "", received, f"is not JSON ({error}); allowed: one object a line")
        else:
            if isinstance(value, dict):
                yield number, value
            else:
                faults.add(number, "", received, "is not an object; allowed: one JSON object a line")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {short(text)} is too large")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, null as None, anything else as JSON.

    Numbers are written as Polars writes them, so that one bad line does not change an id: 5.0 is "5", 1e3 "1000".
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return json.dumps(value, ensure_ascii=False)

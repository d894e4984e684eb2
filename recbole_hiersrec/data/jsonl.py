"""JSON lines: one object a line, its values as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import polars as pl

from recbole_hiersrec.data.content import Content, Faults
from recbole_hiersrec.data.delimited import missing_column
from recbole_hiersrec.data.log import ROW, BadRows, Table
from recbole_hiersrec.errors import InputError

_BATCH = 100_000
_LOOKED_AT = 1000  # objects whose keys are taken for the columns of the file


def read_json_lines(content: Content, columns: Sequence[str], bad_rows: BadRows) -> Table:
    """Read the named keys as text; see :func:`~recbole_hiersrec.data.tables.read_table`. Blank lines are no records."""
    wanted = dict.fromkeys(columns, pl.String())
    try:
        if isinstance(content.data, bytes):
            frame = pl.read_ndjson(content.data, schema=wanted)
        else:
            with content.path.open("rb") as file:  # a path would be taken for a pattern
                frame = pl.read_ndjson(file, schema=wanted)
        table = Table(content.path, frame.with_row_index(ROW, offset=1), bad_rows)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        table = _exact(content, wanted, bad_rows)  # names the line, which Polars does not
    if not len(table.frame):
        raise InputError(f"{content.path}: holds no rows")
    for column in columns:
        if table.frame[column].null_count() == len(table.frame) and column not in json_keys(content):
            raise InputError(missing_column(content.path, column, json_keys(content)))
    return table


def json_keys(content: Content) -> list[str]:
    """Keys of the first objects, in the order in which they appear."""
    found: dict[str, None] = {}
    for _, value in islice(_objects(content, Faults(content.path, "skip")), _LOOKED_AT):
        found.update(dict.fromkeys(value))
    return list(found)


def _exact(content: Content, wanted: dict[str, pl.String], bad_rows: BadRows) -> Table:
    faults = Faults(content.path, bad_rows)
    schema = {ROW: pl.UInt32(), **wanted}
    objects = (
        (number, *(_text(value.get(key)) for key in wanted)) for number, value in _objects(content, faults)
    )
    frames = [pl.DataFrame(schema=schema)]
    while batch := list(islice(objects, _BATCH)):
        frames.append(pl.DataFrame(batch, schema=schema, orient="row"))
    frame = pl.concat(frames)
    if not len(frame):
        raise InputError(faults.nothing_left())
    return Table(content.path, frame, bad_rows, faults.frame())


def _objects(content: Content, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for line in content.lines():
        if not line.strip():
            continue
        number += 1
        received = line.decode("utf-8", "backslashreplace").strip()
        try:
            value = json.loads(line)
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


def _text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, null as None, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

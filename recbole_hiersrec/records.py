"""JSON in little space whose changes read as lines: a line for each section, and one for each row of a table.

A section that is a list of alike objects is written as a table, ``{"columns": [names], "rows": [[values], ...]}``,
a third of the size; :func:`read_text` gives the list back, and reads sections of either form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

COLUMNS, ROWS = "columns", "rows"


def as_text(sections: Mapping[str, Any]) -> str:
    """Sections as JSON.

    Raises:
        ValueError: a number is not finite, which JSON has no word for.
    """
    return (
        "{\n"
        + ",\n".join(f"{_compact(name)}:{_section(value)}" for name, value in sections.items())
        + "\n}\n"
    )


def read_text(text: str) -> Any:
    """What :func:`as_text` wrote, or any other JSON as it is.

    Raises:
        ValueError: the text is no JSON or nested too deep, or a row has another length than its table has columns.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return {name: _rows(name, value) for name, value in found.items()} if isinstance(found, dict) else found


def _section(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _compact(value)
    names = list(value[0]) if isinstance(value[0], dict) else []
    if not names or not all(isinstance(row, dict) and list(row) == names for row in value):
        return f"[\n{_lines(value)}\n]"
    return f'{{"{COLUMNS}":{_compact(names)},"{ROWS}":[\n{_lines([list(row.values()) for row in value])}\n]}}'


def _rows(name: str, value: Any) -> Any:
    if not isinstance(value, dict) or value.keys() != {COLUMNS, ROWS}:
        return value
    columns, rows = value[COLUMNS], value[ROWS]
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise ValueError(f"section '{name}': {COLUMNS} {columns!r}, allowed: a list of names")
    if not isinstance(rows, list):
        raise ValueError(f"section '{name}': {ROWS} {rows!r}, allowed: a list")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(columns):
            raise ValueError(
                f"section '{name}', row {number}: {row!r}, allowed: a list of {len(columns)} values"
            )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _lines(rows: list[Any]) -> str:
    return ",\n".join(map(_compact, rows))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)

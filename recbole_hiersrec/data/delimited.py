"""Delimited text: read fast by Polars where that is certain to be right, record by record where it is not.

Polars pads short rows without a word, drops surplus cells of columns that are not asked for, and names no row in its
errors. So its result is taken only if nothing is doubtful; otherwise the file is read again, slowly and exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_hiersrec.data.content import Content, Faults, printable, shown
from recbole_hiersrec.data.log import ROW, BadRows, Table, short
from recbole_hiersrec.data.quoting import CARRIAGE_RETURN, records, well_quoted
from recbole_hiersrec.errors import InputError, nearest

SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_UNUSED = "\x1f"  # stands in no text: reading with it gives whole lines
_ONLY_CARRIAGE_RETURNS = "lines end in a carriage return (CR) alone; allowed: LF or CRLF"
_NAMED = 40  # columns that a message names,
_LIST = 300  # in at most so many characters
_BATCH = 100_000  # rows that are held as Python lists at once


class Layout(NamedTuple):
    """How the text of a file is cut into rows and cells.

    Attributes:
        separator: one character between cells.
        quote: character around cells that hold separators or line breaks; None: there are none.
        names: all columns, in order.
        header: number of header records, 0 or 1.
    """

    separator: str
    quote: str | None
    names: Sequence[str]
    header: int


def read_delimited(
    content: Content,
    columns: Sequence[str],
    bad_rows: BadRows,
    separator: str | None,
    header: Sequence[str] | None,
    quote: str | None,
) -> Table:
    """Read the named columns as text; see :func:`~recbole_hiersrec.data.tables.read_table`."""
    if header is None:
        separator, first = header_of(content, columns, separator, quote)
        _check_columns(content.path, columns, first)
        layout = Layout(separator, quote, first, 1)
    else:
        separator = _allowed(content, separator or _suggested(content))
        first = first_record(content, separator, quote)
        _check_width(content, first, header, separator, quote)
        layout = Layout(separator, quote, header, 0)
    frame = _fast(content, layout)
    if frame is None:
        return _exact(content, layout, columns, bad_rows)
    if not len(frame):
        raise InputError(f"{content.path}: holds no rows")
    wanted = [pl.col(str(layout.names.index(name))).alias(name) for name in dict.fromkeys(columns)]
    return Table(content.path, frame.select(ROW, *wanted), bad_rows)


def first_record(content: Content, separator: str, quote: str | None) -> list[str]:
    """Cells of the first record, trimmed: the names of the columns where there is a header.

    Raises:
        InputError: it is blank, malformed or not UTF-8, or lines end in a carriage return alone.
    """
    number, cells, fault = next(records(content, separator, quote))
    if fault == CARRIAGE_RETURN or any("\r" in cell.strip("\r\n") for cell in cells):
        reason = CARRIAGE_RETURN if content.data.find(b"\n", 0) >= 0 else _ONLY_CARRIAGE_RETURNS
        raise InputError(f"{content.path}, row 1: {reason}")
    if fault:
        raise InputError(f"{content.path}, row {number}: received {shown(cells[0])!r}; {fault}")
    if not any(cell.strip() for cell in cells):
        raise InputError(f"{content.path}: the first line is blank; expected column names or data")
    if broken := _not_utf8(cells):
        raise InputError(f"{content.path}, row 1: received {shown(cells[broken[0]])!r}; {broken[1]}")
    return [cell.strip() for cell in cells]


def missing_column(path: Path, column: str, names: Sequence[str]) -> str:
    """The message for a column that is not there."""
    some = [short(name) for name in names[:_NAMED]] + ["..."] * (len(names) > _NAMED)
    there = short(" ".join(", ".join(some).split()), _LIST)
    return f"{path}: no column '{short(column)}'{nearest(column, names)} (columns: {there})"


def header_of(
    content: Content, columns: Sequence[str], separator: str | None, quote: str | None
) -> tuple[str, list[str]]:
    """The separator and the names of the columns of a file with a header line.

    Args:
        content: the file.
        columns: columns that are wanted, not all of which need to be there.
        separator: between the cells; None: of the usual ones the one that makes the wanted columns appear, first of
            all the one that the file's name suggests.
        quote: around cells; None: there are none.

    Raises:
        InputError: the first line cannot be read, or shows another separator than the one given.
    """
    found = _detected(content, columns, quote) if separator is None else _allowed(content, separator)
    names = first_record(content, found, quote)
    if not columns or not set(columns) <= set(names):
        _check_separator(content, names, columns, found, quote)
    return found, names


def _suggested(content: Content) -> str:
    return "\t" if content.kind in (".tsv", ".tab") else ","


def _detected(content: Content, columns: Sequence[str], quote: str | None) -> str:
    suggested = _suggested(content)
    cells = {separator: _split(content, separator, quote) for separator in (suggested, *SEPARATORS)}
    for separator, names in cells.items():
        if columns and set(columns) <= set(names):
            return separator
    return suggested if len(cells[suggested]) > 1 else max(cells, key=lambda separator: len(cells[separator]))


def _allowed(content: Content, separator: str) -> str:
    if len(separator) != 1 or not separator.isascii() or separator in '\r\n"':
        raise InputError(
            f"{content.path}: separator is {separator!r}; allowed: one character, as ',' ';' '|' or a tab"
        )
    return separator


def _check_separator(
    content: Content, names: Sequence[str], columns: Sequence[str], separator: str, quote: str | None
) -> None:
    """Refuse a separator where another usual one makes the wanted columns appear, or columns at all."""
    for other in SEPARATORS:
        cells = _split(content, other, quote) if other != separator else []
        if (columns and set(columns) <= set(cells)) or (len(names) == 1 and len(cells) > 1):
            raise _wrong_separator(content, separator, other)


def _check_columns(path: Path, columns: Sequence[str], names: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise InputError(missing_column(path, column, names))
        if names.count(column) > 1:
            raise InputError(f"{path}: column '{short(column)}' stands more than once in the header")


def _check_width(
    content: Content, first: Sequence[str], header: Sequence[str], separator: str, quote: str | None
) -> None:
    """Without a header only the number of cells can tell that the separator is another one."""
    if len(first) == len(header):
        return
    for other in SEPARATORS:
        if other != separator and len(_split(content, other, quote)) == len(header):
            raise _wrong_separator(content, separator, other)


def _split(content: Content, separator: str, quote: str | None) -> list[str]:
    """Cells of the first record; none where by this separator a quote opens and never closes."""
    try:
        _, cells, _ = next(records(content, separator, quote))
    except InputError:
        return []
    return [cell.strip() for cell in cells]


def _wrong_separator(content: Content, received: str, there: str) -> InputError:
    return InputError(
        f"{content.path}: cells are separated by {SEPARATORS[there]}, "
        f"not by {SEPARATORS.get(received, repr(received))}; pass the separator {there!r}, or none, "
        "and it is found in each file's header"
    )


def _fast(content: Content, layout: Layout) -> pl.DataFrame | None:
    """All columns, named "0", "1", ..., and ROW; None where the result might not be what the file says."""
    # 0: a mapped file searches from where it was read last, which is below the header
    quote = layout.quote if layout.quote and content.data.find(layout.quote.encode(), 0) >= 0 else None
    if content.data[-1:] == layout.separator.encode():
        return None  # Polars misses a surplus cell in a last line without a line feed
    if quote and not well_quoted(content.data, layout.separator, quote):
        return None  # it is lenient with such files
    width = len(layout.names)
    try:
        frame = pl.read_csv(
            content.source,
            has_header=bool(layout.header),
            separator=layout.separator,
            quote_char=quote,
            new_columns=[str(position) for position in range(width)],
            infer_schema=False,
            empty_string_is_null=False,
            glob=False,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None  # it names no row; reading record by record does
    frame = frame.with_row_index(ROW, offset=1 + layout.header)
    if not (frame[str(width - 1)] == "").any():
        return frame  # a short row would end in an empty cell
    return None if quote else _without_blank_lines(content, layout, frame)


def _without_blank_lines(content: Content, layout: Layout, frame: pl.DataFrame) -> pl.DataFrame | None:
    """Count the cells of every line of a file without quotes; None if one has too few."""
    lines = pl.read_csv(
        content.source,
        has_header=False,
        separator=_UNUSED,
        quote_char=None,
        truncate_ragged_lines=True,
        new_columns=["line"],
        infer_schema=False,
        empty_string_is_null=False,
        glob=False,
    )["line"].slice(layout.header)
    blank = lines == ""
    full = lines.str.count_matches(layout.separator, literal=True) == len(layout.names) - 1
    if len(lines) != len(frame) or not (full | blank).all():
        return None
    return frame.filter(~blank)


def _exact(content: Content, layout: Layout, columns: Sequence[str], bad_rows: BadRows) -> Table:
    """Read record by record; every bad row is named."""
    faults = Faults(content.path, bad_rows)
    wanted = {name: layout.names.index(name) for name in columns}
    frames: list[pl.DataFrame] = []
    batch: list[tuple[int | str, ...]] = []
    schema = {ROW: pl.UInt32(), **dict.fromkeys(wanted, pl.String())}
    for number, cells in _good(content, layout, faults):
        batch.append((number, *(cells[position] for position in wanted.values())))
        if len(batch) == _BATCH:
            frames.append(pl.DataFrame(batch, schema=schema, orient="row"))
            batch = []
    frames.append(pl.DataFrame(batch, schema=schema, orient="row"))
    frame = pl.concat(frames)
    if not len(frame):
        raise InputError(faults.nothing_left())
    return Table(content.path, frame, bad_rows, faults.frame())


def _good(content: Content, layout: Layout, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of the records below the header that can be taken; blank lines are left out."""
    width = len(layout.names)
    for number, cells, fault in records(content, layout.separator, layout.quote):
        if number <= layout.header or not cells:
            continue
        if fault:
            faults.add(number, "", printable(cells[0]), fault)
        elif len(cells) != width:
            line = printable(layout.separator.join(cells))
            faults.add(number, "", line, f"has {len(cells)} cells; expected {width}")
        elif broken := _not_utf8(cells):
            faults.add(number, layout.names[broken[0]], printable(cells[broken[0]]), broken[1])
        else:
            yield number, cells


def _not_utf8(cells: Sequence[str]) -> tuple[int, str] | None:
    """(position, reason) of the first cell with a byte that is not UTF-8."""
    for position, cell in enumerate(cells):
        if not cell.isascii():
            for character in cell:
                if "\udc80" <= character <= "\udcff":
                    return position, f"is not UTF-8: byte {ord(character) - 0xDC00:#04x}; allowed: UTF-8 text"
    return None

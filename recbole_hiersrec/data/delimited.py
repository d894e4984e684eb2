"""Delimited text: read fast by Polars where that is certain to be right, record by record where it is not.

Polars pads short rows without a word, drops surplus cells of columns that are not asked for, and names no row in its
errors. So its result is taken only if nothing is doubtful; otherwise the file is read again, slowly and exactly.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_hiersrec.data.content import Content, Faults
from recbole_hiersrec.data.log import ROW, BadRows, Table
from recbole_hiersrec.data.quoting import well_quoted
from recbole_hiersrec.errors import InputError, nearest

SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_UNUSED = "\x1f"  # stands in no text: reading with it gives whole lines
_CARRIAGE_RETURN = "a carriage return stands within the line; lines end in a line feed"
_NAMED = 40  # columns that a message names
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
    separator = separator_of(content, separator)
    first = first_record(content, separator, quote)
    if header is None:
        _check_header(content, first, columns, separator, quote)
        layout = Layout(separator, quote, first, 1)
    else:
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
    number, cells, fault = next(_records(content, separator, quote))
    if fault:
        raise InputError(f"{content.path}, row {number}: received {_printable(cells[0])!r}; {fault}")
    if not any(cell.strip() for cell in cells):
        raise InputError(f"{content.path}: the first line is blank; expected column names or data")
    if broken := _not_utf8(cells):
        raise InputError(f"{content.path}, row 1: received {_printable(cells[broken[0]])!r}; {broken[1]}")
    if any("\r" in cell.strip("\r\n") for cell in cells):
        raise InputError(f"{content.path}, row 1: {_CARRIAGE_RETURN}")
    return [cell.strip() for cell in cells]


def missing_column(path: Path, column: str, names: Sequence[str]) -> str:
    """The message for a column that is not there."""
    there = ", ".join(names) if len(names) <= _NAMED else ", ".join(names[:_NAMED]) + ", ..."
    return f"{path}: no column '{column}'{nearest(column, names)} (columns: {' '.join(there.split())})"


def separator_of(content: Content, separator: str | None) -> str:
    """The separator asked for, or the one that the file's name suggests."""
    if separator is None:
        return "\t" if content.kind in (".tsv", ".tab") else ","
    if len(separator) != 1 or not separator.isascii() or separator in '\r\n"':
        raise InputError(
            f"{content.path}: separator is {separator!r}; allowed: one character, as ',' ';' '|' or a tab"
        )
    return separator


def _check_header(
    content: Content, names: Sequence[str], columns: Sequence[str], separator: str, quote: str | None
) -> None:
    for column in columns:
        if column not in names:
            for other in SEPARATORS:
                cells = _split(content, other, quote) if other != separator else []
                if set(columns) <= set(cells) or (len(names) == 1 and len(cells) > 1):
                    raise _wrong_separator(content, separator, other)
            raise InputError(missing_column(content.path, column, names))
    for column in columns:
        if names.count(column) > 1:
            raise InputError(f"{content.path}: column '{column}' stands more than once in the header")


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
    _, cells, _ = next(_records(content, separator, quote))
    return [cell.strip() for cell in cells]


def _wrong_separator(content: Content, received: str, there: str) -> InputError:
    return InputError(
        f"{content.path}: cells are separated by {SEPARATORS[there]}, "
        f"not by {SEPARATORS.get(received, repr(received))}; pass the separator {there!r}"
    )


def _fast(content: Content, layout: Layout) -> pl.DataFrame | None:
    """All columns, named "0", "1", ..., and ROW; None where the result might not be what the file says."""
    quote = layout.quote if layout.quote and content.data.find(layout.quote.encode()) >= 0 else None
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
    for number, cells, fault in _records(content, layout.separator, layout.quote):
        if number <= layout.header or not cells:
            continue
        if fault:
            faults.add(number, "", _printable(cells[0]), fault)
        elif len(cells) != width:
            line = _printable(layout.separator.join(cells))
            faults.add(number, "", line, f"has {len(cells)} cells; expected {width}")
        elif broken := _not_utf8(cells):
            faults.add(number, layout.names[broken[0]], _printable(cells[broken[0]]), broken[1])
        else:
            yield number, cells


def _records(
    content: Content, separator: str, quote: str | None
) -> Iterator[tuple[int, list[str], str | None]]:
    """(number from 1, cells, fault) of every record; a blank line has no cells, a faulty one its last line as a cell.

    Bytes that are not UTF-8 become lone surrogates.
    """
    if quote is not None:
        yield from _quoted(content, separator, quote)
        return
    for number, line in enumerate(_text(content), start=1):
        line = line.rstrip("\r\n")
        yield number, line.split(separator) if line else [], None


def _text(content: Content) -> Iterator[str]:
    return (line.decode("utf-8", "surrogateescape") for line in content.lines())


def _quoted(content: Content, separator: str, quote: str) -> Iterator[tuple[int, list[str], str | None]]:
    begun: list[str] = []  # lines of the record that is being read

    def remembered() -> Iterator[str]:
        for line in _text(content):
            begun.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=separator, quotechar=quote, strict=True)
    limit = csv.field_size_limit(sys.maxsize)
    try:
        number = 0
        while True:
            number += 1
            begun.clear()
            try:
                yield number, next(reader), None
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error):  # all that follows is lost, so no rule for bad rows can go on
                    raise InputError(
                        f"{content.path}, row {number}: received {_printable(begun[0].rstrip())!r}; "
                        "a quote opens in this row and never closes"
                    ) from None
                yield number, [begun[0].rstrip("\r\n")], _in_our_words(error)
    finally:
        csv.field_size_limit(limit)


def _in_our_words(error: csv.Error) -> str:
    return _CARRIAGE_RETURN if "new-line" in str(error) else f"is malformed: {error}"


def _not_utf8(cells: Sequence[str]) -> tuple[int, str] | None:
    """(position, reason) of the first cell with a byte that is not UTF-8."""
    for position, cell in enumerate(cells):
        if not cell.isascii():
            for character in cell:
                if "\udc80" <= character <= "\udcff":
                    return position, f"is not UTF-8: byte {ord(character) - 0xDC00:#04x}; allowed: UTF-8 text"
    return None


def _printable(cell: str) -> str:
    """Text with the bytes that are not UTF-8 as ``\\xff``."""
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

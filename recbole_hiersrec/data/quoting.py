"""Quotes of a delimited file: its records one by one, and whether all quotes are where RFC 4180 wants them."""

from __future__ import annotations

import csv
import mmap
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recbole_hiersrec.data.content import Content, shown
from recbole_hiersrec.errors import InputError

CARRIAGE_RETURN = "a carriage return stands within the line; lines end in a line feed"
"""What is wrong with a record that holds one outside quotes."""

_BLOCK = 1 << 26  # bytes that are looked at at once


def well_quoted(data: bytes | mmap.mmap, separator: str, quote: str) -> bool:
    """Whether every quote opens or closes a whole cell, in turn, and the last one closes.

    False also where a cell holds quotes, doubled as they must be: such files need a closer look.

    Args:
        data: the file.
        separator: one ASCII character between cells.
        quote: one ASCII character around cells.
    """
    text: NDArray[np.uint8] = np.frombuffer(data, dtype=np.uint8)
    seen = 0
    for start in range(0, len(text), _BLOCK):
        at = np.flatnonzero(text[start : start + _BLOCK] == ord(quote)) + start
        opens = at[seen % 2 :: 2]
        closes = at[1 - seen % 2 :: 2]
        if not (_begins_cell(text, opens, ord(separator)) and _ends_cell(text, closes, ord(separator))):
            return False
        seen += len(at)
    return seen % 2 == 0


def _begins_cell(text: NDArray[np.uint8], at: NDArray[np.int64], separator: int) -> bool:
    before = text[np.maximum(at - 1, 0)]
    return bool(((at == 0) | (before == separator) | (before == ord("\n"))).all())


def _ends_cell(text: NDArray[np.uint8], at: NDArray[np.int64], separator: int) -> bool:
    last = len(text) - 1
    after, second = text[np.minimum(at + 1, last)], text[np.minimum(at + 2, last)]
    line_end = (after == ord("\n")) | ((after == ord("\r")) & (second == ord("\n")))
    return bool(((at == last) | (after == separator) | line_end).all())


def records(
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
                        f"{content.path}, row {number}: received {shown(begun[0].rstrip())!r}; "
                        "a quote opens in this row and never closes"
                    ) from None
                yield number, [begun[0].rstrip("\r\n")], _in_our_words(error)
    finally:
        csv.field_size_limit(limit)


def _in_our_words(error: csv.Error) -> str:
    return CARRIAGE_RETURN if "new-line" in str(error) else f"is malformed: {error}"

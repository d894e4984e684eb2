"""Whether the quotes of a delimited file are where RFC 4180 wants them, found out without reading it cell by cell."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

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

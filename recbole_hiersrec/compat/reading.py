"""Defect of RecBole's reading: pandas' Python parser, a new string for every cell."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import recbole.data.dataset.dataset as target
from numpy.typing import NDArray

from recbole_hiersrec.data.files import MISSING, read_even
from recbole_hiersrec.data.sessions import numbered

_NAME = "pandas, with atomic files read by Polars"
_NUMBER = r"^-?[0-9]+(\.[0-9]*)?$"


def lean_reading() -> None:
    """Read atomic files with Polars, a string object for each different token: the same table, faster and smaller.

    Files that pandas might read in another way (quotes, carriage returns, blank or uneven lines, times that are not
    plain decimal numbers) are left to it.
    Upstream: ``data/dataset/dataset.py:479`` reads with ``engine="python"``.
    """
    if target.pd.__name__ == _NAME:
        return
    changed = ModuleType(_NAME)
    vars(changed).update({**vars(pd), "__name__": _NAME, "read_csv": _read_csv})
    target.pd = changed


def _read_csv(
    path: str,
    *,
    delimiter: str,
    usecols: Sequence[str],
    dtype: Mapping[str, Any],
    encoding: str | None,
    engine: str,
) -> pd.DataFrame:
    """What ``pandas.read_csv`` returns for the only arguments that RecBole calls it with."""
    if encoding in (None, "utf-8"):  # pandas' own default
        frame = _read_plain(Path(path), delimiter, usecols, dtype)
        if frame is not None:
            return frame
    return pd.read_csv(
        path,
        delimiter=delimiter,
        usecols=list(usecols),
        dtype=dict(dtype),
        encoding=encoding,
        engine="python",
    )


def _read_plain(
    path: Path, separator: str, wanted: Sequence[str], dtype: Mapping[str, Any]
) -> pd.DataFrame | None:
    """The columns ``wanted``, or None unless every reader must read the file in the same way."""
    names = _plain_header(path, separator)
    cells = read_even(path, len(names), separator) if len(names) > 1 else None
    if cells is None or len(cells) == 0:
        return None
    columns: dict[str, NDArray[Any]] = {}
    for name in (name for name in names if name in wanted):
        text = cells[str(names.index(name))]
        if dtype[name] is str:
            columns[name] = _tokens(text)
        elif text.str.contains(_NUMBER).all():
            columns[name] = text.cast(pl.Float64).to_numpy(writable=True)
        else:
            return None
    return pd.DataFrame(columns)


def _plain_header(path: Path, separator: str) -> list[str]:
    """Names of the columns; none if the file has what pandas treats in its own way."""
    with path.open("rb") as file:
        head = file.readline()
        file.seek(0)
        blocks = iter(lambda: file.read(1 << 20), b"")
        own_way = any(byte in block for block in blocks for byte in b'"\r\0')
    if own_way or head.startswith(codecs.BOM_UTF8):
        return []
    names = head.decode(errors="replace").rstrip("\n").split(separator)
    return names if len(set(names)) == len(names) else []


def _tokens(text: pl.Series) -> NDArray[np.object_]:
    """The cells as Python strings, equal ones the same object, and NaN for what pandas takes for missing."""
    codes, different = numbered(text)
    tokens = np.array([np.nan if token in MISSING else token for token in different], dtype=object)
    return tokens[codes]

"""Sessions and catalogue -> RecBole's atomic files, the same bytes for the same input.

Cells are written without quoting, as this package reads them; what RecBole's reader (pandas with quotes) would take
otherwise is replaced in side information, and refused in ids when they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from recbole_hiersrec.data.parts import PARTS
from recbole_hiersrec.data.sessions import Sessions
from recbole_hiersrec.data.taxonomy import Taxonomy

ROWS_AT_ONCE = 2_000_000
_CONTROL = r"[\x00-\x1f\x7f\x85\u2028\u2029]+"


@dataclass(frozen=True)
class SideInformation:
    """What is known of the items, one row an item in the order in which the .item file is written.

    Attributes:
        frame: column ``item`` (text) and the columns named below, text without missing values.
        levels: category levels, coarse to fine.
        title: column of the title.
        metadata: further columns.
    """

    frame: pl.DataFrame
    levels: tuple[str, ...]
    title: str | None
    metadata: tuple[str, ...]


def clean(column: str) -> pl.Expr:
    """Side information as one cell: trimmed, without control characters, no quote at its start, "" if missing."""
    text = pl.col(column).cast(pl.String).fill_null("").str.replace_all(_CONTROL, " ").str.strip_chars()
    return text.str.replace(r"^[\" ]+", "'").alias(column)


def write_inter(path: Path, log: Sessions) -> None:
    """Write NAME.inter: one row a click, a session's rows together and in time order.

    Without time stamps the third column is the position in the session.
    """
    header = b"user_id:token\titem_id:token\ttimestamp:float\n"
    time = _positions(log) if log.time is None else log.time
    with path.open("wb") as file:
        file.write(header)
        for start in range(0, len(log.item), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            _write_rows(
                file,
                pl.DataFrame(
                    {
                        "user": log.session_tokens.gather(log.session[rows]),
                        "item": log.item_tokens.gather(log.item[rows]),
                        "time": pl.Series(time[rows]),
                    }
                ),
            )


def write_parts(path: Path, tokens: pl.Series, part: NDArray[np.uint8]) -> None:
    """Write NAME.user: the name and the part of each session of a temporal split."""
    with path.open("wb") as file:
        file.write(b"user_id:token\tpart:token\n")
        names = pl.Series(PARTS).gather(part)
        _write_rows(file, pl.DataFrame({"user": tokens, "part": names}))


def write_items(path: Path, items: SideInformation) -> None:
    """Write NAME.item: levels and metadata as token columns, the title as a token_seq column ``title``."""
    columns = {"item": "item_id:token", **{name: f"{name}:token" for name in items.levels}}
    if items.title:
        columns[items.title] = "title:token_seq"
    columns |= {name: f"{name}:token" for name in items.metadata}
    with path.open("wb") as file:
        file.write(("\t".join(columns.values()) + "\n").encode())
        _write_rows(file, items.frame.select(list(columns)))


def write_settings(path: Path, items: SideInformation, name: str) -> None:
    """Write NAME.yaml: which columns of NAME.item HierSRec reads; RecBole takes it as a configuration file."""
    values = {
        "category_fields": list(items.levels),
        "title_field": "title" if items.title else None,
        "metadata_fields": list(items.metadata),
    }
    text = f"# What HierSRec reads from {name}.item, coarse levels first.\n"
    path.write_text(text + yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_taxonomy(path: Path, items: SideInformation) -> Taxonomy:
    """Write taxonomy.npz, items in the order of NAME.item with their ids in ``item_tokens``."""
    paths = list(zip(*(items.frame[level].to_list() for level in items.levels), strict=True))
    taxonomy = Taxonomy.from_paths(paths, items.levels)
    taxonomy.save(path, items.frame["item"].to_list())
    return taxonomy


def _positions(log: Sessions) -> NDArray[np.float64]:
    starts = np.cumsum(log.lengths()) - log.lengths()
    return (np.arange(len(log.session)) - starts[log.session]).astype(np.float64)


def _write_rows(file: BinaryIO, frame: pl.DataFrame) -> None:
    frame.write_csv(file, include_header=False, separator="\t", quote_style="never", float_scientific=False)


def write_rejected(path: Path, rejected: pl.DataFrame) -> None:
    """Write rejected.csv: file, row, column, received value and reason of every row that was left out."""
    rejected.write_csv(path)


def side_columns(levels: Sequence[str], title: str | None, metadata: Sequence[str]) -> list[str]:
    """The columns of side information, each once."""
    return list(dict.fromkeys([*levels, *([title] if title else []), *metadata]))

"""Sessions from a table of clicks, and recommendations to a file: in batches, and whole or not there.

The clicks are read as ``hiersrec data prepare --events`` reads them: one row a click, in any of its formats, and in
any order, so the table of clicks is held as a whole; answers are held a batch at a time.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from recbole_hiersrec.atomic import alone_with, replace_file, temporary_prefix
from recbole_hiersrec.data.sources.user_log import read_user_log, resolve_columns
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.serving.answers import Recommendation
from recbole_hiersrec.serving.filters import STEP

PARQUET, CSV, JSON_LINES = (".parquet", ".pq"), (".csv",), (".jsonl", ".ndjson")
_ROWS = 1 << 18  # rows of a part of a Parquet file; so many are held


def read_sessions(path: Path, mapping: Sequence[str] = (), separator: str | None = None) -> pl.DataFrame:
    """Columns ``session`` and ``item`` (a list of texts, oldest first), sessions in the order of their first rows.

    Args:
        path: the clicks. Rows of a session are ordered by time, of equal or no times as they lie in the file.
        mapping: which columns hold what, as in :func:`~recbole_hiersrec.data.sources.user_log.parse_map`.
        separator: of text files, if it cannot be found in the header.

    Raises:
        InputError: the file or a column is missing or damaged, or a row is bad.
    """
    columns = resolve_columns(path, mapping, separator)
    clicks = read_user_log(path, None, columns, (), separator=separator).clicks
    return (
        clicks.with_columns(pl.col("item").cast(pl.String))
        .with_row_index("row")
        .sort("time" if columns.time else "row", maintain_order=True)
        .group_by("session", maintain_order=True)
        .agg("item", first=pl.col("row").min())
        .sort("first")
        .select("session", "item")
    )


def check_out(out: Path, sessions: Path, explain: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        InputError: the suffix names no format, explanations do not fit it, or there is no such folder.
    """
    kinds = (*PARQUET, *CSV, *JSON_LINES)
    if out.suffix.lower() not in kinds:
        raise InputError(f"--out: received '{out}'{nearest(out.suffix, kinds)} (allowed: {', '.join(kinds)})")
    if explain and out.suffix.lower() not in JSON_LINES:
        raise InputError(f"--explain: an explanation fits no table; --out: received '{out}', allowed: .jsonl")
    if not out.parent.is_dir():
        raise InputError(f"--out: there is no folder {out.parent}")
    if out.is_dir() or (out.exists() and sessions.exists() and out.samefile(sessions)):
        raise InputError(f"--out: {out} is {'a folder' if out.is_dir() else 'the file of the sessions'}")


class RecommendationFile:
    """Takes answers in batches; see :func:`recommendation_file`."""

    def __init__(self, folder: Path, out: Path, explain: bool) -> None:
        self._folder, self._kind, self._explain = folder, out.suffix.lower(), explain
        self._waiting: list[pl.DataFrame] = []
        self._parts = self.rows = 0
        self._file: IO[bytes] | None = None if self._kind in PARQUET else (folder / "whole").open("wb")

    def add(self, sessions: pl.Series, answers: Sequence[Recommendation]) -> None:
        """Write the answers to the sessions of these names."""
        if self._file is not None and self._explain:
            named = zip(sessions.to_list(), answers, strict=True)
            lines = (
                json.dumps({"session_id": name} | answer.to_dict(), ensure_ascii=False)
                for name, answer in named
            )
            self._file.write("".join(f"{line}\n" for line in lines).encode())
            self.rows += sum(len(answer.items) for answer in answers)
            return
        frame = _frame(sessions, answers)
        if self._file is None:
            self._waiting.append(frame)
            if sum(map(len, self._waiting)) >= _ROWS:
                self._write_part()
        elif self._kind in CSV:
            frame.write_csv(self._file, include_header=self._file.tell() == 0)
        else:
            frame.write_ndjson(self._file)
        self.rows += len(frame)

    def close(self) -> Path:
        """Finish; returns the whole file."""
        whole = self._folder / "whole"
        if self._file is not None:
            self._file.close()
        else:
            self._write_part()
            pl.scan_parquet(sorted(self._folder.glob("part-*")), glob=False).sink_parquet(whole)
        return whole

    def _write_part(self) -> None:
        if self._waiting:
            pl.concat(self._waiting).write_parquet(self._folder / f"part-{self._parts:09}")
            self._parts += 1
            self._waiting = []


@contextmanager
def recommendation_file(out: Path, explain: bool) -> Iterator[RecommendationFile]:
    """A file of recommendations that is at ``out`` when the block ends without an error, and not before.

    One row an item: ``session_id, rank, item_id, score, by, title, category``; ``by`` says "popularity" where no
    item of the session is known, which has no score. With ``explain`` one JSON object a session.

    Raises:
        InputError: another process writes this file, or the folder cannot be written.
    """
    with (
        alone_with(out, "recommendation", patience=0.0),
        tempfile.TemporaryDirectory(prefix=temporary_prefix(out), dir=out.parent) as temporary,
    ):
        writer = RecommendationFile(Path(temporary), out, explain)
        try:
            yield writer
            replace_file(writer.close(), out)
        finally:
            if writer._file is not None:
                writer._file.close()


def _frame(sessions: pl.Series, answers: Sequence[Recommendation]) -> pl.DataFrame:
    """One row an item."""
    counts = [len(answer.items) for answer in answers]
    items = [item for answer in answers for item in answer.items]
    columns: dict[str, Any] = {
        "rank": pl.Series([rank for count in counts for rank in range(1, count + 1)], dtype=pl.Int32),
        "item_id": pl.Series([item.item for item in items], dtype=pl.String),
        "score": pl.Series([item.score for item in items], dtype=pl.Float32),
        "by": pl.Series(
            [a.by for a, n in zip(answers, counts, strict=True) for _ in range(n)], dtype=pl.String
        ),
        "title": pl.Series([item.title for item in items], dtype=pl.String),
        "category": pl.Series([STEP.join(item.category) or None for item in items], dtype=pl.String),
    }
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    return pl.DataFrame({"session_id": sessions.gather(rows), **columns})

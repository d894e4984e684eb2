"""Small logs for tests of preparation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog
from recbole_hiersrec.data.options import PrepareSettings
from recbole_hiersrec.data.prepare import Request
from recbole_hiersrec.data.sessions import Sessions
from recbole_hiersrec.data.steps import encode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

Row = tuple[str, str, float]


def raw_log(rows: list[Row], **changes: Any) -> RawLog:
    """A log of (session, item, time) in the order of its file."""
    columns = {"session": pl.String, "item": pl.String, "time": pl.Float64}
    return RawLog(pl.DataFrame(rows, schema=columns, orient="row"), **changes)


def sessions_of(rows: list[Row]) -> Sessions:
    """The encoded log."""
    return encode(raw_log(rows))


def rows_of(log: Sessions) -> list[Row]:
    """Back to (session, item, time)."""
    time = [0.0] * len(log.item) if log.time is None else log.time.tolist()
    names = log.session_tokens.gather(log.session).to_list(), log.item_tokens.gather(log.item).to_list()
    return list(zip(*names, time, strict=True))


def compact(log: Sessions) -> dict[str, str]:
    """Session -> its items joined, for one-letter items."""
    found: dict[str, str] = {}
    for session, item, _ in rows_of(log):
        found[session] = found.get(session, "") + item
    return found


def words(*words: str, step: float = 1.0) -> list[Row]:
    """Sessions s0, s1, ... of one-letter items; all clicks ``step`` seconds apart, one session after the other."""
    rows: list[Row] = []
    for number, word in enumerate(words):
        rows += [(f"s{number}", letter, (len(rows) + place) * step) for place, letter in enumerate(word)]
    return rows


def request(raw: RawLog, folder: Path, name: str = "shop", **settings: Any) -> Request:
    """A preparation of ``raw``; a file beside the output stands for its input."""
    source = folder / f"{name}.source"
    if not source.exists():
        source.write_text("the input")

    def read(bad_rows: BadRows) -> RawLog:
        return raw

    return Request(name, "log", {}, (source,), read, PrepareSettings(**settings))

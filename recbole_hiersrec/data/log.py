"""What every reader of a public data set or of a user's log returns, and the one way in which a row is refused.

Nothing here needs RecBole or torch. Tables are Polars frames in the order of their file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import polars as pl

from recbole_hiersrec.errors import InputError

ROW = "__row__"
"""Column of a :class:`Table`: number of the record in its file, from 1; a header is record 1."""

REJECTED = {
    "file": pl.String(),
    "row": pl.Int64(),
    "column": pl.String(),
    "received": pl.String(),
    "reason": pl.String(),
}
"""Columns of the rows that were left out."""

BadRows = Literal["stop", "skip"]
TimeKind = Literal["click", "session", "order"]


def none_rejected() -> pl.DataFrame:
    """An empty table of rejected rows."""
    return pl.DataFrame(schema=REJECTED)


@dataclass(frozen=True)
class Table:
    """A file's rows with their numbers, and what was refused of them so far.

    Attributes:
        path: the file, for messages.
        frame: the rows that are left; :data:`ROW` numbers them as in the file.
        bad_rows: "stop" raises at the first bad row, "skip" moves bad rows to ``rejected``.
        rejected: the rows left out, with the columns of :data:`REJECTED`.
    """

    path: Path
    frame: pl.DataFrame
    bad_rows: BadRows = "stop"
    rejected: pl.DataFrame = field(default_factory=none_rejected)

    def refuse(self, column: str, bad: pl.Expr, reason: str) -> Table:
        """Refuse the rows for which ``bad`` is true.

        Args:
            column: the column whose value is at fault.
            bad: a Boolean expression over the frame.
            reason: what is wrong and what is allowed, for instance "is empty; allowed: any text".

        Raises:
            InputError: ``bad_rows`` is "stop" and there is such a row: the first one's file, row, column and value.
        """
        flagged = self.frame.select(bad.fill_null(False).alias("bad"))["bad"]
        if not flagged.any():
            return self
        wrong = self.frame.filter(flagged).select(ROW, pl.col(column).cast(pl.String).alias("received"))
        if self.bad_rows == "stop":
            row, received = wrong.row(0)
            shown = "nothing" if received is None else repr(short(received))
            raise InputError(f"{self.path}, row {row}, column '{column}': received {shown}; {reason}")
        found = wrong.select(
            pl.lit(self.path.name).alias("file"),
            pl.col(ROW).cast(pl.Int64).alias("row"),
            pl.lit(column).alias("column"),
            pl.col("received"),
            pl.lit(reason).alias("reason"),
        )
        return replace(self, frame=self.frame.filter(~flagged), rejected=pl.concat([self.rejected, found]))


@dataclass(frozen=True)
class RawLog:
    """Sessions and catalogue as a reader found them, before any filter.

    Attributes:
        clicks: columns ``session``, ``item`` (each String or Int64) and ``time`` (Float64, unix seconds; the position
            in the session where there are no stamps), in the order of the file.
        items: one row an item: ``item`` (type as in ``clicks``) and String columns; or, where an item's properties
            change with time, a function from the time of the split (unix seconds) to such a table, which looks only
            at what is earlier; without such a time (None) the first known properties count. None: no catalogue.
        levels: columns of ``items`` that are the category levels, coarse to fine; null or "" is unknown.
        title: text column of ``items``.
        metadata: further columns of ``items``.
        time: "click": every click has its own stamp; "session": one stamp a session; "order": there are none.
        rejected: rows left out, with reasons.
        notes: rules and caveats a reader of the results must know, one sentence each.
    """

    clicks: pl.DataFrame
    items: pl.DataFrame | Callable[[float | None], pl.DataFrame] | None = None
    levels: tuple[str, ...] = ()
    title: str | None = None
    metadata: tuple[str, ...] = ()
    time: TimeKind = "click"
    rejected: pl.DataFrame = field(default_factory=none_rejected)
    notes: tuple[str, ...] = ()


def short(value: str, limit: int = 80) -> str:
    """A value for a message, cut to ``limit`` characters."""
    return value if len(value) <= limit else value[: limit - 3] + "..."

"""A session table in memory: integer codes in session order, the split, and what the split lets through.

R rows (clicks), S sessions, N items. Rows of a session lie together, in time order; ties keep the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recbole_hiersrec.data.files import SEPARATOR, header, read_columns
from recbole_hiersrec.data.parts import TEST, TRAIN, VALID, parts_of
from recbole_hiersrec.errors import InputError

Codes = NDArray[np.uint32]


@dataclass(frozen=True)
class Leakage:
    """Training interactions after the earliest test interaction.

    Attributes:
        training: number of training interactions.
        after: how many of them are later than the earliest test interaction; None without time stamps.
    """

    training: int
    after: int | None

    def text(self) -> str:
        """One phrase for reports."""
        if self.after is None:
            return "unknown (no time stamps)"
        share = 100 * self.after / self.training if self.training else 0.0
        return f"{self.after:,} of {self.training:,} ({share:.1f} %)"


@dataclass(frozen=True)
class Sessions:
    """Sessions as arrays.

    Attributes:
        session: [R], 0..S - 1, ascending.
        item: [R], 0..N - 1.
        time: [R], float64, unix seconds; None where the log has no stamps.
        session_tokens: [S] names; item_tokens: [N] names.
        part: [S], TRAIN, VALID or TEST; None: leave-one-out.
    """

    session: Codes
    item: Codes
    time: NDArray[np.float64] | None
    session_tokens: pl.Series
    item_tokens: pl.Series
    part: NDArray[np.uint8] | None = None

    @property
    def n_sessions(self) -> int:
        """Number of sessions S."""
        return len(self.session_tokens)

    @property
    def n_items(self) -> int:
        """Number of items N."""
        return len(self.item_tokens)

    def lengths(self) -> NDArray[np.int64]:
        """Clicks of each session, [S]."""
        return np.bincount(self.session, minlength=self.n_sessions)

    def part_of_rows(self) -> NDArray[np.uint8]:
        """TRAIN, VALID or TEST of each row, [R].

        Leave-one-out tests a session's last row and validates the one before, but leaves training a first row and a
        target, as RecBole does (``data/dataset/dataset.py:1676``).
        """
        if self.part is not None:
            return self.part[self.session]
        part = np.zeros(len(self.session), dtype=np.uint8)
        lengths = self.lengths()
        last = np.cumsum(lengths) - 1
        part[last[lengths >= 3]] = TEST
        part[last[lengths >= 4] - 1] = VALID
        return part

    def sessions_in(self, part: int) -> int:
        """Number of sessions with rows in a part."""
        found = np.zeros(self.n_sessions, dtype=bool)
        found[self.session[self.part_of_rows() == part]] = True
        return int(found.sum())

    def leakage(self) -> Leakage:
        """Count training interactions after the earliest test interaction."""
        part = self.part_of_rows()
        training = int((part == TRAIN).sum())
        if self.time is None:
            return Leakage(training, None)
        if not (part == TEST).any():
            return Leakage(training, 0)
        first = self.time[part == TEST].min()
        return Leakage(training, int((self.time[part == TRAIN] > first).sum()))


def numbered(values: pl.Series) -> tuple[Codes, pl.Series]:
    """Number of each value in the sorted list of different values, and that list as text."""
    if values.is_sorted():  # as sessions often are
        starts = values.to_frame("x").select((pl.col("x") != pl.col("x").shift()).fill_null(True))
        first = starts.to_series()
        codes, different = first.cum_sum().to_numpy() - 1, values.filter(first)
    else:
        different = values.unique().sort()
        codes = _places(values, different)
    return codes.astype(np.uint32, copy=False), different.cast(pl.String)


def _places(values: pl.Series, different: pl.Series) -> NDArray[np.integer[Any]]:
    """Position of each value in ``different``, which is sorted and holds them all."""
    if values.dtype == pl.String:
        return values.cast(pl.Enum(different)).to_physical().to_numpy()
    lowest, highest = int(different[0]), int(different[-1])
    if highest - lowest >= 4 * len(values):
        return np.searchsorted(different.to_numpy(), values.to_numpy())
    # A table of the whole range is faster than a search.
    place = np.zeros(highest - lowest + 1, dtype=np.uint32)
    place[different.to_numpy() - lowest] = np.arange(len(different), dtype=np.uint32)
    return place[values.to_numpy() - lowest]


def read_sessions(
    files: Mapping[str, Path],
    *,
    user: str = "user_id",
    item: str = "item_id",
    when: str | None = "timestamp",
    separator: str = SEPARATOR,
) -> Sessions:
    """Read atomic files (suffix -> path); the split comes from the ``part`` column of the .user file, if it has one.

    Args:
        files: as :func:`~recbole_hiersrec.data.files.atomic_files` finds them.
        user, item, when: columns of the .inter file; ``when`` None: rows are in order and have no stamps.
        separator: between cells.

    Raises:
        InputError: a column is missing, or a session's part is not one of train, valid, test.
    """
    wanted = [user, item] + ([when] if when else [])
    frame = read_columns(files["inter"], wanted, separator)
    if when:
        frame = frame.with_columns(pl.col(when).str.strip_chars().cast(pl.Float64, strict=False))
        if frame[when].has_nulls():
            raise InputError(f"{files['inter']}: column '{when}' holds what is no number; allowed: numbers")
    frame = frame.sort([user, when] if when else [user], maintain_order=True)
    session, session_tokens = numbered(frame[user])
    code, item_tokens = numbered(frame[item])
    return Sessions(
        session=session,
        item=code,
        time=frame[when].to_numpy() if when else None,
        session_tokens=session_tokens,
        item_tokens=item_tokens,
        part=_parts(files.get("user"), user, session_tokens, separator),
    )


def _parts(path: Path | None, user: str, sessions: pl.Series, separator: str) -> NDArray[np.uint8] | None:
    """Part of each session, or None where no .user file says so."""
    if path is None or "part" not in dict(header(path, separator)):
        return None
    return parts_of(path, sessions, user, separator)

"""The filters of preparation: each takes sessions and gives sessions, whose rows lie together in time order.

R rows (clicks), S sessions, N items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.options import PrepareSettings
from recbole_hiersrec.data.sessions import Codes, Sessions, numbered
from recbole_hiersrec.errors import InputError

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Size:
    """How much there is of a log."""

    sessions: int
    items: int
    interactions: int


@dataclass(frozen=True)
class Count:
    """What one filter did.

    Attributes:
        step: name of the setting that caused it.
        before, after: the log's size around it.
    """

    step: str
    before: Size
    after: Size


def size(log: Sessions) -> Size:
    """Sessions, items and interactions of a log."""
    return Size(log.n_sessions, log.n_items, len(log.item))


def encode(raw: RawLog) -> Sessions:
    """Sort the clicks by session and time, ties in the order of the file, and number sessions and items.

    Both are numbered in the order of their names, so the order of the sessions in the file changes nothing.
    """
    session, session_tokens = numbered(raw.clicks["session"])
    item, item_tokens = numbered(raw.clicks["item"])
    time = raw.clicks["time"].to_numpy()
    if not (session[1:] >= session[:-1]).all():
        order = np.argsort(session, kind="stable")
        session, item, time = session[order], item[order], time[order]
    if not ((session[1:] > session[:-1]) | (time[1:] >= time[:-1])).all():
        order = np.lexsort((time, session))  # stable
        session, item, time = session[order], item[order], time[order]
    return Sessions(session, item, None if raw.time == "order" else time, session_tokens, item_tokens)


def count_ties(log: Sessions) -> int | None:
    """Clicks with the same time as the click before in their session; None where clicks have no time."""
    if log.time is None:
        return None
    return int(((log.session[1:] == log.session[:-1]) & (log.time[1:] == log.time[:-1])).sum())


def apply_filters(log: Sessions, settings: PrepareSettings, counts: list[Count]) -> Sessions:
    """Gap, repeats, k-core and minimum length until nothing changes, then the last clicks of each session.

    Args:
        log: what was read.
        settings: which filters, and how strict.
        counts: takes one entry for every filter that is on, and for each time it removed something more.

    Raises:
        InputError: nothing is left; the message says which filter removed how much.
    """
    if settings.gap_minutes:
        before, log = size(log), cut_at_gaps(log, settings.gap_minutes)
        counts.append(Count("gap_minutes", before, size(log)))
    log = until_stable(log, settings, counts)
    if settings.last is not None:
        before, log = size(log), keep_last(log, settings.last)
        counts.append(Count("last", before, size(log)))
    return log


class Rest:
    """The rows of a log that are left while filters remove some, with their number in each session and of each item.

    Filters run many times until nothing changes; nothing is copied or renumbered before :meth:`sessions`.

    Args:
        log: all rows.
    """

    def __init__(self, log: Sessions) -> None:
        self._log = log
        self._left = np.ones(len(log.item), dtype=bool)
        self._in_session = log.lengths()  # [S]
        self._of_item = np.bincount(log.item, minlength=log.n_items)  # [N]

    def size(self) -> Size:
        """Sessions, items and interactions that are left."""
        sessions, items = np.count_nonzero(self._in_session), np.count_nonzero(self._of_item)
        return Size(int(sessions), int(items), int(self._in_session.sum()))

    def sessions(self) -> Sessions:
        """What is left, as a log of its own."""
        return keep_rows(self._log, self._left)

    def remove(self, rows: Rows) -> None:
        """Remove rows, given by their positions in the log."""
        self._left[rows] = False
        self._in_session -= np.bincount(self._log.session[rows], minlength=self._log.n_sessions)
        self._of_item -= np.bincount(self._log.item[rows], minlength=self._log.n_items)

    def collapse_repeats(self) -> None:
        """Keep the first of several clicks on the same item that follow each other in a session."""
        rows = np.flatnonzero(self._left)
        session, item = self._log.session[rows], self._log.item[rows]
        self.remove(rows[1:][(session[1:] == session[:-1]) & (item[1:] == item[:-1])])

    def remove_rare_items(self, least: int) -> None:
        """Remove the clicks on items that have fewer than ``least``."""
        rare = (self._of_item > 0) & (self._of_item < least)
        if rare.any():
            self.remove(np.flatnonzero(self._left & rare[self._log.item]))

    def remove_short_sessions(self, least: int) -> None:
        """Remove the sessions of fewer than ``least`` clicks."""
        short = (self._in_session > 0) & (self._in_session < least)
        if short.any():
            self.remove(np.flatnonzero(self._left & short[self._log.session]))


def until_stable(log: Sessions, settings: PrepareSettings, counts: list[Count]) -> Sessions:
    """Collapse repeats, remove rare items, remove short sessions, again and again until nothing changes.

    They go together because each undoes the others: without an item in between, two clicks become a repeat.
    """
    rest = Rest(log)
    filters: dict[str, Callable[[], None]] = {
        "item_core": lambda: rest.remove_rare_items(settings.item_core),
        "min_length": lambda: rest.remove_short_sessions(settings.shortest),
    }
    if settings.collapse_repeats:
        filters = {"collapse_repeats": rest.collapse_repeats, **filters}
    before = rest.size()
    first, changed = True, True
    while changed:
        changed = False
        for name, filter_ in filters.items():
            filter_()
            entry = Count(name, before, rest.size())
            if first or entry.before != entry.after:
                _note(entry, counts)
            changed |= entry.before != entry.after
            before = entry.after
        first = False
    return rest.sessions()


def _note(count: Count, counts: list[Count]) -> None:
    """Note what a filter did, and stop if nothing is left."""
    counts.append(count)
    if not count.after.interactions:
        raise InputError(f"nothing is left after filtering; {account(counts)}")


def account(counts: list[Count]) -> str:
    """Which filter removed how many interactions, in one line."""
    removed: dict[str, int] = {}
    for count in counts:
        difference = count.before.interactions - count.after.interactions
        removed[count.step] = removed.get(count.step, 0) + difference
    total = counts[0].before.interactions if counts else 0
    parts = ", ".join(f"{step} {number:,}" for step, number in removed.items() if number)
    return f"of {total:,} interactions the filters removed: {parts or 'none'}"


def cut_at_gaps(log: Sessions, minutes: float) -> Sessions:
    """Begin a new session after every pause of more than ``minutes``; names get ``.1``, ``.2``, ..."""
    if log.time is None:
        raise InputError("gap_minutes needs time stamps, and this log has none")
    new = np.ones(len(log.session), dtype=bool)
    new[1:] = (log.session[1:] != log.session[:-1]) | (np.diff(log.time) > 60 * minutes)
    session = (np.cumsum(new) - 1).astype(np.uint32)
    owner = log.session[new]
    first = np.r_[True, owner[1:] != owner[:-1]]
    starts = np.flatnonzero(first)
    number = np.arange(len(owner)) - np.repeat(starts, np.diff(np.r_[starts, len(owner)])) + 1
    names = pl.DataFrame({"name": log.session_tokens.gather(owner), "number": number})
    tokens = names.select(pl.format("{}.{}", "name", "number")).to_series()
    return replace(log, session=session, session_tokens=tokens)


def keep_last(log: Sessions, most: int) -> Sessions:
    """Keep the last ``most`` clicks of every session."""
    from_end = np.cumsum(log.lengths())[log.session] - 1 - np.arange(len(log.session))
    return keep_rows(log, from_end < most)


def keep_rows(log: Sessions, keep: Mask) -> Sessions:
    """The rows for which ``keep`` [R] is true; sessions and items without rows are gone and the others renumbered."""
    if keep.all():
        return log
    rows = np.flatnonzero(keep)  # once, instead of once a column
    session, kept_sessions = _renumbered(log.session[rows], log.n_sessions)
    item, kept_items = _renumbered(log.item[rows], log.n_items)
    return Sessions(
        session=session,
        item=item,
        time=None if log.time is None else log.time[rows],
        session_tokens=log.session_tokens.filter(kept_sessions),
        item_tokens=log.item_tokens.filter(kept_items),
        part=None if log.part is None else log.part[kept_sessions],
    )


def _renumbered(codes: Codes, n: int) -> tuple[Codes, Mask]:
    used = np.zeros(n, dtype=bool)
    used[codes] = True
    if used.all():
        return codes, used
    return (np.cumsum(used) - 1).astype(np.uint32)[codes], used

"""The temporal split: whole sessions, by the time of their last click.

S sessions. A session belongs to the part in which it ends, so no training session ends after a test session. A test
session that began earlier still lets training see what comes after its first clicks: sessions that begin before the
last one of an earlier part ends are dropped unless they are asked for, and
:meth:`~recbole_hiersrec.data.sessions.Sessions.leakage` counts what they let through.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from recbole_hiersrec.data.files import SHORTEST
from recbole_hiersrec.data.options import PrepareSettings, days
from recbole_hiersrec.data.parts import PARTS, TEST, TRAIN, VALID
from recbole_hiersrec.data.sessions import Sessions
from recbole_hiersrec.data.steps import (
    Count,
    Mask,
    Rest,
    account,
    keep_rows,
    size,
)
from recbole_hiersrec.errors import InputError

SECONDS_A_DAY = 86_400.0
Times = NDArray[np.float64]


def temporal_split(log: Sessions, settings: PrepareSettings, counts: list[Count]) -> tuple[Sessions, float]:
    """Assign each session to training, validation or test by its end, and apply the rules that follow from it.

    The test part holds the sessions that end at or after a cut: the latest fraction of all sessions, or the last days.
    Sessions that end at the same time as the cut go together into the later part. Validation is cut likewise from
    what is left. Then ``straddling``, ``train_fraction`` and ``unseen`` are applied.

    Args:
        log: the filtered sessions.
        settings: ``valid``, ``test``, ``straddling``, ``train_fraction``, ``unseen``; for what becomes of sessions
            that lose clicks also ``collapse_repeats`` and ``min_length``.
        counts: takes one entry for each rule that is on.

    Returns:
        The sessions with their part; and the time (unix seconds) at which validation begins: what is known of an
        item at that time is no look-ahead.

    Raises:
        InputError: the log has no time stamps, or a part is empty.
    """
    if log.time is None:
        raise InputError("split: temporal needs time stamps, and this log has none; allowed: leave-one-out")
    last = np.cumsum(log.lengths()) - 1
    starts, ends = log.time[np.r_[0, last[:-1] + 1]], log.time[last]
    first_test = _cut(ends, settings.test, len(ends), float(ends.max()))
    earlier = ends[ends < first_test]
    if not len(earlier):
        raise InputError(_empty(TRAIN, settings))
    first_valid = _cut(earlier, settings.valid, len(ends), first_test)
    part = np.full(len(ends), TRAIN, dtype=np.uint8)
    part[ends >= first_valid] = VALID
    part[ends >= first_test] = TEST
    log = replace(log, part=part)
    _check_parts(log, settings, counts)
    inside = np.ones(len(ends), dtype=bool)
    if settings.straddling == "drop":
        latest = [
            ends[part < number].max(initial=-np.inf) for number in range(len(PARTS))
        ]  # of the parts before
        inside = starts >= np.array(latest)[part]
        log = _keep_sessions(log, inside, "straddling", counts)
    if settings.train_fraction != "1":
        recent = _recent(ends, part, Fraction(settings.train_fraction))
        log = _keep_sessions(log, recent[inside], "train_fraction", counts)
    if settings.unseen == "drop":
        log = _drop_unseen(log, settings, counts)
    _check_parts(log, settings, counts)
    return log, first_valid


def check_leave_one_out(log: Sessions) -> None:
    """Refuse a log in which leave-one-out finds nothing to validate or to test."""
    if not log.sessions_in(VALID):
        raise InputError(
            f"split: leave-one-out needs sessions of {SHORTEST['leave-one-out']} or more interactions; "
            f"the longest has {log.lengths().max()}"
        )


def _check_parts(log: Sessions, settings: PrepareSettings, counts: list[Count]) -> None:
    for number in range(len(PARTS)):
        if not log.sessions_in(number):
            raise InputError(f"{_empty(number, settings)}; {account(counts)}")


def _cut(ends: Times, amount: str, n_sessions: int, latest: float) -> float:
    """The time from which sessions belong to the later part: ``latest`` less some days, or so that a fraction does."""
    window = days(amount)
    if window is not None:
        return latest - window * SECONDS_A_DAY
    wanted = max(1, int(Fraction(amount) * n_sessions))
    return float(np.sort(ends)[max(0, len(ends) - wanted)])


def _empty(part: int, settings: PrepareSettings) -> str:
    return (
        f"split: no session is left for {PARTS[part]} with valid {settings.valid}, test {settings.test}, "
        f"straddling {settings.straddling}, unseen {settings.unseen}; allowed: other fractions or days, or keep"
    )


def _recent(ends: Times, part: NDArray[np.uint8], share: Fraction) -> Mask:
    """The most recent share of the training sessions, those that end together going together; and all others, [S]."""
    training = np.sort(ends[part == TRAIN])
    wanted = max(1, int(share * len(training)))
    return (part != TRAIN) | (ends >= training[len(training) - wanted])


def _keep_sessions(log: Sessions, keep: Mask, step: str, counts: list[Count]) -> Sessions:
    """The sessions for which ``keep`` [S] is true, noting what this removes."""
    result = keep_rows(log, keep[log.session])
    counts.append(Count(step, size(log), size(result)))
    return result


def _drop_unseen(log: Sessions, settings: PrepareSettings, counts: list[Count]) -> Sessions:
    """Remove clicks of validation and test on items that training lacks, and what this leaves too short."""
    in_training = log.part_of_rows() == TRAIN
    seen = np.zeros(log.n_items, dtype=bool)
    seen[log.item[in_training]] = True
    rest = Rest(log)
    rest.remove(np.flatnonzero(~seen[log.item]))
    if settings.collapse_repeats:
        rest.collapse_repeats()
    rest.remove_short_sessions(settings.shortest)
    result = rest.sessions()
    counts.append(Count("unseen", size(log), size(result)))
    return result

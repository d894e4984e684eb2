"""The rule ``co-visitation``: items that came soon after the session's last items in training sessions.

Axes: B queries, R training rows, L history length, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import RankedRule
from recbole_hiersrec.retrieval.greedy import left_aligned
from recbole_hiersrec.retrieval.own import distinct_latest_first, without
from recbole_hiersrec.retrieval.popularity import by_popularity

WINDOW = 5
"""How far apart two items may stand in a session, and how many of the last items count."""


class CoVisitation(RankedRule):
    """Ranks by sum over the last items l, the d-th from the end, of count(l -> j) / d; the rest by popularity.

    count(i -> j) is the sum of 1 / distance over training sessions in which j comes after i, at most ``WINDOW``
    items later. Nothing is compared with the query: one looks the last items up in a sparse table. Work and memory
    grow with the items wanted and those visited, not with N. Equal ranks: the more popular first, then by id.

    Args:
        rows: training rows: history int [R, L] (0-padded on the right), length int [R], target int [R]. A row
            counts at every position.
        item_counts: int [N+1], training interactions of each item.
    """

    name = "co-visitation"

    def __init__(self, rows: tuple[np.ndarray, np.ndarray, np.ndarray], item_counts: np.ndarray) -> None:
        self._table = visits(rows, len(item_counts))
        self._popular = by_popularity(item_counts)
        # Places, not counts: below every difference that visits can make.
        _, places = np.unique(item_counts[1:], return_inverse=True)
        self._popularity = np.append(0, (1 + places) / (1e6 * (2 + places.max())))  # [N+1]

    def _ordered(self, queries: Queries, length: int) -> tuple[np.ndarray, np.ndarray]:
        last = distinct_latest_first(queries.history.detach().cpu().numpy())[:, :WINDOW]
        rows, columns = np.nonzero(last)
        weights = csr_array(
            (1 / (1.0 + columns), (rows, last[rows, columns])), shape=(len(last), self._table.shape[0])
        )
        visited = self._by_score(csr_array(weights @ self._table), length)
        rest = np.tile(self._popular[:length], (len(last), 1))
        found = np.concatenate([visited, without(rest, visited)], axis=1)
        found[(found != 0).cumsum(axis=1) > length] = 0
        real = found != 0
        return left_aligned(found[real], real.sum(axis=1), fill=0), np.zeros(len(last), np.int64)

    def _by_score(self, visits: csr_array, length: int) -> np.ndarray:
        """The first ``length`` items of each row of [B, N+1] that are not 0 there, equal ones by id: 0-padded."""
        rows = np.repeat(np.arange(visits.shape[0]), np.diff(visits.indptr))
        ids = visits.indices.astype(np.int64)
        # Sums of fractions, rounded so that their order of addition does not break ties.
        order = np.lexsort((ids, -(visits.data.round(9) + self._popularity[ids]), rows))
        return left_aligned(ids[order], np.diff(visits.indptr), fill=0)[:, :length]


def visits(rows: tuple[np.ndarray, np.ndarray, np.ndarray], n_columns: int) -> csr_array:
    """count(i -> j) of :class:`CoVisitation`, [N+1, N+1]."""
    history, length, target = rows
    sessions = np.concatenate([history, np.zeros((len(history), 1), history.dtype)], axis=1)
    sessions[np.arange(len(sessions)), length] = target  # [R, L + 1]
    table = csr_array((n_columns, n_columns))
    for distance in range(1, min(WINDOW, sessions.shape[1] - 1) + 1):
        before, after = sessions[:, :-distance].ravel(), sessions[:, distance:].ravel()
        real = (before > 0) & (after > 0)
        values = np.full(real.sum(), 1 / distance)
        table = table + csr_array((values, (before[real], after[real])), shape=table.shape)
    return csr_array(table)

"""The rule ``popularity``: the items with the most training interactions, the same for every session."""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import RankedRule


def by_popularity(item_counts: np.ndarray) -> np.ndarray:
    """Ids of all items, most frequent first, equal ones by id: int64 [N], from counts [N+1]."""
    return np.argsort(-item_counts[1:], kind="stable") + 1


class Popularity(RankedRule):
    """Proposes the most frequent items.

    Args:
        item_counts: int [N+1], training interactions of each item; entry 0 (PAD) is not read.
    """

    name = "popularity"

    def __init__(self, item_counts: np.ndarray) -> None:
        self._order = by_popularity(item_counts)

    def _ordered(self, queries: Queries, length: int) -> tuple[np.ndarray, np.ndarray]:
        n_rows = len(queries.history)
        return np.tile(self._order[:length], (n_rows, 1)), np.zeros(n_rows, np.int64)

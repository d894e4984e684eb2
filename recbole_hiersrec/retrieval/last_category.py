"""The rule ``last-category``: items of the last item's category, the most popular first, then of wider ones.

Axes: B queries, N items (ids 1..N, 0 is PAD), M levels.
"""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import RankedRule
from recbole_hiersrec.retrieval.popularity import by_popularity


class LastCategory(RankedRule):
    """Fills the budget from the finest category of the last item, then from the next coarser one, last from all.

    Args:
        item_category: int [N+1, M], categories coarse to fine; row 0 (PAD) is not read.
        item_counts: int [N+1], training interactions of each item.
    """

    name = "last-category"

    def __init__(self, item_category: np.ndarray, item_counts: np.ndarray) -> None:
        popular = by_popularity(item_counts)
        self._popular, self._categories = popular, item_category[popular]  # [N], [N, M]
        self._finest = item_category[:, -1]
        self._path = dict(zip(self._finest[1:].tolist(), item_category[1:].tolist(), strict=True))
        self._known: dict[int, np.ndarray] = {}

    def _ordered(self, queries: Queries, length: int) -> tuple[np.ndarray, np.ndarray]:
        leaves = self._finest[last_items(queries)]
        ids = [self._of_leaf(int(leaf), length) for leaf in leaves]
        return np.stack(ids) if ids else np.zeros((0, 0), np.int64), np.zeros(len(ids), np.int64)

    def _of_leaf(self, leaf: int, length: int) -> np.ndarray:
        """The first ``length`` items after an item of the category ``leaf``; the longest so far are kept."""
        wanted = min(length, len(self._popular))
        if len(self._known.get(leaf, ())) < wanted:
            shared = (self._categories == self._path[leaf]).sum(
                axis=1
            )  # levels in common; a tree: the first ones
            self._known[leaf] = self._popular[np.argsort(-shared, kind="stable")[:wanted]]
        return self._known[leaf][:wanted]


def last_items(queries: Queries) -> np.ndarray:
    """The last item of each session, int64 [B]; a history is padded on the right."""
    history = queries.history.detach().cpu().numpy()
    length = (history != 0).sum(axis=1)
    return history[np.arange(len(history)), np.maximum(length, 1) - 1]

"""The rule ``mixed``: a part of the budget from co-visitation, which compares nothing, the rest from lists.

The two miss different items: co-visitation those that the session's last items were never seen with, the lists
those that are unlike the others of their list.
"""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.co_visitation import CoVisitation
from recbole_hiersrec.retrieval.own import without


class Mixed(CandidateRule):
    """Takes the first items of co-visitation, then lists as ``cells`` does; an item of both is counted once.

    Args:
        visits: the first part.
        cells: the rest.
        share: of what the session's own items leave of the budget, in [0, 1], that goes to co-visitation.
    """

    name = "mixed"

    def __init__(self, visits: CoVisitation, cells: Cells, share: float) -> None:
        self._visits, self._cells, self._share = visits, cells, share

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        first, _ = self._visits._choose(queries, np.floor(self._share * budgets).astype(np.int64), own)
        left = budgets - (first != 0).sum(axis=1)
        rest, compared = self._cells._choose(queries, left, np.concatenate([own, first], axis=1))
        return np.concatenate([first, without(rest, first)], axis=1), compared

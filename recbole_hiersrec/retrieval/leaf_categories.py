"""The rule ``leaf-categories``: whole categories of the finest level, by predicted probability (the paper's rule).

Oh et al., 2023 (arXiv 2309.06533): the category prediction selects the candidate items.

Axes: B queries, C leaf categories, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.clustering import positions_by_value
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.greedy import Groups, descending


class LeafCategories(CandidateRule):
    """Takes whole leaf categories, the likeliest first; one that no longer fits is skipped, the next are tried.

    Args:
        leaf: int [N+1], the finest category of each item; entry 0 (PAD) is not read.
    """

    name = "leaf-categories"

    def __init__(self, leaf: np.ndarray) -> None:
        parts = positions_by_value(leaf[1:])
        self._numbers = np.array([leaf[1:][part[0]] for part in parts])  # categories that have items
        offsets = np.cumsum([0] + [len(part) for part in parts], dtype=np.int64)
        self._groups = Groups(offsets, np.concatenate(parts).astype(np.int64) + 1)

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not queries.category_logits:
            raise InputError(
                "rule leaf-categories: received queries without category logits; allowed: with them"
            )
        logits = queries.category_logits[-1].detach().cpu().float().numpy()  # [B, C]
        order = descending(np.ascontiguousarray(logits[:, self._numbers]))
        return self._groups.items(self._groups.choose(order, budgets, own)), np.full(
            len(logits), logits.shape[1]
        )

"""What every candidate rule promises: from queries to a bounded set of item ids.

Axes: B queries, A augmented width, N items (ids 1..N, 0 is PAD), P candidates of the longest row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from recbole_hiersrec.errors import InputError


@dataclass(frozen=True)
class Candidates:
    """The items that are scored for each query, and what choosing them cost.

    Attributes:
        ids: long [B, P]; item ids, 0 where a row has fewer than P; no id twice in a row.
        compared: long [B]; centroids that were compared with the query to find them.
    """

    ids: Tensor
    compared: Tensor


class CandidateRule(ABC):
    """Chooses which items are scored for a query. Built once from the item vectors, then only read."""

    name: str

    @abstractmethod
    def candidates(self, queries: Tensor, budget: int) -> Candidates:
        """Choose at most ``budget`` items for each query; the budget is hard, in every row.

        Args:
            queries: float32 [B, A], the augmented queries.
            budget: items that may be scored for one query, at least 1.
        """


def item_budget(item_fraction: float, n_items: int) -> int:
    """Return floor(item_fraction * N): how many items may be scored for a query.

    Args:
        item_fraction: in (0, 1].
        n_items: N, PAD not counted.

    Raises:
        InputError: if the fraction is outside (0, 1], or so small that no item is left.
    """
    if not 0 < item_fraction <= 1:
        raise InputError(f"item_fraction: received {item_fraction}, allowed: a number in (0, 1]")
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996: both mean a whole number.
    budget = math.floor(item_fraction * n_items + 1e-9)
    if budget < 1:
        raise InputError(
            f"item_fraction: received {item_fraction}, which is less than one of {n_items} items; "
            f"allowed: at least 1/{n_items}"
        )
    return budget

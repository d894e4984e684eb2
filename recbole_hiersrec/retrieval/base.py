"""What every candidate rule promises: from queries to a bounded set of item ids.

Axes: B queries, A augmented width, N items (ids 1..N, 0 is PAD), P candidates of the longest row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


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

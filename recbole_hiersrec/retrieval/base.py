"""What every candidate rule promises: from queries to a bounded set of item ids.

Axes: B queries, L history length, N items (ids 1..N, 0 is PAD), P candidates of the longest row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.own import lifted_items, without


@dataclass(frozen=True)
class Candidates:
    """The items that are scored for each query, and what choosing them cost.

    Attributes:
        ids: long [B, P]; item ids, 0 where a row has fewer than P; no id twice in a row.
        compared: long [B]; vectors, other than those of the candidates, that were compared with the query.
    """

    ids: Tensor
    compared: Tensor


class CandidateRule(ABC):
    """Chooses which items are scored for a query. Built once, then only read.

    Items with a bonus above 0 (:class:`~recbole_hiersrec.queries.Apart`) come first: they are known without any
    search. The rule gets what they leave of that row's budget.
    """

    name: str

    def candidates(self, queries: Queries, budget: int) -> Candidates:
        """Choose at most ``budget`` items for each query; the budget is hard, in every row.

        Args:
            queries: B queries; rules that read nothing but the history take empty ``vectors`` [B, 0], too.
            budget: items that may be scored for one query, at least 1.
        """
        own = lifted_items(queries, budget)
        left = budget - (own != 0).sum(axis=1)
        chosen, compared = self._choose(queries, left, own)
        ids = np.concatenate([own, without(chosen, own)], axis=1)
        return Candidates(torch.from_numpy(ids), torch.from_numpy(compared.astype(np.int64)))

    @abstractmethod
    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose at most ``budgets`` int64 [B] items a row, which may include those of ``own`` [B, P'] to no use.

        Returns:
            Item ids int64 [B, P], 0-padded; vectors compared int64 [B].
        """


class RankedRule(CandidateRule):
    """A rule that knows an order of items for each query, and takes the first ones that are not there yet."""

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        length = int(budgets.max(initial=0)) + own.shape[1]
        ordered, compared = self._ordered(queries, length)
        new = without(ordered, own)
        new[(new != 0).cumsum(axis=1) > budgets[:, None]] = 0
        return new, compared

    @abstractmethod
    def _ordered(self, queries: Queries, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Item ids int64 [B, min(length, N)], best first, a fresh array; vectors compared int64 [B]."""

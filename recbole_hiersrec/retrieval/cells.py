"""The rule ``cells``: the model's own query picks inverted lists, best first, within a hard budget of items.

Life of a :class:`Cells`: built once from lists and item vectors (it copies the vectors into a FAISS index); then
read, or given items that were not there before (:meth:`Cells.add`). Nothing of it is saved: it is built again from
lists and vectors, in a moment. Not for several threads at once: the search keeps the number of lists and
its scores in memory of its own.

Axes: B queries, A augmented width, K lists, N items (ids 1..N, 0 is PAD), P entries of the longest row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.coarse import FlatOrder, ListOrder
from recbole_hiersrec.retrieval.greedy import Groups
from recbole_hiersrec.retrieval.lists import Lists
from recbole_hiersrec.retrieval.own import lifted_items, merge
from recbole_hiersrec.retrieval.scan import ListScan


@dataclass(frozen=True)
class Selection:
    """Which lists are searched for each query.

    Attributes:
        lists: int64 [B, P], list numbers best first, -1 where a row has fewer than P.
        compared: int64 [B], centroids compared to find them.
        own: int64 [B, P'], items with a bonus above 0, which are scored apart, 0-padded.
    """

    lists: np.ndarray
    compared: np.ndarray
    own: np.ndarray


class Cells(CandidateRule):
    """Visits lists in the order of query . centroid; one that no longer fits is skipped, the next are tried.

    A lifted item (a bonus above 0) that lies in a chosen list is one candidate: it costs the budget once and is
    counted once, although :meth:`search_lists` computes its inner product twice, in the list and apart.

    Args:
        lists: no item in two lists; an item in none is never found.
        item_vectors: float32 [N+1, A], the augmented item vectors the lists were built from.
        name: of the rule in tables; lists that were built otherwise are another rule.
        order: how the lists are ordered for a query; None: every centroid is compared.

    Raises:
        InputError: if lists and vectors are not of the same items or the same width.
    """

    def __init__(
        self, lists: Lists, item_vectors: Tensor, name: str = "cells", order: ListOrder | None = None
    ) -> None:
        self.name = name
        self.vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy(), dtype=np.float32)
        n_items, width = len(self.vectors) - 1, self.vectors.shape[1]
        if lists.members.max() > n_items or lists.centroids.shape[1] != width:
            raise InputError(
                f"lists: of items up to {lists.members.max()} and width {lists.centroids.shape[1]}, "
                f"but the item vectors are of {n_items} items and width {width}"
            )
        self.lists = lists
        self._cap = int(lists.sizes.max())
        self._groups = Groups(lists.offsets, lists.members)
        self._order = order or FlatOrder(lists.centroids)
        self._scan = ListScan(lists.centroids)
        self._scan.add(
            self.vectors[lists.members], lists.members, np.repeat(np.arange(len(lists)), lists.sizes)
        )

    def select(self, queries: Queries, budget: int) -> Selection:
        """Choose lists that hold at most ``budget`` items together, greedily, best list first.

        Items with a bonus above 0 take their part of the budget first. Equal list scores: the lower list number
        first.

        Args:
            queries: B queries.
            budget: items a query, at least 1. Smaller than every list: no list is chosen.
        """
        own = lifted_items(queries, budget)
        lists, compared = self._select(queries, budget - (own != 0).sum(axis=1), own)
        return Selection(lists, compared, own)

    def search_lists(self, queries: Queries, selected: Selection, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best items within the selection; the scores are rounded otherwise than the evaluation's.

        Args:
            queries: B queries.
            selected: what :meth:`select` returned for them.
            k: items a query, at least 1.

        Returns:
            ids int64 [B, k], best first, 0 where the selection holds fewer than k; scores float32 [B, k], -inf
            there.
        """
        if queries.apart is None:
            return self._search(queries, selected.lists, k)
        found = self._search(queries, selected.lists, k + queries.apart.ids.shape[1])
        return merge(found, selected.own, queries, self.vectors, k)

    def search(self, queries: Queries, k: int, budget: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best of at most ``budget`` items a query, as :meth:`search_lists` returns them."""
        return self.search_lists(queries, self.select(queries, budget), k)

    def scored(self, selected: Selection) -> np.ndarray:
        """Items that :meth:`search_lists` scores for each query, int64 [B]; one of both kinds counts once."""
        lists, own = selected.lists, selected.own
        of = self._groups.group_of
        known = (own > 0) & (own < len(of))
        list_of = np.where(known, of[np.where(known, own, 0)], -1)  # [B, P']
        listed = ((list_of[:, :, None] == lists[:, None, :]) & (list_of >= 0)[:, :, None]).any(axis=2)
        return np.where(lists >= 0, self.lists.sizes[lists], 0).sum(axis=1) + ((own > 0) & ~listed).sum(
            axis=1
        )

    def among(self, allowed: np.ndarray) -> CandidateRule:
        """The same rule over the items for which ``allowed`` bool [N+1] is true, such as those of a category.

        Lists, their order and what comparing them costs stay as they are; only items that are allowed take of a
        budget. Nothing is copied into an index: whoever asks scores the candidates.
        """
        members = self.lists.members
        kept = allowed[members]
        sizes = np.add.reduceat(kept, self.lists.offsets[:-1], dtype=np.int64)
        groups = Groups(np.concatenate([[0], sizes.cumsum()]), members[kept])
        return _Among(self.name, groups, self._order)

    def add(self, ids: np.ndarray, vectors: Tensor) -> None:
        """Take in items that were not there when the lists were built; nothing is trained or moved.

        Each goes to the list with the nearest centroid (L2) among those that are not full, in the order given; to
        the nearest of all once every list is full.

        Args:
            ids: int64 [n], item ids that no list holds yet, from 1.
            vectors: float32 [n, A], their augmented vectors.

        Raises:
            InputError: an id is below 1, given twice or in a list already, or the vectors do not fit.
        """
        ids = np.asarray(ids, dtype=np.int64)
        new = np.ascontiguousarray(vectors.detach().cpu().numpy(), dtype=np.float32)
        self._check_new(ids, new)
        lists = _nearest_with_room(new, self.lists, self._cap)
        self._scan.add(new, ids, lists)
        table = np.zeros((max(len(self.vectors), int(ids.max(initial=0)) + 1), new.shape[1]), np.float32)
        table[: len(self.vectors)] = self.vectors
        table[ids] = new
        self.vectors, self.lists = table, self.lists.with_items(ids, lists)
        self._groups = Groups(self.lists.offsets, self.lists.members)

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        lists, compared = self._select(queries, budgets, own)
        return self._groups.items(lists), compared

    def _select(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return _chosen_lists(self._groups, self._order, queries, budgets, own)

    def _search(self, queries: Queries, lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of the lists by inner product alone."""
        vectors = np.ascontiguousarray(queries.vectors.detach().cpu().numpy(), dtype=np.float32)
        ids, scores = self._scan.search(vectors, lists, k)
        return np.where(ids < 0, 0, ids), scores

    def _check_new(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if vectors.shape != (len(ids), self.vectors.shape[1]) or not np.isfinite(vectors).all():
            raise InputError(
                f"vectors: received shape {vectors.shape}, allowed: finite ones of shape "
                f"{(len(ids), self.vectors.shape[1])}"
            )
        known = np.isin(ids, self.lists.members) | (ids < 1)
        if known.any() or len(np.unique(ids)) < len(ids):
            raise InputError(
                f"ids: received {ids[known][:3].tolist() or 'one twice'}, allowed: new items, each once, from 1"
            )


class _Among(CandidateRule):
    """What :meth:`Cells.among` returns."""

    def __init__(self, name: str, groups: Groups, order: ListOrder) -> None:
        self.name, self._groups, self._order = name, groups, order

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        lists, compared = _chosen_lists(self._groups, self._order, queries, budgets, own)
        return self._groups.items(lists), compared


def _chosen_lists(
    groups: Groups, order: ListOrder, queries: Queries, budgets: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lists taken for each query int64 [B, P], and the vectors compared to find them int64 [B]."""
    found, compared = order.order(queries.vectors, groups, budgets, own)
    return groups.choose(found, budgets, own), compared


def _nearest_with_room(vectors: np.ndarray, lists: Lists, cap: int) -> np.ndarray:
    """The list each vector goes to, one after the other: int64 [n]."""
    sizes = lists.sizes.copy()
    chosen = np.empty(len(vectors), np.int64)
    for row, vector in enumerate(vectors):
        distance = np.square(lists.centroids - vector).sum(axis=1)
        roomy = sizes < cap
        chosen[row] = np.where(roomy, distance, np.inf).argmin() if roomy.any() else distance.argmin()
        sizes[chosen[row]] += 1
    return chosen

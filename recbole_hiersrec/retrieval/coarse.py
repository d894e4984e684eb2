"""In which order lists are visited, and how many comparisons finding that order may cost.

Axes: B queries, A augmented width, K lists, S super-lists, P entries of the longest row.
"""

from __future__ import annotations

from typing import Protocol

import faiss
import numpy as np
import torch
from faiss.contrib.ivf_tools import add_preassigned, search_preassigned
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.retrieval.greedy import Groups, descending
from recbole_hiersrec.retrieval.lists import build_lists


class ListOrder(Protocol):
    """Orders lists for a query, best first."""

    def order(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Of queries [B, A]: list numbers int64 [B, P], -1-padded; vectors compared for it, int64 [B]."""


class FlatOrder:
    """Compares every centroid. Equal scores: the lower list number first."""

    def __init__(self, centroids: np.ndarray) -> None:
        self.centroids = torch.from_numpy(centroids)

    def order(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """All lists, by query . centroid."""
        scores = vectors.detach().cpu() @ self.centroids.T  # [B, K]
        return descending(scores.numpy()), np.full(len(scores), len(self.centroids))


class TwoLevelOrder:
    """Compares super-centroids, then only the centroids below the best of them, within a hard budget.

    Args:
        centroids: float32 [K, A] of the lists.
        n_super: about how many super-lists; none holds more than ceil(K / n_super) lists.
        most_compared: comparisons a query may cost, super-centroids included.
        seed: of k-means.

    Raises:
        InputError: if no super-list fits what is left once the super-centroids are compared.
    """

    def __init__(self, centroids: np.ndarray, n_super: int, most_compared: int, seed: int) -> None:
        padded = torch.from_numpy(np.concatenate([centroids[:1], centroids]))  # row 0 is left out, as PAD is
        supers = build_lists(padded, None, -(-len(centroids) // n_super), seed)
        self.below = Groups(supers.offsets, supers.members - 1)
        self.budget = most_compared - len(supers)
        if self.budget < self.below.sizes.max():
            raise InputError(
                f"super_lists: received {n_super} above {len(centroids)} lists; allowed: a number that "
                f"{most_compared} comparisons a query are enough for (compared_fraction, list_size)"
            )
        self.top = FlatOrder(supers.centroids)
        quantizer = faiss.IndexFlatIP(centroids.shape[1])
        quantizer.add(supers.centroids)  # never searched, but the index counts as trained only with it
        self._index = faiss.IndexIVFFlat(
            quantizer, centroids.shape[1], len(supers), faiss.METRIC_INNER_PRODUCT
        )
        super_of = np.repeat(np.arange(len(supers)), self.below.sizes)
        add_preassigned(self._index, centroids[self.below.members], super_of, self.below.members)

    def order(self, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The lists below the best super-lists that fit the budget, by query . centroid."""
        supers, compared = self.top.order(vectors)
        chosen = self.below.choose(supers, np.full(len(supers), self.budget))
        below = np.where(chosen >= 0, self.below.sizes[chosen], 0).sum(axis=1)
        if chosen.shape[1] == 0:
            return np.zeros((len(chosen), 0), np.int64), compared
        queries = np.ascontiguousarray(vectors.detach().cpu().numpy(), dtype=np.float32)
        self._index.nprobe = chosen.shape[1]
        _, lists = search_preassigned(self._index, queries, int(below.max()), np.ascontiguousarray(chosen))
        return lists, compared + below


def n_super_lists(n_lists: int, most_compared: int) -> int:
    """How many super-lists serve K lists best: 0 where all K may be compared, or where so few that none help."""
    n_super = round(n_lists**0.5)
    # A third more than asked for may come out, and at least half of all lists should be in reach.
    enough = most_compared >= 4 * n_super / 3 + n_lists / n_super
    return n_super if n_lists > most_compared and enough else 0

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

from recbole_hiersrec.retrieval.greedy import Groups, descending, greedy, left_aligned
from recbole_hiersrec.retrieval.lists import build_lists


class ListOrder(Protocol):
    """Orders lists for a query, best first."""

    def order(
        self, vectors: Tensor, lists: Groups, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Order enough lists to fill a budget of items.

        Args:
            vectors: queries [B, A].
            lists: the items of the K lists.
            budgets: int64 [B], new items a row may take: the ordered lists hold as many, or are all there are.
            own: int64 [B, P2], items that are not new to a row, 0-padded.

        Returns:
            List numbers int64 [B, P], -1-padded; vectors compared for it, int64 [B].
        """


class FlatOrder:
    """Compares every centroid. Equal scores: the lower list number first."""

    def __init__(self, centroids: np.ndarray) -> None:
        self._centroids = torch.from_numpy(centroids)

    def order(
        self, vectors: Tensor, lists: Groups, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """All lists, by query . centroid."""
        return _best_first(vectors, self._centroids), np.full(len(vectors), len(self._centroids))


class TwoLevelOrder:
    """Compares super-centroids, then only the centroids below the best of them.

    A super-list is taken where its lists fit what is left of ``most_compared``; the others are passed over. Where
    the lists so found hold fewer new items than a row's budget, the best of those passed over are taken, too, until
    they are enough: a budget can always be filled, and ``most_compared`` is a target that such a row exceeds.
    Every comparison is counted.

    Args:
        centroids: float32 [K, A] of the lists.
        n_super: about how many super-lists; none holds more than ceil(K / n_super) lists.
        most_compared: comparisons a query should cost, super-centroids included.
        seed: of k-means.
    """

    def __init__(self, centroids: np.ndarray, n_super: int, most_compared: int, seed: int) -> None:
        padded = torch.from_numpy(np.concatenate([centroids[:1], centroids]))  # row 0 is left out, as PAD is
        supers = build_lists(padded, None, -(-len(centroids) // n_super), seed)
        self.below = Groups(supers.offsets, supers.members - 1)
        self._left = max(0, most_compared - len(supers))
        self._top = torch.from_numpy(supers.centroids)
        quantizer = faiss.IndexFlatIP(centroids.shape[1])
        quantizer.add(supers.centroids)  # never searched, but the index counts as trained only with it
        self._index = faiss.IndexIVFFlat(
            quantizer, centroids.shape[1], len(supers), faiss.METRIC_INNER_PRODUCT
        )
        super_of = np.repeat(np.arange(len(supers)), self.below.sizes)
        add_preassigned(self._index, centroids[self.below.members], super_of, self.below.members)

    def order(
        self, vectors: Tensor, lists: Groups, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lists below the super-lists taken, by query . centroid."""
        chosen = self._choose(_best_first(vectors, self._top), lists.new_items(own), budgets)
        below = np.where(chosen >= 0, self.below.sizes[chosen], 0).sum(axis=1)
        compared = len(self._top) + below
        if chosen.shape[1] == 0:
            return np.zeros((len(chosen), 0), np.int64), compared
        queries = np.ascontiguousarray(vectors.detach().cpu().numpy(), dtype=np.float32)
        self._index.nprobe = chosen.shape[1]
        _, numbers = search_preassigned(self._index, queries, int(below.max()), np.ascontiguousarray(chosen))
        return numbers, compared

    def _choose(self, supers: np.ndarray, new: np.ndarray, budgets: np.ndarray) -> np.ndarray:
        """Super-lists taken, int64 [B, P], of all [B, S] best first; ``new`` items of each list [B or 1, K]."""
        sizes = self.below.sizes
        room = np.full(len(supers), self._left)
        taken = greedy(sizes[supers].astype(np.int32), room, int(sizes.min()))
        held = np.add.reduceat(new[:, self.below.members], self.below.offsets[:-1], axis=1)  # [B or 1, S]
        held = np.take_along_axis(np.broadcast_to(held, supers.shape), supers, axis=1)
        missing = budgets - np.where(taken, held, 0).sum(axis=1)
        passed = np.where(taken, 0, held)
        taken |= passed.cumsum(axis=1) - passed < missing[:, None]
        return left_aligned(supers[taken], taken.sum(axis=1), fill=-1)


def n_super_lists(n_lists: int, most_compared: int) -> int:
    """How many super-lists serve K lists best: 0 where all K may be compared, or where the comparisons are too few.

    Too few are those that do not do for the super-centroids and the lists below one of them.
    """
    n_super = round(n_lists**0.5)
    # About a third more super-lists than asked for come out.
    enough = most_compared >= 4 * n_super / 3 + n_lists / n_super
    return n_super if n_lists > most_compared and enough else 0


def _best_first(vectors: Tensor, centroids: Tensor) -> np.ndarray:
    """Rows of ``centroids`` for each query, by inner product, equal ones by number: int64 [B, rows]."""
    return descending((vectors.detach().cpu() @ centroids.T).numpy())

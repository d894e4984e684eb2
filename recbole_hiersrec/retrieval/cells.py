"""The rule ``cells``: the model's own query picks inverted lists, best first, within a hard budget of items.

Life of a :class:`Cells`: built once from lists and item vectors (it copies the vectors into a FAISS index),
then only read. Nothing of it is saved: it is built again from lists and vectors, in a moment. Not for several
threads at once: FAISS keeps the number of lists to search in the index.

Axes: B queries, A augmented width, K lists, N items (ids 1..N, 0 is PAD), P entries of the longest row.
"""

from __future__ import annotations

import faiss
import numpy as np
import torch
from faiss.contrib.ivf_tools import add_preassigned, search_preassigned
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.retrieval.base import CandidateRule, Candidates
from recbole_hiersrec.retrieval.lists import Lists

_WINDOW = 128


class Cells(CandidateRule):
    """Visits lists in the order of query . centroid; one that no longer fits is skipped, the next are tried.

    Args:
        lists: every item in one list.
        item_vectors: float32 [N+1, A], the augmented item vectors the lists were built from.
        name: of the rule in tables; lists that were built otherwise are another rule.

    Raises:
        InputError: if lists and vectors are not of the same items or the same width.
    """

    def __init__(self, lists: Lists, item_vectors: Tensor, name: str = "cells") -> None:
        self.name = name
        vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy(), dtype=np.float32)
        n_items, width = len(vectors) - 1, vectors.shape[1]
        if len(lists.members) != n_items or lists.centroids.shape[1] != width:
            raise InputError(
                f"lists: of {len(lists.members)} items and width {lists.centroids.shape[1]}, "
                f"but the item vectors are of {n_items} items and width {width}"
            )
        self.lists = lists
        self._sizes = lists.sizes.astype(np.int32)
        self._smallest = int(self._sizes.min())
        self._centroids = torch.from_numpy(lists.centroids)
        quantizer = faiss.IndexFlatIP(width)
        quantizer.add(lists.centroids)  # never searched, but the index counts as trained only with it
        self._index = faiss.IndexIVFFlat(quantizer, width, len(lists), faiss.METRIC_INNER_PRODUCT)
        list_of_member = np.repeat(np.arange(len(lists)), self._sizes)
        add_preassigned(
            self._index, vectors[lists.members], list_of_member, np.ascontiguousarray(lists.members)
        )

    def select(self, queries: Tensor, budget: int) -> np.ndarray:
        """Choose lists that hold at most ``budget`` items together, greedily, best list first.

        Equal list scores: the lower list number first.

        Args:
            queries: float32 [B, A].
            budget: items, at least 1. Smaller than every list: nothing is chosen.

        Returns:
            int64 [B, P], list numbers best first, -1 where a row has fewer than P.
        """
        scores = queries.detach().cpu() @ self._centroids.T  # [B, K]
        order = _descending(scores.numpy())
        taken = _greedy(self._sizes[order], budget, self._smallest)
        return _left_aligned(order[taken], taken.sum(axis=1), fill=-1)

    def candidates(self, queries: Tensor, budget: int) -> Candidates:
        """Return the items of the lists that :meth:`select` chooses; every centroid counts as compared."""
        selected = self.select(queries, budget)
        chosen = selected >= 0
        members, sizes = self._members(selected[chosen])
        rows = np.repeat(np.arange(len(selected)), chosen.sum(axis=1))  # row of each chosen list
        per_row = np.bincount(rows, weights=sizes, minlength=len(selected)).astype(np.int64)
        ids = torch.from_numpy(_left_aligned(members, per_row, fill=0))
        return Candidates(ids=ids, compared=torch.full((len(ids),), len(self.lists), dtype=torch.long))

    def search_lists(self, queries: Tensor, selected: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best items within the selected lists, with FAISS (which rounds otherwise than torch).

        Args:
            queries: float32 [B, A].
            selected: int64 [B, P], as :meth:`select` returns them.
            k: items a query, at least 1.

        Returns:
            ids int64 [B, k], best first, 0 where the lists hold fewer than k; scores float32 [B, k], -inf
            there.
        """
        if selected.shape[1] == 0:
            return np.zeros((len(selected), k), np.int64), np.full((len(selected), k), -np.inf, np.float32)
        vectors = np.ascontiguousarray(queries.detach().cpu().numpy(), dtype=np.float32)
        self._index.nprobe = selected.shape[1]
        scores, ids = search_preassigned(self._index, vectors, k, np.ascontiguousarray(selected))
        missing = ids < 0
        ids[missing], scores[missing] = 0, -np.inf
        return ids, scores

    def search(self, queries: Tensor, k: int, budget: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best of at most ``budget`` items a query, as :meth:`search_lists` returns them."""
        return self.search_lists(queries, self.select(queries, budget), k)

    def _members(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Items of the given lists [m], one list after the other, and the size of each [m]."""
        sizes = self._sizes[lists]
        shift = self.lists.offsets[lists] - (np.cumsum(sizes) - sizes)
        return self.lists.members[np.arange(sizes.sum()) + np.repeat(shift, sizes)], sizes


def _descending(scores: np.ndarray) -> np.ndarray:
    """Columns of float32 [B, K] from the highest score to the lowest, equal ones by column.

    Score and column are packed into one integer: sorting those is several times faster than a stable argsort.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 equal to 0.0
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    keys = (~ascending).astype(np.int64) << 32
    keys |= np.arange(scores.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return keys


def _greedy(sizes: np.ndarray, budget: int, smallest: int) -> np.ndarray:
    """Which lists are taken, when each row takes every list that still fits, from the left.

    Args:
        sizes: int32 [B, K], in the order of visiting.
        budget: of each row.
        smallest: the least size; a row that has less left is finished.

    Returns:
        bool [B, K].
    """
    running = sizes.cumsum(axis=1, dtype=np.int32)
    taken = running <= budget  # the first lists of every row, up to the first that does not fit
    n_first = np.count_nonzero(taken, axis=1)
    spent = np.take_along_axis(running, np.maximum(n_first - 1, 0)[:, None], axis=1)[:, 0]
    left = budget - np.where(n_first > 0, spent, 0)
    # The next lists use most of what is left; after them few of the many others are small enough to look at.
    for stop in (n_first + _WINDOW, np.full_like(n_first, sizes.shape[1])):
        if (left < smallest).all():
            break
        near = np.arange(sizes.shape[1]) < stop[:, None]
        rows, columns = np.nonzero((sizes <= left[:, None]) & near & ~taken)
        _take_what_fits(rows, columns, sizes, taken, left)
    return taken


def _take_what_fits(
    rows: np.ndarray, columns: np.ndarray, sizes: np.ndarray, taken: np.ndarray, left: np.ndarray
) -> None:
    """Go through the lists at (rows, columns), rows ascending, and take in each row what fits.

    Updates ``taken`` [B, K] and ``left`` [B]. Each turn takes the lists up to the first that does not fit; as
    less and less is left, that one never will.
    """
    while len(rows):
        own = sizes[rows, columns]
        running = own.cumsum()
        first = np.append(True, rows[1:] != rows[:-1])  # of its row
        before = np.maximum.accumulate(np.where(first, running - own, 0))
        fits = running - before <= left[rows]
        taken[rows[fits], columns[fits]] = True
        left -= np.bincount(rows[fits], weights=own[fits], minlength=len(left)).astype(left.dtype)
        again = ~fits & (own <= left[rows])
        rows, columns = rows[again], columns[again]


def _left_aligned(values: np.ndarray, counts: np.ndarray, *, fill: int) -> np.ndarray:
    """Rows of ``counts`` values each, taken in order, as [B, max(counts)] padded with ``fill``."""
    longest = int(counts.max(initial=0))
    rows = np.full((len(counts), longest), fill, dtype=np.int64)
    rows[np.arange(longest) < counts[:, None]] = values
    return rows

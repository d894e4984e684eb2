"""The k best items of the lists that each query chose: the innermost loop of retrieval.

Two ways, equal up to rounding. Query by query (FAISS): best for few queries, bound by memory where there are many,
because every query reads its lists anew. List by list: one matrix product multiplies a list with all queries that
chose it, so that it is read once a batch.

Axes: B queries, A augmented width, K lists, P lists of the longest row, k items wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
import torch
from faiss.contrib.ivf_tools import add_preassigned, search_preassigned

_SHARED = 4
"""Queries that choose a list, on average over the lists chosen, from which on reading it once for all is faster."""

_WORTH = 1000
"""Scores a chosen list, all queries together, from which on a product a list is worth its fixed cost."""

_SCORES = 1 << 24
"""Most scores held at once (64 MiB): larger batches are served in parts."""


class ListScan:
    """Vectors stored list by list, and the search in them. FAISS keeps settings of a search: one thread at a time.

    Args:
        centroids: float32 [K, A] of the lists.
    """

    def __init__(self, centroids: np.ndarray) -> None:
        n_lists, width = centroids.shape
        quantizer = faiss.IndexFlatIP(width)
        quantizer.add(
            np.ascontiguousarray(centroids)
        )  # never searched, but without it the index is untrained
        self._index = faiss.IndexIVFFlat(quantizer, width, n_lists, faiss.METRIC_INNER_PRODUCT)
        self._sizes = np.zeros(n_lists, np.int64)  # [K]
        self._offsets = np.zeros(n_lists, np.int64)  # [K], of each list in the next
        self._members = np.zeros(0, np.int64)  # ids, list after list
        self._kept = torch.empty(0)

    def add(self, vectors: np.ndarray, ids: np.ndarray, lists: np.ndarray) -> None:
        """Store vectors float32 [n, A] under ``ids`` int64 [n] in ``lists`` int64 [n]."""
        add_preassigned(self._index, np.ascontiguousarray(vectors), lists, np.ascontiguousarray(ids))
        self._sizes += np.bincount(lists, minlength=len(self._sizes))
        self._offsets = self._sizes.cumsum() - self._sizes
        self._members = np.concatenate([self._ids(number) for number in range(len(self._sizes))])

    def search(self, vectors: np.ndarray, lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best items by inner product, by the way that is faster here.

        Args:
            vectors: float32 [B, A].
            lists: int64 [B, P], lists of each query, none twice in a row; -1 where a row has fewer than P.
            k: items a query, at least 1.

        Returns:
            ids int64 [B, k], best first, -1 where the lists hold fewer than k; scores float32 [B, k], -inf there.
        """
        chosen = lists[lists >= 0]
        n_lists = max(1, len(np.unique(chosen)))
        if len(chosen) < _SHARED * n_lists or self._sizes[chosen].sum() < _WORTH * n_lists:
            return self.by_query(vectors, lists, k)
        return self.by_list(vectors, lists, k)

    def by_query(self, vectors: np.ndarray, lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`search` returns, one query after the other; threads share queries, or one query's lists."""
        if lists.size == 0:
            return _nothing(len(lists), k)
        self._index.nprobe = lists.shape[1]
        self._index.parallel_mode = 1 if len(lists) == 1 else 0
        scores, ids = search_preassigned(
            self._index, np.ascontiguousarray(vectors), k, np.ascontiguousarray(lists)
        )
        scores[ids < 0] = -np.inf
        return ids, scores

    def by_list(self, vectors: np.ndarray, lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`search` returns, one list after the other."""
        if lists.size == 0:
            return _nothing(len(lists), k)
        widths = np.where(lists >= 0, self._sizes[lists], 0)  # [B, P]
        longest = max(k, int(widths.sum(axis=1).max(initial=0)))
        rows = max(1, _SCORES // longest)
        parts = [
            self._best_of(vectors[part], lists[part], widths[part], longest, k)
            for part in (slice(start, start + rows) for start in range(0, len(lists), rows))
        ]
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([scores for _, scores in parts])

    def _best_of(
        self, vectors: np.ndarray, lists: np.ndarray, widths: np.ndarray, longest: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best from all scores [B, longest] of each row's lists, side by side in the row's order."""
        ends = widths.cumsum(axis=1)
        scores = self._room(len(lists), longest)
        flat = scores.view(-1).numpy()
        for row, end in zip(scores, ends[:, -1].tolist(), strict=True):
            row[end:] = -torch.inf
        for columns, product in self._products(
            vectors, np.where(widths > 0, lists, -1), ends - widths + longest * np.arange(len(lists))[:, None]
        ):
            for begin, row in zip(columns, product, strict=True):
                flat[begin : begin + len(row)] = row
        best, place = scores.topk(k, dim=1)
        return self._ids_at(place.numpy(), lists, ends), best.numpy()

    def _room(self, rows: int, columns: int) -> torch.Tensor:
        """Uninitialised [rows, columns], of memory that is kept: fresh memory costs as much as filling it."""
        if len(self._kept) < rows * columns:
            self._kept = torch.empty(rows * columns)
        return self._kept[: rows * columns].view(rows, columns)

    def _products(
        self, vectors: np.ndarray, lists: np.ndarray, begins: np.ndarray
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Of each list: where its scores begin, a place in a flat array a query; and the scores [q, n]."""
        rows, columns = np.nonzero(lists >= 0)
        chosen = lists[rows, columns]
        order = np.argsort(chosen, kind="stable")
        rows, columns, chosen = rows[order], columns[order], chosen[order]
        targets = begins[rows, columns].tolist()
        queries = torch.from_numpy(np.ascontiguousarray(vectors)[rows])
        borders = np.flatnonzero(np.diff(chosen, prepend=-1, append=-1))
        for start, stop in pairwise(borders.tolist()):
            members = torch.from_numpy(self._vectors(int(chosen[start])))
            yield targets[start:stop], torch.mm(queries[start:stop], members.T).numpy()

    def _ids_at(self, place: np.ndarray, lists: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Ids of the items at columns ``place`` [B, k] of the rows' scores; -1 behind a row's last."""
        column = (place[:, :, None] >= ends[:, None, :]).sum(axis=2)  # [B, k], which of the row's lists
        found = column < lists.shape[1]
        rows, column = np.nonzero(found)[0], column[found]
        chosen = lists[rows, column]
        place_in_list = place[found] - (ends[rows, column] - self._sizes[chosen])
        ids = np.full(place.shape, -1, np.int64)
        ids[found] = self._members[self._offsets[chosen] + place_in_list]
        return ids

    def _vectors(self, number: int) -> np.ndarray:
        """Members of a list, float32 [n, A]: a view of what FAISS holds, good until the next :meth:`add`."""
        stored: Any = self._index.invlists
        size = stored.list_size(number) * stored.code_size
        return faiss.rev_swig_ptr(stored.get_codes(number), size).view(np.float32).reshape(-1, self._index.d)

    def _ids(self, number: int) -> np.ndarray:
        """Ids of a list's members, int64 [n]: a view, as :meth:`_vectors`."""
        stored: Any = self._index.invlists
        size = stored.list_size(number)
        return faiss.rev_swig_ptr(stored.get_ids(number), size) if size else np.zeros(0, np.int64)


def _nothing(n_queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What a search in no list finds."""
    return np.full((n_queries, k), -1, np.int64), np.full((n_queries, k), -np.inf, np.float32)

"""Exact top-k without scoring every item: lists are visited best bound first, until none left can hold a better one.

For a member a = c + r of a list with centroid c, Cauchy and Schwarz bound the score q . a = q . c + q . r, block by
block of the coordinates:

    q . a <= q . c + min( sum_b |q_b| max |r_b|, |q| max |r| )   and   q . a <= |q| max |a|

The list's bound is the least of these. Blocks are worth it where parts of the vectors are constant within a list (the
parts of category levels within a category have radius 0), or where the query has most of its weight in few of them.

Axes: B queries, A augmented width, K lists, N items (ids 1..N, 0 is PAD), b blocks.
"""

from __future__ import annotations

import faiss
import numpy as np
from faiss.contrib.ivf_tools import add_preassigned, search_preassigned
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.greedy import descending
from recbole_hiersrec.retrieval.lists import Lists
from recbole_hiersrec.retrieval.own import apart_of, best, in_rows, merge

_SLACK = 1e-5  # of |q| max |a|: float32 rounds products, and bounds, by less
_FIRST = 4  # lists of the first turn, at least; every further turn takes as many again as there were so far


class ExactSearch:
    """Finds what a look at all items finds, up to ties. Built once, then only read; one thread at a time.

    Args:
        lists: every item in one list.
        item_vectors: float32 [N+1, A]; row 0 (PAD) is never returned.
        blocks: widths of the blocks of coordinates, which add up to A; None: one block.

    Raises:
        InputError: the lists are not of these items, or the blocks of another width.
    """

    def __init__(self, lists: Lists, item_vectors: Tensor, blocks: tuple[int, ...] | None = None) -> None:
        vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy(), dtype=np.float32)
        n_items, width = len(vectors) - 1, vectors.shape[1]
        if len(lists.members) != n_items or lists.centroids.shape[1] != width:
            raise InputError(
                f"lists: of {len(lists.members)} items and width {lists.centroids.shape[1]}, "
                f"but the item vectors are of {n_items} items and width {width}"
            )
        widths = (width,) if blocks is None else blocks
        if sum(widths) != width or min(widths) < 1:
            raise InputError(
                f"blocks: received {list(widths)}, allowed: widths from 1 that add up to {width}"
            )
        self.vectors, self.lists = vectors, lists
        self._starts = np.cumsum((0, *widths[:-1]))
        list_of = np.repeat(np.arange(len(lists)), lists.sizes)
        members = vectors[lists.members].astype(np.float64)
        residuals = members - lists.centroids[list_of]
        self._radii = _largest(self._norms(residuals), lists)  # [K, b]
        self._radius = _largest(np.linalg.norm(residuals, axis=1, keepdims=True), lists)[:, 0]
        self._norm = _largest(np.linalg.norm(members, axis=1, keepdims=True), lists)[:, 0]
        quantizer = faiss.IndexFlatIP(width)
        quantizer.add(lists.centroids)  # never searched, but the index counts as trained only with it
        self._index = faiss.IndexIVFFlat(quantizer, width, len(lists), faiss.METRIC_INNER_PRODUCT)
        add_preassigned(self._index, vectors[lists.members], list_of, np.ascontiguousarray(lists.members))

    def bounds(self, vectors: np.ndarray) -> np.ndarray:
        """What no member of a list exceeds, float64 [B, K], for queries float32 [B, A]."""
        exact = vectors.astype(np.float64)
        norm = np.linalg.norm(exact, axis=1)[:, None]
        spread = np.minimum(self._norms(exact) @ self._radii.T, norm * self._radius)
        return np.minimum(exact @ self.lists.centroids.T.astype(np.float64) + spread, norm * self._norm)

    def search(self, queries: Queries, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the k best items of all.

        Items with a bonus are scored apart, whatever its sign; the lists need to yield the k best others.

        Args:
            queries: B queries.
            k: items a query, 1 to N.

        Returns:
            ids int64 [B, k], best first; scores float32 [B, k]; scanned int64 [B], centroids and items compared.

        Raises:
            InputError: if k is not in 1..N.
        """
        n_items = len(self.vectors) - 1
        if not 1 <= k <= n_items:
            raise InputError(f"k: received {k}, allowed: 1 to {n_items}")
        vectors = np.ascontiguousarray(queries.vectors.detach().cpu().numpy(), dtype=np.float32)
        own, _ = apart_of(queries)
        bounds = self.bounds(vectors)
        slack = _SLACK * np.linalg.norm(vectors, axis=1) * float(self._norm.max())
        order = descending((bounds + slack[:, None]).astype(np.float32))
        sorted_bounds = np.take_along_axis(bounds, order, axis=1) + slack[:, None]
        ids, scores = (np.zeros((len(vectors), k), np.int64), np.full((len(vectors), k), -np.inf, np.float32))
        if own.shape[1]:
            ids, scores = merge((ids, scores), own, queries, self.vectors, k)
        scanned = np.full(len(vectors), len(self.lists)) + (own != 0).sum(axis=1)
        open_rows, start = np.arange(len(vectors)), 0
        while start < order.shape[1]:
            stop = start + max(_FIRST, start)
            open_rows = open_rows[sorted_bounds[open_rows, start] >= scores[open_rows, k - 1]]
            if len(open_rows) == 0:
                break
            better = sorted_bounds[open_rows, start:stop] >= scores[open_rows, k - 1 : k]
            visited = np.where(better, order[open_rows, start:stop], -1)
            found = self._search(vectors[open_rows], visited, k + own.shape[1])
            ids[open_rows], scores[open_rows] = _joined(
                (ids[open_rows], scores[open_rows]), found, own[open_rows], k
            )
            scanned[open_rows] += np.where(visited >= 0, self.lists.sizes[visited], 0).sum(axis=1)
            start = stop
        return ids, scores, scanned

    def _norms(self, vectors: np.ndarray) -> np.ndarray:
        """Norm of each block, [n, b], of vectors [n, A]."""
        return np.sqrt(np.add.reduceat(np.square(vectors), self._starts, axis=1))

    def _search(self, vectors: np.ndarray, lists: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self._index.nprobe = lists.shape[1]
        scores, ids = search_preassigned(self._index, vectors, k, np.ascontiguousarray(lists))
        return np.where(ids < 0, 0, ids), np.where(ids < 0, -np.inf, scores).astype(np.float32)


def _joined(
    so_far: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray], own: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of both, where ``found`` leaves out the items ``own``, which were scored before."""
    apart = in_rows(found[0], own)
    ids = np.concatenate([so_far[0], np.where(apart, 0, found[0])], axis=1)
    scores = np.concatenate([so_far[1], np.where(apart, -np.inf, found[1]).astype(np.float32)], axis=1)
    return best(ids, scores, k)


def _largest(values: np.ndarray, lists: Lists) -> np.ndarray:
    """Maximum over the members of each list, [K, b], of values [N, b] in the order of ``lists.members``."""
    return np.maximum.reduceat(values, lists.offsets[:-1], axis=0)

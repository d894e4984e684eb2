"""Category levels for catalogues that have none, or too coarse ones, learned from the training part alone.

Items that are clicked near each other lie near each other: counts of pairs within a window, positive PMI and its
truncated SVD (Levy & Goldberg, NIPS 2014), randomised (Halko, Martinsson & Tropp, 2011, arXiv 0909.4061), k-means.
A smoothed context distribution (Levy, Goldberg & Dagan, TACL 2015) brought the clusters no nearer to the real
categories of three data sets, so there is none.

Axes: R rows (clicks) of the training part, N items, n of them in these rows, D width of an item vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recbole_hiersrec.clustering import k_means, positions_by_value
from recbole_hiersrec.data.sessions import Codes
from recbole_hiersrec.data.taxonomy import IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WINDOW = 3
"""Clicks of one session at most this far apart count as a pair."""
WIDTH = 64
"""Dimensions of an item vector, at most."""

_POWER_ITERATIONS = 4  # of the randomised SVD

Vectors = NDArray[np.float32]


def learn_levels(
    session: Codes, item: Codes, n_items: int, groups: IntArray | None, seed: int
) -> list[IntArray]:
    """Cluster the items of the given rows. Only training rows may be given: everything in them is looked at.

    Without ``groups`` there are two nested levels: n^(1/3) clusters, each of them (m items) cut into
    ceil(m / n^(1/3)), so that a level branches about as much as the next, down to the items. With ``groups`` there
    is one level, which cuts every group likewise. An item without a positive PMI has the vector 0 and falls into
    the cluster around the origin. BLAS and OpenMP run on one thread, because the order in which they add up, and
    so the bytes of the result, would depend on their number.

    Args:
        session: [R], equal for the rows of one session, which lie together and in order.
        item: [R], 0..N - 1.
        n_items: N.
        groups: [N] finest known category of each item, or None.
        seed: of the SVD and of k-means.

    Returns:
        Per level, coarse to fine, [N]: number of each item's cluster from 0, and -1 where the item is in no row. A
        cluster lies in one cluster of the level above, or in one group.
    """
    import faiss  # noqa: F401  (threadpoolctl limits only what is loaded)
    import sklearn.utils.extmath  # noqa: F401
    from threadpoolctl import threadpool_limits

    present = np.flatnonzero(np.bincount(item, minlength=n_items))  # [n]
    if not len(present):
        return [np.full(n_items, -1, dtype=np.int64) for _ in range(2 if groups is None else 1)]
    compact = np.zeros(n_items, dtype=np.int32)
    compact[present] = np.arange(len(present), dtype=np.int32)
    branching = len(present) ** (1 / 3)
    with threadpool_limits(1):
        vectors = item_vectors(session, compact[item], len(present), seed)
        if groups is None:
            coarse = _k_means(vectors, round(branching), seed)
            levels = [coarse, _cut(vectors, coarse, branching, seed)]
        else:
            levels = [_cut(vectors, groups[present], branching, seed)]
    return [_spread(labels, present, n_items) for labels in levels]


def item_vectors(session: Codes, item: NDArray[np.integer], n_items: int, seed: int) -> Vectors:
    """Unit vectors of items 0..n - 1 from their co-occurrence, float32 [n, D]; 0 where nothing is positive."""
    from sklearn.utils.extmath import randomized_svd

    matrix = positive_pmi(count_pairs(session, item, n_items))
    width = min(WIDTH, n_items - 1)
    if matrix.nnz == 0 or width < 1:
        return np.zeros((n_items, 1), dtype=np.float32)
    left, values, _ = randomized_svd(matrix, width, n_iter=_POWER_ITERATIONS, random_state=seed)
    vectors = left * np.sqrt(values)  # of the square root: it makes left and right vectors alike
    vectors[np.diff(matrix.indptr) == 0] = 0  # what the approximation leaves there is noise
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)


def count_pairs(session: Codes, item: NDArray[np.integer], n_items: int) -> csr_matrix:
    """How often two different items lie at most :data:`WINDOW` clicks apart; symmetric, float32 [n, n]."""
    from scipy.sparse import csr_matrix

    counts = csr_matrix((n_items, n_items), dtype=np.float32)
    for shift in range(1, WINDOW + 1):
        first, second = item[:-shift], item[shift:]
        together = (session[:-shift] == session[shift:]) & (first != second)
        first, second = first[together], second[together]
        ones = np.ones(len(first), dtype=np.float32)
        half = (ones, (np.minimum(first, second), np.maximum(first, second)))
        counts += csr_matrix(half, shape=counts.shape)
    return (counts + counts.T).tocsr()


def positive_pmi(counts: csr_matrix) -> csr_matrix:
    """max(0, log(P(i, j) / (P(i) P(j)))), float32 [n, n].

    Args:
        counts: symmetric pair counts [n, n]; overwritten, because a copy would be the largest array of all.
    """
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()  # [n]
    logs = np.log(np.where(totals > 0, totals, 1)).astype(np.float32)
    np.log(counts.data, out=counts.data)
    counts.data -= np.repeat(logs, np.diff(counts.indptr))
    counts.data -= logs[counts.indices]
    counts.data += np.log(max(totals.sum(), 1)).astype(np.float32)
    np.maximum(counts.data, 0, out=counts.data)
    counts.eliminate_zeros()
    return counts


def _cut(vectors: Vectors, groups: IntArray, branching: float, seed: int) -> IntArray:
    """Cut every group of m items into at most ceil(m / branching) clusters, numbered through."""
    labels = np.empty(len(groups), dtype=np.int64)
    n_clusters = 0
    for group in positions_by_value(groups):
        labels[group] = n_clusters + _k_means(vectors[group], int(np.ceil(len(group) / branching)), seed)
        n_clusters = int(labels[group].max()) + 1
    return labels


def _k_means(vectors: Vectors, n_clusters: int, seed: int) -> IntArray:
    """Cluster of each row, 0.. without gaps; fewer clusters than asked for where rows are equal."""
    if n_clusters <= 1:
        return np.zeros(len(vectors), dtype=np.int64)
    nearest = k_means(vectors, n_clusters, seed)
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def _spread(labels: IntArray, present: IntArray, n_items: int) -> IntArray:
    """[n] -> [N]."""
    spread = np.full(n_items, -1, dtype=np.int64)
    spread[present] = labels
    return spread

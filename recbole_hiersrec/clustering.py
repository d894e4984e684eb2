"""k-means and grouping, for learned category levels and for the lists of candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 10
Integers = NDArray[np.integer]


def k_means(vectors: NDArray[np.float32], n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Nearest of ``n_clusters`` centroids for each row of [n, D]; some may stay empty. FAISS, deterministic by seed."""
    import faiss  # here, because reading it takes longer than all the rest of who may need it

    kmeans = faiss.Kmeans(
        vectors.shape[1], n_clusters, niter=ITERATIONS, seed=seed, min_points_per_centroid=1
    )
    kmeans.train(vectors)
    return kmeans.index.search(vectors, 1)[1][:, 0]


def positions_by_value(labels: Integers) -> list[NDArray[np.intp]]:
    """Positions of each distinct label, ascending, the labels in their order."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)

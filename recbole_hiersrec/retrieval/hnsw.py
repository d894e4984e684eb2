"""The rule ``hnsw``: FAISS's graph index (Malkov & Yashunin, 2016, arXiv 1603.09320) over the item vectors.

Axes: B queries, A augmented width, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

from typing import Any, cast

import faiss
import numpy as np
from torch import Tensor

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import RankedRule

NEIGHBOURS = 32
EF_CONSTRUCTION = 100


class Hnsw(RankedRule):
    """Walks the graph with as wide a beam (efSearch) as items are wanted, and proposes what it ends with.

    What is counted as compared are FAISS's distance computations less the items returned that are kept, whose scores
    they already are: scanned = distance computations + lifted items looked up, whether the graph met those or not.

    Args:
        item_vectors: float32 [N+1, A], the augmented item vectors.
    """

    name = "hnsw"

    def __init__(self, item_vectors: Tensor) -> None:
        vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy()[1:], dtype=np.float32)
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = EF_CONSTRUCTION
        self._index.add(vectors)

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        kept, computed = super()._choose(queries, budgets, own)
        return kept, np.maximum(computed - (kept != 0).sum(axis=1), 0)  # FAISS leaves out its entry point

    def _ordered(self, queries: Queries, length: int) -> tuple[np.ndarray, np.ndarray]:
        vectors = np.ascontiguousarray(queries.vectors.detach().cpu().numpy(), dtype=np.float32)
        wanted = min(length, self._index.ntotal)
        self._index.hnsw.efSearch = wanted
        ids, computed = np.zeros((len(vectors), wanted), np.int64), np.zeros(len(vectors), np.int64)
        statistics = cast(Any, faiss.cvar).hnsw_stats
        for row in range(
            len(vectors) if wanted else 0
        ):  # alone, because the counter is one for a whole search
            statistics.reset()
            ids[row] = self._index.search(vectors[row : row + 1], wanted)[1][0] + 1  # -1 where it found fewer
            computed[row] = statistics.ndis
        return ids, computed

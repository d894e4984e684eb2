"""Cut the catalogue into inverted lists of bounded size: finest categories first, k-means cells below them.

Axes: N items (ids 1..N, 0 is PAD), A augmented width, K lists; within a group n items.

k-means leaves many nearly empty cells, and each of them costs a comparison per query; so cells under half the
cap join their nearest neighbour that has room. A list never holds items of two categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recbole_hiersrec.clustering import k_means, positions_by_value
from recbole_hiersrec.errors import InputError

_DEPTH = 6  # k-means splits in a row; what is too large even then (identical vectors, say) is cut evenly


@dataclass(frozen=True)
class Lists:
    """Inverted lists: every item is in exactly one.

    Attributes:
        centroids: float32 [K, A], the mean of the members' vectors.
        offsets: int64 [K+1]; list j holds ``members[offsets[j]:offsets[j+1]]``.
        members: int64 [N], item ids, ascending within a list.
    """

    centroids: np.ndarray
    offsets: np.ndarray
    members: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """int64 [K], items in each list."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.centroids)

    def with_items(self, ids: np.ndarray, lists: np.ndarray) -> Lists:
        """The same lists with the items ``ids`` [n] in the lists ``lists`` [n]; centroids stay where they were."""
        members = np.concatenate([self.members, ids])
        list_of = np.concatenate([np.repeat(np.arange(len(self)), self.sizes), lists])
        offsets = np.cumsum(np.r_[0, np.bincount(list_of, minlength=len(self))])
        return Lists(self.centroids, offsets, members[np.lexsort((members, list_of))])


def cell_cap(n_items: int) -> int:
    """Return the most items a list holds where nothing else is said: a quarter of 1 % of the items, or 10.

    A quarter of the smallest usual budget (1 %) lets that budget choose among lists. On small catalogues so small
    lists would cost more comparisons than they save: there it is 10, but never above a sixth of 4 %.
    """
    return max(1, n_items // 400, min(10, n_items // 160))


def build_lists(
    item_vectors: Tensor,
    categories: np.ndarray | None,
    cap: int,
    seed: int,
    items: np.ndarray | None = None,
) -> Lists:
    """Put every item into one list of at most ``cap`` items, near others of its category.

    Deterministic for a given seed and number of FAISS threads.

    Args:
        item_vectors: float32 [N+1, A], the augmented item vectors; row 0 (PAD) is left out.
        categories: int [N+1], the finest category of each item, or None for one group of all items.
        cap: most items a list holds, at least 1.
        seed: of k-means.
        items: int [n], ids of the only items that are put into lists, each once; None: all of 1..N.

    Raises:
        InputError: if the cap is below 1, there is no item, a vector is not finite, or the lengths differ.
    """
    vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy()[1:], dtype=np.float32)
    _check(vectors, categories, cap)
    chosen = np.arange(len(vectors)) if items is None else np.sort(np.asarray(items, np.int64)) - 1
    labels = np.zeros(len(vectors), np.int64) if categories is None else np.asarray(categories)[1:]
    groups = [chosen[part] for part in positions_by_value(labels[chosen])]
    # FAISS ends the process where a squared distance overflows; the scale of all vectors changes no cell.
    scaled = vectors / max(float(np.abs(vectors).max()), float(np.finfo(np.float32).tiny))
    lists = [part for group in groups for part in _split(group, scaled, cap, seed)]
    return Lists(
        centroids=np.stack([vectors[part].mean(axis=0, dtype=np.float64) for part in lists]).astype(
            np.float32
        ),
        offsets=np.cumsum([0] + [len(part) for part in lists], dtype=np.int64),
        members=np.concatenate(lists).astype(np.int64) + 1,
    )


def _check(vectors: np.ndarray, categories: np.ndarray | None, cap: int) -> None:
    if cap < 1:
        raise InputError(f"cap: received {cap}, allowed: whole numbers from 1")
    if len(vectors) == 0:
        raise InputError("item_vectors: received no item, allowed: at least one besides PAD")
    if not np.isfinite(vectors).all():
        item = int((~np.isfinite(vectors)).any(axis=1).argmax()) + 1
        raise InputError(f"item_vectors: received one that is not finite, of item {item}")
    if categories is not None and len(categories) != len(vectors) + 1:
        raise InputError(f"categories: received {len(categories)}, allowed: {len(vectors) + 1}, PAD included")


def _split(group: np.ndarray, vectors: np.ndarray, cap: int, seed: int) -> list[np.ndarray]:
    """Cut the positions ``group`` [n] into parts of at most ``cap``, none of them needlessly small."""
    if len(group) <= cap:
        return [group]
    if cap == 1:
        return list(group[:, None])
    return _merge_small(_cells(group, vectors, cap, seed, _DEPTH), vectors, cap)


def _cells(group: np.ndarray, vectors: np.ndarray, cap: int, seed: int, depth: int) -> list[np.ndarray]:
    """k-means on the group, and again on every cell that is still too large."""
    if len(group) <= cap:
        return [group]
    if depth == 0:
        return _equal_parts(group, vectors, cap)
    n_cells = -(-len(group) // cap)
    labels = k_means(vectors[group], n_cells, seed)
    parts = [group[part] for part in positions_by_value(labels)]
    return [cell for part in parts for cell in _cells(part, vectors, cap, seed, depth - 1)]


def _equal_parts(group: np.ndarray, vectors: np.ndarray, cap: int) -> list[np.ndarray]:
    """Neighbours along the direction of the largest variance, in parts of equal size: always possible."""
    centred = vectors[group] - vectors[group].mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]  # [A]
    along = group[np.argsort(centred @ direction, kind="stable")]
    return [np.sort(part) for part in np.array_split(along, -(-len(group) // cap))]


def _merge_small(parts: list[np.ndarray], vectors: np.ndarray, cap: int) -> list[np.ndarray]:
    """Let parts under half the cap, the smallest first, join the part with the nearest mean that has room."""
    parts = list(parts)
    sizes = np.array([len(part) for part in parts])  # 0 once a part has joined another
    means = np.stack([vectors[part].mean(axis=0) for part in parts])
    alone = np.zeros(len(parts), dtype=bool)  # nobody has room for it; the others only grow, so it stays so
    while (small := np.flatnonzero((sizes > 0) & (2 * sizes < cap) & ~alone)).size:
        part = small[sizes[small].argmin()]
        roomy = np.flatnonzero((sizes > 0) & (sizes + sizes[part] <= cap))
        roomy = roomy[roomy != part]
        if roomy.size == 0:
            alone[part] = True
            continue
        host = roomy[np.square(means[roomy] - means[part]).sum(axis=1).argmin()]
        parts[host] = np.sort(np.concatenate([parts[host], parts[part]]))
        sizes[host], sizes[part] = len(parts[host]), 0
        means[host] = vectors[parts[host]].mean(axis=0)
    return [part for part, size in zip(parts, sizes, strict=True) if size > 0]

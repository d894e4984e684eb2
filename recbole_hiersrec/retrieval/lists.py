"""Cut the catalogue into inverted lists of bounded size: finest categories first, k-means cells below them.

Axes: N items (ids 1..N, 0 is PAD), A augmented width, K lists; within a group n items.

k-means alone gives lists of very uneven size, and splitting the large ones again leaves many nearly empty lists, each
of which costs a comparison per query. So k-means only places the centres; then every item joins the nearest centre
that still has room, the closest items first (Bradley, Bennett and Demiriz, *Constrained k-means clustering*, 2000, with
a greedy assignment in place of their linear programme). A list never holds items of two categories.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import faiss
import numpy as np
from torch import Tensor

from recbole_hiersrec.errors import InputError

FILL = 0.9
"""Share of the cap that lists are planned to hold: the slack keeps late items out of far-away lists."""

_ITERATIONS = 10
_CHOICES = 8  # nearest centres an item may ask before distances are taken again, to the centres with room left
_ROUNDS = 10


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


def cell_cap(n_items: int) -> int:
    """Return the most items a list may hold, max(1, floor(0.01 N) / 4), so that 1 % of the items is 4 lists or more."""
    return max(1, n_items // 100 // 4)


def build_lists(item_vectors: Tensor, categories: np.ndarray | None, cap: int, seed: int) -> Lists:
    """Put every item into one list of at most ``cap`` items, near others of its category.

    Deterministic for a given seed and number of FAISS threads.

    Args:
        item_vectors: float32 [N+1, A], the augmented item vectors; row 0 (PAD) is left out.
        categories: int [N+1], the finest category of each item, or None for one group of all items.
        cap: most items a list holds, at least 1.
        seed: of k-means.

    Raises:
        InputError: if the cap is below 1, there is no item, a vector is not finite, or the lengths differ.
    """
    vectors = np.ascontiguousarray(item_vectors.detach().cpu().numpy()[1:], dtype=np.float32)
    _check(vectors, categories, cap)
    groups = [np.arange(len(vectors))] if categories is None else _by_value(np.asarray(categories)[1:])
    lists = [part for group in groups for part in _split(group, vectors, cap, seed)]
    return Lists(
        centroids=np.stack([vectors[part].mean(axis=0, dtype=np.float64) for part in lists]).astype(np.float32),
        offsets=np.cumsum([0] + [len(part) for part in lists], dtype=np.int64),
        members=np.concatenate(lists).astype(np.int64) + 1,
    )


def _check(vectors: np.ndarray, categories: np.ndarray | None, cap: int) -> None:
    if cap < 1:
        raise InputError(f"cap: received {cap}, allowed: whole numbers from 1")
    if len(vectors) == 0:
        raise InputError("item_vectors: received no item, allowed: at least one besides PAD")
    if not np.isfinite(vectors).all():
        raise InputError(f"item_vectors: item {int((~np.isfinite(vectors)).any(1).argmax()) + 1} is not finite")
    if categories is not None and len(categories) != len(vectors) + 1:
        raise InputError(f"categories: received {len(categories)}, allowed: {len(vectors) + 1}, one an item and PAD")


def _by_value(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of each distinct label, ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _split(group: np.ndarray, vectors: np.ndarray, cap: int, seed: int) -> list[np.ndarray]:
    """Cut the positions ``group`` [n] into parts of at most ``cap``."""
    if len(group) <= cap:
        return [group]
    if cap == 1:
        return list(group[:, None])
    inside = vectors[group]  # [n, A]
    n_lists = min(len(group), math.ceil(len(group) / (cap * FILL)))
    labels = _assign(inside, _centres(inside, n_lists, seed), cap)
    return [group[part] for part in _by_value(labels)]


def _centres(vectors: np.ndarray, n_centres: int, seed: int) -> np.ndarray:
    """k-means centres, float32 [n_centres, A]."""
    kmeans = faiss.Kmeans(
        vectors.shape[1], n_centres, niter=_ITERATIONS, seed=seed, verbose=False, min_points_per_centroid=1
    )
    kmeans.train(vectors)
    return kmeans.centroids


def _assign(vectors: np.ndarray, centres: np.ndarray, cap: int) -> np.ndarray:
    """Label [n]: the nearest centre with room, where each centre takes the closest of those who ask for it."""
    labels = np.full(len(vectors), -1)
    room = np.full(len(centres), cap)
    for _ in range(_ROUNDS):
        waiting, free = np.flatnonzero(labels < 0), np.flatnonzero(room)
        if len(waiting) == 0:
            return labels
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(centres[free])
        distance, nearest = index.search(vectors[waiting], min(_CHOICES, len(free)))  # [waiting, choices]
        for choice in range(nearest.shape[1]):
            asking = labels[waiting] < 0
            _admit(waiting[asking], free[nearest[asking, choice]], distance[asking, choice], labels, room)
    _fill_up(np.flatnonzero(labels < 0), vectors, centres, labels, room)
    return labels


def _admit(
    items: np.ndarray, centre: np.ndarray, distance: np.ndarray, labels: np.ndarray, room: np.ndarray
) -> None:
    """Let each centre take, of the ``items`` that ask for it, the closest ones it has room for."""
    order = np.lexsort((distance, centre))
    items, centre = items[order], centre[order]
    place = np.arange(len(centre)) - np.searchsorted(centre, centre)  # 0, 1, 2, ... within each centre
    admitted = place < room[centre]
    labels[items[admitted]] = centre[admitted]
    room -= np.bincount(centre[admitted], minlength=len(room))


def _fill_up(
    items: np.ndarray, vectors: np.ndarray, centres: np.ndarray, labels: np.ndarray, room: np.ndarray
) -> None:
    """Place what is left (many identical vectors, say) in neighbouring order along the widest direction of the centres.

    This is what makes the assignment end: there is always room for all, as centres times cap is at least n.
    """
    direction = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)[2][0]  # [A]
    seats = np.argsort(centres @ direction, kind="stable")
    order = np.argsort(vectors[items] @ direction, kind="stable")
    labels[items[order]] = np.repeat(seats, room[seats])[: len(items)]

"""Items that are scored apart from an index, such as those of the session itself: found by looking, each once.

Axes: B sessions, L history length, E items scored apart, P entries of the longest row.
"""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.greedy import left_aligned

_TABLE = 1 << 25
"""Rows times ids up to which items are looked up in a table of all of them, 32 MiB; above, by sorting."""

_SPARSE = 128
"""By sorting also where a table would be this many times as large as the number of ids."""


def distinct_latest_first(history: np.ndarray) -> np.ndarray:
    """Distinct items of each session, the most recent first.

    Args:
        history: int64 [B, L], item ids, oldest first; 0 is PAD, wherever it stands.

    Returns:
        int64 [B, P], 0 where a session has fewer than P items.
    """
    latest = history[:, ::-1]
    order = np.argsort(
        latest, axis=1, kind="stable"
    )  # equal items side by side, the most recent of them first
    items = np.take_along_axis(latest, order, axis=1)
    first = items != 0
    first[:, 1:] &= items[:, 1:] != items[:, :-1]
    keep = np.zeros_like(first)
    np.put_along_axis(keep, order, first, axis=1)
    return left_aligned(latest[keep], keep.sum(axis=1), fill=0)


def lifted_items(queries: Queries, budget: int) -> np.ndarray:
    """Items scored apart whose bonus is above 0, at most ``budget`` a row: int64 [B, P], 0-padded.

    The largest bonus first; of equal ones the item that stands further right, which in sessions is the later one.
    """
    ids, bonus = (values[:, ::-1] for values in apart_of(queries))
    order = np.argsort(-np.where(ids > 0, bonus, 0), axis=1, kind="stable")
    lifted = np.where((ids > 0) & (bonus > 0), ids, 0)
    longest = int((lifted > 0).sum(axis=1).max(initial=0))
    return np.take_along_axis(lifted, order, axis=1)[:, : min(budget, longest)]


def apart_of(queries: Queries) -> tuple[np.ndarray, np.ndarray]:
    """Items scored apart int64 [B, E] and their bonus float32 [B, E]; E = 0 where there are none."""
    if queries.apart is None:
        return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    return queries.apart.ids.detach().cpu().numpy(), queries.apart.bonus.detach().float().cpu().numpy()


def bonus_of(ids: np.ndarray, queries: Queries) -> np.ndarray:
    """Bonus float32 [B, P] of the items ``ids`` [B, P]; 0 for those that are not scored apart, and for PAD."""
    apart, bonus = apart_of(queries)
    if apart.shape[1] == 0 or ids.shape[1] == 0:
        return np.zeros(ids.shape, np.float32)
    row = np.arange(len(ids))[:, None] * (int(max(ids.max(initial=0), apart.max(initial=0))) + 1)
    real = apart > 0
    keys, values = (apart + row)[real], bonus[real]
    if len(keys) == 0:
        return np.zeros(ids.shape, np.float32)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], ids + row), len(keys) - 1)
    return np.where((keys[order][place] == ids + row) & (ids > 0), values[order][place], np.float32(0))


def without(ids: np.ndarray, own: np.ndarray) -> np.ndarray:
    """``ids`` [B, P] with 0 in place of each item that stands in the same row of ``own`` [B, P']."""
    return np.where(in_rows(ids, own), 0, ids)


def in_rows(ids: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Bool [B, P]: whether each of ``ids`` [B, P] is an item (not PAD) of the same row of ``own`` [B, P']."""
    if own.shape[1] == 0 or ids.shape[1] == 0:
        return np.zeros(ids.shape, dtype=bool)
    span = int(max(ids.max(initial=0), own.max(initial=0))) + 1
    row = np.arange(len(ids))[:, None] * span
    keys = (own + row)[own > 0]
    if len(ids) * span > min(_TABLE, _SPARSE * ids.size):
        return np.isin(ids + row, keys)
    marked = np.zeros(len(ids) * span, dtype=bool)
    marked[keys] = True
    return marked[ids + row]


def merge(
    found: tuple[np.ndarray, np.ndarray], own: np.ndarray, queries: Queries, item_vectors: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of what an index found, which knows no bonus, and of items that are scored apart from it.

    Args:
        found: ids int64 [B, P] (0 where there is none) and their inner products float32 [B, P]. Where items with a
            bonus are among them, P must leave room for k others.
        own: int64 [B, P'], items that are scored here, 0-padded.
        queries: with the bonuses.
        item_vectors: float32 [N+1, A].
        k: items a row.

    Returns:
        ids int64 [B, k], best first, 0 where there are fewer; scores float32 [B, k], -inf there.
    """
    vectors = queries.vectors.detach().cpu().numpy()
    ids = np.concatenate([own, without(found[0], own)], axis=1)
    own_scores = np.einsum("ba,bpa->bp", vectors, item_vectors[own]).astype(np.float32)
    scores = np.concatenate([own_scores, found[1]], axis=1) + bonus_of(ids, queries)
    scores[ids == 0] = -np.inf
    return best(ids, scores, k)


def best(ids: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each row, [B, k] twice, padded with 0 and -inf; equal scores in the order given."""
    short = max(0, k - ids.shape[1])
    if short:
        ids = np.pad(ids, ((0, 0), (0, short)))
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)

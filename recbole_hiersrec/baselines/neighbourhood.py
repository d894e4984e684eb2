"""The search of session-kNN: which training sessions share items with a session, and what these hold. No RecBole.

Axes: B current sessions, S training sessions, T clicks, N items (ids 1..N, 0 is PAD), P pairs of a current session
and a training session, E items of those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recbole_hiersrec.baselines.past_sessions import PastSessions
from recbole_hiersrec.baselines.places import rounded, within
from recbole_hiersrec.data.taxonomy import IntArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Current sessions beside training sessions, [P] each; those of a current session lie together.

    Attributes:
        row: the current session, ascending.
        session: the training session, as the :class:`SessionIndex` numbers them.
        value: a number of the pair: the inner product of their vectors, or the similarity.
    """

    row: IntArray
    session: IntArray
    value: Floats

    def chosen(self, keep: NDArray[np.bool_] | IntArray) -> Pairs:
        """The pairs ``keep``, a mask or indices."""
        return Pairs(self.row[keep], self.session[keep], self.value[keep])


@dataclass(frozen=True)
class Held:
    """The different items of the training sessions of P pairs, [E] each.

    Attributes:
        pair: index of the pair.
        item: id.
        place: which click of the training session it is, from 1; the last one if it comes again.
        here: which click of the current session it is, likewise; 0: none.
    """

    pair: IntArray
    item: IntArray
    place: IntArray
    here: IntArray

    def largest(self, values: IntArray) -> IntArray:
        """Largest of the ``values`` [E] of each pair, [P]; 0 where a pair has none above that."""
        found = np.zeros(1 + self.pair.max(initial=-1), dtype=np.int64)
        np.maximum.at(found, self.pair, values)
        return found


class SessionIndex:
    """Training sessions by item, the latest first.

    Sessions are numbered by the time of their last click, the latest 0; of equal ones, and without times, the one
    further behind in the data set comes first.

    Args:
        past: training sessions.
        n_columns: N + 1.
        sample_size: m, how many sessions are compared at most.

    Attributes:
        places: which click of a session an item is, the last one if it comes again, [S, N + 1].
        sizes: different items of each session, [S].
        users: user id of each, [S].
        ends: time of each one's last click, [S]; 0 without times.
        holders: number of sessions that hold each item, [N + 1].
    """

    def __init__(self, past: PastSessions, n_columns: int, sample_size: int) -> None:
        n_sessions = len(past.sizes)
        ends = np.zeros(n_sessions) if past.ends is None else past.ends.astype(np.float64)
        latest = np.lexsort((np.arange(n_sessions), ends))[::-1]
        self.sample_size = sample_size
        self.places = csr_array(last_places(past.items, past.sizes, n_columns)[latest])
        self.sizes = np.diff(self.places.indptr).astype(np.int64)
        self.users = past.users[latest]
        self.ends = ends[latest]
        self.holders = np.bincount(self.places.indices, minlength=n_columns)
        self._by_item = self._latest_of_each_item()

    def _latest_of_each_item(self) -> csr_array:
        """1 where an item is in a session, [N + 1, S], for the latest sessions of each item.

        Of the m latest sessions that share any item with a current session, each is among the m latest of every
        item that it shares; so no more are kept, beside those that the current session's user may have.
        """
        table = csr_array(self.places.T)  # its columns come out in order
        most = self.sample_size + np.bincount(self.users).max()
        keep = within(np.diff(table.indptr)) < most
        row = _rows(table)
        return csr_array((np.ones(keep.sum()), (row[keep], table.indices[keep])), shape=table.shape)

    def candidates(self, weights: csr_array, users: IntArray | None) -> Pairs:
        """The ``sample_size`` latest sessions that share an item with each current one, and are of another user.

        Args:
            weights: of the items of the current sessions, above 0, [B, N + 1].
            users: user ids of the current sessions, [B]; None: they are new, and no session is theirs.

        Returns:
            Pairs, the latest first; their values are the inner products of the weights with the training sessions'
            binary vectors.
        """
        products = csr_array(weights @ self._by_item)
        products.sort_indices()
        pairs = Pairs(_rows(products), products.indices.astype(np.int64), products.data)
        if users is not None:
            pairs = pairs.chosen(self.users[pairs.session] != users[pairs.row])
        return pairs.chosen(within(np.bincount(pairs.row)) < self.sample_size)

    def held(self, pairs: Pairs, current: csr_array) -> Held:
        """What the training sessions of the pairs hold.

        Args:
            current: :func:`last_places` of the current sessions, [B, N + 1].
        """
        sizes = self.sizes[pairs.session]
        entry = np.repeat(self.places.indptr[pairs.session].astype(np.int64), sizes) + within(sizes)
        pair = np.repeat(np.arange(len(sizes)), sizes)
        item = self.places.indices[entry]
        return Held(pair, item, self.places.data[entry], current.toarray()[pairs.row[pair], item])


def nearest(pairs: Pairs, k: int) -> Pairs:
    """The ``k`` pairs of each current session with the largest values, these first.

    Values that agree in 33 bits are equal; of equal ones those that stand further ahead are taken.
    """
    order = np.lexsort((-rounded(pairs.value), pairs.row))
    return pairs.chosen(order[within(np.bincount(pairs.row)) < k])


def summed(pairs: Pairs, held: Held, weights: Floats, shape: tuple[int, int]) -> csr_array:
    """Scores [B, N + 1]: sum over the pairs that hold the item of value * weight.

    Args:
        weights: of each item held, [E].
        shape: (B, N + 1).
    """
    table = csr_array((pairs.value[held.pair] * weights, (pairs.row[held.pair], held.item)), shape=shape)
    table.sum_duplicates()
    return table


def last_places(items: IntArray, sizes: IntArray, n_columns: int) -> csr_array:
    """Which click of each session an item is, from 1, the last one if it comes again: [S, n_columns].

    Args:
        items: item ids, session after session, [T].
        sizes: clicks of each session, [S].
        n_columns: N + 1.
    """
    cell = np.repeat(np.arange(len(sizes)), sizes) * n_columns + items
    cell, from_behind = np.unique(cell[::-1], return_index=True)
    places = 1 + within(sizes)[::-1][from_behind]
    return csr_array((places, (cell // n_columns, cell % n_columns)), shape=(len(sizes), n_columns))


def _rows(table: csr_array) -> IntArray:
    """Row of each entry."""
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))

"""Exact top-k without scoring every item: bounds on lists, then bounds on items, then scores.

Lists are visited best bound first, until none left can hold a better item. For a member a = c + r of a list with
centroid c, Cauchy and Schwarz bound the score q . a = q . c + q . r, block by block of the coordinates:

    q . a <= q . c + min( sum_b |q_b| max |r_b|, |q| max |r| )   and   q . a <= |q| max |a|

The list's bound is the least of these. Blocks are worth it where parts of the vectors are constant within a list (the
parts of category levels within a category have radius 0), or where the query has most of its weight in few of them.

A visited list's members are not scored at once. Rotated so that the items' second moments lie along the axes, most of
a score lies in the first h coordinates, and the rest is bounded again (Li et al., 2017, FEXIPRO, SIGMOD):

    q . a <= q_1..h . a_1..h + |q_h+1..A| |a_h+1..A|

for h = 8, 16, 32, ...: what cannot be among the k best is dropped at each of these stages; what is left is scored.

Axes: B queries, A augmented width, K lists, N items (ids 1..N, 0 is PAD), b blocks, S stages, P positions of items.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.greedy import descending
from recbole_hiersrec.retrieval.lists import Lists
from recbole_hiersrec.retrieval.own import apart_of, merge

_SLACK = 1e-5  # of |q| max |a|: float32 rounds products, and bounds, by less
_STAGE = 8  # coordinates of the first stage; every further stage has as many again as there were so far


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
        self._stages = [h for h in (_STAGE << turn for turn in range(width.bit_length())) if 2 * h <= width]
        self._axes = np.linalg.eigh(members.T @ members)[1][:, ::-1].copy()  # [A, A], most of the items first
        rotated = members @ self._axes
        # In the order of the lists; stages apart, so that each reads what it needs and no more.
        self._parts = [part.astype(np.float32) for part in np.split(rotated, self._stages, axis=1)[:-1]]
        self._tails = [np.linalg.norm(rotated[:, h:], axis=1) for h in self._stages]

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
            ids int64 [B, k], best first; scores float32 [B, k]; scanned float64 [B], centroids and items compared, an
            item of which some coordinates were compared as the share of these, and the rotation of the query.

        Raises:
            InputError: if k is not in 1..N, or a query or a bonus is not finite.
        """
        n_items = len(self.vectors) - 1
        if not 1 <= k <= n_items:
            raise InputError(f"k: received {k}, allowed: 1 to {n_items}")
        vectors = np.ascontiguousarray(queries.vectors.detach().cpu().numpy(), dtype=np.float32)
        own, bonus = apart_of(queries)
        _require_finite(vectors, "one")
        _require_finite(np.where(own > 0, bonus, 0), "a bonus")
        bounds = self.bounds(vectors)
        slack = _SLACK * np.linalg.norm(vectors, axis=1) * float(self._norm.max())
        order = descending((bounds + slack[:, None]).astype(np.float32))
        sorted_bounds = np.take_along_axis(bounds, order, axis=1) + slack[:, None]
        ids, scores = (np.zeros((len(vectors), k), np.int64), np.full((len(vectors), k), -np.inf, np.float32))
        if own.shape[1]:
            ids, scores = merge((ids, scores), own, queries, self.vectors, k)
        # To rotate a query costs as much as comparing it with A vectors.
        rotation = vectors.shape[1] if self._stages else 0
        scanned = len(self.lists) + rotation + (own != 0).sum(axis=1).astype(np.float64)
        for row, query in enumerate(vectors):
            found = _Best(ids[row], scores[row], own[row])
            scanned[row] += self._visit(query, order[row], sorted_bounds[row], float(slack[row]), found)
            ids[row], scores[row] = found.ids, found.scores
        return ids, scores, scanned

    def _visit(
        self, query: np.ndarray, order: np.ndarray, bounds: np.ndarray, slack: float, found: _Best
    ) -> float:
        """Visit the lists of ``order`` [K], whose bounds descend, for one query; returns the vectors compared."""
        rotated = query.astype(np.float64) @ self._axes if self._stages else query
        compared, start = 0.0, 0
        # Until there are k, nothing can be screened.
        enough = 1 + int(np.searchsorted(self.lists.sizes[order].cumsum(), len(found.ids)))
        while start < len(order) and bounds[start] >= found.worst:
            stop = start + max(enough, start)
            visited = order[start:stop][bounds[start:stop] >= found.worst]
            offsets = self.lists.offsets
            places = np.concatenate([np.arange(offsets[v], offsets[v + 1]) for v in visited])
            left, work = self._screen(rotated, places, found.worst - slack)
            items = self.lists.members[left]
            found.add(items, self.vectors[items] @ query)
            compared += work + len(items)
            start = stop
        return compared

    def _screen(self, query: np.ndarray, places: np.ndarray, least: float) -> tuple[np.ndarray, float]:
        """Those of ``places`` [P] whose score may reach ``least``, and the products done, in vectors.

        Args:
            query: rotated, float64 [A].
            places: of items in the lists.
            least: what the k best so far have.
        """
        so_far, done, work = np.zeros(len(places)), 0, 0.0
        if least == -np.inf:
            return places, work
        for stage, part, tails in zip(self._stages, self._parts, self._tails, strict=True):
            so_far = so_far + part[places] @ query[done:stage]
            work += len(places) * (stage - done) / len(query)
            keep = so_far + tails[places] * np.linalg.norm(query[stage:]) >= least
            places, so_far, done = places[keep], so_far[keep], stage
        return places, work

    def _norms(self, vectors: np.ndarray) -> np.ndarray:
        """Norm of each block, [n, b], of vectors [n, A]."""
        return np.sqrt(np.add.reduceat(np.square(vectors), self._starts, axis=1))


class _Best:
    """The k best items of one query so far; those that are scored apart are known before and never come again."""

    def __init__(self, ids: np.ndarray, scores: np.ndarray, own: np.ndarray) -> None:
        self.ids, self.scores, self._own = ids, scores, own

    @property
    def worst(self) -> float:
        """Score that an item needs to be one of them; -inf while there are fewer than k."""
        return float(self.scores[-1])

    def add(self, items: np.ndarray, scores: np.ndarray) -> None:
        """Take in items [P] and their scores."""
        new = ~np.isin(items, self._own)
        ids = np.concatenate([self.ids, items[new]])
        scores = np.concatenate([self.scores, scores[new].astype(np.float32)])
        order = np.argsort(-scores, kind="stable")[: len(self.ids)]
        self.ids, self.scores = ids[order], scores[order]


def _require_finite(values: np.ndarray, what: str) -> None:
    """Raise where a row of [B, n] is not finite: nothing would be found for it."""
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"queries: received {what} that is not finite, in row {int(bad.argmax())}, allowed: finite numbers"
        )


def _largest(values: np.ndarray, lists: Lists) -> np.ndarray:
    """Maximum over the members of each list, [K, b], of values [N, b] in the order of ``lists.members``."""
    return np.maximum.reduceat(values, lists.offsets[:-1], axis=0)

"""The best items for queries: of all items or of a few candidates, of all or of those that are allowed.

Three ways to the same scores: lists that FAISS scans (nothing is filtered), candidates that are scored one by one
(something is), and one product with all items. Whichever found them, the best few are scored once more in one way, so
that an item has one score however it was found and in whatever batch; of equal scores the lower id comes first.

Axes: B queries, L history length, N items (ids 1..N, 0 is PAD), A augmented width, P candidates, n allowed items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.queries import Apart, Queries
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import Lists
from recbole_hiersrec.retrieval.own import bonus_of, in_rows
from recbole_hiersrec.retrieval.rules import RuleContext, list_order

_SPARE = 16  # found beyond k, so that their order by the rounding of the way does not matter
_AT_ONCE = 1 << 24  # numbers held at once, 64 MiB


def rule_context(item_vectors: Tensor, counts: np.ndarray) -> RuleContext:
    """What the lists of a served model are built from, always with the same seed."""
    nothing = np.zeros(0, np.int64)
    return RuleContext(len(counts) - 1, counts, (nothing, nothing, nothing), item_vectors, seed=0)


@dataclass(frozen=True)
class Allowed:
    """The items that may be returned.

    Attributes:
        mask: bool [N + 1].
        ids: those items, int64 [n], ascending.
        rule: proposes candidates among them.
    """

    mask: np.ndarray
    ids: np.ndarray
    rule: CandidateRule


@dataclass(frozen=True)
class Found:
    """The best items of B queries.

    Attributes:
        ids: int64 [B, k], best first, 0 where there are fewer.
        scores: float32 [B, k].
        scored: items that were scored, int64 [B].
        compared: other vectors that were compared with the query, int64 [B].
    """

    ids: np.ndarray
    scores: np.ndarray
    scored: np.ndarray
    compared: np.ndarray


class Search:
    """Finds items by the scores of a model. Not for several threads at once, as its index is not.

    Args:
        lists: inverted lists of all items.
        table: augmented item vectors [N + 1, A].
        counts: training interactions, int64 [N + 1].
    """

    def __init__(self, lists: Lists, table: Tensor, counts: np.ndarray) -> None:
        self.table, self.n_items = table, len(table) - 1
        order = list_order(lists, rule_context(table, counts))
        self.cells = Cells(lists, table, "k-means", order)

    def allowed(self, mask: np.ndarray) -> Allowed:
        """Prepare a search among the items of ``mask``, bool [N + 1]."""
        mask = mask & (np.arange(len(mask)) > 0)
        return Allowed(mask, np.flatnonzero(mask), self.cells.among(mask))

    def search(
        self,
        queries: Queries,
        k: int,
        budget: int | None,
        allowed: Allowed | None = None,
        *,
        seen: bool = True,
    ) -> Found:
        """Find the k best items of each query.

        Args:
            queries: B queries.
            k: items a query.
            budget: items that are scored for a query; None: all. Where it gives fewer than k items although there
                are more, it is doubled for that query until it gives enough.
            allowed: which items may be returned; None: all.
            seen: whether those of the history may.
        """
        hidden = None if seen else queries.history.numpy()
        queries = _eligible(queries, allowed, hidden)
        n_allowed = self.n_items if allowed is None else len(allowed.ids)
        found = self._once(queries, k, budget, allowed, hidden)
        while budget is not None and budget < n_allowed:
            short = np.flatnonzero((found.ids > 0).sum(axis=1) < min(k, n_allowed))
            if not len(short):
                break
            budget *= 2
            part = None if hidden is None else hidden[short]
            again = self._once(_rows(queries, short), k, budget, allowed, part)
            for name in ("ids", "scores", "scored", "compared"):
                getattr(found, name)[short] = getattr(again, name)
        return found

    def _once(
        self, queries: Queries, k: int, budget: int | None, allowed: Allowed | None, hidden: np.ndarray | None
    ) -> Found:
        n_allowed = self.n_items if allowed is None else len(allowed.ids)
        if budget is None or budget >= n_allowed:
            return self._all(queries, k, allowed, hidden)
        return (
            self._lists(queries, k, budget, hidden)
            if allowed is None
            else self._among(queries, k, budget, allowed, hidden)
        )

    def _lists(self, queries: Queries, k: int, budget: int, hidden: np.ndarray | None) -> Found:
        chosen = self.cells.select(queries, budget)
        ids, _ = self.cells.search_lists(
            queries, chosen, k + _SPARE + (0 if hidden is None else hidden.shape[1])
        )
        return Found(*self._best(queries, ids, k, hidden), self.cells.scored(chosen), chosen.compared)

    def _among(
        self, queries: Queries, k: int, budget: int, allowed: Allowed, hidden: np.ndarray | None
    ) -> Found:
        found = allowed.rule.candidates(queries, budget)
        ids = found.ids.numpy()
        return Found(*self._best(queries, ids, k, hidden), (ids > 0).sum(axis=1), found.compared.numpy())

    def _all(self, queries: Queries, k: int, allowed: Allowed | None, hidden: np.ndarray | None) -> Found:
        """Score every item that is allowed, by a product; columns are their places among those, from 1."""
        of = np.arange(self.n_items + 1) if allowed is None else np.concatenate([[0], allowed.ids])
        column = np.zeros(self.n_items + 1, np.int64)
        column[of] = np.arange(len(of))
        table = self.table if allowed is None else self.table[of]
        wide = min(len(of) - 1, k + _SPARE)
        best = []
        for part in _parts(len(queries), len(of)):
            some = _rows(queries, part)
            scores = some.vectors @ table.T  # [b, n + 1]
            if some.apart is not None:
                scores.scatter_add_(1, torch.from_numpy(column[some.apart.ids.numpy()]), some.apart.bonus)
            if hidden is not None:
                scores.scatter_(1, torch.from_numpy(column[hidden[part]]), -torch.inf)
            values, places = scores[:, 1:].topk(wide, dim=1)
            best.append(np.where(values.numpy() == -np.inf, 0, of[places.numpy() + 1]))
        ids = np.concatenate(best) if best else np.zeros((0, wide), np.int64)
        nothing = np.zeros(len(queries), np.int64)
        return Found(*self._best(queries, ids, k, hidden), nothing + len(of) - 1, nothing)

    def _best(
        self, queries: Queries, ids: np.ndarray, k: int, hidden: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of the items ``ids`` [B, P], each once a row, 0-padded: ids and scores, [B, k]."""
        if hidden is not None:
            ids = np.where(in_rows(ids, hidden), 0, ids)
        scores = self.scores(queries, ids)
        ids, scores = (np.pad(values, ((0, 0), (0, max(0, k - ids.shape[1])))) for values in (ids, scores))
        scores = np.where(ids > 0, scores, -np.inf)
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def scores(self, queries: Queries, ids: np.ndarray) -> np.ndarray:
        """Scores of the items ``ids`` [B, P], float32 [B, P]; the same for a row whatever the others are."""
        vectors, table = queries.vectors.numpy(), self.table.numpy()
        found = np.empty(ids.shape, np.float32)
        for part in _parts(len(ids), ids.shape[1] * table.shape[1]):
            found[part] = np.einsum("ba,bpa->bp", vectors[part], table[ids[part]])
        return found + bonus_of(ids, queries)


def _eligible(queries: Queries, allowed: Allowed | None, hidden: np.ndarray | None) -> Queries:
    """The queries without the bonus of items that cannot be returned, which would come first among candidates."""
    if queries.apart is None or (allowed is None and hidden is None):
        return queries
    ids = queries.apart.ids.numpy()
    kept = np.ones(ids.shape, bool) if allowed is None else allowed.mask[ids]
    if hidden is not None:
        kept &= ~in_rows(ids, hidden)
    real = torch.from_numpy(kept)
    return replace(queries, apart=Apart(queries.apart.ids * real, queries.apart.bonus * real))


def _rows(queries: Queries, rows: np.ndarray | slice) -> Queries:
    apart = queries.apart and Apart(queries.apart.ids[rows], queries.apart.bonus[rows])
    return Queries(queries.vectors[rows], queries.history[rows], apart)


def _parts(n_rows: int, width: int) -> Iterator[slice]:
    """Rows of ``width`` numbers that may be held at once."""
    size = max(1, _AT_ONCE // max(1, width))
    return (slice(start, start + size) for start in range(0, n_rows, size))

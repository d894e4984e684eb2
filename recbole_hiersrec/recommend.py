"""Load a trained model, recommend, and say why; needs neither RecBole nor a data set.

    recommender = Recommender.load("model")
    for item in recommender.recommend([["B001", "B002"]], k=10, explain=True)[0].items:
        print(item.item, item.title, item.contributions)

Axes: B sessions, L length of the longest, k items, N items (ids 1..N, 0 is PAD), M levels.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec import checkpoint
from recbole_hiersrec.errors import CheckpointError, InputError
from recbole_hiersrec.explain import Explainer
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.reading import short
from recbole_hiersrec.retrieval.budget import item_budget
from recbole_hiersrec.serving.answers import Path_, Recommendation, RecommendedItem
from recbole_hiersrec.serving.content import Serving
from recbole_hiersrec.serving.filters import Filters
from recbole_hiersrec.serving.model import ServedModel, served_model
from recbole_hiersrec.serving.search import Allowed, Search

Parts = dict[str, float]
"""Part of a score, or item of a session -> what it is worth."""

ITEM_FRACTION = 0.04
_AT_ONCE = 256  # sessions
_EXPLAINED = 1 << 12  # items whose parts are held at once
_CATEGORIES = 3  # told a level


class Recommender:
    """Answers sessions with items. Its answers do not change; for several threads, load one each.

    Args:
        model: the network and its catalogue.
        serving: popularity, lists, temperatures and titles.
        masked: whether the model was validated without the items of the history.

    Raises:
        InputError: the parts are not of one model.
    """

    def __init__(self, model: ServedModel, serving: Serving, *, masked: bool = False) -> None:
        n_levels = len(model.network.heads.category)
        if len(serving.temperatures) != n_levels:
            raise InputError(
                f"temperatures: received {len(serving.temperatures)}, the model predicts {n_levels} levels"
            )
        self.model, self.masked = model, masked
        self.n_items = model.catalogue.n_items
        self.titles = serving.titles
        self._temperatures = serving.temperatures
        self._ids = {token: number for number, token in enumerate(model.catalogue.tokens, start=1)}
        self._filters = Filters(model.catalogue.taxonomy, self._ids)
        self._search = Search(serving.lists, model.table, serving.counts)
        self._popular = np.argsort(-serving.counts[1:], kind="stable") + 1
        self._last: tuple[bytes, Allowed] | None = None  # the filter of the last call

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """Load what ``hiersrec train`` wrote; safe for folders of strangers, of which no code is run.

        Raises:
            CheckpointError: no such folder, of another version, damaged, or without what recommending needs.
        """
        where = Path(folder)
        content = checkpoint.load(where)
        if content.serving is None:
            raise CheckpointError(
                f"checkpoint {where}: has no popularity, lists and titles to recommend with; train with hiersrec train"
            )
        model = served_model(content, where)
        try:
            loaded = cls(model, content.serving, masked=content.config.get("history") == "masked")
            # Libraries load and prepare much on their first call; the first answer's time shall be an answer's.
            loaded.recommend([[loaded.model.catalogue.tokens[0]]], k=1, explain=True)
            return loaded
        except InputError as error:
            raise CheckpointError(f"checkpoint {where}: {error}") from None

    def recommend(
        self,
        sessions: Sequence[Sequence[str | int]],
        k: int = 10,
        *,
        item_fraction: float | None = ITEM_FRACTION,
        explain: bool = False,
        allow_categories: Collection[str] | None = None,
        deny_categories: Collection[str] | None = None,
        seen: bool | None = None,
        items: Collection[str | int] | None = None,
    ) -> list[Recommendation]:
        """The k best next items of each session.

        Items that the model does not know are skipped, with a warning. A session of which nothing is left gets
        what was most popular in training, and says so.

        Args:
            sessions: item ids, oldest first; of more than the model reads the last ones count.
            k: items a session, 1 to N.
            item_fraction: at most floor(item_fraction N) items are scored for a session, in (0, 1]; None: all. More
                are where so few hold no k items that may be recommended (``n_scored`` tells).
            explain: also predict the categories, and say of each item what its score is made of and which items
                of the session mattered: the model is asked again without each of them.
            allow_categories: only items of these categories; each by its name or path ("Makeup > Lips").
            deny_categories: no items of these.
            seen: whether items of the session may be recommended; None: as the model was validated.
            items: only these.

        Returns:
            One answer a session. It holds fewer than k items where no more may be recommended.

        Raises:
            InputError: a value is outside what is allowed, or a category or an allowed item is not known.
        """
        began = time.perf_counter()
        budget = self._budget(k, item_fraction)
        names = [
            None if given is None else _texts(given) for given in (allow_categories, deny_categories, items)
        ]
        allowed = self._allowed(self._filters.mask(*names))
        known, unknown = self._known(sessions)
        seen = not self.masked if seen is None else seen
        found: dict[int, Recommendation] = {}
        of_model = [row for row, session in enumerate(known) if session]
        at_once = max(1, min(_AT_ONCE, _EXPLAINED // k)) if explain else _AT_ONCE
        for start in range(0, len(of_model), at_once):
            rows = of_model[start : start + at_once]
            some = [known[row] for row in rows]
            with torch.inference_mode():
                answers = self._answers(some, k, budget, allowed, seen, explain)
            found.update(zip(rows, answers, strict=True))
        seconds = (time.perf_counter() - began) / max(1, len(known))
        missing = sum(map(len, unknown))
        if missing:
            first = next(items for items in unknown if items)[0]
            warnings.warn(
                f"{missing} items of sessions are unknown and skipped, such as {short(first)}", stacklevel=2
            )
        return [
            replace(found.get(row) or self._popularity(k, allowed), unknown=skipped, seconds=seconds)
            for row, skipped in enumerate(unknown)
        ]

    def _budget(self, k: int, item_fraction: float | None) -> int | None:
        if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= k <= self.n_items:
            raise InputError(f"k: received {short(k)}, allowed: whole numbers from 1 to {self.n_items}")
        if item_fraction is None:
            return None
        if not isinstance(item_fraction, Real) or not 0 < item_fraction <= 1:
            raise InputError(
                f"item_fraction: received {short(item_fraction)}, allowed: a number in (0, 1], or none"
            )
        return item_budget(max(float(item_fraction), 1 / self.n_items), self.n_items)

    def _allowed(self, mask: np.ndarray | None) -> Allowed | None:
        """The filter, prepared; that of the last call is at hand."""
        if mask is None:
            return None
        key = np.packbits(mask).tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, self._search.allowed(mask)
        return self._last[1]

    def _known(
        self, sessions: Sequence[Sequence[str | int]]
    ) -> tuple[list[list[int]], list[tuple[str, ...]]]:
        """Ids of each session's last items, and the items that are not known."""
        allowed = "a list of sessions, each a list of item ids"
        if isinstance(sessions, str) or not isinstance(sessions, Iterable):
            raise InputError(f"sessions: received {short(sessions)}, allowed: {allowed}")
        for row, session in enumerate(sessions):
            if isinstance(session, str) or not isinstance(session, Iterable):
                raise InputError(f"sessions: session {row}: received {short(session)}, allowed: {allowed}")
        known, unknown = [], []
        for session in sessions:
            tokens = _texts(session)
            ids = [self._ids[token] for token in tokens if token in self._ids]
            known.append(ids[-self.model.max_length :])
            unknown.append(tuple(token for token in tokens if token not in self._ids))
        return known, unknown

    def _answers(
        self,
        sessions: list[list[int]],
        k: int,
        budget: int | None,
        allowed: Allowed | None,
        seen: bool,
        explain: bool,
    ) -> list[Recommendation]:
        """Answers of the model; ``seconds`` and ``unknown`` are left to the caller."""
        queries = self.model.encode(_padded(sessions))
        found = self._search.search(queries, k, budget, allowed, seen=seen)
        if not np.isfinite(found.scores[found.ids > 0]).all():
            raise InputError("model: received a score that is not finite; its weights are of no use")
        reasons = (
            self._reasons(sessions, queries, found.ids) if explain else [[(None, None)] * k] * len(sessions)
        )
        levels, paths = self._predicted(queries) if explain else ([], [])
        answers = []
        for row, (ids, scores) in enumerate(zip(found.ids.tolist(), found.scores.tolist(), strict=True)):
            items = tuple(
                self._item(item, score, *reason)
                for item, score, reason in zip(ids, scores, reasons[row], strict=True)
                if item
            )
            scored, compared = int(found.scored[row]), int(found.compared[row])
            answers.append(
                Recommendation(
                    items,
                    "model",
                    (),
                    _fewer(len(items), k),
                    levels[row] if explain else None,
                    paths[row] if explain else None,
                    scored,
                    compared,
                    (scored + compared) / self.n_items,
                    0.0,
                )
            )
        return answers

    def _popularity(self, k: int, allowed: Allowed | None) -> Recommendation:
        popular = self._popular if allowed is None else self._popular[allowed.mask[self._popular]]
        items = tuple(self._item(int(item)) for item in popular[:k])
        notes = "no item of the session is known: the most popular items of training", _fewer(len(items), k)
        return Recommendation(
            items, "popularity", (), "; ".join(filter(None, notes)), None, None, 0, 0, 0.0, 0.0
        )

    def _item(
        self,
        item: int,
        score: float | None = None,
        contributions: Parts | None = None,
        session_items: Parts | None = None,
    ) -> RecommendedItem:
        taxonomy = self.model.catalogue.taxonomy
        return RecommendedItem(
            self.model.catalogue.tokens[item - 1],
            score,
            self.titles[item - 1] if self.titles else None,
            taxonomy.labels[-1][taxonomy.item_category[item, -1]] if taxonomy else (),
            contributions,
            session_items,
        )

    def _reasons(
        self, sessions: list[list[int]], queries: Queries, ids: np.ndarray
    ) -> list[list[tuple[Parts, Parts]]]:
        """Contributions, and what each item of the session is worth, for each item of ``ids`` [B, k]."""
        real = np.maximum(ids, 1)  # what is explained in the place of no item is not told
        parts = self._explainer.contributions(queries, torch.from_numpy(real))
        table = torch.stack(list(parts.values()), dim=-1).tolist()  # [B][k][parts]
        worth = self._worth(sessions, queries, real)
        tokens = self.model.catalogue.tokens
        return [
            [
                (
                    dict(zip(parts, own, strict=True)),
                    {tokens[item - 1]: float(lost[place]) for item, lost in worth[row].items()},
                )
                for place, own in enumerate(rows)
            ]
            for row, rows in enumerate(table)
        ]

    def _worth(
        self, sessions: list[list[int]], queries: Queries, ids: np.ndarray
    ) -> list[dict[int, np.ndarray]]:
        """Of each session: its item -> what the items ``ids`` [B, k] lose without it, [k], latest first.

        Scores of two queries have no common zero, so they are compared less the mean of all items.
        """
        rows, left_out, shorter = [], [], []
        for row, session in enumerate(sessions):
            for item in dict.fromkeys(reversed(session)):
                if rest := [other for other in session if other != item]:
                    rows.append(row)
                    left_out.append(item)
                    shorter.append(rest)
        whole = self._centred(queries, ids)
        found: list[dict[int, np.ndarray]] = [{} for _ in sessions]
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            without = self._centred(self.model.encode(_padded(shorter[part])), ids[rows[part]])
            for row, item, scores in zip(rows[part], left_out[part], without, strict=True):
                found[row][item] = whole[row] - scores
        return found

    def _centred(self, queries: Queries, ids: np.ndarray) -> np.ndarray:
        """Scores of the items ``ids`` [B, k] less the mean score of all items."""
        mean = queries.vectors @ self._mean_vector  # [B]
        if queries.apart is not None:
            mean = mean + (queries.apart.bonus * (queries.apart.ids > 0)).sum(1) / self.n_items
        return self._search.scores(queries, ids) - mean.numpy()[:, None]

    def _predicted(
        self, queries: Queries
    ) -> tuple[list[dict[str, tuple[tuple[Path_, float], ...]]], list[tuple[tuple[str, float], ...]]]:
        """Of each session: the likeliest categories of each level, and the path down the levels."""
        taxonomy = self.model.catalogue.taxonomy
        levels: list[dict[str, tuple[tuple[Path_, float], ...]]] = [{} for _ in range(len(queries))]
        paths: list[list[tuple[str, float]]] = [[] for _ in range(len(queries))]
        if taxonomy is None:
            return levels, [() for _ in paths]
        above = np.zeros(len(queries), np.int64)
        for level, logits in enumerate(queries.category_logits):
            labels, parents = taxonomy.labels[level], taxonomy.parents[level]
            chances = (logits.double() / self._temperatures[level]).softmax(-1).numpy()  # [B, C]
            best = np.argsort(-chances, axis=1, kind="stable")[:, :_CATEGORIES]
            above = np.where(parents == above[:, None], chances, -1.0).argmax(axis=1)
            for row, (own, chosen, below) in enumerate(
                zip(chances, best.tolist(), above.tolist(), strict=True)
            ):
                told = tuple((labels[category], float(own[category])) for category in chosen)
                levels[row][taxonomy.levels[level]] = told
                paths[row].append((labels[below][-1], float(own[below])))
        return levels, [tuple(path) for path in paths]

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model)

    @cached_property
    def _mean_vector(self) -> Tensor:
        """Mean of the item vectors 1..N, [A]."""
        return self.model.table[1:].mean(0, dtype=torch.float64).float()


def _texts(values: Collection[str | int]) -> list[str]:
    return [str(value) for value in ([values] if isinstance(values, str) else values)]


def _padded(sessions: list[list[int]]) -> tuple[Tensor, Tensor]:
    """History [B, L], 0-padded on the right, and length [B]."""
    lengths = torch.tensor([len(session) for session in sessions])
    history = torch.zeros(len(sessions), int(lengths.max()), dtype=torch.long)
    for row, session in enumerate(sessions):
        history[row, : len(session)] = torch.tensor(session)
    return history, lengths


def _fewer(found: int, k: int) -> str:
    return "" if found == k else f"{found} of {k} items: no more are allowed"

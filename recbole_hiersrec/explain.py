"""Why an item is recommended: its score as a sum of signed contributions, each relative to the catalogue's mean.

The score is one inner product, and the augmented item vector is a sum of parts: id, title, each further field, each
category level (its embedding in v_i and its level term), the item's bias. So the score is the sum of the parts'
inner products; less its mean over all N items each becomes a contribution: what the part does for this item beyond
what it does for any. Contributions sum to the centred score s(i) - mean s. There are no percentages: shares of
signed terms mean nothing.

Axes: B sessions, K items of each, A augmented width, D width, N items (ids 1..N, 0 is PAD), M levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.model.network import HierSRecNetwork
from recbole_hiersrec.queries import Apart, Queries

ITEM_BIAS = "item bias"
APART = "remembered"
"""The bonus of items that an index does not know of, such as the repeat term of the session's own items."""
_AT_ONCE = 1 << 16  # items whose parts are held at a time


@dataclass(frozen=True)
class Explanation:
    """Why one item has its score.

    Attributes:
        item: id of the item.
        score: as the model ranks it.
        contributions: part -> signed contribution; they sum to the score less the mean score of all items.
        categories: level -> path of the item's category, from the root.
    """

    item: int
    score: float
    contributions: dict[str, float]
    categories: dict[str, tuple[str, ...]]

    @property
    def named(self) -> str:
        """The part with the largest contribution, which an explanation in one sentence names."""
        return max(self.contributions, key=lambda part: self.contributions[part])


@dataclass(frozen=True)
class SessionExplanation:
    """What the model expects of a session, and why it gave items their scores.

    Attributes:
        items: one explanation for each item asked for, in that order.
        predicted: level -> (path of the category, probability), the likeliest first.
    """

    items: tuple[Explanation, ...]
    predicted: dict[str, tuple[tuple[tuple[str, ...], float], ...]]


class Explainer:
    """Explains scores of a HierSRec model; holds the mean of every part, so make a new one after training on.

    Args:
        model: HierSRec, or anything with its ``network``, ``catalogue`` and ``encode``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.taxonomy: Taxonomy | None = model.catalogue.taxonomy
        self.levels: tuple[str, ...] = self.taxonomy.levels if self.taxonomy else ()
        self.n_items: int = model.catalogue.n_items
        with torch.no_grad():
            self.means = self._means()

    @torch.no_grad()
    def contributions(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Part -> signed contributions [B, K] to the scores of ``items`` [B, K], ids of 1..N."""
        vectors = queries.vectors.unsqueeze(1)  # [B, 1, A]
        found = {
            part: ((table - self.means[part]) * vectors).sum(-1)
            for part, table in part_vectors(self.model.network, items).items()
        }
        if queries.apart is not None:
            usual = queries.apart.bonus.masked_fill(queries.apart.ids == 0, 0.0).sum(1) / self.n_items  # [B]
            found[APART] = _bonus(queries.apart, items) - usual.unsqueeze(1)
        return found

    @torch.no_grad()
    def explain(self, interaction: Any, items: Tensor, *, n_categories: int = 3) -> list[SessionExplanation]:
        """Explain the scores of ``items`` for the sessions of ``interaction``.

        Args:
            interaction: sessions, B rows.
            items: long [B, K], ids of 1..N.
            n_categories: most predicted categories that are told a level.

        Raises:
            InputError: ``items`` has another number of rows, or an id out of range.
        """
        self._check(items, len(interaction))
        queries = self.model.encode(interaction)
        items = items.to(queries.vectors.device)
        contributions = self.contributions(queries, items)
        scores = (self.model.network.item_vectors(items) * queries.vectors.unsqueeze(1)).sum(-1)
        if queries.apart is not None:
            scores = scores + _bonus(queries.apart, items)
        table = torch.stack(list(contributions.values()), dim=-1).tolist()  # [B][K][parts]
        predicted = self._predicted(queries.category_logits, n_categories)
        return [
            SessionExplanation(
                tuple(
                    Explanation(
                        item, score, dict(zip(contributions, own, strict=True)), self._categories(item)
                    )
                    for item, score, own in zip(ids, given, rows, strict=True)
                ),
                {level: told[row] for level, told in predicted.items()},
            )
            for row, (ids, given, rows) in enumerate(zip(items.tolist(), scores.tolist(), table, strict=True))
        ]

    def _means(self) -> dict[str, Tensor]:
        """Mean of every part over the items 1..N, each [A]; summed in float64, a portion at a time."""
        sums: dict[str, Tensor] = {}
        device = self.model.network.level_weight.device
        for ids in torch.arange(1, self.n_items + 1, device=device).split(_AT_ONCE):
            for part, vectors in part_vectors(self.model.network, ids).items():
                total = vectors.sum(0, dtype=torch.float64)
                sums[part] = sums[part] + total if part in sums else total
        return {part: (total / self.n_items).float() for part, total in sums.items()}

    def _check(self, items: Tensor, n_sessions: int) -> None:
        if items.dim() != 2 or len(items) != n_sessions:
            raise InputError(f"items: received shape {tuple(items.shape)}, allowed: ({n_sessions}, K)")
        wrong = items[(items < 1) | (items > self.n_items)]
        if len(wrong):
            raise InputError(f"items: received id {int(wrong[0])}, allowed: 1 to {self.n_items}")

    def _categories(self, item: int) -> dict[str, tuple[str, ...]]:
        if self.taxonomy is None:
            return {}
        own = self.taxonomy.item_category[item]
        return {
            name: labels[category]
            for name, labels, category in zip(self.levels, self.taxonomy.labels, own, strict=True)
        }

    def _predicted(
        self, logits: Sequence[Tensor], most: int
    ) -> dict[str, list[tuple[tuple[tuple[str, ...], float], ...]]]:
        """Level -> for every session its likeliest categories, with probabilities."""
        labels = self.taxonomy.labels if self.taxonomy else ()
        found = {}
        for name, names, given in zip(self.levels, labels, logits, strict=False):  # no logits: not predicted
            chances, best = given.softmax(-1).topk(min(most, len(names)), dim=-1)
            found[name] = [
                tuple((names[category], chance) for category, chance in zip(*row, strict=True))
                for row in zip(best.tolist(), chances.tolist(), strict=True)
            ]
        return found


def explain(model: Any, interaction: Any, items: Tensor) -> list[SessionExplanation]:
    """Explain the scores of ``items`` [B, K] for B sessions; see :meth:`Explainer.explain`."""
    return Explainer(model).explain(interaction, items)


def part_vectors(network: HierSRecNetwork, ids: Tensor) -> dict[str, Tensor]:
    """Augmented item vectors taken apart: part -> [..., A], which sum to ``network.item_vectors(ids)``.

    A level's part holds its embedding in v_i, and its level term u_m[c] and w_m b_m[c].

    Args:
        network: of N items.
        ids: long [...], of 0..N.
    """
    flat = ids.reshape(-1)
    summands = network.items.parts(flat)  # of v_i, each [n, D]
    size = next(iter(summands.values())).shape[-1]
    width = size * (1 + network.n_scored) + 1  # A
    found = {part: F.pad(vectors, (0, width - size)) for part, vectors in summands.items()}
    weights = F.softplus(network.level_weight)
    for level in range(network.n_scored):
        categories = network.items.item_category[flat, level]
        term = F.pad(
            network.heads.category[level](categories), ((1 + level) * size, width - (2 + level) * size)
        )
        term[:, -1] = weights[level] * network.heads.bias[level][categories]
        part = network.items.names[level]
        found[part] = found[part] + term if part in found else term
    found[ITEM_BIAS] = F.pad(network.item_bias(flat), (width - 1, 0))
    real = (flat > 0).unsqueeze(-1)
    return {part: (vectors * real).view(*ids.shape, width) for part, vectors in found.items()}


def _bonus(apart: Apart, items: Tensor) -> Tensor:
    """What ``items`` [B, K] get for being scored apart, [B, K]; 0 for those that are not."""
    same = items.unsqueeze(2) == apart.ids.unsqueeze(1)  # [B, K, E]
    return (same * apart.bonus.unsqueeze(1)).sum(2)

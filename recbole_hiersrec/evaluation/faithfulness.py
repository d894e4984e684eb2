"""Whether explanations say what the model does: what they name is dropped, and something else for comparison.

For each test case the item ranked first is explained. Two measures, each as the places that this item loses:

* ``part``: the contribution of the part that the explanation names is taken out of the item's score; compared with
  the item's other parts. The named part is the largest, so this checks the arithmetic and shows how much hangs on it.
* ``category``: on the category level that contributes most, the item's category is masked: its logit, so that the
  heads run again without it, and its items' part of the score, which becomes the catalogue's mean. Compared with
  another category of that level, drawn at random. ``feedback`` masks the logit alone.

Deletion as a test of explanations: Samek et al., *Evaluating the visualization of what a deep neural network has
learned*, IEEE TNNLS 28(11), 2017.

Axes: B cases of a batch, n cases, N items (ids 1..N, 0 is PAD), A augmented width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.ranks import target_ranks
from recbole_hiersrec.evaluation.scorer import InnerProductScorer, score
from recbole_hiersrec.evaluation.significance import (
    Interval,
    PairedDifference,
    mean_interval,
    paired_difference,
)
from recbole_hiersrec.explain import Explainer, part_vectors
from recbole_hiersrec.queries import Queries

_MASKED = -1e9  # a logit whose category gets the probability 0


@dataclass(frozen=True)
class Faithfulness:
    """One measure over all cases; ranks are places of the item that was first.

    Attributes:
        measure: "part", "category" or "feedback".
        named: mean places lost when what the explanation names is dropped.
        other: likewise for something else.
        difference: of the two, with interval and test by session.
        at_least: share of the cases in which the named one costs at least as many places as the other.
    """

    measure: str
    named: Interval
    other: Interval
    difference: PairedDifference
    at_least: Interval


@torch.no_grad()
def faithfulness(
    model: Any, scorer: InnerProductScorer, sessions: np.ndarray, *, seed: int, batch_size: int = 1024
) -> list[Faithfulness]:
    """Measure how faithful a model's explanations are.

    Args:
        model: HierSRec, in evaluation mode.
        scorer: of the same model and of n cases.
        sessions: [n], the session of each case; intervals take whole sessions.
        seed: of the random categories and of the intervals.
        batch_size: cases at a time.

    Returns:
        ``part``, and where the model has a level of several categories ``category`` and ``feedback``.

    Raises:
        InputError: there is no case, or fewer than two parts to compare.
    """
    if len(sessions) == 0:
        raise InputError("sessions: received none, allowed: at least one test case")
    probe = _Probe(model, scorer, seed)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for index in torch.arange(len(sessions)).split(batch_size):
        for measure, lost in probe.lost(index).items():
            found.setdefault(measure, []).append(lost)
    return [
        _summary(
            measure,
            np.concatenate([named for named, _ in lost]),
            np.concatenate([other for _, other in lost]),
            sessions,
            seed,
        )
        for measure, lost in found.items()
    ]


def _summary(
    measure: str, named: np.ndarray, other: np.ndarray, sessions: np.ndarray, seed: int
) -> Faithfulness:
    """Intervals of the places lost; ``other`` may have several columns a case [n, P], which are averaged."""
    at_least = (named[:, None] >= other).mean(axis=1)
    mean_other = other.mean(axis=1)
    return Faithfulness(
        measure,
        mean_interval(named, sessions, seed=seed),
        mean_interval(mean_other, sessions, seed=seed),
        paired_difference(named, mean_other, sessions, seed=seed),
        mean_interval(at_least, sessions, seed=seed),
    )


class _Probe:
    """Drops parts and categories for the cases of one model."""

    def __init__(self, model: Any, scorer: InnerProductScorer, seed: int) -> None:
        self.model, self.scorer = model, scorer
        self.table = scorer.item_vectors()
        self.explainer = Explainer(model)
        self.rng = np.random.default_rng(seed)
        heads, items = model.network.heads, model.network.items
        named = len(items.category) > 0 or model.network.n_scored > 0  # explanations have a part a level
        self.levels = [level for level, bias in enumerate(heads.bias) if named and len(bias) > 1]

    def lost(self, index: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Measure -> places lost by the first item of the cases ``index``: named [B], others [B, P]."""
        batch = self.scorer.batch(index)
        queries = self.scorer.queries(batch)
        scores = score(queries, self.table)
        first = scores[:, 1:].argmax(1) + 1
        before = target_ranks(scores, first)
        contributions = {
            part: values[:, 0]
            for part, values in self.explainer.contributions(queries, first.unsqueeze(1)).items()
        }
        found = {"part": _parts_dropped(scores, first, before, contributions)}
        if self.levels:
            named, other = (
                self._masked_ranks(batch, first, masked) for masked in self._categories(first, contributions)
            )
            for measure, own, drawn in zip(("category", "feedback"), named, other, strict=True):
                found[measure] = (own - before).cpu().numpy(), (drawn - before).cpu().numpy()[:, None]
        return found

    def _categories(self, first: Tensor, contributions: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(level, category) that the explanation names, and another category of that level; each long [B, 2]."""
        items = self.model.network.items
        by_level = torch.stack([contributions[items.names[level]] for level in self.levels])
        level = torch.tensor(self.levels).to(first.device)[by_level.argmax(0)]  # [B]
        own = items.item_category[first, level]
        sizes = np.array([len(bias) for bias in self.model.network.heads.bias])[level.cpu().numpy()]
        shift = 1 + self.rng.integers(0, sizes - 1)  # any category but the own one
        other = (own.cpu().numpy() + shift) % sizes
        drawn = torch.from_numpy(other).to(own.device)
        return torch.stack([level, own], 1), torch.stack([level, drawn], 1)

    def _masked_ranks(self, batch: Any, first: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of each case's item [B] once its (level, category) of ``masked`` [B, 2] is masked: the logit and
        the level's part, and the logit alone."""
        both, feedback = (torch.empty(len(first), dtype=torch.float64, device=first.device) for _ in range(2))
        for pair in masked.unique(dim=0):
            rows = (masked == pair).all(1).nonzero()[:, 0]
            level, category = pair.tolist()
            with self._without(level, category):
                queries = self.model.encode(batch[rows.cpu()], self.table)
            scores = score(queries, self.table)
            feedback[rows] = target_ranks(scores, first[rows])
            self._drop_part(scores, queries, level, category)
            both[rows] = target_ranks(scores, first[rows])
        return both, feedback

    @contextmanager
    def _without(self, level: int, category: int) -> Iterator[None]:
        """Run the heads as if the category could not come next; the item table is not touched by this."""
        bias = self.model.network.heads.bias[level].data
        before = bias[category].clone()
        bias[category] = _MASKED
        try:
            yield
        finally:
            bias[category] = before

    def _drop_part(self, scores: Tensor, queries: Queries, level: int, category: int) -> None:
        """Give the category's items the catalogue's mean of the level's part, in place of their own."""
        items = self.model.network.items
        members = (items.item_category[1:, level] == category).nonzero()[:, 0] + 1
        if len(members) == 0:
            return
        name = items.names[level]
        vector = part_vectors(self.model.network, members[:1])[name][0] - self.explainer.means[name]
        scores[:, members] -= (queries.vectors @ vector).unsqueeze(1)


def _parts_dropped(
    scores: Tensor, first: Tensor, before: Tensor, contributions: dict[str, Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Places lost without the largest contribution [B], and without each of the others [B, P - 1]."""
    if len(contributions) < 2:
        raise InputError(
            f"model: received one with the part {next(iter(contributions))} alone, allowed: several"
        )
    given = torch.stack(list(contributions.values()), 1)  # [B, P]
    own = scores.gather(1, first.unsqueeze(1))  # [B, 1]
    lost = torch.empty_like(given, dtype=torch.float64)
    for part in range(given.shape[1]):
        dropped = scores.scatter(1, first.unsqueeze(1), own - given[:, part : part + 1])
        lost[:, part] = target_ranks(dropped, first) - before
    largest = given.argmax(1, keepdim=True)
    others = torch.ones_like(given, dtype=torch.bool).scatter_(1, largest, False)
    return lost.gather(1, largest)[:, 0].cpu().numpy(), lost[others].view(len(given), -1).cpu().numpy()

"""One rank a test case: among all items, and among the candidates of each rule.

Axes: B batch, n cases, N items (ids 1..N, 0 is PAD), P candidates of the longest row.

The rank of the target is 1 + greater + (equal - 1) / 2, where *equal* counts the target itself: the mean of
the places that a tied target could take. A target that may not be ranked is a miss at every k: rank infinite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.errors import HierSRecError, InputError
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, is_inner_product, score
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.budget import item_budget

BATCH_ROWS = 256
"""Cases scored at once where nothing else is said: a gigabyte of scores for a million items."""

_COMPARED_AT_ONCE = 1 << 22  # elements; summing booleans makes an int64 copy of them, so do it piece by piece


class NonFiniteScoreError(HierSRecError):
    """A model gave an item a score that is NaN or infinite: its ranks would mean nothing."""


@dataclass(frozen=True)
class RankTable:
    """Raw ranks, in the order of the cases; nothing is rounded.

    Attributes:
        all: float64 [n], the target's rank among all items.
        by_rule: for each label float64 [n], its rank among the candidates; inf if it is not one of them.
        scored: for each label int64 [n], items scored.
        compared: for each label int64 [n], vectors compared to choose those items, beside those of the items scored;
            what a rule counts is said there.
        recommended: for each k that was asked for int64 [N+1], cases in whose k best items each item is.
    """

    all: np.ndarray
    by_rule: dict[str, np.ndarray]
    scored: dict[str, np.ndarray]
    compared: dict[str, np.ndarray]
    recommended: dict[int, np.ndarray] = field(default_factory=dict)


def target_ranks(scores: Tensor, target: Tensor, *, eligible: Tensor | None = None) -> Tensor:
    """Rank each target among the items of its row.

    Args:
        scores: [B, N+1]; column 0 (PAD) is never read.
        target: long [B], in 1..N.
        eligible: bool [B, N+1], the items that are ranked; all of them when absent.

    Returns:
        float64 [B]; inf where the target itself is not eligible.

    Raises:
        NonFiniteScoreError: if any item's score is NaN or infinite, eligible or not.
    """
    scores, target = scores[:, 1:], target[:, None] - 1  # [B, N], [B, 1]
    _require_finite(scores)
    eligible = None if eligible is None else eligible[:, 1:]
    ranks = _ranks(scores, scores.gather(1, target), eligible)
    if eligible is not None:
        ranks[~eligible.gather(1, target)[:, 0]] = torch.inf
    return ranks


def rank_cases(
    scorer: Scorer,
    cases: Cases,
    *,
    history: Literal["unmasked", "masked"],
    rules: Mapping[str, tuple[CandidateRule, float]] | None = None,
    batch_size: int = BATCH_ROWS,
    list_ks: Sequence[int] = (),
) -> RankTable:
    """Rank the target of every case, among all items and among the candidates of every rule.

    Candidates are ranked by the very scores that rank all items, so that a rule which returns all items gives
    identical ranks.

    Args:
        scorer: rules that need queries need one that scores by an inner product; the others are handed queries
            without vectors.
        cases: what is ranked; row i is the case ``i`` of the scorer.
        history: ``masked`` makes the items of a history ineligible, in both kinds of ranking.
        rules: label -> (rule, item fraction in (0, 1]).
        batch_size: cases scored at once.
        list_ks: lengths of the lists of best items that are counted, each at least 1.

    Raises:
        InputError: if a fraction leaves no item, ``history`` is neither of its two values, or the scores have
            another shape than [B, N+1].
        NonFiniteScoreError: if any score of an item is NaN or infinite.
    """
    if history not in ("unmasked", "masked"):
        raise InputError(f"history: received {history!r}, allowed: unmasked, masked")
    budgets = {
        label: (rule, item_budget(share, scorer.n_items)) for label, (rule, share) in (rules or {}).items()
    }
    ranks = torch.empty(len(cases), dtype=torch.float64)
    by_rule = {label: torch.empty_like(ranks) for label in budgets}
    scored, compared = (
        {label: torch.empty(len(cases), dtype=torch.long) for label in budgets} for _ in range(2)
    )
    recommended = torch.zeros(len(list_ks), scorer.n_items + 1, dtype=torch.long)
    # Together with others of like length, short sessions need little padding.
    of_like_length = cases.length.argsort(stable=True)
    with torch.no_grad():
        for index in of_like_length.split(batch_size):
            scores, queries = _score(scorer, scorer.batch(index), cases.history[index])
            _require_shape(scores, len(index), scorer.n_items)
            target = cases.target[index].to(scores.device)
            eligible = _unseen(scores, cases.history[index]) if history == "masked" else None
            ranks[index] = target_ranks(scores, target, eligible=eligible).cpu()
            if list_ks:
                recommended += count_recommended(scores, list_ks, eligible=eligible)
            for label, (rule, budget) in budgets.items():
                found = rule.candidates(queries, budget)
                _require_budget(found.ids, budget, label)
                ids = found.ids.to(scores.device)
                by_rule[label][index] = candidate_ranks(scores, target, ids, eligible=eligible).cpu()
                scored[label][index] = (ids != 0).sum(1).cpu()
                compared[label][index] = found.compared.cpu()
    lists = dict(zip(list_ks, recommended.numpy(), strict=True))
    return RankTable(ranks.numpy(), _numpy(by_rule), _numpy(scored), _numpy(compared), lists)


def candidate_ranks(scores: Tensor, target: Tensor, ids: Tensor, *, eligible: Tensor | None = None) -> Tensor:
    """Rank each target among the candidates of its row, by the scores of all items.

    Args:
        scores: [B, N+1], finite for every item (see :func:`target_ranks`).
        target: long [B], in 1..N.
        ids: long [B, P], the candidates; 0 where a row has fewer than P, no id twice in a row.
        eligible: bool [B, N+1], the items that are ranked if they are candidates.

    Returns:
        float64 [B]; inf where the target is not an eligible candidate.
    """
    target = target[:, None]
    ranked = ids != 0
    if eligible is not None:
        ranked &= eligible.gather(1, ids)
    ranks = _ranks(scores.gather(1, ids), scores.gather(1, target), ranked)
    ranks[~((ids == target) & ranked).any(1)] = torch.inf
    return ranks


def count_recommended(scores: Tensor, ks: Sequence[int], *, eligible: Tensor | None = None) -> Tensor:
    """Count in how many rows each item is among the k best; of equal scores the lowest id comes first.

    Args:
        scores: [B, N+1], finite for every item; column 0 (PAD) is never read.
        ks: lengths of the lists, each at least 1; a row with fewer items that may be ranked has a shorter list.
        eligible: bool [B, N+1], the items that are ranked; all of them when absent.

    Returns:
        long [len(ks), N+1], in the processor's memory.
    """
    n_items = scores.shape[1] - 1
    counts = torch.zeros(len(ks), n_items + 1, dtype=torch.long)
    for part in _row_parts(scores):
        items = scores[part, 1:]
        if eligible is not None:
            items = items.masked_fill(~eligible[part, 1:], -torch.inf)
        ids = _best(items, min(max(ks), n_items)).cpu()
        for count, k in zip(counts, ks, strict=True):
            count += torch.bincount(ids[:, :k].flatten(), minlength=n_items + 1)
    counts[:, 0] = 0
    return counts


def _best(items: Tensor, k: int) -> Tensor:
    """Ids of the k items with the highest scores, best first, of equal ones the lowest id first.

    Args:
        items: scores of the items, [B, N]; minus infinity for those that may not be ranked.
        k: 1 to N.

    Returns:
        long [B, k]; 0 where a row has fewer items that may be ranked.
    """
    values, places = items.topk(min(k + 1, items.shape[1]), dim=1)
    border = values[:, k - 1 : k]
    torn = (values[:, k:] == border).any(1) & (
        border[:, 0] > -torch.inf
    )  # the next item is as good as the last
    values, places = values[:, :k], places[:, :k]
    if torn.any():
        places[torn] = _lowest(items[torn], values[torn], places[torn])
    by_place = places.argsort(1)
    values, places = values.gather(1, by_place), places.gather(1, by_place)
    by_value = values.argsort(dim=1, descending=True, stable=True)
    return torch.where(values > -torch.inf, places + 1, 0).gather(1, by_value)


def _lowest(items: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """``places`` [B, k] of the k best of ``items`` [B, N], the lowest of those that are as good as the last one."""
    n_items, k = items.shape[1], values.shape[1]
    border = values[:, -1:]
    falling = torch.arange(n_items, 0, -1, dtype=torch.int32, device=items.device)
    lowest = torch.where(items == border, falling, 0).topk(k, dim=1).indices
    equal = values == border
    return torch.where(equal, lowest.gather(1, (equal.cumsum(1) - 1).clamp(min=0)), places)


def _row_parts(scores: Tensor) -> list[slice]:
    """Rows of ``scores`` that are looked at together."""
    rows = max(1, _COMPARED_AT_ONCE // max(1, scores.shape[1]))
    return [slice(start, start + rows) for start in range(0, len(scores), rows)]


def _ranks(scores: Tensor, own: Tensor, eligible: Tensor | None) -> Tensor:
    """1 + greater + (equal - 1) / 2 of ``own`` [B, 1] among the eligible columns of ``scores``, as [B]."""
    ranks = torch.empty(len(scores), dtype=torch.float64, device=scores.device)
    for part in _row_parts(scores):
        greater, equal = scores[part] > own[part], scores[part] == own[part]
        if eligible is not None:
            greater &= eligible[part]
            equal &= eligible[part]
        ranks[part] = 1 + greater.sum(1) + (equal.sum(1) - 1) / 2
    return ranks


def _score(scorer: Scorer, batch: Any, history: Tensor) -> tuple[Tensor, Queries]:
    """Scores [B, N+1], and the queries they came from; without vectors where scores are no inner products."""
    if not is_inner_product(scorer):
        return scorer.scores(batch), Queries(torch.empty(len(history), 0), history)
    queries = scorer.queries(batch)
    return score(queries, scorer.item_vectors()), queries


def _unseen(scores: Tensor, history: Tensor) -> Tensor:
    """Bool [B, N+1], False at the items of each history [B, L]; PAD is never ranked anyway."""
    eligible = torch.ones_like(scores, dtype=torch.bool)
    return eligible.scatter_(1, history.to(scores.device), False)


def _require_budget(ids: Tensor, budget: int, label: str) -> None:
    """Raise where a rule scores more items than it may, or one of them twice."""
    most = int((ids != 0).sum(1).max())
    if most > budget:
        raise HierSRecError(f"rule {label}: received {most} candidates for a query, allowed: {budget}")
    ordered = ids.sort(dim=1).values
    if bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)).any()):
        raise HierSRecError(
            f"rule {label}: received an item twice among the candidates of a query, allowed: once"
        )


def _require_shape(scores: Tensor, n_rows: int, n_items: int) -> None:
    if scores.shape != (n_rows, n_items + 1):
        raise InputError(
            f"scores: received shape {tuple(scores.shape)}, allowed: {(n_rows, n_items + 1)} with PAD"
        )


def _require_finite(scores: Tensor) -> None:
    """Raise at the first score of [B, N] that is not finite."""
    if torch.isfinite(scores.sum()):  # needs no matrix of booleans; an overflowing sum is looked into below
        return
    bad = (~torch.isfinite(scores)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise NonFiniteScoreError(
            f"scores: received {scores[row, column].item()} for item {column + 1} (row {row} of the batch; "
            f"{len(bad)} such scores), allowed: finite numbers"
        )


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {label: tensor.numpy() for label, tensor in tensors.items()}

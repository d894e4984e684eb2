"""Training losses as pure functions.

Axes: B rows, L history length, T targets, A augmented width, N items (ids 1..N, 0 is PAD), C categories, S negatives,
U items that a step looks up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_hiersrec.settings import HierSRecSettings


def next_items(history: Tensor, length: Tensor, target: Tensor) -> Tensor:
    """Label of every position: the item after it.

    Args:
        history: item ids, padded with 0 on the right, [B, L].
        length: number of items of each row, [B].
        target: the item after the last one, [B].

    Returns:
        [B, L]: ``history`` shifted left, ``target`` at position length - 1, 0 behind it.
    """
    labels = torch.zeros_like(history)
    labels[:, :-1] = history[:, 1:]
    return labels.scatter(1, (length - 1).unsqueeze(1), target.unsqueeze(1))


def seen_items(history: Tensor, real: Tensor) -> Tensor:
    """The distinct items that a session holds up to each target.

    Args:
        history: item ids, padded with 0 on the right, [B, L].
        real: positions that have a target, [B, L].

    Returns:
        Item ids [T, L]; 0 where an item stands further left already, or comes after the target's position.
    """
    length = history.size(1)
    earlier = torch.ones(length, length, dtype=torch.bool, device=history.device).tril(-1)
    again = ((history.unsqueeze(2) == history.unsqueeze(1)) & earlier).any(2)  # [B, L]
    rows, positions = real.nonzero(as_tuple=True)
    before = torch.arange(length, device=history.device) <= positions.unsqueeze(1)  # [T, L]
    return history.masked_fill(again, 0)[rows].masked_fill(~before, 0)


def full_softmax(
    queries: Tensor, item_vectors: Tensor, targets: Tensor, repeat: Repeat | None = None
) -> Tensor:
    """Mean cross-entropy over all N items.

    Args:
        queries: [T, A].
        item_vectors: [N + 1, A]; row 0 (PAD) takes no part.
        targets: item ids 1..N, [T].
        repeat: what the items of the session get on top.
    """
    logits = (queries @ item_vectors.T).float()
    if repeat is not None:
        logits = logits.scatter_add(1, repeat.seen, repeat.value.unsqueeze(1).expand(repeat.seen.shape))
    pad = torch.arange(logits.size(1), device=logits.device) == 0
    return F.cross_entropy(logits.masked_fill(pad, -torch.inf), targets)


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    excluded: Tensor,
    expected_count: Tensor,
    further: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the partition function estimated from shared negatives (logQ correction).

    Z is estimated by exp(s_target) + sum_j exp(s_j) / E[count of j], over the negatives j that are not counted
    already (Bengio & Senecal, 2008; Yi et al., RecSys 2019, eq. 3). What is always there, the target and the items
    of the session, is not corrected; so the estimate of Z is unbiased and the loss tends to :func:`full_softmax`
    as S grows.

    Args:
        positive: score of each target, [T].
        negative: score of each negative for each target, [T, S].
        excluded: bool [T, S], negatives that are the target or otherwise counted.
        expected_count: how often each negative is expected among the S drawn, S * Q(j), [S].
        further: scores of items that always count, -inf where there is none, [T, L].
    """
    corrected = (negative - expected_count.log()).masked_fill(excluded, -torch.inf)
    logits = [positive.unsqueeze(1), corrected] + ([] if further is None else [further])  # [T, 1 + S + L]
    return F.cross_entropy(torch.cat(logits, dim=1), positive.new_zeros(len(positive), dtype=torch.long))


def multi_task(
    item_loss: Tensor, category_logits: Sequence[Tensor], categories: Tensor, weights: Sequence[float]
) -> Tensor:
    """item_loss + sum_m weight_m x cross-entropy of level m.

    Args:
        item_loss: scalar.
        category_logits: one [T, C_m] a level.
        categories: category of the target on each level, [T, M].
        weights: one a level.
    """
    loss = item_loss
    for level, (logits, weight) in enumerate(zip(category_logits, weights, strict=True)):
        if weight > 0:
            loss = loss + weight * F.cross_entropy(logits.float(), categories[:, level])
    return loss


@dataclass(frozen=True)
class Repeat:
    """The repeat term of T targets: ``value`` is added to the score of every item that ``seen`` names.

    Attributes:
        seen: item ids [T, L], see :func:`seen_items`.
        value: r(h), [T].
    """

    seen: Tensor
    value: Tensor


@dataclass(frozen=True)
class StepItems:
    """The items that one training step looks up, and where in that list each of its roles is filled.

    Attributes:
        ids: [U]; each once when sampled, else 0..N.
        history: positions in ``ids`` of the session items, [B, L].
        targets: positions in ``ids``, [T].
        negatives: positions in ``ids``, [S]; None: all items are compared.
        expected: E[count] of each negative, [S].
    """

    ids: Tensor
    history: Tensor
    targets: Tensor
    negatives: Tensor | None = None
    expected: Tensor | None = None


def step_items(history: Tensor, targets: Tensor, n_items: int, sampler: NegativeSampler | None) -> StepItems:
    """Gather the items of a step: those of the batch and the negatives, or the whole catalogue without a sampler."""
    if sampler is None:
        return StepItems(torch.arange(n_items + 1, device=history.device), history, targets)
    drawn, expected = sampler.sample(history.device)
    ids, place = torch.unique(torch.cat([history.reshape(-1), targets, drawn]), return_inverse=True)
    of_history, of_targets, of_negatives = place.split([history.numel(), len(targets), len(drawn)])
    return StepItems(ids, of_history.view(history.shape), of_targets, of_negatives, expected)


def item_loss(
    queries: Tensor, items: StepItems, vectors: Tensor, real: Tensor, repeat: Repeat | None = None
) -> Tensor:
    """Mean loss of the next item over T targets: over all items, or over the step's negatives.

    Args:
        queries: [T, A].
        items: what the step looked up.
        vectors: of ``items.ids``, [U, A].
        real: positions that have a target, [B, L].
        repeat: what the items of the session get on top.
    """
    if items.negatives is None or items.expected is None:
        return full_softmax(queries, vectors, items.targets, repeat)
    negative = (queries @ vectors[items.negatives].T).float()  # [T, S]
    positive = (queries * vectors[items.targets]).sum(-1).float()
    excluded = items.negatives.unsqueeze(0) == items.targets.unsqueeze(1)
    if repeat is None:
        return sampled_softmax(positive, negative, excluded, items.expected)
    target_ids = items.ids[items.targets].unsqueeze(1)
    positive = positive + repeat.value * (repeat.seen == target_ids).any(1)
    own = _own_scores(queries, vectors[items.history], real).float() + repeat.value.unsqueeze(1)  # [T, L]
    own = own.masked_fill((repeat.seen == 0) | (repeat.seen == target_ids), -torch.inf)
    excluded = excluded | _already_seen(items.history, items.negatives, real)
    return sampled_softmax(positive, negative, excluded, items.expected, own)


def _own_scores(queries: Tensor, own: Tensor, real: Tensor) -> Tensor:
    """Queries [T, A] times the vectors of their own session's items [B, L, A], as [T, L]."""
    padded = queries.new_zeros(*real.shape, queries.size(-1))  # [B, L, A]
    padded[real] = queries
    return (padded @ own.to(queries.dtype).transpose(1, 2))[real]


def _already_seen(history: Tensor, negatives: Tensor, real: Tensor) -> Tensor:
    """Whether a negative stands in the session at or before each target's position, bool [T, S]."""
    equal = history.unsqueeze(2) == negatives  # [B, L, S]
    first = torch.where(equal.any(1), equal.int().argmax(1), history.size(1))  # [B, S]
    rows, positions = real.nonzero(as_tuple=True)
    return first[rows] <= positions.unsqueeze(1)


class NegativeSampler:
    """Draws item ids 1..N with probability proportional to count^power (0: uniform).

    Args:
        counts: how often each item occurs in training, [N + 1]; an item never seen counts as seen once.
        power: 0 uniform, 1 popularity.
        n_negatives: S.
    """

    def __init__(self, counts: Tensor, power: float, n_negatives: int) -> None:
        weights = counts[1:].double().clamp(min=1).pow(power)
        self.probability = weights / weights.sum()  # Q, [N]
        self.cumulative = self.probability.cumsum(0)
        self.n_negatives = n_negatives

    def sample(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return (ids [S], expected counts S * Q [S])."""
        drawn = torch.rand(self.n_negatives, dtype=torch.float64)
        rows = torch.searchsorted(self.cumulative, drawn).clamp(max=len(self.cumulative) - 1)
        expected = self.probability[rows] * self.n_negatives
        return (rows + 1).to(device), expected.float().to(device)


def takes_sparse(config: Any) -> bool:
    """Whether RecBole's configuration asks for an optimiser that can follow sparse gradients: Adam, no decay."""
    return str(config["learner"]).lower() == "adam" and not config["weight_decay"]


def sampler_of(settings: HierSRecSettings, counts: Tensor) -> NegativeSampler | None:
    """The sampler that the settings ask for; None for the full softmax.

    Args:
        settings: ``loss``, ``n_negatives`` and ``negative_power`` are read.
        counts: training interactions of each item, [N + 1].
    """
    if settings.loss == "full":
        return None
    return NegativeSampler(counts, settings.negative_power, settings.n_negatives)

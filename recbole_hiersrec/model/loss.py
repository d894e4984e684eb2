"""Training losses as pure functions.

Axes: B rows, L history length, T targets, A augmented width, N items (ids 1..N, 0 is PAD), C categories, S negatives,
U items that a step looks up, E items scored apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_hiersrec.model.products import listed_products
from recbole_hiersrec.queries import Apart
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


def full_softmax(
    queries: Tensor, item_vectors: Tensor, targets: Tensor, apart: Apart | None = None
) -> Tensor:
    """Mean cross-entropy over all N items.

    Args:
        queries: [T, A].
        item_vectors: [N + 1, A]; row 0 (PAD) takes no part.
        targets: item ids 1..N, [T].
        apart: items that get a bonus, ids [T, E]; one that stands there twice gets both.
    """
    logits = (queries @ item_vectors.T).float()  # what needs most memory; what follows is done in it
    if apart is not None:
        logits.scatter_add_(1, apart.ids, apart.bonus)
    pad = torch.arange(logits.size(1), device=logits.device) == 0
    return F.cross_entropy(logits.masked_fill_(pad, -torch.inf), targets)


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
class StepItems:
    """The items that one training step looks up, and where in that list each of its roles is filled.

    Attributes:
        ids: [U]; the PAD, then each item once when sampled, else 0..N.
        history: positions in ``ids`` of the session items, [B, L].
        targets: positions in ``ids``, [T].
        known: positions in ``ids`` of the items that the memory knows at each target, [T, E].
        negatives: positions in ``ids``, [S]; None: all items are compared.
        expected: E[count] of each negative, [S].
    """

    ids: Tensor
    history: Tensor
    targets: Tensor
    known: Tensor
    negatives: Tensor | None = None
    expected: Tensor | None = None


def step_items(
    history: Tensor,
    targets: Tensor,
    n_items: int,
    sampler: NegativeSampler | None,
    known: Tensor | None = None,
) -> StepItems:
    """Gather the items of a step: those of the batch and the negatives, or the whole catalogue without a sampler.

    Args:
        history: item ids, [B, L].
        targets: item ids, [T].
        n_items: N.
        sampler: None for the full softmax.
        known: items that the memory knows at each target, 0 for none, [T, E].
    """
    if known is None:
        known = targets.new_zeros(len(targets), 0)
    if sampler is None:
        return StepItems(torch.arange(n_items + 1, device=history.device), history, targets, known)
    drawn, expected = sampler.sample(history.device)
    roles = [history.new_zeros(1), history.reshape(-1), targets, known.reshape(-1), drawn]
    ids, place = torch.unique(torch.cat(roles), return_inverse=True)
    _, of_history, of_targets, of_known, of_negatives = place.split([len(role) for role in roles])
    return StepItems(
        ids,
        of_history.view(history.shape),
        of_targets,
        of_known.view(known.shape),
        of_negatives,
        expected,
    )


def item_loss(
    queries: Tensor, items: StepItems, vectors: Tensor, real: Tensor, apart: Apart | None = None
) -> Tensor:
    """Mean loss of the next item over T targets: over all items, or over the step's negatives.

    Args:
        queries: [T, A].
        items: what the step looked up.
        vectors: of ``items.ids``, [U, A].
        real: positions that have a target, [B, L].
        apart: items that get a bonus, as positions in ``items.ids``: the session's own items [T, L] or none, then
            those that the memory knows; with negatives no item twice.
    """
    if items.negatives is None or items.expected is None:
        return full_softmax(queries, vectors, items.targets, apart)
    # F.embedding, whose backward pass adds rows many times faster than that of indexing.
    negative = (queries @ F.embedding(items.negatives, vectors).T).float()  # [T, S]
    positive = (queries * F.embedding(items.targets, vectors)).sum(-1).float()
    target = items.targets.unsqueeze(1)
    if apart is None:
        return sampled_softmax(positive, negative, items.negatives == target, items.expected)
    is_target = apart.ids == target
    positive = positive + (apart.bonus * is_target).sum(1)
    scores = _apart_scores(queries, items, vectors, real, apart) + apart.bonus
    scores = scores.masked_fill((apart.ids == 0) | is_target, -torch.inf)
    counted = _among(items.negatives, torch.cat([target, apart.ids], dim=1), len(items.ids))
    return sampled_softmax(positive, negative, counted, items.expected, scores)


def _apart_scores(queries: Tensor, items: StepItems, vectors: Tensor, real: Tensor, apart: Apart) -> Tensor:
    """Inner products of each query with the items scored apart, [T, E]."""
    known = listed_products(queries, vectors, items.known)
    if apart.ids.size(1) == known.size(1):
        return known
    padded = queries.new_zeros(*real.shape, queries.size(-1))  # [B, L, A]
    padded[real] = queries
    own = F.embedding(items.history, vectors)  # [B, L, A], once a session instead of once a target
    own = own.to(queries.dtype)
    return torch.cat([(padded @ own.transpose(1, 2))[real].float(), known], dim=1)


def _among(negatives: Tensor, rows: Tensor, n_positions: int) -> Tensor:
    """Whether each of the negatives [S] stands in each of ``rows`` [T, R] of positions, bool [T, S]."""
    slot = rows.new_full((n_positions,), len(negatives))  # of a negative drawn twice: one of the two
    slot[negatives] = torch.arange(len(negatives), device=rows.device)
    marked = torch.zeros(len(rows), len(negatives) + 1, dtype=torch.bool, device=rows.device)
    return marked.scatter_(1, slot[rows], True)[:, slot[negatives]]


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
    """Whether RecBole's configuration can do with sparse gradients: Adam; no decay, clipping or scaling."""
    dense = config["weight_decay"] or config["clip_grad_norm"] or config["enable_scaler"]
    return str(config["learner"]).lower() == "adam" and not dense


def sampler_of(settings: HierSRecSettings, counts: Tensor) -> NegativeSampler | None:
    """The sampler that the settings ask for; None for the full softmax.

    Args:
        settings: ``loss``, ``n_negatives`` and ``negative_power`` are read.
        counts: training interactions of each item, [N + 1].
    """
    if settings.loss == "full":
        return None
    return NegativeSampler(counts, settings.negative_power, settings.n_negatives)

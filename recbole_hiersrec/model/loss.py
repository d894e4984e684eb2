"""Training losses as pure functions. T targets, A augmented width, N items (ids 1..N), C categories, S negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def full_softmax(queries: Tensor, item_vectors: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over all N items.

    Args:
        queries: [T, A].
        item_vectors: [N + 1, A]; row 0 (PAD) takes no part.
        targets: item ids 1..N, [T].
    """
    return F.cross_entropy(queries @ item_vectors[1:].T, targets - 1)


def sampled_softmax(
    positive: Tensor, negative: Tensor, negative_ids: Tensor, targets: Tensor, expected_count: Tensor
) -> Tensor:
    """Cross-entropy with the partition function estimated from shared negatives (logQ correction).

    Z is estimated by exp(s_target) + sum_j exp(s_j) / E[count of j], over the negatives j other than the target
    (Bengio & Senecal, 2008; Yi et al., RecSys 2019, eq. 3). The target itself is not corrected, since it is
    always there; so the estimate of Z is unbiased and the loss tends to :func:`full_softmax` as S grows.

    Args:
        positive: score of each target, [T].
        negative: score of each negative for each target, [T, S].
        negative_ids: [S], drawn with replacement from 1..N.
        targets: [T].
        expected_count: how often each negative is expected among the S drawn, S * Q(j), [S].
    """
    corrected = negative - expected_count.log()
    corrected = corrected.masked_fill(negative_ids.unsqueeze(0) == targets.unsqueeze(1), -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), corrected], dim=1)  # [T, 1 + S]
    return F.cross_entropy(logits, torch.zeros_like(targets))


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
            loss = loss + weight * F.cross_entropy(logits, categories[:, level])
    return loss


def item_loss(
    queries: Tensor,
    targets: Tensor,
    vectors: Callable[[Tensor | None], Tensor],
    sampler: NegativeSampler | None,
) -> Tensor:
    """Mean loss of the next item over T targets: over all items, or with a sampler over its negatives.

    Args:
        queries: [T, A].
        targets: item ids 1..N, [T].
        vectors: item ids [...] -> item vectors [..., A]; None -> the whole table [N + 1, A].
        sampler: None for the full softmax.
    """
    if sampler is None:
        return full_softmax(queries, vectors(None), targets)
    negatives, expected = sampler.sample(queries.device)
    positive = (queries * vectors(targets)).sum(-1)
    return sampled_softmax(positive, queries @ vectors(negatives).T, negatives, targets, expected)


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


def sampler_of(settings: HierSRecSettings, counts: Tensor) -> NegativeSampler | None:
    """The sampler that the settings ask for; None for the full softmax.

    Args:
        settings: ``loss``, ``n_negatives`` and ``negative_power`` are read.
        counts: training interactions of each item, [N + 1].
    """
    if settings.loss == "full":
        return None
    return NegativeSampler(counts, settings.negative_power, settings.n_negatives)

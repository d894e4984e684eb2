"""From ranks to one value a case, and to means. With one target a case, Recall is the hit rate.

A case is a hit at k if and only if its target's rank is at most k; ties give fractional ranks (see `ranks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from recbole_hiersrec.errors import InputError, nearest


def recall(ranks: np.ndarray, k: int) -> np.ndarray:
    r"""Recall at k with one relevant item, which is also the hit rate.

    .. math:: \mathrm{Recall@}k = [\,r \le k\,]

    Deshpande and Karypis, *Item-based top-N recommendation algorithms*, ACM TOIS 22(1), 2004 (there HR).

    Args:
        ranks: float64 [n], the targets' ranks; inf is a miss.
        k: length of the list, at least 1.

    Returns:
        float64 [n], 0 or 1.
    """
    return (ranks <= k).astype(np.float64)


def mrr(ranks: np.ndarray, k: int) -> np.ndarray:
    r"""Reciprocal rank, 0 beyond k.

    .. math:: \mathrm{RR@}k = [\,r \le k\,] \, / \, r

    Voorhees, *The TREC-8 question answering track report*, 1999; cut off at k as in Hidasi et al.,
    *Session-based recommendations with recurrent neural networks*, ICLR 2016.

    Args:
        ranks: float64 [n], the targets' ranks; inf is a miss.
        k: length of the list, at least 1.

    Returns:
        float64 [n], in [0, 1].
    """
    return np.where(ranks <= k, 1 / ranks, 0.0)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    r"""Normalised discounted cumulative gain with one relevant item, whose ideal gain is 1.

    .. math:: \mathrm{NDCG@}k = [\,r \le k\,] \, / \, \log_2(r + 1)

    Järvelin and Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, ACM TOIS 20(4), 2002.

    Args:
        ranks: float64 [n], the targets' ranks; inf is a miss.
        k: length of the list, at least 1.

    Returns:
        float64 [n], in [0, 1].
    """
    return np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)


METRICS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"Recall": recall, "MRR": mrr, "NDCG": ndcg}


def mean_metrics(
    ranks: np.ndarray, metrics: Iterable[str], ks: Iterable[int]
) -> list[tuple[str, int, float, int]]:
    """Average each metric over the cases.

    Args:
        ranks: float64 [n].
        metrics: names in :data:`METRICS`.
        ks: list lengths, each at least 1.

    Returns:
        (metric, k, mean, number of cases), metric by metric, in the order asked for.

    Raises:
        InputError: if a metric is unknown, a k is below 1, or there is no case.
    """
    metrics, ks = list(metrics), list(ks)
    for name in metrics:
        if name not in METRICS:
            raise InputError(
                f"metrics: received '{name}'{nearest(name, METRICS)} (allowed: {', '.join(METRICS)})"
            )
    if any(k < 1 for k in ks):
        raise InputError(f"ks: received {min(ks)}, allowed: whole numbers from 1")
    if len(ranks) == 0:
        raise InputError("ranks: received no test case, allowed: at least one")
    return [(name, k, float(METRICS[name](ranks, k).mean()), len(ranks)) for name in metrics for k in ks]

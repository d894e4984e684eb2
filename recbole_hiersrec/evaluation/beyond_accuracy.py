"""What a model's recommendations are like taken together: how many items, how evenly, how unexpected.

Each measure is of how often every item is among the k recommended ones, over all test cases.

Axes: N items, all of the universe, those that are never recommended among them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def coverage(recommended: np.ndarray) -> float:
    """Catalogue coverage: the share of all items that are recommended in at least one case.

    Ge, Delgado-Battenfeld and Jannach, *Beyond accuracy: evaluating recommender systems by coverage and serendipity*,
    RecSys 2010, section 3.1.

    Args:
        recommended: int64 [N], lists that each item is in.
    """
    return float((recommended > 0).mean())


def gini(recommended: np.ndarray) -> float:
    r"""Gini coefficient of how often items are recommended: 0 if all are equally often, near 1 if few get everything.

    .. math:: G = \frac{\sum_{j=1}^{N} (2j - N - 1)\, x_{(j)}}{N \sum_j x_{(j)}}, \quad x_{(1)} \le \dots \le x_{(N)}

    which is half the mean absolute difference of two items over the mean. Of recommendations: Fleder and Hosanagar,
    *Blockbuster culture's next rise or fall*, Management Science 55(5), 2009.

    Args:
        recommended: int64 [N], lists that each item is in, at least one of them above 0.
    """
    n_items = len(recommended)
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights * np.sort(recommended)).sum() / (n_items * recommended.sum()))


def novelty(recommended: np.ndarray, training: np.ndarray) -> float:
    r"""Mean self-information of the recommended items, in bits: the rarer in training, the more.

    .. math:: \frac{1}{\sum_i x_i} \sum_i x_i \left(-\log_2 \frac{\max(c_i, 1)}{\sum_j c_j}\right)

    Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang, *Solving the apparent diversity-accuracy dilemma of recommender
    systems*, PNAS 107(10), 2010; Vargas and Castells, *Rank and relevance in novelty and diversity metrics for
    recommender systems*, RecSys 2011. An item without a training interaction, which would have infinitely many bits,
    counts as one with a single interaction.

    Args:
        recommended: int64 [N], x: lists that each item is in, at least one of them above 0.
        training: int64 [N], c: training interactions of each item, at least one of them above 0.
    """
    bits = np.log2(training.sum()) - np.log2(np.maximum(training, 1))
    return float((recommended * bits).sum() / recommended.sum())


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Coverage": lambda recommended, _: coverage(recommended),
    "Gini": lambda recommended, _: gini(recommended),
    "Novelty": novelty,
}
"""Name -> measure of (lists that each item is in, training interactions of each item), both int64 [N]."""

"""Scores that rank without arbitrary ties: places in an order, which float32 holds exactly.

Axes: B sessions, N items (ids 1..N, 0 is PAD), E entries of a sparse matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

_BITS = 33
"""Numbers that agree in so many bits are equal: sums of the same numbers in another order differ in the last ones."""


def popularity_places(counts: Tensor) -> Tensor:
    """Place of each item among the R different numbers of training interactions, lowest 0; long [N + 1].

    Args:
        counts: training interactions of each item, long [N + 1].
    """
    return counts.unique(return_inverse=True)[1]


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values to 33 significant bits, about ten digits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, _BITS)), exponent - _BITS)


def within(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... within groups of these sizes that lie one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def in_order(scores: csr_array, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Each item's place in its row: above all others those that have a score, by it and then by popularity.

    Args:
        scores: float64 [B, N + 1]; entries that are not there are items without a score.
        places: :func:`popularity_places`, [N + 1].

    Returns:
        Whole numbers [B, N + 1]: the popularity places of items without a score; above these 1, 2, ... for the
        different (score, popularity) of the others. Scores that agree in 33 bits are the same.
    """
    ordered = np.tile(places.astype(np.float32), (scores.shape[0], 1))
    if scores.nnz == 0:
        return ordered
    row = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    value, place = rounded(scores.data), places[scores.indices]
    order = np.lexsort((place, value, row))
    row, item, value, place = row[order], scores.indices[order], value[order], place[order]
    same_row = np.r_[False, row[1:] == row[:-1]]
    new = ~same_row | np.r_[True, (value[1:] != value[:-1]) | (place[1:] != place[:-1])]
    number = np.cumsum(new)
    before = np.maximum.accumulate(np.where(same_row, 0, number - 1))
    ordered[row, item] = places.max() + number - before
    return ordered

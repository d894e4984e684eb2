"""Vector multiplication session-kNN: the latest clicks of the current session count most."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from recbole_hiersrec.baselines.neighbourhood import Floats, Held, Pairs
from recbole_hiersrec.baselines.neighbours import Current, NeighbourModel
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.settings import Decay

DECAYS: Mapping[Decay, Callable[[IntArray, IntArray], Floats]] = {
    "none": lambda place, length: np.ones(len(place)),
    "linear": lambda place, length: place / length,
    "quadratic": lambda place, length: (place / length) ** 2,
    "reciprocal": lambda place, length: 1 / (length - place + 1),
}
"""Weight of click x of l clicks (``place`` and ``length``, [E]): 1 for the last click, less for those before it."""


class VSKNN(NeighbourModel):
    """sim(s, n) = sum over shared items of f(x), w(i, n, s) = g(x_n) (1 + c log(H / h_i)).

    x is which of the |s| clicks of s the item is and x_n that of the last click that s and n share; f is
    ``position_decay``, g ``match_decay``, c ``idf_weight``; h_i of H training sessions hold item i.

    Ludewig & Jannach, 2018, Evaluation of session-based recommendation algorithms (UMUAI 28), section 4.3: the inner
    product with f(x) = x / |s| is V-SKNN, g(x_n) = x_n / |s| is w_n of S-SKNN; here these are ``linear``. VSKNN of
    the authors' later studies has the linear f and g(x_n) = 1 / (steps back to it), here ``reciprocal``. The default is
    ``reciprocal`` for both, which did better in validation on Amazon Beauty and on Wikispeedia. ``match_decay: none``
    is V-SKNN alone. The weighting by inverse document frequency came with Ludewig, Mauro, Latifi & Jannach, 2021,
    Empirical analysis of session-based recommendation algorithms (UMUAI 31, arXiv 1910.12781), and is off by default.
    Their code (session-rec, ``vsknn.py``) takes h_i as clicks, this as sessions; it divides sim by |s|, which changes
    no order.
    """

    def position_weights(self, place: IntArray, length: IntArray) -> Floats:
        """f(x), [E]."""
        return DECAYS[self.settings.position_decay](place, length)

    def similarity(self, pairs: Pairs, current: Current) -> Floats:
        """The inner product, [P]."""
        return pairs.value

    def item_weights(self, neighbours: Pairs, held: Held, current: Current) -> Floats:
        """g(x_n) (1 + c log(H / h_i)), [E]."""
        matched = DECAYS[self.settings.match_decay](held.largest(held.here), current.length[neighbours.row])
        rarity = np.log(len(self.index.sizes) / self.index.holders[held.item])
        return matched[held.pair] * (1 + self.settings.idf_weight * rarity)

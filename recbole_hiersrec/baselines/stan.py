"""STAN: session-kNN that knows where an item stands in both sessions, and how old a neighbour is."""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.baselines.neighbourhood import Floats, Held, Pairs
from recbole_hiersrec.baselines.neighbours import Current, NeighbourModel
from recbole_hiersrec.data.taxonomy import IntArray

DAY = 86_400.0


class STAN(NeighbourModel):
    """sim(s, n) = w_2 sum over shared items of w_1 / sqrt(|s| |n|), w(i, n, s) = w_3, with

        w_1 = exp((p(i, s) - |s|) / lambda1)              p: which click of the session an item is
        w_2 = exp(-|t(s) - t(n)| / lambda2)               t: time of the last click, in days
        w_3 = exp(-|p(i, n) - p(i*, n)| / lambda3)        i*: the last click of n that is in s, too

    Garg, Gupta, Malhotra, Vig & Shroff, 2019, Sequence and time aware neighborhood for session-based recommendations:
    STAN (SIGIR), factors 1 to 3. As published the cosine is divided by lengths, not by the norm of the weights, as the
    code of session-rec (``stan.py``) does; for one s both give the same order. Below the root stand different items.

    Neighbours are earlier than s in the paper, and there |t(s) - t(n)| is t(s) - t(n); leave-one-out has later ones.
    A data set without times has w_2 = 1; a batch without times is taken to follow on the last training click. All w_2
    of one s are relative to its largest, so that none vanishes because all neighbours are old; the order is the same.
    """

    def position_weights(self, place: IntArray, length: IntArray) -> Floats:
        """w_1, [E]; the least number instead of 0, as an item shared is shared however small its weight."""
        return np.maximum(np.exp((place - length) / self.settings.lambda1), np.finfo(np.float64).tiny)

    def similarity(self, pairs: Pairs, current: Current) -> Floats:
        """Product of the weighted cosine and w_2, [P]."""
        own = np.diff(current.places.indptr)[pairs.row]
        cosine = pairs.value / np.sqrt(own * self.index.sizes[pairs.session])
        age = np.abs(current.time[pairs.row] - self.index.ends[pairs.session]) / DAY
        least = np.full(len(current.time), np.inf)
        np.minimum.at(least, pairs.row, age)
        return cosine * np.exp((least[pairs.row] - age) / self.settings.lambda2)

    def item_weights(self, neighbours: Pairs, held: Held, current: Current) -> Floats:
        """w_3, [E]."""
        last_shared = held.largest(np.where(held.here > 0, held.place, 0))
        return np.exp(-np.abs(held.place - last_shared[held.pair]) / self.settings.lambda3)

"""Session-kNN: items of the training sessions that share the most with the current one."""

from __future__ import annotations

import numpy as np

from recbole_hiersrec.baselines.neighbourhood import Floats, Held, Pairs
from recbole_hiersrec.baselines.neighbours import Current, NeighbourModel
from recbole_hiersrec.data.taxonomy import IntArray


class SKNN(NeighbourModel):
    """sim(s, n) = |s and n| / sqrt(|s| |n|), the cosine of binary item vectors; w = 1.

    Jannach & Ludewig, 2017, When recurrent neural networks meet the neighborhood for session-based recommendation
    (RecSys), section 3.1; |s| are different items. Their code (session-rec, ``sknn.py``) multiplies by sqrt(|n|)
    instead of dividing by it; this follows the paper.
    """

    def position_weights(self, place: IntArray, length: IntArray) -> Floats:
        """1 for every item."""
        return np.ones(len(place))

    def similarity(self, pairs: Pairs, current: Current) -> Floats:
        """Cosine, [P]."""
        own = np.diff(current.places.indptr)[pairs.row]
        return pairs.value / np.sqrt(own * self.index.sizes[pairs.session])

    def item_weights(self, neighbours: Pairs, held: Held, current: Current) -> Floats:
        """1 for every item, [E]."""
        return np.ones(len(held.item))

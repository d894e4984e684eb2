"""What followed each item in training, and how far a session trusts it: memory beside the encoder.

A network generalises well and memorises poorly; counting does the opposite. The score of an item that followed the
session's last item n times in training gets a(h) + (1 + b(h)) log n on top, a and b linear in the state: with a
large, the ranking is that of a first-order Markov chain, smoothed by everything else. The idea of letting a wide
memory and a deep model learn together is that of Wide & Deep (Cheng et al., 2016, arXiv 1606.07792).

Axes: T targets, D width, N items (ids 1..N, 0 is PAD), K followers kept of each item.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Transitions(nn.Module):
    """The K items that most often followed each item, and the bonus they get.

    Args:
        followers: item ids, most frequent first, 0-padded, [N + 1, K].
        counts: how often each followed, [N + 1, K].
        hidden_size: width D of states.
    """

    followers: Tensor
    counts: Tensor

    def __init__(self, followers: Tensor, counts: Tensor, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("followers", followers)
        self.register_buffer("counts", counts.float())
        self.trust = nn.Linear(hidden_size, 2)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.trust.bias)

    def look_up(self, last: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Followers of the items ``last`` [T]: ids [T, K], 0 where there is none; counts [T, K].

        Args:
            last: item ids.
            target: in training, the item that followed each [T]: its own transition is taken out of the counts, as
                one that is yet to be predicted is in no count. What is left at 0 is none.
        """
        ids, counts = self.followers[last], self.counts[last]
        if target is not None:
            counts = counts - (ids == target.unsqueeze(1)).to(counts.dtype)
        return ids * (counts > 0), counts

    def bonus(self, states: Tensor, ids: Tensor, counts: Tensor) -> Tensor:
        """What each follower's score gets on top, [T, K]; 0 where there is none."""
        trust = self.trust(states).float()
        return (trust[:, :1] + (1 + trust[:, 1:]) * counts.clamp(min=1).log()) * (ids > 0)


def count_transitions(
    before: NDArray[np.integer], after: NDArray[np.integer], n_items: int, kept: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Count which items followed each item, and keep the most frequent ones; of equal ones the lower id.

    Args:
        before: item ids 1..N, one a transition.
        after: the item that came next.
        n_items: N.
        kept: K.

    Returns:
        followers [N + 1, K], 0-padded, most frequent first; counts [N + 1, K].
    """
    pairs, counts = np.unique(before.astype(np.int64) * (n_items + 1) + after, return_counts=True)
    source, target = np.divmod(pairs, n_items + 1)
    order = np.lexsort((target, -counts, source))
    source, target, counts = source[order], target[order], counts[order]
    first = np.searchsorted(source, source)  # where the followers of this item begin
    place = np.arange(len(source)) - first
    chosen = place < kept
    width = int(place[chosen].max(initial=-1)) + 1
    followers = np.zeros((n_items + 1, width), np.int64)
    weights = np.zeros((n_items + 1, width), np.float32)
    followers[source[chosen], place[chosen]] = target[chosen]
    weights[source[chosen], place[chosen]] = counts[chosen]
    return followers, weights

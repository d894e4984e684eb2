"""What followed each item in training, and how far a session trusts it: memory beside the encoder.

A network generalises well and memorises poorly; counting does the opposite. The score of an item that came g
steps after the session's g-th last item n times in training gets a_g(h) + b_g(h) log n on top, a and b linear in
the state, b_1 beginning at 1: with a_1 large, the ranking is that of a first-order Markov chain, smoothed by
everything else. The idea of letting a wide memory and a deep model learn together is that of Wide & Deep (Cheng
et al., 2016, arXiv 1606.07792).

Axes: T targets, D width, N items (ids 1..N, 0 is PAD), G lags, K followers kept of each item and lag.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbole_hiersrec.queries import Apart, join_apart


class Transitions(nn.Module):
    """The K items that most often came g steps after each item, and the bonus they get.

    Args:
        followers: item ids, most frequent first, 0-padded, [G, N + 1, K].
        counts: how often each came, [G, N + 1, K].
        hidden_size: width D of states.
    """

    followers: Tensor
    counts: Tensor

    def __init__(self, followers: Tensor, counts: Tensor, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("followers", followers)
        self.register_buffer("counts", counts.float())
        self.lags = len(followers)
        self.trust = nn.Linear(hidden_size, 2 * self.lags)
        # What came next begins as a Markov chain, what came later as nothing.
        first = torch.arange(self.lags) == 0
        self.register_buffer("slope", first.float().unsqueeze(-1), persistent=False)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.trust.bias)

    def look_up(self, last: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Followers of the last items: ids [T, G, K], 0 where there is none; counts [T, G, K].

        Args:
            last: the g-th last item of each session, 0 where it is shorter, [T, G].
            target: in training, the item that came next, [T]: its own transition is taken out of the counts, as
                one that is yet to be predicted is in no count. What is left at 0 is none.
        """
        lag = torch.arange(self.lags, device=last.device)
        ids, counts = self.followers[lag, last], self.counts[lag, last]
        if target is not None:
            counts = counts - (ids == target.view(-1, 1, 1)).to(counts.dtype)
        return ids * (counts > 0), counts

    def bonus(self, states: Tensor, ids: Tensor, counts: Tensor) -> Apart:
        """What each follower's score gets on top; one that follows at several lags gets all of it once.

        Args:
            states: [T, D].
            ids: [T, G, K]; 0 where there is none.
            counts: [T, G, K].

        Returns:
            Ids and bonuses, [T, G K], lag by lag.
        """
        trust = self.trust(states).float().unflatten(-1, (self.lags, 2)).unsqueeze(-1)  # [T, G, 2, 1]
        slope = trust[:, :, 1] + self.slope  # [T, G, 1]
        values = (trust[:, :, 0] + slope * counts.clamp(min=1).log()) * (ids > 0)
        joined = Apart(ids[:, 0], values[:, 0])
        for lag in range(1, self.lags):
            joined = join_apart(joined, Apart(ids[:, lag], values[:, lag]))
        return joined


def last_items(history: Tensor, rows: Tensor, positions: Tensor, lags: int) -> Tensor:
    """The item at each position and the ones before it, 0 where the session begins later.

    Args:
        history: item ids, [B, L].
        rows: of the T positions, [T].
        positions: in their rows, [T].
        lags: how many items, G.

    Returns:
        [T, G].
    """
    back = positions.unsqueeze(1) - torch.arange(lags, device=history.device)  # [T, G]
    return history[rows.unsqueeze(1), back.clamp(min=0)] * (back >= 0)


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
    followers = np.zeros((n_items + 1, kept), np.int64)
    weights = np.zeros((n_items + 1, kept), np.float32)
    followers[source[chosen], place[chosen]] = target[chosen]
    weights[source[chosen], place[chosen]] = counts[chosen]
    return followers, weights

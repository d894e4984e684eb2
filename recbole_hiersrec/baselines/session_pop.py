"""Popularity within the session."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_hiersrec.baselines.counting import CountingModel
from recbole_hiersrec.baselines.places import popularity_places
from recbole_hiersrec.data.dataset import item_counts_of


class SessionPop(CountingModel):
    """Score of item j in session s: clicks on j in s + r(j) / (1 + R).

    S-POP (Hidasi et al., 2016, Session-based recommendations with recurrent neural networks, arXiv 1511.06939,
    section 4): the most popular items of the session, ties broken by training popularity. r(j) < R is the place of j
    among the R different numbers of training interactions; clicks are those of the last ``MAX_ITEM_LIST_LENGTH``.
    """

    popularity: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        places = popularity_places(item_counts_of(dataset))
        self.register_buffer("popularity", places.float() / (2 + places.max()))

    def count_scores(self, history: Tensor, length: Tensor, interaction: Any) -> Tensor:
        """Clicks in the session and popularity, [B, N + 1]."""
        clicks = self.popularity.new_zeros(len(history), self.n_items)
        clicks.scatter_add_(1, history, (history > 0).to(clicks.dtype))
        return clicks + self.popularity

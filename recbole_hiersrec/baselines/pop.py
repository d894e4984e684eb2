"""Popularity for sequences: ranked per prefix with the history unmasked, unlike RecBole's Pop."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_hiersrec.baselines.counting import CountingModel
from recbole_hiersrec.data.dataset import item_counts_of


class SequentialPop(CountingModel):
    """Score of an item: its number of training interactions, whatever the session.

    RecBole's own Pop is evaluated a user, with the history masked, so its figures cannot stand beside those of
    sequential models.
    """

    counts: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.register_buffer("counts", item_counts_of(dataset).float())

    def count_scores(self, history: Tensor, length: Tensor, interaction: Any) -> Tensor:
        """The same row for every session, [B, N + 1]."""
        return self.counts.expand(len(history), -1).clone()

"""What the counting models share: they are finished when built, and have nothing for an optimiser to do."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_hiersrec.queries import checked_items, checked_sessions


class CountingModel(SequentialRecommender):
    """Base of models that count the training part once, in ``__init__``.

    RecBole's trainers want a parameter and a loss; both are there, and the loss is constantly 0.
    """

    input_type = InputType.POINTWISE
    way = "counted"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.unused = nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction: Any) -> Tensor:
        """0 for every batch: there is nothing to learn."""
        return self.unused.sum() * 0

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's own item, [B]."""
        items = checked_items(self, interaction)
        return self.full_sort_predict(interaction).gather(1, items.unsqueeze(1)).squeeze(1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, [B, N + 1]."""
        history, length, _ = checked_sessions(self, interaction)
        return self.count_scores(history, length, interaction)

    def count_scores(self, history: Tensor, length: Tensor, interaction: Any) -> Tensor:
        """Scores of all items [B, N + 1] after histories [B, L] of that ``length`` [B]; ``interaction``: the batch."""
        raise NotImplementedError

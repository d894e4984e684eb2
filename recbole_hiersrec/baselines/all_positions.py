"""RecBole's own SASRec and GRU4Rec, learned from at every position of a row instead of the last one.

The modules, their forward pass and their scores are RecBole's, untouched. Only the training loss differs: the
hidden states of all positions are kept, and each predicts the item after it, with HierSRec's loss and sampler.
"""

from __future__ import annotations

from typing import Any

from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_hiersrec.data.dataset import item_counts_of
from recbole_hiersrec.model.loss import item_loss, next_items, sampler_of, step_items
from recbole_hiersrec.queries import Queries, checked_items, checked_sessions
from recbole_hiersrec.settings import hiersrec_settings


class EveryPosition:
    """Mixin for RecBole models whose ``forward`` ends in ``gather_indexes`` and which score by ``item_embedding``."""

    input_type = InputType.POINTWISE
    way = "every position"
    item_embedding: nn.Embedding

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        self.keep_positions = False
        settings = hiersrec_settings(config.final_config_dict, type(self).__name__)
        self.sampler = sampler_of(settings, item_counts_of(dataset))

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """RecBole's, except inside :meth:`states`, where all positions are kept."""
        if self.keep_positions:
            return output
        return super().gather_indexes(output, gather_index)  # type: ignore[misc]

    def states(self, history: Tensor, length: Tensor) -> Tensor:
        """Hidden states of all positions [B, L, D]."""
        self.keep_positions = True
        try:
            return self.forward(history, length)  # type: ignore[attr-defined]
        finally:
            self.keep_positions = False

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Item softmax at every position; a scalar."""
        history, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]  # type: ignore[attr-defined]
        labels = next_items(history, length, interaction[self.POS_ITEM_ID])  # type: ignore[attr-defined]
        real = labels > 0
        items = step_items(history, labels[real], self.item_embedding.num_embeddings - 1, self.sampler)
        states = self.states(history, length)[real]  # [T, D]
        return item_loss(states, items, self.item_embedding(items.ids), real)

    def encode(self, interaction: Any, item_vectors: Tensor | None = None) -> Queries:
        """State at the last position as queries [B, D]: scores are ``queries @ item_vectors.T``.

        Args:
            interaction: sessions.
            item_vectors: taken for the sake of a common signature; the module looks its embeddings up anyway.

        Raises:
            InputError: an item id or a length is out of range.
        """
        history, length, _ = checked_sessions(self, interaction)
        return Queries(self.forward(history, length), history)  # type: ignore[attr-defined]

    def item_vectors(self) -> Tensor:
        """Item embeddings [N + 1, D]."""
        return self.item_embedding.weight

    def predict(self, interaction: Any) -> Tensor:
        """RecBole's score of each row's own item [B], for sessions and items that are checked."""
        checked_items(self, interaction)
        checked_sessions(self, interaction)
        return super().predict(interaction)  # type: ignore[misc]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """RecBole's scores of all items [B, N + 1], for sessions that are checked."""
        checked_sessions(self, interaction)
        return super().full_sort_predict(interaction)  # type: ignore[misc]


class SASRecAllPositions(EveryPosition, SASRec):
    """RecBole's SASRec (Kang & McAuley, 2018, arXiv 1808.09781), trained at every position."""


class GRU4RecAllPositions(EveryPosition, GRU4Rec):
    """RecBole's GRU4Rec (Tan et al., 2016, arXiv 1606.08117), trained at every position."""

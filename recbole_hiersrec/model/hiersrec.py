"""HierSRec as a sequential model of RecBole: RecBole's methods around :class:`HierSRecNetwork`."""

from __future__ import annotations

from typing import Any

from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_hiersrec.data.dataset import catalogue_of, item_counts_of, transitions_of
from recbole_hiersrec.model.loss import (
    item_loss,
    multi_task,
    next_items,
    sampler_of,
    step_items,
    takes_sparse,
)
from recbole_hiersrec.model.memory import Memory, build_memory
from recbole_hiersrec.model.network import build_network
from recbole_hiersrec.queries import Queries, add_apart, checked_items, checked_sessions
from recbole_hiersrec.settings import hiersrec_settings


class HierSRec(SequentialRecommender):
    """Hierarchical multi-task session-based recommender (Oh et al., 2023, arXiv 2309.06533).

    Args:
        config: RecBole's Config; the keys of :class:`~recbole_hiersrec.settings.HierSRecSettings` are read.
        dataset: a :class:`~recbole_hiersrec.data.dataset.HierSRecDataset`.

    Raises:
        InputError: a setting is wrong, or a field of the catalogue does not exist.
    """

    input_type = InputType.POINTWISE
    way = "every position"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.settings = hiersrec_settings(config.final_config_dict, "HierSRec")
        self.catalogue = catalogue_of(dataset)
        self.sampler = sampler_of(self.settings, item_counts_of(dataset))
        sparse = self.sampler is not None and takes_sparse(config)
        self.network = build_network(
            self.catalogue,
            self.settings,
            self.max_seq_length,
            sparse=sparse,
            memory=self._memory(dataset),
        )
        self.loss_weights = self.settings.loss_weights(len(self.network.heads.category))

    def _memory(self, dataset: Any) -> Memory | None:
        """What followed each item in the training part; None where the settings ask for no followers."""
        if self.settings.followers == 0:
            return None
        pairs = [transitions_of(dataset, lag) for lag in range(1, self.settings.follower_window + 1)]
        return build_memory(pairs, self.catalogue, self.settings)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Item softmax at every position + weighted category cross-entropies; a scalar."""
        history, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        labels = next_items(history, length, interaction[self.POS_ITEM_ID])
        real = labels > 0
        targets = labels[real]  # [T]
        rows, positions = real.nonzero(as_tuple=True)
        known, odds = self.network.recall(history, length, rows, positions, interaction[self.POS_ITEM_ID])
        items = step_items(history, targets, self.n_items - 1, self.sampler, known)
        vectors = self.network.items(items.ids)  # [U, D]
        states, heads = self.network.read(items.history, real, vectors)  # [T, D]
        own = self.network.own(items.history, rows, positions)
        of_items = item_loss(
            self.network.queries(heads),
            items,
            self.network.item_vectors(items.ids, vectors),
            real,
            self.network.apart(states, own, items.known, odds, once=items.negatives is not None),
        )
        categories = self.network.items.item_category[targets]
        return multi_task(of_items, heads.category_logits, categories, self.loss_weights)

    def encode(self, interaction: Any, item_vectors: Tensor | None = None) -> Queries:
        """Augmented queries, and what else the score needs to know of the sessions.

        Args:
            interaction: sessions.
            item_vectors: what :meth:`item_vectors` gave, if it is at hand: its first D columns are the vectors of
                the session's items, which then need not be computed again.

        Returns:
            Vectors [B, A], histories [B, L], the items scored apart, and the category logits [B, C_m] of each level.

        Raises:
            InputError: an item id or a length is out of range.
        """
        history, length, longest = checked_sessions(self, interaction)
        return self.network.encode(history, length, longest, item_vectors)

    def item_vectors(self) -> Tensor:
        """Augmented item vectors [N + 1, A]; row 0 is the PAD."""
        return self.network.item_vectors()

    def category_logits(self, interaction: Any) -> list[Tensor]:
        """Logits of the next item's category, one [B, C_m] a level, coarse to fine."""
        return list(self.encode(interaction).category_logits)

    def predict(self, interaction: Any) -> Tensor:
        """Score of each row's own item, [B]."""
        item, queries = checked_items(self, interaction), self.encode(interaction)
        scores = (queries.vectors * self.network.item_vectors(item)).sum(-1)
        if queries.apart is None:
            return scores
        return scores + (queries.apart.bonus * (queries.apart.ids == item.unsqueeze(1))).sum(1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, [B, N + 1]."""
        items = self.item_vectors()
        queries = self.encode(interaction, items)
        return add_apart(queries.vectors @ items.T, queries)

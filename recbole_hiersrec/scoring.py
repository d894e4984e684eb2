"""RecBole models as the evaluation's scorers, and rows of a RecBole data set as its cases."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hiersrec.data.dataset import history_field
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, score
from recbole_hiersrec.queries import Queries


class ModelScorer:
    """Scores the rows of a data set with any sequential model of RecBole.

    Args:
        model: the model; it is put in evaluation mode.
        dataset: the validation or test part, as RecBole built it.
    """

    def __init__(self, model: Any, dataset: Any) -> None:
        self.model = model.eval()
        self.rows = dataset.inter_feat
        self.n_items = int(dataset.item_num) - 1

    def batch(self, index: Tensor) -> Any:
        """The rows ``index`` as RecBole's Interaction, on the model's device."""
        return self.rows[index].to(self.model.device)

    @torch.no_grad()
    def scores(self, batch: Any) -> Tensor:
        """Scores of all items, [B, N + 1]; item by item for models that cannot rank all at once, as in RecBole."""
        try:
            return self.model.full_sort_predict(batch).view(-1, self.n_items + 1)
        except NotImplementedError:
            return self._item_by_item(batch)

    def _item_by_item(self, batch: Any) -> Tensor:
        """``predict`` of every item for every row (RecBole's trainer.py:531), a row at a time."""
        items = torch.arange(self.n_items + 1, device=self.model.device)
        rows = []
        for row in range(len(batch)):
            repeated = batch[row : row + 1].repeat(len(items))
            repeated.update(Interaction({self.model.ITEM_ID: items}))
            rows.append(self.model.predict(repeated))
        return torch.stack(rows)


class QueryScorer(ModelScorer):
    """Scores with a model that has ``encode`` and ``item_vectors``; the item vectors are computed once."""

    def __init__(self, model: Any, dataset: Any) -> None:
        super().__init__(model, dataset)
        with torch.no_grad():
            self.table = model.item_vectors().detach()

    @torch.no_grad()
    def queries(self, batch: Any) -> Queries:
        """Augmented queries, and what else the score needs."""
        return self.model.encode(batch, self.table)

    def item_vectors(self) -> Tensor:
        """Augmented item vectors [N + 1, A]."""
        return self.table

    def scores(self, batch: Any) -> Tensor:
        """Scores of all items, [B, N + 1]."""
        return score(self.queries(batch), self.table)


def scorer_of(model: Any, dataset: Any) -> Scorer:
    """The scorer that fits the model."""
    factorised = hasattr(model, "encode") and hasattr(model, "item_vectors")
    return QueryScorer(model, dataset) if factorised else ModelScorer(model, dataset)


def cases_of(dataset: Any) -> Cases:
    """The rows of a validation or test part: history, length and target."""
    rows = dataset.inter_feat
    return Cases(rows[history_field(dataset)], rows[dataset.item_list_length_field], rows[dataset.iid_field])


def tokens_of(dataset: Any) -> list[str]:
    """Item tokens by id, [N + 1]; the first is the PAD's."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field]]

"""RecBole models as the evaluation's scorers, and rows of a RecBole data set as its cases."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hiersrec.data.catalogue import read_catalogue
from recbole_hiersrec.data.dataset import HierSRecDataset, covering_rows, history_field, item_counts_of
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, score
from recbole_hiersrec.queries import Queries, checked_sessions
from recbole_hiersrec.settings import HierSRecSettings, hiersrec_settings

_TRIED = 32
"""Rows on which a model's form is looked at."""


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
        """Scores of all items, [B, N + 1]; item by item for models that cannot rank all at once, as in RecBole.

        Raises:
            InputError: an item id or a length is out of range.
        """
        checked_sessions(self.model, batch)
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


class EmbeddingScorer(ModelScorer):
    """A model of RecBole whose scores turn out to be ``forward(item_seq, item_seq_len) @ item_embedding.weight.T``."""

    def __init__(self, model: Any, dataset: Any) -> None:
        super().__init__(model, dataset)
        self.table = model.item_embedding.weight.detach()

    @torch.no_grad()
    def queries(self, batch: Any) -> Queries:
        """States at the end of the sessions.

        Raises:
            InputError: an item id or a length is out of range.
        """
        history, length, _ = checked_sessions(self.model, batch)
        return Queries(self.model.forward(history, length), history)

    def item_vectors(self) -> Tensor:
        """Item embeddings [N + 1, D]."""
        return self.table

    def scores(self, batch: Any) -> Tensor:
        """Scores of all items, [B, N + 1]."""
        return score(self.queries(batch), self.table)


def scorer_of(model: Any, dataset: Any) -> Scorer:
    """The scorer that fits the model: with queries wherever its scores are an inner product.

    Args:
        model: any sequential model of RecBole or of this package.
        dataset: RecBole's, of the part whose rows are the cases.
    """
    if hasattr(model, "encode") and hasattr(model, "item_vectors"):
        return QueryScorer(model, dataset)
    plain = ModelScorer(model, dataset)
    return EmbeddingScorer(model, dataset) if _scores_by_embedding(plain) else plain


def _scores_by_embedding(plain: ModelScorer) -> bool:
    """Whether the model has the form of :class:`EmbeddingScorer`, seen on its first rows by the numbers."""
    model, embedding = plain.model, getattr(plain.model, "item_embedding", None)
    named = tuple(inspect.signature(model.forward).parameters) == ("item_seq", "item_seq_len")
    if not (named and isinstance(embedding, torch.nn.Embedding) and len(plain.rows)):
        return False
    if embedding.num_embeddings != plain.n_items + 1:
        return False
    batch = plain.batch(torch.arange(min(_TRIED, len(plain.rows))))
    with torch.no_grad():
        states = model.forward(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
        if not isinstance(states, Tensor) or states.shape != (len(batch), embedding.embedding_dim):
            return False
        products, scores = states @ embedding.weight.T, plain.scores(batch)
    return torch.allclose(products[:, 1:], scores[:, 1:], rtol=1e-4, atol=1e-5)


def training_rows(dataset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """History [R, L], length [R] and target [R] of rows that cover each training target once, counted everywhere."""
    users, history, length, target = (
        dataset.inter_feat[field].numpy()
        for field in (
            dataset.uid_field,
            history_field(dataset),
            dataset.item_list_length_field,
            dataset.iid_field,
        )
    )
    if isinstance(dataset, HierSRecDataset):
        return history, length, target
    keep, _ = covering_rows(users, history, length, target, dataset.max_item_list_len)
    return history[keep], length[keep], target[keep]


def training_counts(dataset: Any) -> np.ndarray:
    """Training interactions of each item, int64 [N + 1], for data sets with rows of either kind."""
    if isinstance(dataset, HierSRecDataset):
        return item_counts_of(dataset).numpy()
    rows = dataset.inter_feat  # every prefix: each item but a session's first is once the target
    first = rows[history_field(dataset)][:, 0][rows[dataset.item_list_length_field] == 1]
    seen = torch.cat([rows[dataset.iid_field], first])
    return torch.bincount(seen, minlength=int(dataset.item_num)).numpy()


def item_category_of(dataset: Any) -> np.ndarray | None:
    """Categories of all items, int64 [N + 1, M], if the configuration names category fields; None otherwise.

    Raises:
        InputError: a named column does not exist or has the wrong type, or an item has two rows.
    """
    catalogue = getattr(dataset, "catalogue", None)
    if catalogue is None:
        fields = hiersrec_settings(dataset.config.final_config_dict, "candidates").category_fields
        return read_taxonomy(dataset, fields).item_category if fields else None
    return catalogue.taxonomy.item_category if catalogue.taxonomy else None


def read_taxonomy(dataset: Any, fields: Sequence[str]) -> Taxonomy:
    """The taxonomy that columns of the data set's .item file make, for the data set's items.

    Args:
        dataset: any data set of RecBole, whatever it has loaded.
        fields: columns, coarse to fine; at least one.

    Raises:
        InputError: a column does not exist or has the wrong type, or an item has two rows.
    """
    taxonomy = read_catalogue(
        item_file(dataset),
        tokens_of(dataset)[1:],
        HierSRecSettings(category_fields=tuple(fields), title_field=None),
        item_field=dataset.iid_field,
        separator=dataset.config["field_separator"],
        seq_separator=dataset.config["seq_separator"],
    ).taxonomy
    assert taxonomy is not None  # fields were named
    return taxonomy


def item_file(dataset: Any) -> Path:
    """Where the .item file of a data set lies, if it has one."""
    return Path(dataset.config["data_path"]) / f"{dataset.dataset_name}.item"


def cases_of(dataset: Any) -> Cases:
    """The rows of a validation or test part: history, length and target."""
    rows = dataset.inter_feat
    return Cases(rows[history_field(dataset)], rows[dataset.item_list_length_field], rows[dataset.iid_field])


def tokens_of(dataset: Any) -> list[str]:
    """Item tokens by id, [N + 1]; the first is the PAD's."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field]]

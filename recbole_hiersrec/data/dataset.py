"""HierSRecDataset: RecBole's sequential data set with one training row for many targets.

RecBole makes every prefix of a session its own row, and a model learns from the last position of each. Here a few
rows, learned from at every position, cover every training target exactly once; validation and test rows, token ids
and the number of items are RecBole's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from torch import Tensor

from recbole_hiersrec.data.catalogue import Catalogue, read_catalogue
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.settings import hiersrec_settings


class HierSRecDataset(SequentialDataset):
    """RecBole's :class:`SequentialDataset` plus the catalogue, with all-position training rows.

    Attributes:
        catalogue: side information of the items, by item id.
        item_counts: on the training part after :meth:`build`, training interactions of each item, long [N + 1].
    """

    catalogue: Catalogue
    item_counts: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        tokens = [str(token) for token in self.field2id_token[self.iid_field][1:]]
        self.catalogue = read_catalogue(
            Path(config["data_path"]) / f"{self.dataset_name}.item",
            tokens,
            hiersrec_settings(config.final_config_dict, "HierSRecDataset"),
            item_field=self.iid_field,
            separator=config["field_separator"],
            seq_separator=config["seq_separator"],
        )

    def build(self) -> list[Any]:
        """Split as RecBole does, then keep the training rows that cover every target once."""
        parts: list[Any] = super().build()
        train = parts[0]
        rows = train.inter_feat
        users, lengths = rows[self.uid_field].numpy(), rows[self.item_list_length_field].numpy()
        keep, starts = covering_rows(users, lengths, self.max_item_list_len)
        train.item_counts = self._count(rows, keep, starts)
        train.inter_feat = rows[torch.from_numpy(keep)]
        return parts

    def _count(self, rows: Any, keep: IntArray, starts: IntArray) -> Tensor:
        """Interactions of each item in the sessions that the kept rows cover, long [N + 1]."""
        history = rows[self.item_id_list_field].numpy()
        lengths = rows[self.item_list_length_field].numpy()
        inside = np.arange(history.shape[1]) < lengths[:, None]
        inside[:, 0] = (
            False  # the first item of a row is a target of the row before it, unless a session starts
        )
        seen = [history[keep][inside[keep]], rows[self.iid_field].numpy()[keep], history[starts, 0]]
        return torch.from_numpy(np.bincount(np.concatenate(seen), minlength=self.item_num))


def covering_rows(users: IntArray, lengths: IntArray, max_length: int) -> tuple[IntArray, IntArray]:
    """Choose the prefix rows that, learned from at every position, cover every target exactly once.

    Per user the last row and every ``max_length``-th one before it. Users whose rows are not the growing prefixes of
    one session (a prepared split with one row a session) keep all their rows.

    Args:
        users: user id of each row, [R]; a user's rows in time order, not necessarily side by side.
        lengths: number of history items of each row, [R].
        max_length: longest history L.

    Returns:
        (indices of the rows to keep, those among them that begin at the start of a session), ascending.
    """
    order = np.argsort(users, kind="stable")
    sorted_users = users[order]
    first = np.flatnonzero(np.r_[True, sorted_users[1:] != sorted_users[:-1]])
    sizes = np.diff(np.r_[first, len(users)])
    position = np.arange(len(users)) - np.repeat(first, sizes)  # 0, 1, 2, ... within a user
    grows = lengths[order] == np.minimum(position + 1, max_length)
    regular = np.repeat(np.logical_and.reduceat(grows, first), sizes)
    from_end = np.repeat(sizes, sizes) - 1 - position
    chosen = ~regular | (from_end % max_length == 0)
    starting = chosen & (~regular | (position < max_length))
    return np.sort(order[chosen]), np.sort(order[starting])


def catalogue_of(dataset: Any) -> Catalogue:
    """The catalogue of a data set, or a clear error where RecBole was given another data set class."""
    if not isinstance(dataset, HierSRecDataset):
        raise InputError(
            f"this model needs a HierSRecDataset, received {type(dataset).__name__}; "
            "call recbole_hiersrec.register() before RecBole creates the data set"
        )
    return dataset.catalogue


def item_counts_of(dataset: Any) -> Tensor:
    """Training interactions of each item, long [N + 1]; ones for a data set that was not built."""
    counts = getattr(dataset, "item_counts", None)
    return torch.ones(dataset.item_num, dtype=torch.long) if counts is None else counts

"""HierSRecDataset: RecBole's sequential data set with one training row for many targets.

RecBole makes every prefix of a session its own row, and a model learns from the last position of each. Here a few
rows, learned from at every position, cover every training target exactly once; validation and test rows, token ids
and the number of items are RecBole's own. RecBole splits rows without their padded lists; only the rows that are kept
get them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import SequentialDataset
from torch import Tensor

from recbole_hiersrec.compat.augmentation import TARGET, bare_rows, with_lists
from recbole_hiersrec.data.catalogue import Catalogue, read_catalogue
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.settings import hiersrec_settings


@dataclass(frozen=True)
class Kept:
    """Rows that cover every training target once, K of them, in the order of the data set.

    Attributes:
        rows: their indices among RecBole's training rows, [K], ascending.
        run: number of the session that each belongs to, [K].
        place: which row of its session each is, from 0, [K]; of the first of a session it is below the maximum length.
    """

    rows: IntArray
    run: IntArray
    place: IntArray


class HierSRecDataset(SequentialDataset):
    """RecBole's :class:`SequentialDataset` plus the catalogue, with all-position training rows.

    Attributes:
        catalogue: side information of the items, by item id.
        item_counts: on the training part after :meth:`build`, training interactions of each item, long [N + 1].
        kept: on the training part after :meth:`build`, of which sessions its rows are.
    """

    catalogue: Catalogue
    item_counts: Tensor
    kept: Kept
    _log: Any = None  # RecBole's sorted log, from the making of rows to the end of build

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

    def data_augmentation(self) -> None:
        """Make RecBole's prefix rows without their lists, which :meth:`build` adds to the rows that it keeps."""
        self._log, self.inter_feat = bare_rows(self)

    def build(self) -> list[Any]:
        """Split as RecBole does, then keep the training rows that cover every target once."""
        parts: list[Any] = super().build()
        train = parts[0]
        if len(train.inter_feat) == 0:
            raise InputError(
                f"data set '{self.dataset_name}' has no training case: every session is too short"
            )
        train.kept = self._covering(train.inter_feat)
        train.inter_feat = train.inter_feat[train.kept.rows]
        if self.benchmark_filename_list is None:
            log = self._log
            for part in (self, *parts):
                part._log = None
            for part in parts:
                part.inter_feat = with_lists(self, log, part.inter_feat)
            # RecBole's get_flops reads a row of the whole data set, so that keeps rows with lists, too.
            self.inter_feat = train.inter_feat
        train.item_counts = self._count(train.inter_feat, train.kept.place < self.max_item_list_len)
        return parts

    def _covering(self, rows: Any) -> Kept:
        """The rows of :func:`covering_rows`: by places in the log, or by the content of ready-made rows."""
        lengths = rows[self.item_list_length_field].numpy()
        if self.benchmark_filename_list is None:
            targets = rows[TARGET].numpy()
            order = np.argsort(targets)
            follows = np.diff(targets[order]) == 1  # a user's first interaction is no target
            return _choose(order, follows, self.max_item_list_len)
        users, targets = rows[self.uid_field].numpy(), rows[self.iid_field].numpy()
        history = rows[history_field(self)].numpy()
        return _kept(users, history, lengths, targets, self.max_item_list_len)

    def _count(self, rows: Any, starting: NDArray[np.bool_]) -> Tensor:
        """Interactions of each item in the sessions that the kept rows cover, long [N + 1].

        Args:
            rows: kept, [K].
            starting: whether a row begins at the start of a session, [K].
        """
        history = rows[history_field(self)].numpy()
        inside = np.arange(history.shape[1]) < rows[self.item_list_length_field].numpy()[:, None]
        # The first item of a row is a target of the row before it, unless a session starts.
        inside[:, 0] = starting
        seen = np.concatenate([history[inside], rows[self.iid_field].numpy()])
        return torch.from_numpy(np.bincount(seen, minlength=self.item_num))


def covering_rows(
    users: IntArray, history: IntArray, lengths: IntArray, targets: IntArray, max_length: int
) -> tuple[IntArray, IntArray]:
    """Choose the rows that, learned from at every position, cover every target exactly once.

    A user's rows are cut into runs, in which every row is the one before it plus that row's target, cut to the
    last ``max_length`` items. Of a run, the last row and every ``max_length``-th one before it are kept. A row that
    neither grows from another nor is grown from is a run of its own (a prepared split with one row a session).

    Args:
        users: user id of each row, [R]; a user's growing prefixes in time order, not necessarily side by side.
        history: item ids, 0-padded on the right, [R, L].
        lengths: number of history items of each row, [R].
        targets: the item after the last one, [R].
        max_length: longest history.

    Returns:
        (indices of the rows to keep, those among them that begin at the start of a session), ascending.
    """
    kept = _kept(users, history, lengths, targets, max_length)
    return kept.rows, kept.rows[kept.place < max_length]


def _kept(users: IntArray, history: IntArray, lengths: IntArray, targets: IntArray, max_length: int) -> Kept:
    """The rows of :func:`covering_rows`, and their runs."""
    rows = (users, history, lengths, targets, max_length)
    order, by_length = np.argsort(users, kind="stable"), np.lexsort((lengths, users))
    # A prepared split may have a session's prefixes in any order: per user, the order with more runs holds.
    gain = np.bincount(users[order][1:], _follows(by_length, *rows).astype(float) - _follows(order, *rows))
    order = np.where(gain[users[order]] > 0, by_length, order) if len(gain) else order
    return _choose(order, _follows(order, *rows), max_length)


def _choose(order: IntArray, follows: NDArray[np.bool_], max_length: int) -> Kept:
    """What :func:`_kept` returns, from the order of the rows and whether each follows the one before it."""
    first = np.flatnonzero(np.r_[True, ~follows])
    sizes = np.diff(np.r_[first, len(order)])
    run = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(len(order)) - np.repeat(first, sizes)  # 0, 1, 2, ... within a run
    from_end = np.repeat(sizes, sizes) - 1 - position
    chosen = np.flatnonzero(from_end % max_length == 0)
    chosen = chosen[np.argsort(order[chosen])]
    return Kept(order[chosen], run[chosen], position[chosen])


def _follows(
    order: IntArray, users: IntArray, history: IntArray, lengths: IntArray, targets: IntArray, max_length: int
) -> NDArray[np.bool_]:
    """Whether each row (in ``order``, from the second) is the row before it plus that row's target, [R - 1]."""
    user, past, length = users[order], history[order], lengths[order]
    grown = np.pad(past, ((0, 0), (0, 1)))  # [R, L + 1]
    grown[np.arange(len(grown)), length] = targets[order]
    cut = length == max_length
    grown[cut, :-1] = grown[cut, 1:]
    return (
        (user[1:] == user[:-1])
        & (past[1:] == grown[:-1, : past.shape[1]]).all(1)
        & (length[1:] == np.minimum(length[:-1] + 1, max_length))
    )


def history_field(dataset: Any) -> str:
    """Name of the field that holds the items of a row's history, whatever the item field is called."""
    return dataset.iid_field + dataset.config["LIST_SUFFIX"]


def catalogue_of(dataset: Any) -> Catalogue:
    """The catalogue of a data set, or a clear error where RecBole was given another data set class."""
    if not isinstance(dataset, HierSRecDataset):
        raise InputError(
            f"this model needs a HierSRecDataset, received {type(dataset).__name__}; "
            "call recbole_hiersrec.register() before RecBole creates the data set"
        )
    return dataset.catalogue


def kept_of(dataset: Any) -> Kept:
    """Of which sessions the rows of a training part are.

    Raises:
        InputError: RecBole was given another data set class, or the data set was not built.
    """
    catalogue_of(dataset)
    if not hasattr(dataset, "kept"):
        raise InputError("this model needs the training part of a data set; received one that was not split")
    return dataset.kept


def item_counts_of(dataset: Any) -> Tensor:
    """Training interactions of each item, long [N + 1]; ones for a data set that was not built."""
    counts = getattr(dataset, "item_counts", None)
    return torch.ones(dataset.item_num, dtype=torch.long) if counts is None else counts


def transitions_of(dataset: Any, lag: int = 1) -> tuple[IntArray, IntArray]:
    """Pairs of the training part: (item, target that came ``lag`` steps after it in a row), each [T].

    With lag 1 every transition comes once. A data set that was not built has none.
    """
    rows = dataset.inter_feat
    if history_field(dataset) not in rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    history = rows[history_field(dataset)].numpy()
    lengths, targets = (rows[name].numpy() for name in (dataset.item_list_length_field, dataset.iid_field))
    width = history.shape[1]
    after = np.zeros_like(history)
    after[:, :-1] = history[:, 1:]
    after[np.arange(len(after)), lengths - 1] = targets
    inside = (np.arange(width) < lengths[:, None])[:, lag - 1 :]
    return history[:, : max(0, width - lag + 1)][inside], after[:, lag - 1 :][inside]

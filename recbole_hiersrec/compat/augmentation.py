"""Defect of RecBole's sequential data: prefix rows made by a Python loop over rows and fields.

T interactions in the log, R prefix rows, L the longest history. A row needs only two places in the log: its target, and
where its history starts. Its padded lists follow from these, so they can wait until it is known which rows are wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureType
from torch import Tensor

from recbole_hiersrec.compat.patch import wrap

START, TARGET = "[start]", "[target]"
"""Columns of :func:`bare_rows`: where in the log a row's history starts, and its target, right after the history."""

_BLOCK = 1 << 16
"""Rows whose lists are made at once."""


def vectorised_augmentation() -> None:
    """Make the prefix rows of a SequentialDataset with array operations: the same rows, many times as fast.

    Upstream: ``data/dataset/sequential_dataset.py:100`` loops over all prefixes, ``:141`` again for each field.
    """
    wrap(SequentialDataset, "data_augmentation", lambda original: _augment)


def _augment(dataset: Any) -> None:
    log, rows = bare_rows(dataset)
    dataset.inter_feat = with_lists(dataset, log, rows)


def bare_rows(dataset: Any) -> tuple[Any, Any]:
    """RecBole's prefix rows, in its order and with its fields, before their lists are made.

    Returns:
        (the log, sorted as RecBole sorts it; the rows, which can be sorted and chosen from like any Interaction).
        Each list field of the rows has 0 entries, and there are the columns :data:`START` and :data:`TARGET`.
    """
    dataset._aug_presets()
    dataset._check_field("uid_field", "time_field")
    dataset.sort(by=[dataset.uid_field, dataset.time_field], ascending=True)
    log = dataset.inter_feat
    start, target = prefixes(log[dataset.uid_field], dataset.config["MAX_ITEM_LIST_LENGTH"])
    columns = {field: log[field][target] for field in log}
    columns[dataset.item_list_length_field] = target - start
    for field, list_field in _lists(dataset, log).items():
        columns[list_field] = log[field].new_zeros((len(target), 0, *_inner(dataset, field, list_field)))
    return log, Interaction({**columns, START: start, TARGET: target})


def prefixes(users: Tensor, max_length: int) -> tuple[Tensor, Tensor]:
    """A row for each interaction that has an earlier one of the same user.

    Args:
        users: of a log sorted by user, [T].
        max_length: L.

    Returns:
        (start of each row's history in the log, [R]; the row's target, [R], which is where the history ends).
    """
    _, sizes = torch.unique_consecutive(users, return_counts=True)
    first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    place = torch.arange(len(users))
    target = place[place > first]
    return torch.maximum(first[target], target - max_length), target


def with_lists(dataset: Any, log: Any, rows: Any) -> Any:
    """Rows of :func:`bare_rows` with their lists, 0-padded on the right to L entries.

    Args:
        dataset: whose rows they are.
        log: of the same call.
        rows: any of the rows, in any order; columns other than START and TARGET may have been dropped.
    """
    start, length = rows[START], rows[TARGET] - rows[START]
    columns = {field: rows[field] for field in rows if field not in (START, TARGET)}
    for field, list_field in _lists(dataset, log).items():
        if list_field in columns:
            inner = columns[list_field].shape[2:]
            shape = (len(rows), dataset.config["MAX_ITEM_LIST_LENGTH"], *inner)
            columns[list_field] = _filled(log[field], start, length, shape)
    return Interaction(columns)


def _filled(values: Tensor, start: Tensor, length: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``values[start : start + length]`` of each row, and zeros behind them."""
    filled = values.new_zeros(shape)
    for begin in range(0, len(start), _BLOCK):
        sizes = length[begin : begin + _BLOCK]
        row = torch.repeat_interleave(sizes) + begin
        column = torch.arange(len(row)) - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
        filled[row, column] = values[start[row] + column]
    return filled


def _lists(dataset: Any, log: Any) -> dict[str, str]:
    """Field of the log -> the field that lists it, in RecBole's order."""
    return {field: getattr(dataset, f"{field}_list_field") for field in log if field != dataset.uid_field}


def _inner(dataset: Any, field: str, list_field: str) -> tuple[int, ...]:
    """Shape of one entry of a list: a number, a sequence, or pairs of them for RecBole's numerical features."""
    length = dataset.field2seqlen[list_field]
    inner = () if isinstance(length, int) else tuple(length[1:])
    floats = dataset.field2type[field] in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
    return (*inner, 2) if floats and field in dataset.config["numerical_features"] else inner

"""Defect of RecBole's filters, splits and samplers: Python loops over all rows and users."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.sampler import RepeatableSampler

from recbole_hiersrec.compat.patch import wrap

Places = NDArray[np.int64]


def fast_splits() -> None:
    """Group rows, leave the last ones out, and take rows of an Interaction by arrays: the same rows, faster.

    Upstream: ``data/dataset/dataset.py:1591`` and ``:1666`` loop over rows and users; ``data/interaction.py:148``
    turns every index into a list.
    """
    wrap(Dataset, "_grouped_index", lambda original: lambda self, values: Groups(values))
    wrap(Dataset, "_split_index_by_leave_one_out", _leave_out)
    wrap(Interaction, "__getitem__", _take)


def no_needless_counts() -> None:
    """Count no interactions where every number of them is allowed, as RecBole's own settings say.

    Upstream: ``data/dataset/dataset.py:868`` counts, and tests each user and item, for the interval ``[0,inf)`` too.
    """
    wrap(Dataset, "_filter_by_inter_num", _if_something_is_filtered)


def _if_something_is_filtered(original: Callable[..., Any]) -> Callable[..., Any]:
    def filter_rows(self: Any) -> None:
        keys = ("user_inter_num_interval", "item_inter_num_interval")
        intervals = [self._parse_intervals_str(self.config[key]) for key in keys]
        if any(interval not in (None, [("[", 0.0, math.inf, ")")]) for interval in intervals):
            original(self)

    return filter_rows


def one_empty_set() -> None:
    """Give RepeatableSampler the same empty set for every user; it reads them, and replaces them when it samples.

    Upstream: ``sampler/sampler.py:408`` makes a set a user, twice, for every split.
    """

    def used_ids(self: Any) -> NDArray[np.object_]:
        return np.full(self.user_num, frozenset(), dtype=object)

    wrap(RepeatableSampler, "get_used_ids", lambda original: used_ids)


class Groups:
    """Row numbers by value: groups in the order of their first rows, rows in each as they lie.

    Attributes:
        order: row numbers, group after group, [R].
        sizes: rows of each group.
    """

    order: Places
    sizes: Places

    def __init__(self, values: NDArray[Any]) -> None:
        _, first, group, counts = np.unique(
            values, return_index=True, return_inverse=True, return_counts=True
        )
        appearance = np.argsort(first)
        self.order = np.argsort(first[group], kind="stable")
        self.sizes = counts[appearance]

    def __iter__(self) -> Iterator[list[int]]:
        """The groups as RecBole has them: lists."""
        ends = np.cumsum(self.sizes)
        for start, end in zip(ends - self.sizes, ends, strict=True):
            yield self.order[start:end].tolist()

    def __len__(self) -> int:
        return len(self.sizes)


def _leave_out(original: Callable[..., Any]) -> Callable[..., Any]:
    def split(self: Any, groups: Any, leave_one_num: int) -> list[Any]:
        if not isinstance(groups, Groups):
            left: list[Any] = original(self, groups, leave_one_num)
            return left
        ends, sizes = np.cumsum(groups.sizes), groups.sizes
        from_end = np.repeat(ends, sizes) - 1 - np.arange(len(groups.order))
        left_out = np.repeat(np.minimum(leave_one_num, sizes - 1), sizes)
        part = np.where(from_end < left_out, leave_one_num - from_end, 0)
        return [groups.order[part == number] for number in range(leave_one_num + 1)]

    return split


def _take(original: Callable[..., Any]) -> Callable[..., Any]:
    def take(self: Any, index: Any) -> Any:
        whole = isinstance(index, np.ndarray) and index.dtype == np.int64
        places = torch.from_numpy(index) if whole else index
        if not isinstance(places, torch.Tensor) or places.dtype != torch.int64 or places.dim() != 1:
            return original(self, index)
        return Interaction(
            {field: column[places.to(column.device)] for field, column in self.interaction.items()}
        )

    return take

"""Batches of training rows of like length: little padding, and about the same number of targets in every step.

Axes: R rows, B rows of a batch, L history length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction

from recbole_hiersrec.data.dataset import history_field
from recbole_hiersrec.data.taxonomy import IntArray

POOL = 32
"""Batches that are drawn together and sorted by length; more would make batches of one epoch alike in the next."""


class LengthBuckets:
    """One epoch of training batches after another, histories cut to the longest of the batch.

    A row is learned from at every position, so a step costs what its batch's targets cost: ``rows`` of the average
    length. Every row comes once an epoch.

    Args:
        dataset: the training part of a :class:`~recbole_hiersrec.data.dataset.HierSRecDataset`.
        rows: rows of an average batch.
        seed: of the order.
    """

    def __init__(self, dataset: Any, rows: int, seed: int) -> None:
        self._dataset = dataset  # RecBole's trainer looks for it under this name
        self._fields = history_field(dataset), dataset.item_list_length_field, dataset.iid_field
        self._lengths = dataset.inter_feat[dataset.item_list_length_field].numpy()
        self._rows = rows
        self._random = np.random.default_rng(seed)
        self.shuffle = True

    @property
    def random_state(self) -> dict[str, Any]:
        """Where the order of the epochs to come stands; can be set."""
        return dict(self._random.bit_generator.state)

    @random_state.setter
    def random_state(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state

    def __len__(self) -> int:
        """Steps of an epoch, up to rounding at the borders of the pools."""
        return max(1, round(len(self._lengths) / self._rows))

    def __iter__(self) -> Iterator[Interaction]:
        history, length, target = (self._dataset.inter_feat[field] for field in self._fields)
        for rows in buckets(self._lengths, self._rows, self._random):
            index = torch.from_numpy(rows)
            longest = int(self._lengths[rows].max())
            values = (history[index, :longest], length[index], target[index])
            yield Interaction(dict(zip(self._fields, values, strict=True)))


def buckets(lengths: IntArray, rows: int, random: np.random.Generator) -> list[NDArray[np.intp]]:
    """Positions of the rows of each batch, in random order; every row in exactly one.

    Args:
        lengths: targets of each row, [R].
        rows: rows of an average batch, at least 1.
        random: draws the order.
    """
    budget = rows * float(lengths.mean())
    pools = np.array_split(random.permutation(len(lengths)), math.ceil(len(lengths) / (POOL * rows)))
    batches: list[NDArray[np.intp]] = []
    for pool in pools:
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        ends = np.cumsum(lengths[pool])
        steps = max(1, round(ends[-1] / budget))  # no remainder, which would always be of the longest rows
        step = (ends - 1) * steps // ends[-1]  # of each row's last target
        batches += np.split(pool, np.flatnonzero(np.diff(step)) + 1)
    return [batches[number] for number in random.permutation(len(batches))]

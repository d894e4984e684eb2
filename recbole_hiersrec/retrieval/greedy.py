"""Groups of items visited best first within a hard budget: what `cells` and `leaf-categories` share.

Axes: B queries, K groups, N items (ids 1..N, 0 is PAD), P entries of the longest row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_WINDOW = 128


@dataclass(frozen=True)
class Groups:
    """Groups of items, such as inverted lists or categories.

    Attributes:
        offsets: int64 [K+1]; group j holds ``members[offsets[j]:offsets[j+1]]``.
        members: int64, item ids.
    """

    offsets: np.ndarray
    members: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """int64 [K], items in each group."""
        return np.diff(self.offsets)

    @cached_property
    def group_of(self) -> np.ndarray:
        """int64, the group of each id up to the largest; -1 where an id is in none."""
        found = np.full(int(self.members.max(initial=0)) + 1, -1, np.int64)
        found[self.members] = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return found

    def choose(self, order: np.ndarray, budgets: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Go through the groups in each row's order and take every one that still fits.

        Args:
            order: int64 [B, P], group numbers, best first; -1 where a row has fewer than P.
            budgets: int64 [B], the most items the chosen groups of a row hold together.
            own: int64 [B, P2], item ids, 0-padded, that cost a row nothing: they are candidates anyway.

        Returns:
            int64 [B, P'], the chosen groups, best first, -1 where a row has fewer than P'.
        """
        sizes = self.sizes
        if order.shape[1] == 0 or len(sizes) == 0:
            return np.zeros((len(order), 0), np.int64)
        never = int(max(budgets.max(initial=0), sizes.max())) + 1  # larger than what any row has to spend
        visited = np.where(order >= 0, sizes[order], never)
        smallest = int(sizes.min())
        if own is not None and own.shape[1]:
            visited -= np.where(order >= 0, np.take_along_axis(self._counts(own), order, axis=1), 0)
            smallest = 0
        taken = greedy(visited.astype(np.int32), budgets, smallest)
        return left_aligned(order[taken], taken.sum(axis=1), fill=-1)

    def new_items(self, own: np.ndarray) -> np.ndarray:
        """Items of each group that do not stand in a row of ``own`` [B, P] (0 is none): int64 [B, K], or [1, K]."""
        return self.sizes[None] - self._counts(own) if own.shape[1] else self.sizes[None]

    def _counts(self, ids: np.ndarray) -> np.ndarray:
        """How many of each row's ``ids`` (0 is none) every group holds, int64 [B, K]."""
        rows, columns = np.nonzero(ids)
        known = ids[rows, columns] < len(self.group_of)
        groups = self.group_of[ids[rows[known], columns[known]]]
        cells = rows[known][groups >= 0] * len(self.sizes) + groups[groups >= 0]
        return np.bincount(cells, minlength=len(ids) * len(self.sizes)).reshape(len(ids), -1)

    def items(self, chosen: np.ndarray) -> np.ndarray:
        """Items of the groups that :meth:`choose` gave, group after group: int64 [B, P], 0-padded."""
        real = chosen >= 0
        members, sizes = self.members_of(chosen[real])
        rows = np.repeat(np.arange(len(chosen)), real.sum(axis=1))  # row of each chosen group
        per_row = np.bincount(rows, weights=sizes, minlength=len(chosen)).astype(np.int64)
        return left_aligned(members, per_row, fill=0)

    def members_of(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Items of the given groups [m], one group after the other, and the size of each [m]."""
        sizes = self.offsets[groups + 1] - self.offsets[groups]
        shift = self.offsets[groups] - (np.cumsum(sizes) - sizes)
        return self.members[np.arange(sizes.sum()) + np.repeat(shift, sizes)], sizes


def descending(scores: np.ndarray) -> np.ndarray:
    """Columns of float32 [B, K] from the highest score to the lowest, equal ones by column.

    Score and column are packed into one integer: sorting those is several times faster than a stable argsort.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 equal to 0.0
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    keys = (~ascending).astype(np.int64) << 32
    keys |= np.arange(scores.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return keys


def greedy(sizes: np.ndarray, budgets: np.ndarray, smallest: int) -> np.ndarray:
    """Which groups are taken, when each row takes every group that still fits, from the left.

    Args:
        sizes: int32 [B, K], in the order of visiting.
        budgets: int64 [B], of each row; 0 takes nothing but empty groups.
        smallest: the least size; a row that has less left is finished.

    Returns:
        bool [B, K].
    """
    running = sizes.cumsum(axis=1, dtype=np.int64)
    taken = running <= budgets[:, None]  # the first groups of every row, up to the first that does not fit
    n_first = np.count_nonzero(taken, axis=1)
    spent = np.take_along_axis(running, np.maximum(n_first - 1, 0)[:, None], axis=1)[:, 0]
    left = budgets - np.where(n_first > 0, spent, 0)
    # The next groups use most of what is left; after them few of the many others are small enough to look at.
    for stop in (n_first + _WINDOW, np.full_like(n_first, sizes.shape[1])):
        if (left < smallest).all():
            break
        near = np.arange(sizes.shape[1]) < stop[:, None]
        rows, columns = np.nonzero((sizes <= left[:, None]) & near & ~taken)
        _take_what_fits(rows, columns, sizes, taken, left)
    return taken


def left_aligned(values: np.ndarray, counts: np.ndarray, *, fill: int) -> np.ndarray:
    """Rows of ``counts`` values each, taken in order, as [B, max(counts)] padded with ``fill``."""
    longest = int(counts.max(initial=0))
    rows = np.full((len(counts), longest), fill, dtype=np.int64)
    rows[np.arange(longest) < counts[:, None]] = values
    return rows


def _take_what_fits(
    rows: np.ndarray, columns: np.ndarray, sizes: np.ndarray, taken: np.ndarray, left: np.ndarray
) -> None:
    """Go through the groups at (rows, columns), rows ascending, and take in each row what fits.

    Updates ``taken`` [B, K] and ``left`` [B]. Each turn takes the groups up to the first that does not fit; as
    less and less is left, that one never will.
    """
    while len(rows):
        own = sizes[rows, columns]
        running = own.cumsum(dtype=np.int64)
        first = np.append(True, rows[1:] != rows[:-1])  # of its row
        before = np.maximum.accumulate(np.where(first, running - own, 0))
        fits = running - before <= left[rows]
        taken[rows[fits], columns[fits]] = True
        left -= np.bincount(rows[fits], weights=own[fits], minlength=len(left)).astype(left.dtype)
        again = ~fits & (own <= left[rows])
        rows, columns = rows[again], columns[again]

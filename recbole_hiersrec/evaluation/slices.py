"""Slices of the test cases: for which sessions and which targets a model is good.

A slicing puts each case into one slice; a metric's mean over all cases is the mean of its means over the slices,
weighted by their cases.

Axes: n cases, N items (ids 1..N, 0 is PAD), S sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LENGTH, TARGET, REPEATED, CATEGORY = "length", "target", "repeated", "category"
KINDS = (LENGTH, TARGET, REPEATED, CATEGORY)
"""What cases are sliced by; the slice "2-3" of a length is called "length: 2-3"."""

LENGTHS = ((1, "1"), (2, "2-3"), (4, "4-5"), (6, "6-10"), (11, "11-20"), (21, "21+"))
"""(shortest history, name of the slice)."""

POPULARITIES = ("head", "middle", "tail", "cold")
REPEATS = ("yes", "no")
OTHER = "(other)"
LARGEST = 10
"""Categories that are slices of their own."""

FIFTH = 5
"""The head has one of so many parts of the training interactions, the tail another."""


@dataclass(frozen=True)
class Slicing:
    """The slice of every case.

    Attributes:
        kind: one of :data:`KINDS`.
        names: of the slices, in the order in which they are shown.
        member: int64 [n], index of each case's slice in ``names``.
    """

    kind: str
    names: tuple[str, ...]
    member: np.ndarray

    def means(self, values: np.ndarray) -> list[tuple[str, float, int]]:
        """(slice, such as "length: 2-3"; mean; number of cases) of every slice that has cases.

        Args:
            values: float64 [n], one value a case.
        """
        found = []
        for index, name in enumerate(self.names):
            own = values[self.member == index]
            if len(own):
                found.append((f"{self.kind}: {name}", float(own.mean()), len(own)))
        return found


@dataclass(frozen=True)
class PopularityBorders:
    """Where the head begins and the tail ends, in training interactions of an item.

    Attributes:
        head: an item with at least as many is of the head.
        tail: one with at most as many, but not 0, is of the tail; 0: there is no tail.
    """

    head: int
    tail: int


def history_lengths(session: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Items before each target, however many of them a model is shown.

    The m cases of a session of s items are its last m prefixes, so that the j-th of them, from 0, has s - m + j items
    before its target. This holds for a split that leaves one out and for all prefixes of a session.

    Args:
        session: int64 [n], session of each case; cases of one session stand in the order of time.
        size: int64 [S], items of each session.

    Returns:
        int64 [n].
    """
    cases = np.bincount(session, minlength=len(size))
    order = np.argsort(session, kind="stable")
    earlier = np.empty(len(session), dtype=np.int64)
    earlier[order] = np.arange(len(session)) - (np.cumsum(cases) - cases)[session[order]]
    return (size - cases)[session] + earlier


def popularity_borders(counts: np.ndarray) -> PopularityBorders:
    """Cut the items into head, middle and tail by the training interactions that they make up.

    Head: the most popular items, which have 20 % of the interactions; tail: the least popular ones, which have 20 %;
    middle: the others (Abdollahpouri, Mansoury, Burke, Mobasher and Malthouse, *User-centered evaluation of popularity
    bias in recommender systems*, UMAP 2021, arXiv 2103.06364). Items of one popularity stay together: they are of the
    head if less than 20 % of the interactions are of more popular items, otherwise of the tail if less than 20 % are of
    less popular ones.

    Args:
        counts: int64 [N], training interactions of each item, at least one of them above 0.
    """
    levels, items = np.unique(counts[counts > 0], return_counts=True)
    mass = levels * items  # interactions of the items of each popularity, rising
    below = np.cumsum(mass) - mass
    above = mass.sum() - below - mass
    head = FIFTH * above < mass.sum()
    tail = ~head & (FIFTH * below < mass.sum())
    return PopularityBorders(int(levels[head].min()), int(levels[tail].max(initial=0)))


def by_length(length: np.ndarray) -> Slicing:
    """Slices by the items before the target, int64 [n], each at least 1."""
    shortest = np.array([border for border, _ in LENGTHS])
    member = np.searchsorted(shortest, length, side="right") - 1
    return Slicing(LENGTH, tuple(name for _, name in LENGTHS), member)


def by_popularity(count: np.ndarray, borders: PopularityBorders) -> Slicing:
    """Slices by the training interactions of the target, int64 [n]; a cold target has none."""
    member = np.select([count == 0, count >= borders.head, count <= borders.tail], [3, 0, 2], default=1)
    return Slicing(TARGET, POPULARITIES, member)


def by_repeat(repeated: np.ndarray) -> Slicing:
    """Slices by whether the target stands in the history that the model is shown, bool [n]."""
    return Slicing(REPEATED, REPEATS, np.where(repeated, 0, 1))


def by_category(category: np.ndarray, names: Sequence[str]) -> Slicing:
    """Slices by the target's category.

    Args:
        category: int64 [n], index in ``names``; ``len(names)`` for the categories that have no slice of their own.
        names: as :func:`largest_categories` gives them.
    """
    return Slicing(CATEGORY, (*names, OTHER), category)


def largest_categories(category: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the targets' categories by falling number of cases, the rest together.

    Args:
        category: int64 [n], category of each target.
        labels: of all categories; of those with as many cases the one that stands first here comes first.

    Returns:
        (int64 [n] for :func:`by_category`, names of the at most :data:`LARGEST` categories that have most cases).
    """
    cases = np.bincount(category, minlength=len(labels))
    largest = [int(index) for index in np.argsort(-cases, kind="stable")[:LARGEST] if cases[index]]
    place = np.full(len(labels), len(largest), dtype=np.int64)
    place[largest] = np.arange(len(largest))
    return place[category], tuple(labels[index] for index in largest)

"""Slices of the test cases: every border by hand, and against plain loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.evaluation import slices
from recbole_hiersrec.evaluation.slices import PopularityBorders, Slicing

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=30).filter(any)


def names(slicing: Slicing) -> list[str]:
    """The slice of each case."""
    return [slicing.names[index] for index in slicing.member]


def test_borders_of_the_lengths() -> None:
    length = np.array([1, 2, 3, 4, 5, 6, 10, 11, 20, 21, 500])
    expected = ["1", "2-3", "2-3", "4-5", "4-5", "6-10", "6-10", "11-20", "11-20", "21+", "21+"]
    assert names(slices.by_length(length)) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # 20 interactions: 4, which are 20 %, are of items above those with 3, which are not of the head.
        ([4, 3, 3, 3, 3, 1, 1, 1, 1, 0], "head middle middle middle middle tail tail tail tail cold"),
        # 20: 4 are of items below those with 2, which are not of the tail.
        ([6, 4, 2, 2, 2, 1, 1, 1, 1], "head middle middle middle middle tail tail tail tail"),
        # 21: 4 are less than 20 %, so those with 3 are of the head, and those with 2 of the tail.
        ([4, 3, 3, 3, 2, 2, 1, 1, 1, 1], "head head head head tail tail tail tail tail tail"),
        # Items of one popularity stay together, though one of them would have been enough.
        ([4, 4, 3, 3, 2, 1, 1, 1, 1], "head head middle middle middle tail tail tail tail"),
        ([7, 7, 7], "head head head"),
        ([9, 1], "head tail"),
        ([5, 0, 0], "head cold cold"),
    ],
)
def test_popularity_by_hand(counts: list[int], expected: str) -> None:
    values = np.array(counts)
    found = names(slices.by_popularity(values, slices.popularity_borders(values)))
    assert found == expected.split()


def naive_popularity(counts: list[int], item: int) -> str:
    """By the definition, in fractions."""
    own = counts[item]
    if own == 0:
        return "cold"
    above = Fraction(sum(count for count in counts if count > own), sum(counts))
    below = Fraction(sum(count for count in counts if count < own), sum(counts))
    if above < Fraction(1, 5):
        return "head"
    return "tail" if below < Fraction(1, 5) else "middle"


@given(COUNTS)
def test_popularity_against_a_loop(counts: list[int]) -> None:
    values = np.array(counts)
    found = names(slices.by_popularity(values, slices.popularity_borders(values)))
    assert found == [naive_popularity(counts, item) for item in range(len(counts))]


def test_a_count_on_a_border() -> None:
    borders = PopularityBorders(head=8, tail=2)
    found = names(slices.by_popularity(np.array([9, 8, 7, 3, 2, 1, 0]), borders))
    assert found == ["head", "head", "middle", "middle", "tail", "tail", "cold"]


def test_repeated_targets() -> None:
    assert names(slices.by_repeat(np.array([True, False]))) == ["yes", "no"]


def test_the_largest_categories() -> None:
    labels = [f"c{index}" for index in range(13)]
    cases = [1, 5, 0, *[3] * 9, 2]  # c1 most, then c3 to c11, then c12 and c0; c2 has none
    category = np.repeat(np.arange(13), cases)
    member, largest = slices.largest_categories(category, labels)
    assert largest == ("c1", *(f"c{index}" for index in range(3, 12)))
    found = names(slices.by_category(member, largest))
    assert found == [labels[index] if labels[index] in largest else "(other)" for index in category]
    assert found.count("(other)") == 3


def test_fewer_categories_than_are_shown() -> None:
    member, largest = slices.largest_categories(np.array([2, 0, 2]), ["a", "b", "c"])
    assert largest == ("c", "a")
    assert member.tolist() == [0, 1, 0]


def test_lengths_of_a_split_that_leaves_one_out() -> None:
    """Sessions of 3, 7 and 4 items; the second has no case."""
    found = slices.history_lengths(np.array([2, 0]), np.array([3, 7, 4]))
    assert found.tolist() == [3, 2]


def test_lengths_of_all_prefixes() -> None:
    found = slices.history_lengths(np.array([1, 1, 1, 3, 3]), np.array([9, 4, 2, 3]))
    assert found.tolist() == [1, 2, 3, 1, 2]


@given(st.lists(st.tuples(st.integers(2, 9), st.integers(0, 8)), min_size=1, max_size=8), st.randoms())
def test_lengths_against_a_loop(sessions: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    """Some last prefixes of every session, sessions in any order, their cases in the order of time."""
    left = {
        number: list(range(size))[1:][-cases:] if cases else []
        for number, (size, cases) in enumerate(sessions)
    }
    expected = []
    while any(left.values()):
        number = random.choice([number for number, lengths in left.items() if lengths])
        expected.append((number, left[number].pop(0)))
    session = np.array([number for number, _ in expected], dtype=np.int64)
    found = slices.history_lengths(session, np.array([size for size, _ in sessions]))
    assert found.tolist() == [length for _, length in expected]


def test_means_by_hand() -> None:
    slicing = Slicing("length", ("1", "2-3", "4-5"), np.array([0, 2, 0, 2, 2]))
    assert slicing.means(np.array([1.0, 0.5, 0.0, 0.25, 0.75])) == [
        ("length: 1", 0.5, 2),
        ("length: 4-5", 0.5, 3),
    ]


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=40))
def test_weighted_means_are_the_mean(cases: list[tuple[int, float]]) -> None:
    length, values = np.array([c[0] for c in cases]), np.array([c[1] for c in cases])
    found = slices.by_length(length).means(values)
    assert sum(n for *_, n in found) == len(cases)
    assert sum(mean * n for _, mean, n in found) / len(cases) == pytest.approx(values.mean())

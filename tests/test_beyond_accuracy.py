"""Coverage, Gini and novelty of lists, and the calibration error: by hand, and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.evaluation.beyond_accuracy import MEASURES, coverage, gini, novelty
from recbole_hiersrec.evaluation.calibration import BINS, calibration

LISTED = st.lists(st.integers(0, 20), min_size=1, max_size=25).filter(any)
SURE = st.one_of(st.floats(1e-6, 1), st.sampled_from([n / BINS for n in range(1, BINS + 1)]))


@pytest.mark.parametrize(
    ("recommended", "expected"),
    [
        ([3, 0, 1, 0], (1 / 2, 5 / 8)),  # sorted 0 0 1 3, weights -3 -1 1 3: 10 / (4 * 4)
        ([2, 2, 2], (1, 0)),
        ([0, 0, 0, 0, 7], (1 / 5, 4 / 5)),
        ([1, 2, 3], (1, 2 / 9)),  # (-2 + 6) / (3 * 6)
    ],
)
def test_coverage_and_gini_by_hand(recommended: list[int], expected: tuple[float, float]) -> None:
    values = np.array(recommended)
    assert (coverage(values), gini(values)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("recommended", "training", "expected"),
    [
        ([1, 0, 0], [4, 3, 1], 1),  # half of the interactions: one bit
        ([0, 1, 1], [4, 2, 2], 2),
        ([3, 0, 1], [4, 2, 2], 5 / 4),
        ([0, 0, 1], [7, 1, 0], 3),  # cold: as if it had one of the 8
        ([0, 1, 0], [7, 1, 0], 3),
        ([5, 0, 0], [8, 0, 0], 0),
    ],
)
def test_novelty_by_hand(recommended: list[int], training: list[int], expected: float) -> None:
    assert novelty(np.array(recommended), np.array(training)) == pytest.approx(expected)


@given(LISTED)
def test_coverage_and_gini_against_loops(recommended: list[int]) -> None:
    n_items = len(recommended)
    listed = sum(1 for times in recommended if times)
    differences = sum(abs(one - other) for one in recommended for other in recommended)
    assert coverage(np.array(recommended)) == pytest.approx(listed / n_items)
    assert gini(np.array(recommended)) == pytest.approx(differences / (2 * n_items * sum(recommended)))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=20))
def test_novelty_against_a_loop(items: list[tuple[int, int]]) -> None:
    items = [(1, 2), *items]
    total, bits = sum(count for _, count in items), []
    for times, count in items:
        bits += [-math.log2((count or 1) / total)] * times
    recommended, training = np.array(items).T
    assert novelty(recommended, training) == pytest.approx(sum(bits) / len(bits))


def test_names_of_the_measures() -> None:
    recommended, training = np.array([3, 0, 1, 0]), np.array([2, 1, 1, 0])
    found = {name: measure(recommended, training) for name, measure in MEASURES.items()}
    assert found == pytest.approx({"Coverage": 1 / 2, "Gini": 5 / 8, "Novelty": 5 / 4})


def test_calibration_by_hand() -> None:
    """Four bins: two cases in the first, none in the second, one in the third, three in the last."""
    confidence = np.array([0.25, 0.05, 0.75, 0.8, 0.9, 1.0])
    hit = np.array([True, False, False, True, True, False])
    found = calibration(confidence, hit, bins=4)
    assert found.number.tolist() == [1, 3, 4]
    assert found.count.tolist() == [2, 1, 3]
    np.testing.assert_allclose(found.confidence, [0.15, 0.75, 0.9])
    np.testing.assert_allclose(found.accuracy, [1 / 2, 0, 2 / 3])
    assert found.error() == pytest.approx((2 * 0.35 + 1 * 0.75 + 3 * (0.9 - 2 / 3)) / 6)


def test_perfect_and_worst_calibration() -> None:
    assert calibration(np.ones(3), np.array([True] * 3)).error() == 0
    assert calibration(np.ones(3), np.array([False] * 3)).error() == 1


@given(st.lists(st.tuples(SURE, st.booleans()), min_size=1, max_size=40))
def test_calibration_against_a_loop(cases: list[tuple[float, bool]]) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in cases:
        place = next(number for number in range(1, BINS + 1) if sure <= number / BINS)
        bins.setdefault(place, []).append((sure, right))
    error = 0.0
    for members in bins.values():
        confidence = sum(sure for sure, _ in members) / len(members)
        accuracy = sum(right for _, right in members) / len(members)
        error += len(members) / len(cases) * abs(accuracy - confidence)
    found = calibration(np.array([sure for sure, _ in cases]), np.array([right for _, right in cases]))
    assert found.error() == pytest.approx(error)
    assert dict(zip(found.number.tolist(), found.count.tolist(), strict=True)) == {
        place: len(members) for place, members in bins.items()
    }

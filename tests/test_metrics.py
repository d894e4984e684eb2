"""Metrics from ranks, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import METRICS, mean_metrics, mrr, ndcg, recall
from recbole_hiersrec.settings import METRICS as METRIC_NAMES

RANKS = np.array([1.0, 1.5, 3.0, 5.0, 5.5, 8.0, math.inf])


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (recall, 1, [1, 0, 0, 0, 0, 0, 0]),
        (recall, 5, [1, 1, 1, 1, 0, 0, 0]),
        (recall, 8, [1, 1, 1, 1, 1, 1, 0]),
        (mrr, 1, [1, 0, 0, 0, 0, 0, 0]),
        (mrr, 5, [1, 2 / 3, 1 / 3, 1 / 5, 0, 0, 0]),
        (mrr, 8, [1, 2 / 3, 1 / 3, 1 / 5, 2 / 11, 1 / 8, 0]),
        (ndcg, 1, [1, 0, 0, 0, 0, 0, 0]),
        (ndcg, 5, [1, 1 / math.log2(2.5), 1 / 2, 1 / math.log2(6), 0, 0, 0]),
        (ndcg, 8, [1, 1 / math.log2(2.5), 1 / 2, 1 / math.log2(6), 1 / math.log2(6.5), 1 / math.log2(9), 0]),
    ],
)
def test_one_value_a_case(metric, k, expected):
    values = metric(RANKS, k)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-15, atol=0)


def test_the_registry_holds_the_names_of_the_settings():
    assert tuple(METRICS) == METRIC_NAMES


def test_means_come_metric_by_metric_with_the_number_of_cases():
    ranks = np.array([1.0, 3.0, math.inf, 7.0])
    assert mean_metrics(ranks, ["NDCG", "Recall"], [2, 7]) == [
        ("NDCG", 2, 1 / 4, 4),
        ("NDCG", 7, pytest.approx((1 + 1 / 2 + 1 / 3) / 4), 4),
        ("Recall", 2, 1 / 4, 4),
        ("Recall", 7, 3 / 4, 4),
    ]


def test_iterators_may_be_given_once():
    assert len(mean_metrics(np.array([1.0]), iter(["Recall", "MRR"]), iter([1, 2]))) == 4


@pytest.mark.parametrize(
    ("ranks", "metrics", "ks", "message"),
    [
        (
            [1.0],
            ["recal"],
            [5],
            r"metrics: received 'recal'; did you mean 'Recall'\? \(allowed: Recall, MRR, NDCG\)",
        ),
        ([1.0], ["Recall"], [5, 0], "ks: received 0, allowed: whole numbers from 1"),
        ([], ["Recall"], [5], "ranks: received no test case"),
    ],
)
def test_bad_input_is_named(ranks, metrics, ks, message):
    with pytest.raises(InputError, match=message):
        mean_metrics(np.array(ranks), metrics, ks)

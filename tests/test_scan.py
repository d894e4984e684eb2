"""The search in chosen lists: both ways against a naive top-k, whatever the lists look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hiersrec.retrieval import scan as scan_module
from recbole_hiersrec.retrieval.scan import ListScan


def scan_of(seed, n_items=150, n_lists=9, width=5):
    """A scan of random vectors, one list of it empty; the vectors by id (from 1), and the list of each id."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_items + 1, width)).astype(np.float32)
    lists = rng.integers(0, n_lists - 1, n_items + 1)
    scan = ListScan(rng.standard_normal((n_lists, width)).astype(np.float32))
    ids = rng.permutation(n_items) + 1
    for part in np.array_split(ids, 3):
        scan.add(vectors[part], part, lists[part])
    return scan, vectors, lists


def choice(rng, n_queries, n_lists, most):
    """Lists of each query, -1-padded, some rows empty."""
    lists = np.stack([rng.permutation(n_lists)[:most] for _ in range(n_queries)])
    lists[np.arange(most) >= rng.integers(0, most + 1, n_queries)[:, None]] = -1
    return lists.astype(np.int64)


def naive(query, row, vectors, lists, k):
    """Ids and scores of the k best of the row's lists, by looking at all."""
    ids = np.flatnonzero(np.isin(lists, row[row >= 0]))
    ids = ids[ids > 0]
    scores = vectors[ids] @ query
    order = np.argsort(-scores, kind="stable")[:k]
    return ids[order], scores[order]


@pytest.mark.parametrize("way", ["by_query", "by_list", "search"])
@given(seed=st.integers(0, 1000), n_queries=st.integers(1, 40), k=st.integers(1, 60), small=st.booleans())
@settings(max_examples=30, deadline=None)
def test_every_way_finds_the_best(way, seed, n_queries, k, small):
    scan, vectors, lists = scan_of(seed)
    rng = np.random.default_rng(seed + 1)
    queries = rng.standard_normal((n_queries, 5)).astype(np.float32)
    chosen = choice(rng, n_queries, 9, 6)
    keep = scan_module._SCORES, scan_module._WORTH, scan_module._SHARED
    if small:
        scan_module._SCORES, scan_module._WORTH, scan_module._SHARED = 300, 1, 1
    try:
        ids, scores = getattr(scan, way)(queries, chosen, k)
    finally:
        scan_module._SCORES, scan_module._WORTH, scan_module._SHARED = keep
    assert (ids.shape, ids.dtype, scores.shape, scores.dtype) == (
        (n_queries, k), np.int64, (n_queries, k), np.float32
    )  # fmt: skip
    for row in range(n_queries):
        best, expected = naive(queries[row], chosen[row], vectors, lists, k)
        assert ids[row].tolist() == best.tolist() + [-1] * (k - len(best))
        np.testing.assert_allclose(scores[row, : len(best)], expected, atol=1e-5)
        assert (scores[row, len(best) :] == -np.inf).all()


def test_memory_that_is_kept_holds_nothing_of_the_last_search():
    scan, vectors, lists = scan_of(0)
    queries = np.ones((2, 5), np.float32)
    scan.by_list(100 * queries, np.array([[0, 1, 2], [3, 4, 5]]), 5)
    chosen = np.array([[0, -1, -1], [1, 2, -1]])
    ids, _ = scan.by_list(queries, chosen, 40)
    for row in range(2):
        best, _ = naive(queries[row], chosen[row], vectors, lists, 40)
        assert [item for item in ids[row].tolist() if item > 0] == best.tolist()


def test_many_queries_and_scores_a_list_go_list_by_list(monkeypatch):
    scan, _, lists = scan_of(0)
    went = []
    scan.by_list = lambda *_: went.append("list")
    scan.by_query = lambda *_: went.append("query")

    def ask(chosen):
        scan.search(np.ones((len(chosen), 5), np.float32), np.asarray(chosen), 3)

    monkeypatch.setattr(scan_module, "_WORTH", 5 * int((lists[1:] == 0).sum()))
    for n_queries in (4, 5):  # too few scores, enough
        ask([[0]] * n_queries)
    monkeypatch.setattr(scan_module, "_WORTH", 1)
    for n_queries in (3, 4):  # too few queries, enough
        ask([[0]] * n_queries)
    ask([[0], [1], [2], [3]])
    ask([[-1]] * 9)
    assert went == ["query", "list", "query", "list", "query", "query"]


@pytest.mark.parametrize("way", ["by_query", "by_list", "search"])
def test_no_queries_and_no_lists(way):
    scan, _, _ = scan_of(0)
    for n_queries, most in ((0, 3), (2, 0)):
        ids, scores = getattr(scan, way)(
            np.ones((n_queries, 5), np.float32), np.zeros((n_queries, most), np.int64), 4
        )
        assert ids.shape == scores.shape == (n_queries, 4)
        assert (ids == -1).all()
        assert (scores == -np.inf).all()

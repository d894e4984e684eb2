"""Cells: the choice of lists against a naive greedy loop, the search against a naive top-k."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import lifted

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval import greedy as greedy_module
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import Lists, build_lists


def cells_of(sizes, centroids, seed=0):
    """Cells with lists of the given sizes; items are dealt out at random, their vectors are random."""
    rng = np.random.default_rng(seed)
    n_items = int(np.sum(sizes))
    members = np.concatenate(
        [np.sort(part) for part in np.split(rng.permutation(n_items) + 1, np.cumsum(sizes)[:-1])]
    )
    lists = Lists(np.asarray(centroids, np.float32), np.cumsum([0, *sizes], dtype=np.int64), members)
    vectors = rng.standard_normal((n_items + 1, lists.centroids.shape[1])).astype(np.float32)
    return Cells(lists, torch.from_numpy(vectors))


def asked(vectors):
    """Queries of sessions that have seen nothing."""
    return Queries(vectors, torch.zeros(len(vectors), 1, dtype=torch.long))


def naive_select(scores, lists, budget, own=()):
    """List by list, as the rule is stated; items of ``own`` cost nothing."""
    chosen, left = [], budget
    for number in np.argsort(-scores, kind="stable"):
        cost = len(set(lists[number]) - set(own))
        if cost <= left:
            chosen.append(int(number))
            left -= cost
    return chosen


def contents(cells):
    return [part.tolist() for part in np.split(cells.lists.members, cells.lists.offsets[1:-1])]


def rows(selected):
    return [[number for number in row if number >= 0] for row in selected.lists.tolist()]


def test_it_is_a_candidate_rule():
    cells = cells_of([1, 2], np.eye(2))
    assert isinstance(cells, CandidateRule)
    assert cells.name == "cells"


def test_a_list_that_does_not_fit_is_skipped():
    cells = cells_of([4, 3, 3, 2, 1], [[5.0], [4], [3], [2], [1]])
    queries = torch.tensor([[1.0], [-1.0], [0.0]])  # list 0 is best, list 4 is best, all are equal
    selected = cells.select(asked(queries), 6)
    assert selected.lists.dtype == np.int64
    assert selected.lists.tolist() == [[0, 3, -1], [4, 3, 2], [0, 3, -1]]
    assert rows(cells.select(asked(queries), 1)) == [[4], [4], [4]]
    assert rows(cells.select(asked(queries), 13)) == [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]]


def test_a_budget_below_every_list_chooses_nothing():
    cells = cells_of([3, 2], [[1.0], [2]])
    query = torch.tensor([[1.0]])
    assert cells.select(asked(query), 1).lists.shape == (1, 0)
    found = cells.candidates(asked(query), 1)
    assert found.ids.shape == (1, 0)
    assert found.compared.tolist() == [2]
    ids, scores = cells.search(asked(query), 2, 1)
    assert ids.tolist() == [[0, 0]]
    assert scores.tolist() == [[-np.inf, -np.inf]]


def test_no_queries():
    cells = cells_of([3, 2], [[1.0], [2]])
    assert len(cells.select(asked(torch.zeros(0, 1)), 3).lists) == 0
    assert len(cells.candidates(asked(torch.zeros(0, 1)), 3).ids) == 0


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    n_queries=st.integers(1, 5),
    share=st.floats(0, 1.1),
    tied=st.booleans(),
    window=st.sampled_from([1, 3, 128]),
    n_apart=st.integers(0, 12),
    seed=st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_choice_equals_a_naive_greedy_loop(sizes, n_queries, share, tied, window, n_apart, seed):
    rng = np.random.default_rng(seed)
    if tied:
        centroids, queries = rng.integers(-1, 2, (len(sizes), 2)), rng.integers(-1, 2, (n_queries, 2))
    else:
        centroids, queries = rng.standard_normal((len(sizes), 2)), rng.standard_normal((n_queries, 2))
    cells = cells_of(sizes, centroids, seed)
    budget = max(1, int(share * sum(sizes)))
    queries = torch.tensor(queries, dtype=torch.float32)
    scores = (queries @ torch.from_numpy(cells.lists.centroids).T).numpy()
    ids = distinct(torch.from_numpy(rng.integers(0, sum(sizes) + 1, (n_queries, n_apart))))
    bonus = torch.from_numpy(rng.choice([-1.0, 0.0, 0.5, 0.5, 2.0], ids.shape).astype(np.float32))
    wanted = replace(asked(queries), apart=Apart(ids, bonus))
    keep, greedy_module._WINDOW = greedy_module._WINDOW, window
    try:
        selected = cells.select(wanted, budget)
    finally:
        greedy_module._WINDOW = keep
    lists, found = contents(cells), cells.candidates(wanted, budget)
    for row, (chosen, ids) in enumerate(zip(rows(selected), found.ids.tolist(), strict=True)):
        own = lifted(wanted, row, budget)
        assert [item for item in selected.own[row].tolist() if item] == own
        assert chosen == naive_select(scores[row], lists, budget - len(own), own)
        expected = own + [item for number in chosen for item in lists[number] if item not in own]
        assert [item for item in ids if item] == expected
        assert len(expected) == len(set(expected)) <= budget
    assert found.ids.dtype == found.compared.dtype == torch.long
    assert found.compared.tolist() == [len(sizes)] * n_queries


@pytest.mark.parametrize("budget", [37, 400, 3000])
def test_many_uneven_lists(budget):
    rng = np.random.default_rng(0)
    sizes = np.maximum(1, rng.lognormal(2, 1, 900)).astype(int)
    cells = cells_of(sizes, rng.standard_normal((900, 8)))
    queries = torch.from_numpy(rng.standard_normal((20, 8)).astype(np.float32))
    scores = (queries @ torch.from_numpy(cells.lists.centroids).T).numpy()
    chosen = rows(cells.select(asked(queries), budget))
    assert chosen == [naive_select(row, contents(cells), budget) for row in scores]


@given(
    st.lists(
        st.floats(-4, 4, width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45]), min_size=1, max_size=30
    )
)
def test_order_is_that_of_a_stable_sort(values):
    scores = np.array([values], dtype=np.float32)
    np.testing.assert_array_equal(
        greedy_module.descending(scores), np.argsort(-scores, axis=1, kind="stable")
    )


@given(seed=st.integers(0, 1000), share=st.floats(0.02, 1), k=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_search_equals_a_naive_top_k(seed, share, k):
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.standard_normal((201, 6)).astype(np.float32))
    cells = Cells(build_lists(vectors, rng.integers(0, 4, 201), 9, seed=0), vectors)
    queries = torch.from_numpy(rng.standard_normal((4, 6)).astype(np.float32))
    budget = max(1, int(share * 200))
    ids, scores = cells.search(asked(queries), k, budget)
    assert ids.shape == scores.shape == (4, k)
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    candidates = cells.candidates(asked(queries), budget).ids
    for row, query in enumerate(queries):
        pool = candidates[row][candidates[row] != 0]
        best = (vectors[pool] @ query).topk(min(k, len(pool)))
        assert ids[row].tolist() == pool[best.indices].tolist() + [0] * (k - len(best.indices))
        np.testing.assert_allclose(scores[row, : len(best.values)], best.values.numpy(), atol=1e-4)
        assert (scores[row, len(best.values) :] == -np.inf).all()


def test_search_of_everything_is_the_top_k_of_all_items():
    vectors = torch.randn(301, 16, generator=torch.Generator().manual_seed(0))
    cells = Cells(build_lists(vectors, None, 10, seed=0), vectors)
    queries = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    ids, _ = cells.search(asked(queries), 20, 300)
    np.testing.assert_array_equal(ids, (queries @ vectors[1:].T).topk(20).indices.numpy() + 1)


def test_batch_equals_single():
    vectors = torch.randn(301, 16, generator=torch.Generator().manual_seed(0))
    cells = Cells(build_lists(vectors, None, 10, seed=0), vectors)
    queries = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    ids, scores = cells.search(asked(queries), 5, 40)
    alone = [cells.search(asked(query[None]), 5, 40) for query in queries]
    np.testing.assert_array_equal(ids, np.concatenate([found for found, _ in alone]))
    np.testing.assert_allclose(scores, np.concatenate([found for _, found in alone]), atol=1e-5)


def test_the_threads_of_faiss_are_left_alone():
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1)
        vectors = torch.randn(101, 4)
        Cells(build_lists(vectors, None, 10, seed=0), vectors).search(asked(torch.randn(3, 4)), 5, 40)
        assert faiss.omp_get_max_threads() == 1
    finally:
        faiss.omp_set_num_threads(before)


def test_queries_may_carry_gradients():
    cells = cells_of([4, 3], np.eye(2))
    assert len(cells.search(asked(torch.ones(1, 2, requires_grad=True)), 2, 5)[0]) == 1


@pytest.mark.parametrize("shape", [(7, 2), (8, 3)])
def test_lists_of_other_items_are_refused(shape):
    lists = build_lists(torch.randn(8, 2), None, 3, seed=0)
    with pytest.raises(InputError, match="lists: of items up to 7 and width 2, but the item vectors are of"):
        Cells(lists, torch.randn(*shape))


def with_apart(n_queries, width, n_items, seed):
    """Random queries, of which each lifts some items, one of them twice as hidden PAD."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.permutation(n_items)[:6] + 1 for _ in range(n_queries)])
    ids[:, 2] = 0
    bonus = rng.standard_normal(ids.shape).astype(np.float32) * (ids > 0)
    vectors = torch.from_numpy(rng.standard_normal((n_queries, width)).astype(np.float32))
    apart = Apart(torch.from_numpy(ids), torch.from_numpy(bonus))
    return Queries(vectors, torch.zeros(n_queries, 1, dtype=torch.long), apart)


@pytest.mark.parametrize("budget", [1, 3, 10, 25, 60])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_scored_is_counted_once(budget, seed):
    """As many as there are candidates: items of the lists, and lifted ones that lie in none of them."""
    cells = cells_of([4, 1, 7, 12, 3, 9, 24], np.random.default_rng(seed).standard_normal((7, 5)), seed)
    queries = with_apart(9, 5, 60, seed)
    wanted = (cells.candidates(queries, budget).ids > 0).sum(1)
    assert cells.scored(cells.select(queries, budget)).tolist() == wanted.tolist()
    if budget == 25:
        assert len(set(wanted.tolist())) > 1


@pytest.mark.parametrize("budget", [1, 3, 10, 60])
@pytest.mark.parametrize("seed", range(4))
def test_among_allowed_items_a_list_costs_those_that_are_allowed(budget, seed):
    rng = np.random.default_rng(seed)
    cells = cells_of([4, 1, 7, 12, 3, 9, 24], rng.standard_normal((7, 5)), seed)
    allowed = rng.random(61) < 0.4
    allowed[[0, *contents(cells)[4]]] = False  # one list is empty now
    queries = asked(torch.from_numpy(rng.standard_normal((9, 5)).astype(np.float32)))
    found = cells.among(allowed).candidates(queries, budget)
    lists = [[item for item in part if allowed[item]] for part in contents(cells)]
    scores = (queries.vectors @ torch.from_numpy(cells.lists.centroids).T).numpy()
    for row, ids in enumerate(found.ids.tolist()):
        wanted = [item for number in naive_select(scores[row], lists, budget) for item in lists[number]]
        assert [item for item in ids if item] == wanted
    assert found.compared.tolist() == [7] * 9


def test_among_all_items_is_the_rule_itself():
    cells = cells_of([4, 1, 7, 12], np.random.default_rng(1).standard_normal((4, 5)))
    queries = with_apart(9, 5, 24, 3)
    every, own = cells.among(np.ones(25, bool)), cells
    assert every.name == own.name
    for budget in (1, 5, 13, 24):
        pair = [rule.candidates(queries, budget) for rule in (every, own)]
        assert torch.equal(pair[0].ids, pair[1].ids)
        assert torch.equal(pair[0].compared, pair[1].compared)

"""Candidate rules: hand-made cases of each, and what all of them promise."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval import own as own_items
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.co_visitation import CoVisitation, visits
from recbole_hiersrec.retrieval.coarse import FlatOrder, TwoLevelOrder, n_super_lists
from recbole_hiersrec.retrieval.greedy import Groups
from recbole_hiersrec.retrieval.hnsw import Hnsw
from recbole_hiersrec.retrieval.last_category import LastCategory, last_items
from recbole_hiersrec.retrieval.leaf_categories import LeafCategories
from recbole_hiersrec.retrieval.lists import build_lists
from recbole_hiersrec.retrieval.mixed import Mixed
from recbole_hiersrec.retrieval.needs import RULES, check_needs
from recbole_hiersrec.retrieval.own import distinct_latest_first, in_rows, lifted_items
from recbole_hiersrec.retrieval.popularity import Popularity
from recbole_hiersrec.retrieval.rules import RuleContext, build_rule, exact_lists
from recbole_hiersrec.settings import CandidateRuleName


def sessions(histories, repeat=None, vectors=None, logits=()):
    """Queries of the given histories."""
    longest = max(map(len, histories))
    history = torch.tensor([items + [0] * (longest - len(items)) for items in histories])
    vectors = torch.empty(len(history), 0) if vectors is None else vectors
    return Queries(vectors, history, None if repeat is None else apart(history, torch.tensor(repeat)), logits)


def apart(history, repeat):
    """A bonus ``repeat`` [B] on each item of the session."""
    ids = distinct(history)
    return Apart(ids, repeat[:, None].float().expand(ids.shape))


def chosen(rule: CandidateRule, queries: Queries, budget: int) -> list[list[int]]:
    """Candidates of each row, in their order."""
    return [[item for item in row if item] for row in rule.candidates(queries, budget).ids.tolist()]


def random_context(n_items, seed, **changes):
    rng = np.random.default_rng(seed)
    leaf = rng.integers(0, 6, n_items + 1)
    history = rng.integers(1, n_items + 1, (20, 4))
    context = RuleContext(
        n_items=n_items,
        item_counts=rng.integers(0, 5, n_items + 1),
        training=(history, np.full(20, 4), rng.integers(1, n_items + 1, 20)),
        item_vectors=torch.from_numpy(rng.standard_normal((n_items + 1, 5)).astype(np.float32)),
        item_category=np.stack([leaf // 2, leaf], axis=1),
    )
    return replace(context, **changes)


def test_popularity_by_hand():
    rule = Popularity(np.array([99, 1, 5, 1, 7]))
    assert chosen(rule, sessions([[1], [2]]), 3) == [[4, 2, 1], [4, 2, 1]]
    assert rule.candidates(sessions([[1]]), 3).compared.tolist() == [0]


def test_items_of_the_session_come_first_where_the_repeat_term_lifts_them():
    rule = Popularity(np.array([0, 1, 5, 1, 7]))
    queries = sessions([[1, 4, 1, 3], [1, 4], [3, 1]], repeat=[0.5, 0.0, -1.0])
    assert chosen(rule, queries, 2) == [[3, 4], [4, 2], [4, 2]]
    assert chosen(rule, queries, 4) == [[3, 4, 1, 2], [4, 2, 1, 3], [4, 2, 1, 3]]
    assert chosen(rule, queries, 1) == [[3], [4], [4]]


def test_distinct_items_the_most_recent_first():
    history = np.array([[3, 1, 3, 2, 0], [5, 5, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert distinct_latest_first(history).tolist() == [[2, 3, 1], [5, 0, 0], [0, 0, 0]]


def test_items_with_a_bonus_the_largest_first():
    history = torch.tensor([[3, 1, 3, 2]])
    assert lifted_items(Queries(torch.empty(1, 0), history), 2).shape == (1, 0)
    assert lifted_items(sessions([[3, 1, 3, 2]], repeat=[1.0]), 2).tolist() == [[2, 1]]
    bonus = Apart(torch.tensor([[4, 0, 6, 9]]), torch.tensor([[0.5, 7.0, 2.0, -1.0]]))
    assert lifted_items(Queries(torch.empty(1, 0), history, bonus), 9).tolist() == [[6, 4]]


def test_last_category_by_hand():
    # Leaves: 0 {1, 2}, 1 {3}, both below 0; 2 {4, 5} below 1.
    category = np.array([[-1, -1], [0, 0], [0, 0], [0, 1], [1, 2], [1, 2]])
    rule = LastCategory(category, np.array([0, 1, 2, 9, 3, 4]))
    queries = sessions([[4, 1], [3], [1, 4]])
    assert chosen(rule, queries, 1) == [[2], [3], [5]]
    assert chosen(rule, queries, 5) == [[2, 1, 3, 5, 4], [3, 2, 1, 5, 4], [5, 4, 3, 2, 1]]
    assert rule.candidates(queries, 5).compared.tolist() == [0, 0, 0]
    assert last_items(queries).tolist() == [1, 3, 4]


def test_co_visitation_by_hand():
    history, target = np.array([[1, 2], [2, 0]]), np.array([3, 3])
    rows = (history, np.array([2, 1]), target)
    table = visits(rows, 6).toarray()
    assert table[2, 3] == 2
    assert table[1, 2] == 1
    assert table[1, 3] == 1 / 2
    assert table.sum() == 7 / 2
    rule = CoVisitation(rows, np.array([0, 1, 2, 2, 8, 9]))
    assert chosen(rule, sessions([[2], [1]]), 4) == [[3, 5, 4, 2], [2, 3, 5, 4]]
    # Last item 2: 3 has 2. Item 1 before it, at half weight: 2 has 1/2 and 3 has 1/4 more.
    assert chosen(rule, sessions([[1, 2]]), 3) == [[3, 2, 5]]


@given(seed=st.integers(0, 500), n_items=st.integers(1, 60), length=st.integers(0, 70))
@example(seed=479, n_items=43, length=6)  # two items whose sums differ by the order of addition alone
@settings(max_examples=60, deadline=None)
def test_co_visitation_equals_a_dense_sort(seed, n_items, length):
    rng = np.random.default_rng(seed)
    context = random_context(n_items, seed)
    history = rng.integers(1, n_items + 1, (5, 7))
    history[np.arange(7) >= rng.integers(1, 8, (5, 1))] = 0
    rule = CoVisitation(context.training, context.item_counts)
    ids, compared = rule._ordered(sessions(history.tolist()), length)
    weights = np.zeros((5, n_items + 1))
    for row, items in zip(weights, history.tolist(), strict=True):
        for place, item in enumerate(list(dict.fromkeys([i for i in items if i][::-1]))[:5], start=1):
            row[item] = 1 / place
    dense = (csr_array(weights) @ visits(context.training, n_items + 1)).toarray()[:, 1:]
    counts = context.item_counts[1:]
    scores = dense.round(9) + 1e-6 * (1 + np.searchsorted(np.unique(counts), counts)) / 99
    assert ids.shape == (5, min(length, n_items))
    assert ids.tolist() == (np.argsort(-scores, axis=1, kind="stable") + 1)[:, :length].tolist()
    assert compared.tolist() == [0] * 5


def test_co_visitation_needs_no_memory_for_items_it_does_not_propose():
    n_items, rng = 200_000, np.random.default_rng(0)
    rows = (rng.integers(1, n_items + 1, (50, 4)), np.full(50, 3), rng.integers(1, n_items + 1, 50))
    rule = CoVisitation(rows, np.ones(n_items + 1, int))
    queries = sessions(rows[0][:40].tolist())
    tracemalloc.start()
    rule.candidates(queries, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 40 * n_items / 10  # a tenth of one dense float64 [40, N]


def test_leaf_categories_by_hand():
    rule = LeafCategories(np.array([-1, 0, 0, 0, 1, 3, 3]))  # no item of category 2
    logits = torch.tensor([[1.0, 3.0, 9.0, 2.0], [5.0, 1.0, 9.0, 2.0]])
    queries = sessions([[1], [1]], logits=(torch.zeros(2, 1), logits))
    assert chosen(rule, queries, 3) == [[4, 5, 6], [1, 2, 3]]
    assert chosen(rule, queries, 2) == [[4], [5, 6]]  # a category that does not fit is skipped
    assert rule.candidates(queries, 3).compared.tolist() == [4, 4]
    with pytest.raises(InputError, match="without category logits"):
        rule.candidates(sessions([[1]]), 3)


def test_hnsw_counts_what_it_looked_at_and_finds_the_best():
    context = random_context(400, 1)
    rule = Hnsw(context.item_vectors)
    queries = sessions([[1]] * 5, vectors=torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))
    found = rule.candidates(queries, 40)
    assert ((found.ids != 0).sum(1) == 40).all()
    assert ((found.compared + 40 > 40) & (found.compared + 40 <= 400 + 40)).all()
    best = (queries.vectors @ context.item_vectors[1:].T).topk(10).indices + 1
    kept = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(best, found.ids, strict=True)]
    assert sum(kept) >= 45


def test_hnsw_counts_every_distance_and_every_item_looked_up():
    rule = Hnsw(random_context(400, 1).item_vectors)
    vectors = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    lifted = sessions([[1, 2, 3], [4, 5], [6]], repeat=[1.0, 1.0, 0.0], vectors=vectors)
    found = rule.candidates(lifted, 40)
    _, computed = rule._ordered(lifted, 40 + 3)  # the longest budget left, and what may be dropped of it
    scanned = (found.ids != 0).sum(1) + found.compared
    assert scanned.tolist() == np.add(computed, [3, 2, 0]).tolist()


def test_a_lifted_item_of_a_chosen_list_is_counted_once():
    vectors = torch.tensor([[9.0], [3.0], [3.0], [2.0], [2.0]])
    cells = Cells(build_lists(vectors, np.array([0, 1, 1, 2, 2]), 2, seed=0), vectors)
    found = cells.candidates(sessions([[1]], repeat=[1.0], vectors=torch.ones(1, 1)), 4)
    assert sorted(found.ids[0][found.ids[0] > 0].tolist()) == [1, 2, 3, 4]
    assert found.compared.tolist() == [2]  # scanned: both centroids, four items
    two = cells.candidates(sessions([[1]], repeat=[1.0], vectors=torch.ones(1, 1)), 2)
    assert sorted(two.ids[0][two.ids[0] > 0].tolist()) == [1, 2]  # its list costs one item more, not two


def test_mixed_takes_visits_first_and_counts_an_item_once():
    context = random_context(100, 2, list_size=5)
    first, cells = CoVisitation(context.training, context.item_counts), build_rule("k-means", context)
    queries = sessions([[1, 2], [3]], vectors=torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    mixed = chosen(Mixed(first, cells, 0.4), queries, 20)
    for row, visited in zip(mixed, chosen(first, queries, 8), strict=True):
        assert row[:8] == visited
        assert 16 <= len(row) == len(set(row)) <= 20
    assert chosen(Mixed(first, cells, 0.0), queries, 20) == chosen(cells, queries, 20)
    shares = [build_rule("mixed", replace(context, mixed_share=share)) for share in (0.2, 0.8)]
    assert chosen(shares[0], queries, 20) != chosen(shares[1], queries, 20)


@given(
    name=st.sampled_from(sorted(RULES)),
    n_items=st.integers(6, 80) | st.sampled_from([600, 620]),
    share=st.floats(0.02, 1),
    seed=st.integers(0, 200),
    repeat=st.booleans(),
    super_lists=st.sampled_from([None, 0, 4]),
)
@settings(max_examples=120, deadline=None)
def test_what_every_rule_promises(name, n_items, share, seed, repeat, super_lists):
    context = random_context(
        n_items, seed, super_lists=super_lists, list_size=1 + seed % 7, compared_fraction=0.1
    )
    rng = np.random.default_rng(seed)
    history = rng.integers(1, n_items + 1, (4, 6))
    history[np.arange(6) >= rng.integers(1, 7, (4, 1))] = 0
    queries = Queries(
        torch.from_numpy(rng.standard_normal((4, 5)).astype(np.float32)),
        torch.from_numpy(history),
        apart(torch.from_numpy(history), torch.from_numpy(rng.standard_normal(4))) if repeat else None,
        (torch.zeros(4, 3), torch.from_numpy(rng.standard_normal((4, 6)).astype(np.float32))),
    )
    rule = build_rule(name, context)
    assert rule.name == name
    budget = max(1, int(share * n_items))
    found = rule.candidates(queries, budget)
    assert found.ids.dtype == found.compared.dtype == torch.long
    assert found.compared.shape == (4,)
    for row, items in enumerate(chosen(rule, queries, budget)):
        assert len(items) == len(set(items)) <= budget
        assert set(items) <= set(range(1, n_items + 1))
        seen = list(dict.fromkeys(item for item in history[row].tolist() if item))[::-1]
        if repeat and queries.apart.bonus[row, 0] > 0:
            assert items[: len(seen)] == seen[:budget]
    if name in ("popularity", "last-category", "co-visitation"):
        assert ((found.ids != 0).sum(1) == budget).all()
        assert (found.compared == 0).all()
    if isinstance(rule, Cells):  # what is left of the budget is less than some list that was in reach
        assert ((found.ids != 0).sum(1) > budget - rule.lists.sizes.max()).all()
    if name != "hnsw":  # a graph may leave some items out
        assert all(len(items) == n_items for items in chosen(rule, queries, n_items))


def test_the_settings_know_the_rules():
    assert set(get_args(CandidateRuleName)) == set(RULES)


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match="rule: received 'cell', allowed: cells, k-means"):
        build_rule("cell", random_context(9, 0))


@pytest.mark.parametrize(
    ("rule", "has", "message"),
    [
        (
            "hnsw",
            {},
            "models: m: the rule hnsw needs scores by inner products, .*last-category, co-visitation",
        ),
        (
            "last-category",
            {"inner_product": True},
            "the rule last-category needs category_fields, which it has not",
        ),
        (
            "leaf-categories",
            {"inner_product": True, "categories": True},
            "needs a model that predicts categories",
        ),
    ],
)
def test_needs_are_named(rule, has, message):
    with pytest.raises(InputError, match=message):
        check_needs("m", rule, **{"inner_product": False, "categories": False, "heads": False} | has)
    check_needs("m", rule, inner_product=True, categories=True, heads=True)


def asked_for(n_queries, budget):
    """The same budget for every query, and no item that is known anyway."""
    return np.full(n_queries, budget), np.zeros((n_queries, 0), np.int64)


def two_level(n_items=600, cap=6, most=40, seed=0):
    vectors = torch.randn(n_items + 1, 6, generator=torch.Generator().manual_seed(seed))
    lists = build_lists(vectors, None, cap, seed=0)
    return vectors, lists, TwoLevelOrder(lists.centroids, n_super_lists(len(lists), most), most, seed=0)


def test_two_levels_compare_no_more_than_allowed_and_order_what_they_compare():
    vectors, lists, order = two_level()
    queries = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    found, compared = order.order(queries, Groups(lists.offsets, lists.members), *asked_for(9, 24))
    assert (compared <= 40).all()
    assert (compared > 30).all()
    scores = (queries @ torch.from_numpy(lists.centroids).T).numpy()
    for row, numbers in enumerate(found):
        real = numbers[numbers >= 0]
        assert len(real) == len(set(real.tolist())) == compared[row] - len(order.below.sizes)
        assert (np.diff(scores[row, real]) <= 1e-5).all()
    flat = chosen(Cells(lists, vectors), sessions([[1]] * 9, vectors=queries), 24)
    near = chosen(Cells(lists, vectors, order=order), sessions([[1]] * 9, vectors=queries), 24)
    shared = sum(len(set(a) & set(b)) for a, b in zip(flat, near, strict=True))
    assert shared > 0.7 * 9 * 24
    assert (
        Cells(lists, vectors, order=order)
        .candidates(sessions([[1]] * 9, vectors=queries), 24)
        .compared.tolist()
        == compared.tolist()
    )


def test_which_settings_of_lists_are_used():
    context = random_context(3000, 0)
    queries = sessions([[1]], vectors=torch.ones(1, 5))
    compared = {
        name: int(build_rule("k-means", changed).candidates(queries, 120).compared[0])
        for name, changed in (
            ("default", context),
            ("flat", replace(context, super_lists=0)),
            ("few", replace(context, super_lists=5, compared_fraction=0.05)),
            ("more", replace(context, compared_fraction=0.04)),
            ("larger lists", replace(context, list_size=60)),
        )
    }
    assert compared["default"] <= 60 < compared["more"] <= 120 < compared["flat"]
    assert compared["few"] != compared["default"]
    assert 50 <= compared["larger lists"] <= 75


@pytest.mark.parametrize("super_lists", [None, 40, 70])  # 60 comparisons allowed: 70 are too many already
def test_every_budget_is_filled_and_every_comparison_counted(super_lists):
    rule = build_rule("k-means", random_context(3000, 0, super_lists=super_lists))
    order = rule._order
    assert isinstance(order, TwoLevelOrder)
    queries = sessions([[1]] * 4, vectors=torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
    for share in (0.02, 0.08, 0.3, 0.6, 1):
        budget = int(share * 3000)
        found = rule.candidates(queries, budget)
        scored = (found.ids != 0).sum(1)
        assert (scored <= budget).all()
        assert (scored > budget - rule.lists.sizes.max()).all()
        lists, _ = order.order(
            queries.vectors, Groups(rule.lists.offsets, rule.lists.members), *asked_for(4, budget)
        )
        assert found.compared.tolist() == (len(order.below.sizes) + (lists >= 0).sum(1)).tolist()
        if share == 0.02 and super_lists is None:
            assert (found.compared <= 60).all()  # the target holds where the budget can be met
    assert (scored == 3000).all()


def test_items_known_anyway_do_not_make_a_budget_reachable():
    rule = build_rule("k-means", random_context(600, 0, super_lists=5, compared_fraction=0.05, list_size=5))
    queries = sessions([[1]], vectors=torch.ones(1, 5))
    near, groups = rule.candidates(queries, 60), Groups(rule.lists.offsets, rule.lists.members)
    own = near.ids.numpy()
    order, _ = rule._order.order(queries.vectors, groups, np.array([400]), own)
    new = np.setdiff1d(groups.items(order), own)
    assert len(new[new > 0]) >= 400


def test_number_of_super_lists():
    assert n_super_lists(100, 100) == 0  # all may be compared
    assert n_super_lists(400, 200) == 20
    assert n_super_lists(400, 20) == 0  # too few comparisons for two levels


def test_items_that_are_candidates_anyway_cost_a_list_nothing():
    groups = Groups(np.array([0, 3, 5]), np.array([1, 2, 3, 4, 5]))
    order = np.array([[0, 1], [0, 1]])
    own = np.array([[2, 3], [0, 0]])
    assert groups.choose(order, np.array([1, 2]), own).tolist() == [[0], [1]]
    assert groups.choose(order, np.array([3, 5]), own).tolist() == [[0, 1], [0, 1]]
    assert groups.choose(order, np.array([0, 9]), np.array([[9, 1], [0, 0]])).tolist() == [[-1, -1], [0, 1]]


def test_cold_items_are_found_once_they_are_added():
    vectors = torch.randn(301, 8, generator=torch.Generator().manual_seed(0))
    cold = np.array([7, 150, 299])
    warm = np.setdiff1d(np.arange(1, 301), cold)
    lists = build_lists(vectors, None, 10, seed=0, items=warm)
    assert sorted(lists.members.tolist()) == warm.tolist()
    cells = Cells(lists, vectors)
    queries = sessions([[1]] * 3, vectors=3 * vectors[cold])
    before, _ = cells.search(queries, 1, 300)
    cells.add(cold, vectors[cold])
    after, scores = cells.search(queries, 1, 300)
    expected = (queries.vectors @ vectors[1:].T).max(1)
    assert not set(before[:, 0]) & set(cold)
    assert after[:, 0].tolist() == (expected.indices + 1).tolist()
    np.testing.assert_allclose(scores[:, 0], expected.values, rtol=1e-5)
    assert sorted(cells.lists.members.tolist()) == list(range(1, 301))
    assert sorted(chosen(cells, queries, 300)[0]) == list(range(1, 301))
    assert cells.lists.sizes.max() <= 10


def test_cold_items_go_to_the_nearest_list_that_has_room():
    vectors = torch.tensor([[9.0, 9], [0, 0], [0, 1], [10, 0], [20, 0]])
    lists = build_lists(vectors, np.array([0, 1, 1, 2, 3]), cap=2, seed=0)  # {1, 2}, {3}, {4}
    cells = Cells(lists, vectors)
    cells.add(np.array([9, 6, 7, 8]), torch.tensor([[0, 0.5], [21, 0], [21, 1], [21, 2]]))
    parts = np.split(cells.lists.members, cells.lists.offsets[1:-1])
    # 9 belongs to the full {1, 2}, 6 to {4}; 7 to {4}, full by then; at last all are full.
    assert [part.tolist() for part in parts] == [[1, 2], [3, 9], [4, 6, 7, 8]]
    np.testing.assert_array_equal(cells.lists.centroids, lists.centroids)
    assert len(cells.vectors) == 10


@pytest.mark.parametrize(
    ("ids", "shape", "message"),
    [
        ([3], (1, 2), r"ids: received \[3\], allowed: new items"),
        ([0], (1, 2), r"ids: received \[0\], allowed: new items"),
        ([8, 8], (2, 2), "ids: received one twice"),
        ([8], (1, 3), r"vectors: received shape \(1, 3\), allowed: finite ones of shape \(1, 2\)"),
    ],
)
def test_cold_items_that_cannot_be_added(ids, shape, message):
    vectors = torch.randn(6, 2)
    cells = Cells(build_lists(vectors, None, 3, seed=0), vectors)
    with pytest.raises(InputError, match=message):
        cells.add(np.array(ids), torch.zeros(shape))


@given(seed=st.integers(0, 300), share=st.floats(0.1, 1), k=st.integers(1, 12), some=st.booleans())
@settings(max_examples=60, deadline=None)
def test_search_with_a_repeat_term_equals_a_naive_top_k(seed, share, k, some):
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.standard_normal((61, 4)).astype(np.float32))
    cells = Cells(build_lists(vectors, None, 5, seed=0), vectors)
    history = torch.from_numpy(rng.integers(0, 61, (3, 5)))
    repeat = torch.from_numpy(rng.choice([-3.0, 0.0, 2.0] if some else [9.0], 3).astype(np.float32))
    queries = Queries(
        torch.from_numpy(rng.standard_normal((3, 4)).astype(np.float32)),
        history,
        apart(history, repeat),
    )
    budget = max(1, int(share * 60))
    ids, scores = cells.search(queries, k, budget)
    for row, items in enumerate(chosen(cells, queries, budget)):
        plain = (vectors @ queries.vectors[row]).numpy()
        plain[list(set(queries.history[row].tolist()))] += repeat[row].item()
        best = sorted(items, key=lambda item: -plain[item])[:k]
        assert ids[row, : len(best)].tolist() == best
        np.testing.assert_allclose(scores[row, : len(best)], plain[best], atol=1e-4)
        assert (ids[row, len(best) :] == 0).all()


def test_a_flat_order_breaks_ties_by_number():
    order, compared = FlatOrder(np.array([[1.0], [1], [2]], np.float32)).order(
        torch.ones(1, 1), Groups(np.arange(4), np.arange(1, 4)), *asked_for(1, 2)
    )
    assert order.tolist() == [[2, 0, 1]]
    assert compared.tolist() == [3]


@pytest.mark.parametrize(("n_items", "largest"), [(12, 5), (100, 10), (400, 20)])
def test_lists_of_the_exact_search_hold_about_the_square_root_of_the_items(n_items: int, largest: int):
    lists = exact_lists(random_context(n_items, 0))
    assert sorted(lists.members) == list(range(1, n_items + 1))
    assert largest / 2 < lists.sizes.max() <= largest


def test_the_size_of_the_exact_searchs_lists_can_be_set():
    context = replace(random_context(100, 0), list_size=40)
    assert 20 < exact_lists(context).sizes.max() <= 40


@pytest.mark.parametrize("table", [0, 1 << 25])
@given(st.data())
def test_items_of_the_same_row_are_found(table: int, data: st.DataObject) -> None:
    """In a table of all ids, and by sorting where that would be too large: PAD is in no row."""
    rows = data.draw(st.integers(0, 4))
    ids, own = (
        np.array(
            data.draw(
                st.lists(st.lists(st.integers(0, 6), min_size=n, max_size=n), min_size=rows, max_size=rows)
            )
        )
        .reshape(rows, n)
        .astype(np.int64)
        for n in (data.draw(st.integers(0, 5)), data.draw(st.integers(0, 3)))
    )
    expected = [
        [item != 0 and item in its for item in row]
        for row, its in zip(ids.tolist(), own.tolist(), strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_items, "_TABLE", table)
        assert in_rows(ids, own).tolist() == expected

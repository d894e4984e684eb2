"""Candidate rules against plain loops that do what each says, item by item; also with items known anyway."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import lifted

from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.co_visitation import WINDOW, CoVisitation
from recbole_hiersrec.retrieval.coarse import TwoLevelOrder
from recbole_hiersrec.retrieval.greedy import Groups
from recbole_hiersrec.retrieval.last_category import LastCategory
from recbole_hiersrec.retrieval.leaf_categories import LeafCategories
from recbole_hiersrec.retrieval.lists import Lists
from recbole_hiersrec.retrieval.mixed import Mixed

N_QUERIES = 4


def random_queries(rng, n_items, n_apart, width=1, logits=()):
    """Queries of whole numbers, so that products are exact and often equal; with items scored apart, or without."""
    history = rng.integers(1, n_items + 1, (N_QUERIES, 7))
    history[np.arange(7) >= rng.integers(1, 8, (N_QUERIES, 1))] = 0
    ids = distinct(torch.from_numpy(rng.integers(0, n_items + 1, (N_QUERIES, n_apart))))
    bonus = torch.from_numpy(rng.choice([-1.0, 0.0, 0.5, 2.0], ids.shape).astype(np.float32))
    vectors = torch.from_numpy(rng.integers(-2, 3, (N_QUERIES, width)).astype(np.float32))
    return Queries(vectors, torch.from_numpy(history), Apart(ids, bonus) if n_apart else None, logits)


def whole_groups(order, groups, budget, own):
    """New items of the groups in this order; a group that no longer fits is passed over."""
    found = []
    for number in order:
        new = [item for item in groups[number] if item not in own]
        if len(new) <= budget - len(found):
            found += new
    return found


def check(rule, queries, budget, choose, compared):
    """``choose(row, own, left)``: new items of a row, in their order."""
    found = rule.candidates(queries, budget)
    for row, ids in enumerate(found.ids.tolist()):
        own = lifted(queries, row, budget)
        expected = own + choose(row, own, budget - len(own))
        assert [item for item in ids if item] == expected
        assert len(set(expected)) == len(expected) <= budget
    assert found.compared.tolist() == compared


def random_tree(rng, n_items, n_levels):
    """Categories [N + 1, M], coarse to fine, each below one of the level before; row 0 is never read."""
    parents = [np.zeros(1, int)]
    for level in range(n_levels):
        parents.append(np.sort(rng.integers(0, len(parents[-1]), 2 * (level + 1))))
    category = np.full((n_items + 1, n_levels), -1)
    category[1:, -1] = rng.integers(0, len(parents[-1]), n_items)
    for level in range(n_levels - 1, 0, -1):
        category[1:, level - 1] = parents[level + 1][category[1:, level]]
    return category


MANY = settings(max_examples=100, deadline=None)
some_items = st.integers(1, 40)
some_apart = st.integers(0, 8)
some_shares = st.lists(st.floats(0, 1), min_size=1, max_size=3)
seeds = st.integers(0, 10_000)


@given(n_items=some_items, n_levels=st.integers(1, 3), n_apart=some_apart, shares=some_shares, seed=seeds)
@MANY
def test_last_category(n_items, n_levels, n_apart, shares, seed):
    rng = np.random.default_rng(seed)
    category, counts = random_tree(rng, n_items, n_levels), rng.integers(0, 5, n_items + 1)
    rule = LastCategory(category, counts)
    queries = random_queries(rng, n_items, n_apart)

    def choose(row, own, left):
        last = [item for item in queries.history[row].tolist() if item][-1]
        found = []
        for level in range(n_levels, -1, -1):  # the finest category first, at last every item
            inside = [
                i for i in range(1, n_items + 1) if (category[i, :level] == category[last, :level]).all()
            ]
            found += [i for i in sorted(inside, key=lambda i: (-counts[i], i)) if i not in found]
        return [item for item in found if item not in own][:left]

    for share in shares:  # what was found for one budget is kept for the next
        check(rule, queries, max(1, int(share * n_items)), choose, [0] * N_QUERIES)


@given(n_items=some_items, n_leaves=st.integers(1, 9), n_apart=some_apart, share=st.floats(0, 1), seed=seeds)
@MANY
def test_leaf_categories(n_items, n_leaves, n_apart, share, seed):
    rng = np.random.default_rng(seed)
    leaf = rng.integers(0, n_leaves, n_items + 1)
    logits = torch.from_numpy(rng.integers(-1, 3, (N_QUERIES, n_leaves)).astype(np.float32))  # many are equal
    queries = random_queries(rng, n_items, n_apart, logits=(torch.zeros(N_QUERIES, 2), logits))
    members = [[item for item in range(1, n_items + 1) if leaf[item] == number] for number in range(n_leaves)]

    def choose(row, own, left):
        order = sorted(range(n_leaves), key=lambda number: (-logits[row, number].item(), number))
        return whole_groups(order, members, left, own)

    check(LeafCategories(leaf), queries, max(1, int(share * n_items)), choose, [n_leaves] * N_QUERIES)


def random_lists(rng, n_items, centroids):
    """Every item in one of the lists, no list empty."""
    list_of = np.concatenate([np.arange(len(centroids)), rng.integers(0, len(centroids), n_items)])[:n_items]
    list_of = rng.permutation(list_of)
    members = np.argsort(list_of, kind="stable") + 1
    offsets = np.cumsum(np.r_[0, np.bincount(list_of, minlength=len(centroids))])
    lists = Lists(centroids.astype(np.float32), offsets, members)
    return lists, [part.tolist() for part in np.split(members, offsets[1:-1])]


def visited_after(session, rows, n_items):
    """Scores of all items as exact fractions: sum over the last items, the d-th from the end, of count / d."""
    count: Counter[tuple[int, int]] = Counter()
    for history, length, target in zip(*rows, strict=True):
        items = [*history[:length].tolist(), int(target)]
        for place, before in enumerate(items):
            for distance, after in enumerate(items[place + 1 : place + 1 + WINDOW], start=1):
                count[before, after] += Fraction(1, distance)
    last = list(dict.fromkeys(session[::-1]))[:WINDOW]
    return [
        sum(count[item, other] / Fraction(d) for d, item in enumerate(last, start=1))
        for other in range(n_items + 1)
    ]


@given(
    n_items=some_items,
    n_lists=st.integers(1, 9),
    n_apart=some_apart,
    share=st.floats(0, 1),
    of_visits=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    seed=seeds,
)
@MANY
def test_mixed(n_items, n_lists, n_apart, share, of_visits, seed):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 8, 12)
    history = rng.integers(1, n_items + 1, (12, 7)) * (np.arange(7) < length[:, None])
    rows, counts = (history, length, rng.integers(1, n_items + 1, 12)), rng.integers(0, 4, n_items + 1)
    lists, members = random_lists(rng, n_items, rng.integers(-2, 3, (min(n_lists, n_items), 2)))
    cells = Cells(lists, torch.zeros(n_items + 1, 2))
    queries = random_queries(rng, n_items, n_apart, width=2)

    def choose(row, own, left):
        session = [item for item in queries.history[row].tolist() if item]
        score = visited_after(session, rows, n_items)
        ranked = sorted(range(1, n_items + 1), key=lambda item: (-score[item], -counts[item], item))
        first = [item for item in ranked if item not in own][: int(of_visits * left)]
        near = (lists.centroids @ queries.vectors[row].numpy()).tolist()
        order = sorted(range(len(members)), key=lambda number: (-near[number], number))
        return first + whole_groups(order, members, left - len(first), own + first)

    rule = Mixed(CoVisitation(rows, counts), cells, of_visits)
    check(rule, queries, max(1, int(share * n_items)), choose, [len(members)] * N_QUERIES)


@given(
    n_lists=st.integers(1, 60),
    n_super=st.integers(1, 12),
    most=st.integers(1, 60),
    n_apart=some_apart,
    share=st.floats(0, 1.2),
    seed=seeds,
)
@MANY
def test_two_level_order(n_lists, n_super, most, n_apart, share, seed):
    rng = np.random.default_rng(seed)
    n_items = n_lists + int(rng.integers(0, 100))
    lists, members = random_lists(rng, n_items, rng.standard_normal((n_lists, 3)))
    order = TwoLevelOrder(lists.centroids, n_super, most, seed=0)
    below = [part.tolist() for part in np.split(order.below.members, order.below.offsets[1:-1])]
    assert sorted(number for part in below for number in part) == list(range(n_lists))
    assert max(map(len, below)) <= -(-n_lists // n_super)

    queries = random_queries(rng, n_items, n_apart)
    vectors = torch.from_numpy(rng.standard_normal((N_QUERIES, 3)).astype(np.float32))
    own = queries.apart.ids.numpy() if n_apart else np.zeros((N_QUERIES, 0), np.int64)
    budgets = np.array([int(share * n_items), 0, 1, n_items])
    found, compared = order.order(vectors, Groups(lists.offsets, lists.members), budgets, own)
    top = np.stack([lists.centroids[part].mean(axis=0, dtype=float) for part in below])
    for row, query in enumerate(vectors.numpy().astype(float)):
        new = [sum(len(set(members[number]) - set(own[row])) for number in part) for part in below]
        best = sorted(range(len(below)), key=lambda number: -(top[number] @ query))
        taken, left = [], max(0, most - len(below))
        for number in best:
            if len(below[number]) <= left:
                taken.append(number)
                left -= len(below[number])
        held = sum(new[number] for number in taken)
        for number in best:
            if number not in taken and held < budgets[row]:
                taken.append(number)
                held += new[number]
        expected = [number for part in taken for number in below[part]]
        expected.sort(key=lambda number: -(lists.centroids[number] @ query))
        assert [number for number in found[row].tolist() if number >= 0] == expected
        assert compared[row] == len(below) + len(expected)

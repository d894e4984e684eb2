"""Inverted lists: every item once, none too large, never across categories, and the building always ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.retrieval import lists as lists_module
from recbole_hiersrec.retrieval.lists import Lists, build_lists, cell_cap


def random_vectors(n_items, width=8, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).standard_normal((n_items + 1, width)).astype(np.float32)
    )


def contents(lists):
    """Members of each list."""
    return [lists.members[a:b].tolist() for a, b in zip(lists.offsets, lists.offsets[1:], strict=False)]


def check(lists, vectors, categories, cap):
    """What holds for all lists."""
    n_items = len(vectors) - 1
    assert (lists.centroids.dtype, lists.offsets.dtype, lists.members.dtype) == (
        np.float32,
        np.int64,
        np.int64,
    )
    assert len(lists) == len(lists.centroids) == len(lists.sizes)
    assert sorted(lists.members.tolist()) == list(range(1, n_items + 1))
    assert 1 <= lists.sizes.min() <= lists.sizes.max() <= cap
    for members, centroid in zip(contents(lists), lists.centroids, strict=True):
        assert members == sorted(members)
        np.testing.assert_allclose(centroid, vectors[members].numpy().mean(axis=0), rtol=1e-4, atol=1e-5)
        if categories is not None:
            assert len(set(categories[members])) == 1


@pytest.mark.parametrize(
    ("n_items", "expected"),
    [(1, 1), (159, 1), (320, 2), (799, 4), (1682, 10), (4399, 10), (12_000, 30), (1_000_000, 2500)],
)
def test_cell_cap(n_items, expected):
    assert cell_cap(n_items) == expected


def test_lists_by_hand():
    vectors = torch.tensor([[9.0, 9], [0, 0], [10, 0], [0, 1], [10, 2], [5, 5]])
    categories = np.array([0, 1, 1, 1, 1, 2])
    lists = build_lists(vectors, categories, cap=2, seed=0)
    found = {
        tuple(members): centroid.tolist()
        for members, centroid in zip(contents(lists), lists.centroids, strict=True)
    }
    assert found == {(1, 3): [0, 0.5], (2, 4): [10, 1], (5,): [5, 5]}


def test_small_categories_are_one_list_each():
    categories = np.array([0, 3, 1, 3, 1, 2])
    lists = build_lists(random_vectors(5), categories, cap=2, seed=0)
    assert contents(lists) == [[2, 4], [5], [1, 3]]


@given(
    n_items=st.integers(1, 120),
    n_categories=st.integers(0, 6),
    n_distinct=st.sampled_from([1, 2, 5, 1000]),
    cap=st.integers(1, 40),
    seed=st.integers(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_every_item_once_and_no_list_too_large(n_items, n_categories, n_distinct, cap, seed):
    rng = np.random.default_rng(seed)
    vectors = random_vectors(n_items, width=4, seed=seed)
    vectors = vectors[torch.from_numpy(rng.integers(0, min(n_distinct, n_items) + 1, n_items + 1))]
    categories = rng.integers(1, n_categories + 1, n_items + 1) if n_categories else None
    check(build_lists(vectors, categories, cap, seed), vectors, categories, cap)


@pytest.mark.parametrize("cap", [1, 3, 30])
def test_identical_vectors_end(cap):
    vectors = torch.ones(1001, 5)
    lists = build_lists(vectors, None, cap, seed=0)
    check(lists, vectors, None, cap)
    assert len(lists) == -(-1000 // cap)


def test_one_outlier_at_a_time_ends():
    vectors = torch.zeros(401, 2)
    vectors[:40, 0] = 10.0 ** torch.arange(-10, 30)  # k-means peels off the largest ones, split by split
    check(build_lists(vectors, None, 7, seed=0), vectors, None, 7)


def test_depth_is_limited(monkeypatch):
    monkeypatch.setattr(lists_module, "_DEPTH", 0)
    vectors = random_vectors(100)
    lists = build_lists(vectors, None, 30, seed=0)
    check(lists, vectors, None, 30)
    assert lists.sizes.tolist() == [25, 25, 25, 25]


def test_equal_parts_follow_the_widest_direction(monkeypatch):
    monkeypatch.setattr(lists_module, "_DEPTH", 0)
    vectors = torch.tensor([[0, 0], [3, 0.1], [1, 0.3], [4, 0.2], [2, 0]])
    assert sorted(map(tuple, contents(build_lists(vectors, None, 2, seed=0)))) == [(1, 3), (2, 4)]


def test_deterministic_and_seeded():
    vectors = random_vectors(500)
    first, again, other = (build_lists(vectors, None, 20, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.members, again.members)
    np.testing.assert_array_equal(first.offsets, again.offsets)
    np.testing.assert_array_equal(first.centroids, again.centroids)
    assert not np.array_equal(first.members, other.members)


def test_neighbours_share_lists():
    rng = np.random.default_rng(0)
    blobs = 100 * rng.standard_normal((20, 4))
    vectors = blobs[np.arange(401) % 20] + 0.01 * rng.standard_normal(
        (401, 4)
    )  # 20 items around each of 20 points
    lists = build_lists(torch.from_numpy(vectors.astype(np.float32)), None, 20, seed=0)
    pure = sum(len({item % 20 for item in members}) == 1 for members in contents(lists))
    assert pure >= 0.8 * len(lists)


def test_lists_are_well_filled():
    lists = build_lists(random_vectors(3000, width=16), None, 30, seed=0)
    assert lists.sizes.mean() > 0.75 * 30


def test_small_parts_join_the_nearest_that_has_room():
    vectors = np.array([[0.0], [0.1], [0.2], [0.3], [1.0], [1.1], [5.0], [1.05]], dtype=np.float32)
    parts = [np.array([0, 1, 2, 3]), np.array([4, 5]), np.array([6]), np.array([7])]
    # 6 goes first (smallest, first): its nearest is the pair {4, 5}; then 7 is too many for it at a cap of 3.
    merged = lists_module._merge_small(parts, vectors, 4)
    assert [part.tolist() for part in merged] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    merged = lists_module._merge_small(parts, vectors, 3)
    assert [part.tolist() for part in merged] == [[0, 1, 2, 3], [4, 5, 6], [7]]


def test_nothing_is_printed(capfd):
    build_lists(random_vectors(100), None, 30, seed=0)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_integer_types_of_categories_and_gradients_are_accepted():
    vectors = random_vectors(50).requires_grad_()
    by_int32 = build_lists(vectors, np.arange(51, dtype=np.int32) % 3, 10, seed=0)
    assert isinstance(by_int32, Lists)
    check(by_int32, vectors.detach(), np.arange(51) % 3, 10)


@pytest.mark.parametrize(
    ("vectors", "categories", "cap", "message"),
    [
        (torch.zeros(5, 2), None, 0, "cap: received 0, allowed: whole numbers from 1"),
        (torch.zeros(1, 2), None, 5, "item_vectors: received no item"),
        (torch.tensor([[0.0], [1.0], [float("nan")]]), None, 1, "not finite, of item 2"),
        (torch.zeros(5, 2), np.zeros(4, dtype=int), 5, "categories: received 4, allowed: 5, PAD included"),
    ],
)
def test_bad_input_is_named(vectors, categories, cap, message):
    with pytest.raises(InputError, match=message):
        build_lists(vectors, categories, cap, seed=0)

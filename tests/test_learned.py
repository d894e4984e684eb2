"""Learned category levels: planted clusters, counts and PMI by hand, the same bytes, tiny inputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from recbole_hiersrec.data import learned
from recbole_hiersrec.data.learned import WINDOW, count_pairs, item_vectors, learn_levels, positive_pmi
from recbole_hiersrec.data.sessions import Codes
from recbole_hiersrec.data.taxonomy import IntArray


def planted(
    n_clusters: int, per_cluster: int, n_sessions: int, seed: int = 3
) -> tuple[Codes, Codes, IntArray]:
    """Sessions of 5 clicks, each within one cluster; items of a cluster are spread over the item numbers."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(n_clusters), per_cluster))
    members = np.argsort(truth, kind="stable").reshape(n_clusters, per_cluster)
    cluster = rng.integers(n_clusters, size=n_sessions)
    item = members[np.repeat(cluster, 5), rng.integers(per_cluster, size=5 * n_sessions)]
    session = np.repeat(np.arange(n_sessions), 5)
    return session.astype(np.uint32), item.astype(np.uint32), truth


def codes(*sessions: list[int]) -> tuple[Codes, Codes]:
    session = np.repeat(np.arange(len(sessions)), [len(items) for items in sessions])
    return session.astype(np.uint32), np.array([item for items in sessions for item in items], np.uint32)


def test_planted_clusters_are_the_coarse_level() -> None:
    session, item, truth = planted(
        n_clusters=10, per_cluster=100, n_sessions=20_000
    )  # 1000 items, 1000^(1/3) = 10
    coarse, fine = learn_levels(session, item, 1000, None, seed=1)
    assert adjusted_rand_score(truth, coarse) > 0.95
    assert len(np.unique(coarse)) == 10
    assert 50 < len(np.unique(fine)) <= 110


def test_planted_clusters_within_groups_are_found() -> None:
    session, item, truth = planted(n_clusters=20, per_cluster=15, n_sessions=20_000)
    groups = (
        truth // 10
    )  # two groups of 150 items, 10 clusters in each; 300^(1/3) = 6.7 would cut them into 23
    (level,) = learn_levels(session, item, 300, groups, seed=1)
    assert len(np.unique(level)) <= 2 * 23
    pairs = set(zip(level.tolist(), truth.tolist(), strict=True))
    pure = sum(sum(cluster == other for cluster, _ in pairs) == 1 for other in np.unique(level))
    assert pure >= 0.9 * len(np.unique(level))


def test_levels_are_nested_and_numbered_without_gaps() -> None:
    session, item, _ = planted(8, 40, 3000)
    coarse, fine = learn_levels(session, item, 320, None, seed=5)
    for level in (coarse, fine):
        assert np.array_equal(np.unique(level), np.arange(level.max() + 1))
    assert len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) == len(np.unique(fine))
    groups = np.arange(320) % 7
    (within,) = learn_levels(session, item, 320, groups, seed=5)
    assert len(set(zip(groups.tolist(), within.tolist(), strict=True))) == len(np.unique(within))


def test_a_group_of_m_items_has_at_most_m_over_the_cube_root_clusters() -> None:
    session, item, _ = planted(8, 27, 3000)  # 216 items, cube root 6
    groups = np.where(np.arange(216) < 13, 0, 1)
    (level,) = learn_levels(session, item, 216, groups, seed=5)
    assert len(np.unique(level[groups == 0])) <= 3  # ceil(13 / 6)
    assert 20 < len(np.unique(level[groups == 1])) <= 34  # ceil(203 / 6)


def test_items_outside_the_rows_get_no_cluster_and_change_nothing() -> None:
    session, item, _ = planted(5, 25, 2000)
    groups, more = np.arange(125) % 3, np.zeros(400, dtype=np.int64)
    more[1:376:3] = groups  # each item between two that are not seen
    alone = learn_levels(session, item, 125, None, 2) + learn_levels(session, item, 125, groups, 2)
    item = item * 3 + 1
    among = learn_levels(session, item, 400, None, 2) + learn_levels(session, item, 400, more, 2)
    for few, many in zip(alone, among, strict=True):
        assert np.array_equal(few, many[1:376:3])
        unseen = np.ones(400, bool)
        unseen[1:376:3] = False
        assert (many[unseen] == -1).all()


def test_the_seed_is_that_of_the_vectors_and_of_the_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    session, item, _ = planted(8, 40, 1000)
    vectors = [item_vectors(session, item, 320, seed) for seed in (1, 1, 2)]
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])
    monkeypatch.setattr(learned, "item_vectors", lambda *_: vectors[0])
    levels = [learn_levels(session, item, 320, None, seed)[1] for seed in (1, 1, 2)]
    assert np.array_equal(levels[0], levels[1])
    assert not np.array_equal(levels[0], levels[2])


def test_the_number_of_threads_changes_no_byte() -> None:
    session, item, _ = planted(100, 100, 50_000)  # fewer items come out alike however the sums are rounded
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            levels = learn_levels(session, item, 10_000, None, seed=1)
        found.add(b"".join(level.tobytes() for level in levels))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("sessions", "n_items"),
    [
        ([[0]], 1),
        ([[0, 0, 0]], 1),
        ([[0, 1]], 2),
        ([[0], [1]], 2),
        ([[0, 1, 0, 1]] * 20, 2),
        ([[item, item + 1] for item in range(0, 60, 2)], 60),
    ],
    ids=["one item", "one item again and again", "two items", "no pair at all", "same rows", "pairs"],
)
def test_tiny_inputs_end_with_a_cluster_for_every_item(sessions: list[list[int]], n_items: int) -> None:
    session, item = codes(*sessions)
    for groups in (None, np.zeros(n_items, dtype=np.int64)):
        for level in learn_levels(session, item, n_items, groups, seed=1):
            assert level.shape == (n_items,)
            assert level.min() == 0


def test_no_rows_give_no_clusters() -> None:
    session, item = codes([])
    assert [level.tolist() for level in learn_levels(session, item, 2, None, 1)] == [[-1, -1], [-1, -1]]
    assert [level.tolist() for level in learn_levels(session, item, 2, np.zeros(2, np.int64), 1)] == [
        [-1, -1]
    ]


def test_pairs_are_counted_as_by_two_loops() -> None:
    rng = np.random.default_rng(0)
    session = np.sort(rng.integers(40, size=300)).astype(np.uint32)
    item = rng.integers(12, size=300)
    naive = np.zeros((12, 12))
    for a in range(300):
        for b in range(300):
            if session[a] == session[b] and abs(a - b) <= WINDOW and item[a] != item[b]:
                naive[item[a], item[b]] += 1
    assert naive.sum() > 0
    assert np.array_equal(count_pairs(session, item, 12).toarray(), naive)


def test_positive_pmi_by_hand() -> None:
    counts = csr_matrix(np.array([[0, 3, 1], [3, 0, 0], [1, 0, 0]], dtype=np.float32))
    # sums 4, 3, 1 of 8: log(3/8 / (4/8 * 3/8)) = log 2, log(1/8 / (4/8 * 1/8)) = log 2
    expected = np.log(2) * np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(positive_pmi(counts).toarray(), expected, rtol=1e-6)
    frequent = csr_matrix(np.array([[0, 1, 9], [1, 0, 9], [9, 9, 0]], dtype=np.float32))
    # sums 10, 10, 18 of 38: pair (0, 1) has log(38 / 100) < 0, pair (0, 2) log(9 * 38 / 180)
    expected = np.log(9 * 38 / 180) * np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(positive_pmi(frequent).toarray(), expected, rtol=1e-6)


def test_vectors_are_unit_or_zero() -> None:
    session, item = codes(*[[0, 1, 2, 1, 0]] * 3, [3], [4, 5])
    norms = np.linalg.norm(item_vectors(session, item, 6, seed=1), axis=1)
    np.testing.assert_allclose(norms, [1, 1, 1, 0, 1, 1], rtol=1e-5)

"""Exact search: the top k of all items, always, whatever the vectors look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.scorer import score
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval import exact as exact_search
from recbole_hiersrec.retrieval.exact import ExactSearch
from recbole_hiersrec.retrieval.lists import build_lists

ROUNDING = 7 * 2.0**-24
"""Of |q| |a| + |bonus|: the most by which six products, their sum and a bonus are off in float32, in any order."""

KINDS = ("normal", "ties", "equal", "zero", "huge norms", "one outlier", "outlier in a plane", "clusters")


def apart(history, scale, rng):
    """A bonus of its own, of either sign, on each item of the session."""
    bonus = (scale * rng.standard_normal(history.shape)).astype(np.float32)
    return Apart(distinct(history), torch.from_numpy(bonus))


def vectors_of(kind, n_items, rng):
    """[N+1, 6], PAD included."""
    plain = rng.standard_normal((n_items + 1, 6))
    match kind:
        case "ties":
            plain = rng.integers(-1, 2, plain.shape).astype(float)
        case "equal":
            plain[:] = plain[0]
        case "zero":
            plain[:] = 0
        case "huge norms":
            plain *= 10.0 ** rng.integers(-6, 7, (n_items + 1, 1))
        case "one outlier":
            plain[-1] *= 1e4
        case (
            "outlier in a plane"
        ):  # two rotated coordinates tell the score: what is screened is screened to a hair
            plain[:, 2:] = 0
            plain[-1] *= 1e4
        case "clusters":
            plain = 5 * plain[rng.integers(0, min(4, n_items + 1), n_items + 1)] + 0.01 * plain
    return torch.from_numpy(plain.astype(np.float32))


def true_scores(queries, vectors):
    """Scores of all items in float64, [B, N], and by how much each may be off in float32."""
    exact, items = queries.vectors.numpy().astype(float), vectors.numpy()[1:].astype(float)
    bonus = np.zeros((len(exact), len(vectors)))
    if queries.apart is not None:
        np.add.at(
            bonus, (np.arange(len(exact))[:, None], queries.apart.ids.numpy()), queries.apart.bonus.numpy()
        )
    sizes = np.linalg.norm(exact, axis=1)[:, None] * np.linalg.norm(items, axis=1) + np.abs(bonus[:, 1:])
    return exact @ items.T + bonus[:, 1:], ROUNDING * sizes + 1e-30


@given(
    kind=st.sampled_from(KINDS),
    n_items=st.integers(1, 90),
    cap=st.integers(1, 30),
    k_share=st.floats(0, 1),
    repeat=st.sampled_from([None, 0.0, 1.0, 1e3]),
    blocks=st.sampled_from([None, (6,), (3, 2, 1), (1, 1, 1, 1, 1, 1)]),
    stage=st.sampled_from([1, 8]),
    seed=st.integers(0, 10_000),
)
@example("outlier in a plane", 90, 3, 0.05, None, None, 1, 2)  # small items near the border, a large slack
@settings(max_examples=250, deadline=None)
def test_it_is_the_top_k_of_all_items(kind, n_items, cap, k_share, repeat, blocks, stage, seed):
    rng = np.random.default_rng(seed)
    vectors = vectors_of(kind, n_items, rng)
    history = torch.from_numpy(rng.integers(0, n_items + 1, (4, 5)))
    queries = Queries(
        vectors_of(kind if kind != "zero" else "normal", 4, rng)[1:],
        history,
        None if repeat is None else apart(history, repeat, rng),
    )
    k = max(1, round(k_share * n_items))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exact_search, "_STAGE", stage
        )  # 1: members are screened twice before they are scored; 8: never
        exact = ExactSearch(build_lists(vectors, None, cap, seed=0), vectors, blocks)
    ids, scores, scanned = exact.search(queries, k)
    assert ids.shape == scores.shape == (4, k)
    assert ids.min() >= 1
    assert ids.max() <= n_items
    assert all(len(set(row)) == k for row in ids.tolist())
    true, error = true_scores(queries, vectors)
    every = score(queries, vectors)[:, 1:].numpy()
    for row, places in enumerate(ids - 1):
        assert (np.abs(scores[row] - true[row, places]) <= error[row, places]).all()
        assert (np.abs(scores[row] - every[row, places]) <= 2 * error[row, places]).all()
        # No item that comes later, or not at all, is better by more than both may be off. Places are not compared
        # one with another: one large vector of a small score, off by much, moves all the items between by a place.
        missing = np.ones(n_items, dtype=bool)
        for place in places:
            over = true[row] - true[row, place] - error[row] - error[row, place]
            assert over[missing].max() <= 0
            missing[place] = False
    assert (scanned >= len(exact.lists)).all()
    # at worst, nothing is dropped after half of the coordinates
    assert (scanned <= len(exact.lists) + 1.5 * n_items + 5 + 6).all()


@given(kind=st.sampled_from(KINDS), cap=st.integers(1, 30), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_no_member_exceeds_the_bound_of_its_list(kind, cap, seed):
    rng = np.random.default_rng(seed)
    vectors = vectors_of(kind, 60, rng)
    lists = build_lists(vectors, None, cap, seed=0)
    queries = vectors_of(kind, 4, rng)[1:].numpy()
    for blocks in (None, (4, 1, 1)):
        bounds = ExactSearch(lists, vectors, blocks).bounds(queries)
        list_of = np.repeat(np.arange(len(lists)), lists.sizes)
        scores = queries.astype(float) @ vectors.numpy()[lists.members].T.astype(float)
        slack = 1e-9 * (1 + np.abs(scores).max())
        assert (scores <= bounds[:, list_of] + slack).all()


def test_bounds_by_hand():
    # One list of (1, 0, 0) and (3, 0, 4): centroid (2, 0, 2), residuals (-1, 0, -2) and (1, 0, 2).
    vectors = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 4]])
    lists = build_lists(vectors, None, 2, seed=0)
    query = np.array([[1.0, 0, 0], [0, 1, 0], [3, 0, 4]], np.float32)
    whole = ExactSearch(lists, vectors).bounds(query)[:, 0]
    blocks = ExactSearch(lists, vectors, (2, 1)).bounds(query)[:, 0]
    np.testing.assert_allclose(whole, [2 + 5**0.5, 5**0.5, 25])  # the last: |q| max |a| = 25 < 14 + 5 sqrt 5
    np.testing.assert_allclose(blocks, [2 + 1, 1, 25])


def test_far_lists_are_not_scanned():
    rng = np.random.default_rng(0)
    middles = 10 * rng.standard_normal((20, 8))
    vectors = torch.from_numpy(
        (middles[np.arange(401) % 20] + 0.1 * rng.standard_normal((401, 8))).astype(np.float32)
    )
    exact = ExactSearch(build_lists(vectors, None, 20, seed=0), vectors)
    queries = Queries(torch.from_numpy(middles.astype(np.float32)), torch.zeros(20, 1, dtype=torch.long))
    ids, _, scanned = exact.search(queries, 5)
    np.testing.assert_array_equal(
        np.sort(ids), np.sort((queries.vectors @ vectors[1:].T).topk(5).indices + 1)
    )
    assert scanned.max() < 0.4 * 400


def test_blocks_that_are_constant_in_a_list_bring_the_work_down():
    rng = np.random.default_rng(0)
    category = np.arange(601) % 30
    of_category = 3 * rng.standard_normal((30, 8))[category]
    vectors = torch.from_numpy(np.c_[rng.standard_normal((601, 8)), of_category].astype(np.float32))
    lists = build_lists(vectors, category, 20, seed=0)
    queries = Queries(
        torch.from_numpy(rng.standard_normal((30, 16)).astype(np.float32)),
        torch.zeros(30, 1, dtype=torch.long),
    )
    whole = ExactSearch(lists, vectors).search(queries, 5)[2].mean()
    assert ExactSearch(lists, vectors, (8, 8)).search(queries, 5)[2].mean() < 0.9 * whole


def test_members_are_screened_before_they_are_scored():
    """All items share a list, so the bounds of lists save nothing; most of the spread lies in 4 of 64 coordinates."""
    rng = np.random.default_rng(5)
    spread = np.where(np.arange(64) < 4, 1.0, 0.02)
    turn = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    vectors = torch.tensor((rng.normal(size=(401, 64)) * spread) @ turn, dtype=torch.float32)
    vectors[0] = 0
    asked = torch.tensor((rng.normal(size=(30, 64)) * spread) @ turn, dtype=torch.float32)
    queries = Queries(asked, torch.zeros(30, 1, dtype=torch.long))
    exact = ExactSearch(build_lists(vectors, None, 80, seed=0), vectors)
    ids, scores, scanned = exact.search(queries, 5)
    every = (queries.vectors @ vectors[1:].T).topk(5, dim=1)
    assert ids.tolist() == (every.indices + 1).tolist()
    assert scores == pytest.approx(every.values.numpy(), abs=1e-5)
    assert scanned.mean() < 0.4 * 400 + 64  # the rotation of the query is 64 vectors' worth
    # the rotation, and the first turn, in which there is nothing to be better than
    assert (scanned >= len(exact.lists) + 64 + exact.lists.sizes.min()).all()


def test_batch_equals_single():
    rng = np.random.default_rng(1)
    vectors = vectors_of("normal", 200, rng)
    exact = ExactSearch(build_lists(vectors, None, 9, seed=0), vectors)
    history = torch.randint(1, 201, (6, 3))
    queries = Queries(torch.randn(6, 6), history, apart(history, 1.0, rng))
    together = exact.search(queries, 7)
    for row in range(6):
        part = slice(row, row + 1)
        bonus = Apart(queries.apart.ids[part], queries.apart.bonus[part])
        one = Queries(queries.vectors[part], history[part], bonus)
        alone = exact.search(one, 7)
        np.testing.assert_array_equal(alone[0][0], together[0][row])
        assert alone[2][0] == together[2][row]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_queries_that_are_not_finite_are_refused(value):
    vectors = torch.randn(11, 4)
    exact = ExactSearch(build_lists(vectors, None, 3, seed=0), vectors)
    history = torch.tensor([[1, 0], [2, 3], [4, 4]])
    sound = Queries(torch.randn(3, 4), history, apart(history, 1.0, np.random.default_rng(0)))
    sound.apart.bonus[:, 1][torch.tensor([0, 2])] = (
        value  # of PAD, and of what stands there already: never read
    )
    assert np.isfinite(exact.search(sound, 10)[1]).all()
    vectors, bonus = sound.vectors.clone(), sound.apart.bonus.clone()
    vectors[1, 3] = bonus[1, 0] = value
    with pytest.raises(
        InputError, match=r"^queries: received one that is not finite, in row 1, allowed: finite"
    ):
        exact.search(replace(sound, vectors=vectors), 10)
    with pytest.raises(
        InputError, match=r"^queries: received a bonus that is not finite, in row 1, allowed: f"
    ):
        exact.search(replace(sound, apart=Apart(sound.apart.ids, bonus)), 10)


def test_bad_input_is_named():
    vectors = torch.randn(11, 4)
    lists = build_lists(vectors, None, 3, seed=0)
    with pytest.raises(
        InputError, match=r"blocks: received \[3, 2\], allowed: widths from 1 that add up to 4"
    ):
        ExactSearch(lists, vectors, (3, 2))
    with pytest.raises(InputError, match="lists: of 10 items and width 4, but the item vectors are of 11"):
        ExactSearch(lists, torch.randn(12, 4))
    queries = Queries(torch.randn(1, 4), torch.zeros(1, 1, dtype=torch.long))
    for k in (0, 11):
        with pytest.raises(InputError, match=f"k: received {k}, allowed: 1 to 10"):
            ExactSearch(lists, vectors).search(queries, k)

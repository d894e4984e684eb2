"""What followed items in training: counts and odds against naive ones, and the bonus they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import N_ITEMS as N_CATALOGUE
from test_model import catalogue
from torch import Tensor

from recbole_hiersrec import register
from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.model import memory as module
from recbole_hiersrec.model.memory import (
    PACE,
    Followers,
    FollowerTable,
    Memory,
    build_memory,
    count_followers,
)
from recbole_hiersrec.settings import HierSRecSettings

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.data.dataset import transitions_of  # noqa: E402

N_ITEMS = 6
ITEMS = st.integers(1, N_ITEMS)
PAIRS = st.lists(st.tuples(ITEMS, ITEMS), max_size=40)
EACH = np.arange(N_ITEMS + 1)
GROUP = np.array([0, 1, 1, 2, 1, 0, 3])
"""Value of a field; item 5 has none."""
OTHER = np.array([0, 2, 1, 2, 1, 2, 1])
"""Of another one."""

Pairs = list[tuple[int, int]]


def arrays(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return before, after


def naive_count(distances: list[Pairs], value: int, of: Sequence[int]) -> dict[int, list[int]]:
    """Item -> how often it came at each distance after items of ``value``."""
    found: dict[int, list[int]] = {}
    for distance, pairs in enumerate(distances):
        for before, after in pairs:
            if of[before] == value:
                found.setdefault(after, [0] * len(distances))[distance] += 1
    return found


# --- counting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [EACH, GROUP], ids=["items", "field"])
@given(distances=st.lists(PAIRS, min_size=1, max_size=3), kept=st.integers(1, 8))
def test_counts_equal_naive_ones(of: np.ndarray, distances: list[Pairs], kept: int) -> None:
    """Also of more than there are; the most frequent first, where further ones count less."""
    found = count_followers([arrays(pairs) for pairs in distances], of, kept)
    assert found.ids.shape == (of.max() + 1, kept)
    assert found.counts.shape == (of.max() + 1, kept, len(distances))
    assert (found.ids.dtype, found.counts.dtype) == (torch.int32, torch.int16)
    assert found.value.tolist() == of.tolist()
    for value in range(of.max() + 1):
        seen = naive_count(distances, value, of) if value else {}
        frequency = {j: sum(n * Fraction(7, 10) ** d for d, n in enumerate(of_j)) for j, of_j in seen.items()}
        ids = sorted(seen, key=lambda j: (-frequency[j], j))[:kept]
        padding = kept - len(ids)
        assert found.ids[value].tolist() == ids + [0] * padding
        assert found.counts[value].tolist() == [seen[j] for j in ids] + [[0] * len(distances)] * padding
        times = sum(of[before] == value for before, _ in distances[0]) if value else 0
        assert found.occurrences[value] == times


def test_of_equally_frequent_followers_the_lower_ids_are_kept() -> None:
    pairs = [(1, 5), (1, 2), (1, 4), (1, 4), (1, 3), (2, 1)]
    found = count_followers([arrays(pairs)], EACH, 3)
    assert found.ids[:3].tolist() == [[0, 0, 0], [4, 2, 3], [1, 0, 0]]
    assert found.counts[:3, :, 0].tolist() == [[0, 0, 0], [2, 1, 1], [1, 0, 0]]


def test_the_kept_are_those_of_the_largest_decayed_count() -> None:
    """2: 2 x 1; 3: 3 x 0.7 = 2.1; 4: 1 + 0.7 = 1.7; 5: 2 x 0.7 = 1.4."""
    next_ones = [(1, 2), (1, 2), (1, 4)]
    later_ones = [(1, 3)] * 3 + [(1, 4), (1, 5), (1, 5)]
    found = count_followers([arrays(next_ones), arrays(later_ones)], EACH, 3)
    assert found.ids[1].tolist() == [3, 2, 4]
    assert found.counts[1].tolist() == [[0, 3], [2, 0], [1, 1]]
    assert found.occurrences.tolist() == [0, 3, 0, 0, 0, 0, 0]


def test_equal_counts_at_many_distances_keep_the_order_of_ids() -> None:
    """Sums of floats that are equal in theory stay equal, wherever in the table they are computed."""
    pairs = [(1, item) for item in range(N_ITEMS, 0, -1)]
    found = count_followers([arrays(pairs * (1 + distance % 3)) for distance in range(20)], EACH, N_ITEMS)
    assert found.ids[1].tolist() == list(range(1, N_ITEMS + 1))


@pytest.mark.parametrize(("most", "dtype"), [(32_767, torch.int16), (32_768, torch.int32)])
def test_large_counts_are_kept_as_they_are(most: int, dtype: torch.dtype) -> None:
    pairs = np.ones(most + 1_003, np.int64), np.repeat([2, 3, 4], [most, 1_000, 3])
    found = count_followers([pairs], EACH, 2)
    assert found.ids[1].tolist() == [2, 3]
    assert (found.counts[1, :, 0].tolist(), found.counts.dtype) == ([most, 1_000], dtype)
    assert found.occurrences[1] == most + 1_003
    assert found.border[1].tolist() == [3, 4]


# --- asking --------------------------------------------------------------------------------------------------


def log_pairs(rows: list[list[int]], window: int) -> list[Pairs]:
    """For each distance, all pairs of the rows."""
    return [
        [pair for row in rows for pair in zip(row, row[distance:], strict=False)]
        for distance in range(1, window + 1)
    ]


def remember(
    rows: list[list[int]], asked: int, window: int, *, fields: Sequence[np.ndarray] = (GROUP,), most: int = 60
) -> Memory:
    """Of everything that followed; of width 2, so that states can be told apart."""
    pairs = [arrays(found) for found in log_pairs(rows, window)]
    tables = [FollowerTable(count_followers(pairs, of, N_ITEMS), min(2, asked), 20.0) for of in fields]
    return Memory(FollowerTable(count_followers(pairs, EACH, N_ITEMS), asked, 5.0), tables, most, 2)


def naive_odds(
    rows: list[list[int]], session: list[int], made: Memory, fields: Sequence[Sequence[int]]
) -> dict[int, float]:
    """The formula, count by count, from the log ``rows``."""
    weights, shares = made.weights.tolist(), made.field_weights.tolist()
    distances = log_pairs(rows, len(weights[0]))
    odds: Counter[int] = Counter()
    for ago, (item, weight) in enumerate(zip(reversed(session), weights, strict=False)):
        rare = 5 / (sum(row[:-1].count(item) for row in rows) + 5)
        asked: list[tuple[float, int, Sequence[int]]] = [(rare / 5, item, range(N_CATALOGUE))]
        for share, of in zip(shares, fields, strict=True) if ago < 2 else ():
            times = sum(of[other] == of[item] for row in rows for other in row[:-1])
            asked += [(share * rare / (times + 20), of[item], of)] if of[item] else []
        for factor, value, of in asked:
            for follower, counts in naive_count(distances, value, of).items():
                odds[follower] += factor * sum(w * n for w, n in zip(weight, counts, strict=True))
    return dict(odds)


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Histories, their lengths and the targets of rows."""
    history = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.long)
    for place, row in enumerate(rows):
        history[place, : len(row) - 1] = torch.tensor(row[:-1])
    return history, torch.tensor([len(row) - 1 for row in rows]), torch.tensor([row[-1] for row in rows])


def positions_of(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    places = [(number, position) for number, row in enumerate(rows) for position in range(len(row) - 1)]
    row, position = torch.tensor(places).T
    return row, position


def told(ids: Tensor, odds: Tensor) -> list[dict[int, float]]:
    """Item -> odds a position, where the order and the padding are as they should be."""
    found = []
    for items, values in zip(ids.tolist(), odds.tolist(), strict=True):
        real = [item for item in items if item]
        assert len(set(real)) == len(real)
        assert items == real + [0] * (len(items) - len(real))
        assert values == sorted(values, reverse=True)
        assert not any(values[len(real) :])
        found.append(dict(zip(real, values, strict=False)))
    return found


def weigh(made: Memory, weights: list[list[float]], fields: list[float]) -> None:
    with torch.no_grad():
        made.log_weight.copy_((torch.tensor(weights).log() - made.start) / PACE)
        made.log_field_weight.copy_((torch.tensor(fields) / 0.3).log() / PACE)


LOG = [[1, 2, 3], [1, 2], [1, 3]]
"""1 -> 2 twice, 1 -> 3 and 2 -> 3 once, 1 -> . -> 3 once; n(1) = 3, n(2) = 1, n(group 1) = 4, n(group 2) = 0."""


def by_hand() -> Memory:
    made = remember(LOG, asked=2, window=2)
    weigh(made, [[1.0, 0.5], [0.25, 0.125]], [0.4])
    return made


@torch.no_grad()
def test_odds_by_hand() -> None:
    """Sessions 1 2; 1 (2 comes later); 5, which has no group; 4, never followed, of group 1; 3, of group 2."""
    made = by_hand()
    assert made.weights.flatten().tolist() == pytest.approx([1.0, 0.5, 0.25, 0.125])
    assert made.field_weights.tolist() == pytest.approx([0.4])
    history = torch.tensor([[1, 2], [1, 2], [5, 0], [4, 0], [3, 0]])
    found = made.recall(
        history, torch.tensor([2, 2, 1, 1, 1]), torch.arange(5), torch.tensor([1, 0, 0, 0, 0])
    )
    group_2, group_3 = 2 / 24, (2 + 0.5) / 24  # of group 1: 2 twice next; 3 twice next, once after that
    last = {2: 0.4 * 5 / 6 * group_2, 3: 1 / 6 + 0.4 * 5 / 6 * group_3}
    before = {
        2: 0.25 * 2 / 8 + 0.4 * 5 / 8 * 0.25 * 2 / 24,
        3: (0.25 + 0.125) / 8 + 0.4 * 5 / 8 * (0.25 * 2 + 0.125) / 24,
    }
    expected: list[dict[int, float]] = [
        {item: last[item] + before[item] for item in (2, 3)},
        {2: 2 / 8 + 0.4 * 5 / 8 * group_2, 3: 1.5 / 8 + 0.4 * 5 / 8 * group_3},
        {},
        {2: 0.4 * group_2, 3: 0.4 * group_3},
        {},
    ]
    assert told(*found) == [pytest.approx(odds, rel=1e-5) for odds in expected]
    assert found[0][:, :3].tolist() == [[3, 2, 0], [2, 3, 0], [0, 0, 0], [3, 2, 0], [0, 0, 0]]


@torch.no_grad()
def test_in_training_odds_by_hand() -> None:
    """Session 1 2, then 3: without it 1 -> 2 and 1 -> 3 are left once each; n(1) = 2, n(group 1) = 2."""
    found = by_hand().recall(*padded(LOG[:1])[:2], *torch.tensor([[0], [1]]), torch.tensor([3]))
    of_group = 1 / 22 * 0.4
    last = of_group  # n(2) = 0
    before = 0.25 * (1 / 7 + 5 / 7 * of_group)
    assert told(*found) == [pytest.approx({2: last + before, 3: last + before}, rel=1e-5)]
    assert found[0][0, :2].tolist() == [2, 3]


def given_ids(most: int) -> Memory:
    """After 1 came 5, 2 and 3 once each, kept in that order, and 4 twice; nothing else is known."""
    ids, counts = torch.zeros(N_ITEMS + 1, 4, dtype=torch.int32), torch.zeros(N_ITEMS + 1, 4, 1)
    ids[1], counts[1] = torch.tensor([5, 2, 4, 3]), torch.tensor([[1.0], [1.0], [2.0], [1.0]])
    times = torch.tensor([0, 5, 0, 0, 0, 0, 0])
    return Memory(
        FollowerTable(
            Followers(ids, counts.short(), times, torch.zeros(N_ITEMS + 1, 2).double(), torch.tensor(EACH)),
            1,
            5.0,
        ),
        [],
        most,
        2,
    )


@pytest.mark.parametrize(("most", "expected"), [(9, [4, 2, 3, 5]), (3, [4, 2, 3]), (1, [4])])
@torch.no_grad()
def test_the_best_odds_are_told_and_of_equal_ones_the_lower_ids(most: int, expected: list[int]) -> None:
    one, zero = torch.tensor([1]), torch.tensor([0])
    ids, odds = given_ids(most).recall(one.unsqueeze(0), one, zero, zero)
    share = 1.2 / 10  # w_11 / (n + k)
    assert ids[0].tolist() == expected + [0] * (len(ids[0]) - len(expected))
    assert odds[0].tolist() == pytest.approx([2 * share, share, share, share][: len(expected)])


ROWS = st.lists(st.lists(st.integers(1, N_ITEMS), min_size=2, max_size=6), min_size=1, max_size=5)


@settings(max_examples=60)
@given(rows=ROWS, asked=st.integers(1, 4), window=st.integers(1, 4), seed=st.integers(0, 9))
@torch.no_grad()
def test_odds_equal_naive_ones(rows: list[list[int]], asked: int, window: int, seed: int) -> None:
    """At every position; in training those of the log without the whole own session, else those of the log."""
    made = remember(rows, asked, window, fields=(GROUP, OTHER))
    fields = [GROUP.tolist(), OTHER.tolist()]
    torch.manual_seed(seed)
    for parameter in (made.log_weight, made.log_field_weight):
        torch.nn.init.normal_(parameter, std=0.1)
    history, length, target = padded(rows)
    places = positions_of(rows)
    trained = told(*made.recall(history, length, *places, target))
    served = told(*made.recall(history, length, *places))
    for row, position, training, serving in zip(*(x.tolist() for x in places), trained, served, strict=True):
        session = rows[row][: position + 1]
        others = rows[:row] + rows[row + 1 :]
        assert training == pytest.approx(naive_odds(others, session, made, fields), rel=1e-4)
        assert serving == pytest.approx(naive_odds(rows, session, made, fields), rel=1e-4)


@given(rows=ROWS)
@torch.no_grad()
def test_in_training_occurrences_are_those_of_other_sessions(rows: list[list[int]]) -> None:
    """k / (n + k) of every item, and of every group."""
    history, length, target = padded(rows)
    for table, of, prior in zip(remember(rows, 1, 1).tables, (EACH, GROUP), (5.0, 20.0), strict=True):
        left = table(history, target, length).left
        for number, row in enumerate(rows):
            others = [of[item] for other in rows[:number] + rows[number + 1 :] for item in other[:-1]]
            expected = [prior / (others.count(of[item]) + prior if of[item] else prior) for item in row[:-1]]
            assert left[number, : len(expected)].tolist() == pytest.approx(expected)


@settings(max_examples=30)
@given(rows=ROWS, most=st.integers(1, 4))
@torch.no_grad()
def test_a_limit_cuts_the_list(rows: list[list[int]], most: int) -> None:
    history, length, _ = padded(rows)
    whole, cut = (
        remember(rows, 3, 2, most=limit).recall(history, length, *positions_of(rows)) for limit in (60, most)
    )
    assert cut[0].shape[1] == most
    assert torch.equal(cut[0], whole[0][:, :most])
    assert torch.equal(cut[1], whole[1][:, :most])


@torch.no_grad()
def test_what_comes_later_is_not_looked_at() -> None:
    made = remember([[1, 2, 3, 4], [2, 1, 4, 6], [3, 1, 2, 6]], 3, 2)
    rows, positions = torch.tensor([0, 0]), torch.tensor([0, 1])
    one = made.recall(torch.tensor([[1, 2, 0, 0]]), torch.tensor([2]), rows, positions)
    other = made.recall(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), rows, positions)
    assert one[0].any()
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


@torch.no_grad()
def test_without_a_log_nothing_is_known() -> None:
    made = remember([[1], [2]], 2, 2)
    ids, odds = made.recall(torch.tensor([[3, 1]]), torch.tensor([2]), *torch.tensor([[0], [1]]))
    assert not ids.any()
    assert not odds.any()
    assert not made.bonus(torch.ones(1, 2), ids, odds).bonus.any()


@pytest.mark.parametrize("training", [False, True])
def test_odds_teach_the_weights_and_the_priors(training: bool) -> None:
    """Odds are linear in w, those of fields linear in e; a larger prior takes from what items say."""
    made = by_hand()
    history, length, target = padded(LOG)
    places = positions_of(LOG)
    _, odds = made.recall(history, length, *places, target if training else None)
    odds.sum().backward()
    alone = remember(LOG, asked=2, window=2, fields=())
    weigh(alone, [[1.0, 0.5], [0.25, 0.125]], [])
    of_items = alone.recall(history, length, *places, target if training else None)[1].sum()
    items, field = made.tables
    gradients = [made.log_weight.grad, made.log_field_weight.grad, items.log_prior.grad, field.log_prior.grad]
    weight, share, prior, field_prior = (g for g in gradients if g is not None)
    assert weight[:, 0].all()
    assert weight.sum().item() == pytest.approx(PACE * odds.sum().item(), rel=1e-4)
    assert share.item() == pytest.approx(PACE * (odds.sum() - of_items).item(), rel=1e-4)
    assert prior.item() < 0
    assert field_prior.item() < 0


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_odds_are_the_same_under_autocast(training: bool) -> None:
    rows = [[1, 2, 3, 4, 5, 6], [2, 1, 4, 6], [3, 1, 2, 6], [6, 2, 1]]
    made = remember(rows, 4, 3)
    history, length, target = padded(rows)
    inputs = (history, length, *positions_of(rows), target if training else None)
    ids, odds = made.recall(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again_ids, again_odds = made.recall(*inputs)
        bonus = made.bonus(torch.randn(len(ids), 2), again_ids, again_odds).bonus
    assert odds.dtype == again_odds.dtype == bonus.dtype == torch.float32
    assert torch.equal(ids, again_ids)
    assert torch.equal(odds, again_odds)


def kept_in_training(rows: list[list[int]], kept: int, row: int) -> dict[int, float]:
    """Item -> odds after the first item of a row of two, of the distance 1 alone."""
    each = torch.tensor(EACH)
    pairs = [(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))]
    made = Memory(FollowerTable(count_followers(pairs, each.numpy(), kept), 1, 5.0), [], 9, 2)
    history, length, target = padded(rows)
    zero = torch.zeros(len(rows), dtype=torch.long)
    with torch.no_grad():
        return told(*made.recall(history, length, torch.arange(len(rows)), zero, target))[row]


@pytest.mark.parametrize(
    ("followers", "target", "expected"),
    [
        ([2, 2, 3, 4], 3, [2]),  # without its own row 3 never followed
        ([2, 2, 2, 3, 3, 4], 3, [2, 3]),  # once left, as 4, and the lower id
        ([2, 2, 2, 4, 4, 3], 4, [2]),  # once left, as 3, which has the lower id
        ([2, 2, 2, 4, 4, 4, 3], 4, [2, 4]),
        ([2, 2, 3, 3, 4], 4, [2, 3]),  # not kept in the first place
    ],
)
def test_what_is_kept_because_of_the_own_session_is_left_out(
    followers: list[int], target: int, expected: list[int]
) -> None:
    """Two followers of 1 are kept. Whoever is one of them only because the row counts would always be its target."""
    rows = [[1, follower] for follower in followers]
    assert sorted(kept_in_training(rows, 2, followers.index(target))) == expected


def test_rows_are_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[1, 2, 1, 3], [2, 1], [3, 1, 2, 1, 2], [1, 3, 1]]
    history, length, target = padded(rows)
    pairs = [(np.array([1, 1, 2, 3]), np.array([2, 3, 1, 1]))] * 2
    table = FollowerTable(count_followers(pairs, np.array(EACH), 3), 2, 5.0)
    whole = table._of_session(history, history, table.ids[history].long(), target, length)
    for at_once in (1, 150):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        parts = table._of_session(history, history, table.ids[history].long(), target, length)
        assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))
    assert whole[0].sum() > 0
    nothing = table._of_session(
        *(values[:0] for values in (history, history, table.ids[history].long(), target, length))
    )
    assert nothing[0].shape == (0, *whole[0].shape[1:])


# --- the bonus -----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_bonus_by_hand() -> None:
    """a = 2 x first component - 1, b = second component + 0.5: log(1 + exp(a) p^b), and 0 where there is none."""
    made = by_hand()
    made.trust.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    made.shift.copy_((torch.tensor([-1.0, 0.5]) - made.begin) / PACE)
    ids = torch.tensor([[4, 2, 0], [3, 0, 0]])
    odds = torch.tensor([[0.5, 0.01, 0.0], [2.0, 0.0, 0.0]])
    found = made.bonus(torch.tensor([[1.0, 0.5], [3.0, 1.5]]), ids, odds)
    expected = [
        [np.log(1 + np.exp(1) * 0.5), np.log(1 + np.exp(1) * 0.01), 0],
        [np.log(1 + np.exp(5) * 2**2), 0, 0],
    ]
    assert torch.equal(found.ids, ids)
    assert found.bonus.numpy() == pytest.approx(np.array(expected), rel=1e-5)


@torch.no_grad()
def test_the_bonus_begins_to_count_where_the_odds_are_above_those_of_guessing() -> None:
    """log(1 + N p / e) in all states."""
    odds = torch.tensor([[0.5, 0.1]])
    found = by_hand().bonus(torch.randn(1, 2), torch.tensor([[2, 3]]), odds)
    assert found.bonus[0].tolist() == pytest.approx((1 + N_ITEMS * odds[0] / np.e).log().tolist(), rel=1e-5)


# --- as the settings ask for it ------------------------------------------------------------------------------


def built(**given_settings: Any) -> Memory:
    """Of the pairs 1 -> 2 -> ... -> N, at every distance of the window."""
    chosen = HierSRecSettings(metadata_fields=("m",), **given_settings)
    items = np.arange(1, N_CATALOGUE + 1)
    pairs = [(items[:-d], items[d:]) for d in range(1, chosen.follower_window + 1)]
    return build_memory(pairs, catalogue(), chosen)


@torch.no_grad()
def test_the_memory_is_as_the_settings_ask() -> None:
    for kept, window, asked, limit in ((2, 3, 1, 4), (3, 2, 3, 7)):
        made = built(
            followers=kept, follower_window=window, follower_items=asked, follower_limit=limit,
            follower_fields=("b", "m"), hidden_size=4,
        )  # fmt: skip
        items, level, field = made.tables
        assert items.counts.shape == (N_CATALOGUE + 1, kept, window)
        assert level.counts.shape == (4 + 1, 2 * kept, window)
        assert field.counts.shape[1:] == (2 * kept, window)
        assert [table.asked for table in made.tables] == [asked, min(2, asked), min(2, asked)]
        assert made.weights.shape == (asked, window)
        assert made.trust.in_features == 4
        history = torch.tensor([[3, 9, 15, 20]])
        ids, _ = made.recall(history, torch.tensor([4]), *torch.tensor([[0], [3]]))
        assert ids.shape == (1, limit)
        assert ids.all()


def test_values_of_fields_are_those_of_the_catalogue() -> None:
    """Of a name that a level and a metadata field share, those of the level."""
    metadata = np.array([[0, 0, 0]] + [[1, 2 + item % 3, 1] for item in range(N_CATALOGUE)])
    found = replace(catalogue(), metadata=metadata)
    chosen = HierSRecSettings(metadata_fields=("l", "m", "b"), follower_fields=("b", "m"))
    _, level, field = build_memory([arrays([])] * 5, found, chosen).tables
    assert found.taxonomy is not None
    assert level.value.tolist() == [0, *(1 + found.taxonomy.item_category[1:, 1])]
    assert field.value.tolist() == metadata[:, 1].tolist()


def test_items_without_a_category_have_no_value() -> None:
    """They are no group of their own: what followed one says nothing of another."""
    paths = [("", ""), ("x", ""), ("x", "y"), ("", "y")]
    taxonomy = Taxonomy.from_paths(paths, ["top", "low"])
    nothing = np.zeros((5, 0), np.int64)
    found = Catalogue(("p", "q", "r", "s"), taxonomy, nothing, nothing)
    _, top, low = build_memory(
        [arrays([])] * 5, found, HierSRecSettings(follower_fields=("top", "low"))
    ).tables
    assert (top.value > 0).tolist() == [False, False, True, True, False]
    assert (low.value > 0).tolist() == [False, False, False, True, True]


@torch.no_grad()
def test_a_larger_window_knows_later_items_and_more_items_asked_earlier_ones() -> None:
    history = torch.tensor([[3, 9]])
    for window, asked, expected in ((1, 1, {10}), (3, 1, {10, 11, 12}), (1, 2, {10, 4})):
        made = built(follower_window=window, follower_items=asked)
        ids, _ = made.recall(history, torch.tensor([2]), *torch.tensor([[0], [1]]))
        assert set(ids[0].tolist()) - {0} == expected


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match=r"^follower_fields: received 'bb'.*, allowed: a, b, c, m$"):
        built(follower_fields=("a", "bb"))
    nothing = np.zeros((N_CATALOGUE + 1, 0), np.int64)
    bare = Catalogue(catalogue().tokens, None, nothing, nothing)
    settings_ = HierSRecSettings(follower_fields=("brand",))
    message = "follower_fields: received 'brand', allowed: none, as no category or metadata field is named"
    with pytest.raises(InputError, match=f"^{message}$"):
        build_memory([arrays([])] * 5, bare, settings_)


# --- as a part of HierSRec -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def build(shop: Path, model: str, **given_settings: Any) -> tuple[Any, Any, Any]:
    """(model, training part, test part)."""
    values = {**SMALL, "data_path": str(shop), "train_neg_sample_args": None, **given_settings}
    config = Config(model=model, dataset="shop", config_dict=values)
    parts = [loader._dataset for loader in data_preparation(config, create_dataset(config))]
    init_seed(5, True)
    return get_model(model)(config, parts[0]).eval(), parts[0], parts[2]


SESSIONS = [[f"i{(user + step * (1 + user % 2)) % 10}" for step in range(4)] for user in range(12)]
"""Training parts of the shop's sessions: of 6 items, the last two are not trained on."""


def tokens_of(train: Any, lag: int) -> Counter[tuple[str, str]]:
    tokens = train.field2id_token["item_id"]
    return Counter((tokens[a], tokens[b]) for a, b in zip(*transitions_of(train, lag), strict=True))


def naive_pairs(session: list[str], length: int, lag: int) -> list[tuple[str, str]]:
    """Pairs within the rows of a session: its end, and from there back, ``length`` targets a row."""
    pairs = []
    for end in range(len(session) - 1, 0, -length):
        row = session[max(0, end - length) : end + 1]
        pairs += list(zip(row, row[lag:], strict=False))
    return pairs


@pytest.mark.parametrize("length", [2, 3, 5])
def test_every_training_transition_is_counted_once(shop: Path, length: int) -> None:
    """Also where sessions are cut into rows."""
    _, train, _ = build(shop, "HierSRec", MAX_ITEM_LIST_LENGTH=length)
    expected = Counter(pair for session in SESSIONS for pair in pairwise(session))
    assert tokens_of(train, 1) == expected
    before, after = transitions_of(train)
    assert [found.tolist() for found in transitions_of(train, 1)] == [before.tolist(), after.tolist()]


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_pairs_of_a_lag_are_those_within_rows(shop: Path, length: int, lag: int) -> None:
    _, train, _ = build(shop, "HierSRec", MAX_ITEM_LIST_LENGTH=length)
    expected = Counter(pair for session in SESSIONS for pair in naive_pairs(session, length, lag))
    assert tokens_of(train, lag) == expected
    assert bool(expected) == (lag <= min(length, 3))


FIELDS = {"category_fields": ["department", "class"], "follower_fields": ["class"]}


@pytest.mark.parametrize("length", [2, 3, 5])
@torch.no_grad()
def test_training_is_told_what_all_other_rows_tell(shop: Path, length: int) -> None:
    """At every position, of the training rows without the own one; afterwards of all rows."""
    model, train, _ = build(
        shop, "HierSRec", **FIELDS, MAX_ITEM_LIST_LENGTH=length, follower_window=3, follower_items=3
    )
    feat = train.inter_feat
    history, lengths, target = feat["item_id_list"], feat["item_length"], feat["item_id"]
    columns = (x.tolist() for x in (history, lengths, target))
    rows = [[*items[:n], last] for items, n, last in zip(*columns, strict=True)]
    places = positions_of(rows)
    trained = told(*model.network.recall(history, lengths, *places, target))
    served = told(*model.network.recall(history, lengths, *places))
    assert trained != served
    of = [0, *(1 + model.catalogue.taxonomy.item_category[1:, 1])]
    for row, position, training, serving in zip(*(x.tolist() for x in places), trained, served, strict=True):
        asked = rows[row][: position + 1], model.network.memory, [of]
        assert training == pytest.approx(naive_odds(rows[:row] + rows[row + 1 :], *asked), rel=1e-4)
        assert serving == pytest.approx(naive_odds(rows, *asked), rel=1e-4)


def test_the_loss_is_given_the_odds_without_the_own_session(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, train, _ = build(shop, "HierSRec", **FIELDS)
    asked = []
    recall = model.network.memory.recall

    def spy(history: Tensor, length: Tensor, *rest: Any) -> Any:
        asked.append((history, length, *rest))
        return recall(history, length, *rest)

    monkeypatch.setattr(model.network.memory, "recall", spy)
    model.calculate_loss(train.inter_feat).backward()
    model.full_sort_predict(train.inter_feat)
    of_loss, of_scores = asked
    assert torch.equal(of_loss[4], train.inter_feat["item_id"])
    assert of_scores[4] is None
    assert all(
        parameter.grad is not None and parameter.grad.any()
        for name, parameter in model.network.memory.named_parameters()
    )


@pytest.mark.parametrize("window", [1, 2, 3])
@torch.no_grad()
def test_with_everything_else_zero_the_ranking_is_a_markov_chains(shop: Path, window: int) -> None:
    """Where only w_11 is not zero; 3 + 1 log p for the state 0, which ranks as the counts do."""
    model, _, test = build(
        shop, "HierSRec", followers=100, follower_window=window, follower_items=window, repeat_term=False
    )
    chain = build(shop, "MarkovChain")[0]
    for parameter in model.parameters():
        parameter.zero_()
    memory = model.network.memory
    memory.shift.copy_((torch.tensor([3.0, 1.0]) - memory.begin) / PACE)
    memory.log_weight.fill_(-20.0)  # exp(-200): 0
    memory.log_weight[0, 0] = 0
    scores = model.full_sort_predict(test.inter_feat)[:, 1:]
    counts = chain.full_sort_predict(test.inter_feat)[:, 1:].floor()  # without the order among equal counts
    places = [row.unique(return_inverse=True)[1].tolist() for row in scores]
    assert places == [row.unique(return_inverse=True)[1].tolist() for row in counts]
    assert all(len(set(row)) > 1 for row in places)


def test_a_model_has_the_memory_of_its_settings(shop: Path) -> None:
    for window in (1, 3):
        made = build(shop, "HierSRec", followers=2, follower_window=window, follower_items=2, **FIELDS)[0]
        items, field = made.network.memory.tables
        assert items.counts.shape == (11, 2, window)
        assert field.counts.shape == (1 + 6, 4, window)  # c2 is a class of both departments
        assert made.network.memory.weights.shape == (2, window)
    assert build(shop, "HierSRec", followers=0)[0].network.memory is None


def test_a_model_refuses_an_unknown_field(shop: Path) -> None:
    message = r"^follower_fields: received 'klass'; did you mean 'class'\?, allowed: department, class$"
    with pytest.raises(InputError, match=message):
        build(shop, "HierSRec", **{**FIELDS, "follower_fields": ["klass"]})


@torch.no_grad()
def test_a_state_dict_holds_the_whole_memory(shop: Path) -> None:
    """Scores of another model of the same settings, which remembers nothing, once it has read the state."""
    model, _, test = build(shop, "HierSRec", **FIELDS)
    memory = model.network.memory
    for parameter in memory.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    expected = model.full_sort_predict(test.inter_feat)
    other = build(shop, "HierSRec", **FIELDS)[0]
    nothing = [arrays([])] * other.settings.follower_window
    other.network.memory = build_memory(nothing, other.catalogue, other.settings)
    before = other.full_sort_predict(test.inter_feat)
    other.load_state_dict(model.state_dict())
    assert not torch.equal(before, expected)
    assert torch.equal(other.full_sort_predict(test.inter_feat), expected)

"""What followed each item in training: counts against naive ones, and the bonus they give."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec import register
from recbole_hiersrec.model.transitions import Transitions, count_transitions, last_items

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.data.dataset import transitions_of  # noqa: E402

N_ITEMS = 6
ITEMS = st.integers(1, N_ITEMS)
PAIRS = st.lists(st.tuples(ITEMS, ITEMS), max_size=60)


def count(pairs: list[tuple[int, int]], kept: int) -> tuple[list[list[int]], list[list[float]]]:
    before, after = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    followers, counts = count_transitions(before, after, N_ITEMS, kept)
    return followers.tolist(), counts.tolist()


@given(pairs=PAIRS, kept=st.integers(1, 8))
def test_counts_equal_naive_ones(pairs: list[tuple[int, int]], kept: int) -> None:
    followers, counts = count(pairs, kept)
    assert len(followers) == len(counts) == N_ITEMS + 1
    for item in range(N_ITEMS + 1):
        seen = Counter(after for before, after in pairs if before == item)
        expected = sorted(seen.items(), key=lambda entry: (-entry[1], entry[0]))[:kept]
        padding = [(0, 0)] * (len(followers[item]) - len(expected))
        assert list(zip(followers[item], counts[item], strict=True)) == expected + padding


def test_of_equally_frequent_followers_the_lower_ids_are_kept() -> None:
    followers, counts = count([(1, 5), (1, 2), (1, 4), (1, 4), (1, 3), (2, 1)], kept=3)
    assert followers[:3] == [[0, 0, 0], [4, 2, 3], [1, 0, 0]]
    assert counts[:3] == [[0, 0, 0], [2, 1, 1], [1, 0, 0]]


def test_without_transitions_there_are_no_followers() -> None:
    assert count([], kept=2) == ([[0, 0]] * (N_ITEMS + 1), [[0, 0]] * (N_ITEMS + 1))
    ids, counts = transitions([], []).look_up(torch.tensor([[3, 1], [1, 0]]))
    assert ids.shape == counts.shape == (2, 2, 4)
    assert not ids.any()
    bonus = transitions([], []).bonus(torch.ones(2, 2), ids, counts)
    assert bonus.ids.shape == bonus.bonus.shape == (2, 8)
    assert not bonus.ids.any()
    assert not bonus.bonus.any()


@pytest.mark.parametrize("kept", [1, 7])
def test_as_many_columns_as_are_kept(kept: int) -> None:
    """However few followers there are, so that those of several lags can be stacked."""
    found = count([(1, 2), (1, 3), (4, 2)], kept)
    assert [np.shape(table) for table in found] == [(N_ITEMS + 1, kept)] * 2


def transitions(*lags: list[tuple[int, int]], kept: int = 4) -> Transitions:
    """Of the pairs of each lag; of width 2, so that states can be told apart."""
    found = [count(pairs, kept) for pairs in lags]
    followers, counts = (torch.tensor(tables) for tables in zip(*found, strict=True))
    return Transitions(followers, counts, 2)


NEXT = [(1, 2)] * 3 + [(1, 4)]
AFTER_NEXT = [(3, 4)] * 2 + [(3, 5)] * 5 + [(1, 2)]


def test_look_up_takes_out_the_transition_that_is_to_be_predicted() -> None:
    made = transitions(NEXT, kept=2)
    last = torch.tensor([[1], [1], [1], [1], [3], [0]])
    ids, counts = made.look_up(last, torch.tensor([2, 4, 6, 1, 2, 2]))
    # 1 -> 2 is left twice; 1 -> 4 not at all; 6 and 1 never followed 1; nothing followed 3, or no item
    assert ids[:, 0].tolist() == [[2, 4], [2, 0], [2, 4], [2, 4], [0, 0], [0, 0]]
    assert counts[:4, 0].tolist() == [[2, 1], [3, 0], [3, 1], [3, 1]]
    ids, counts = made.look_up(last)
    assert ids[:, 0].tolist() == [[2, 4]] * 4 + [[0, 0]] * 2
    assert counts[:, 0].tolist() == [[3, 1]] * 4 + [[0, 0]] * 2


def test_look_up_takes_it_out_at_every_lag() -> None:
    """Last item 1, the one before it 3 or none. 4 came once after 1, and twice two steps after 3."""
    made = transitions(NEXT, AFTER_NEXT, kept=2)
    last = torch.tensor([[1, 3], [1, 3], [1, 3], [1, 0], [3, 1]])
    ids, counts = made.look_up(last, torch.tensor([4, 5, 2, 4, 2]))
    assert ids.tolist() == [
        [[2, 0], [5, 4]],
        [[2, 4], [5, 4]],
        [[2, 4], [5, 4]],
        [[2, 0], [0, 0]],
        [[0, 0]] * 2,
    ]
    expected = [[[3, 0], [5, 1]], [[3, 1], [4, 2]], [[2, 1], [5, 2]], [[3, 0], [0, 0]], [[0, 0]] * 2]
    assert counts.tolist() == expected
    ids, counts = made.look_up(last)
    assert ids.tolist() == [[[2, 4], [5, 4]]] * 3 + [[[2, 4], [0, 0]], [[0, 0], [2, 0]]]
    assert counts.tolist() == [[[3, 1], [5, 2]]] * 3 + [[[3, 1], [0, 0]], [[0, 0], [1, 0]]]


def test_look_up_changes_no_count() -> None:
    made = transitions([(1, 2)] * 3, [(1, 2)] * 2, kept=1)
    made.look_up(torch.tensor([[1, 1]]), torch.tensor([2]))
    assert made.counts[:, 1].tolist() == [[3], [2]]


def trust(made: Transitions, weight: list[list[float]], bias: list[float]) -> None:
    """Rows a_1, b_1, a_2, b_2, ..."""
    with torch.no_grad():
        made.trust.weight.copy_(torch.tensor(weight))
        made.trust.bias.copy_(torch.tensor(bias))


@torch.no_grad()
def test_bonus_by_hand() -> None:
    """a = 2 x first component, b = 0.5 in all states: a + 1.5 log n, and 0 where nothing followed."""
    made = transitions(NEXT, kept=2)
    trust(made, [[2.0, 0.0], [0.0, 0.0]], [0.0, 0.5])
    bonus = made.bonus(torch.tensor([[1.0, 9.0], [-1.0, 9.0]]), *made.look_up(torch.tensor([[1], [1]])))
    nothing = made.bonus(torch.tensor([[1.0, 9.0]]), *made.look_up(torch.tensor([[5]])))
    expected = [[2 + 1.5 * np.log(3), 2], [-2 + 1.5 * np.log(3), -2]]
    assert bonus.ids.tolist() == [[2, 4], [2, 4]]
    assert bonus.bonus.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert nothing.ids.tolist() == nothing.bonus.tolist() == [[0, 0]]


@torch.no_grad()
def test_bonus_of_two_lags_by_hand() -> None:
    """State (1, 10): a_1 = 2, b_1 = 1 + 0.5, a_2 = 10 - 3, b_2 = 0.25, with nothing added.

    2 came 3 times and 4 once after 1; 5 came 5 times and 4 twice two steps after 3. So 4 gets both bonuses, in the
    place where it stands first.
    """
    made = transitions(NEXT, AFTER_NEXT, kept=2)
    trust(made, [[2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.5, -3.0, 0.25])
    bonus = made.bonus(torch.tensor([[1.0, 10.0]] * 2), *made.look_up(torch.tensor([[1, 3], [5, 3]])))
    assert bonus.ids.tolist() == [[2, 4, 5, 0], [0, 0, 5, 4]]
    five, four = 7 + 0.25 * np.log(5), 7 + 0.25 * np.log(2)
    expected = [[2 + 1.5 * np.log(3), 2 + four, five, 0], [0, 0, five, four]]
    assert bonus.bonus.numpy() == pytest.approx(np.array(expected), abs=1e-5)


@torch.no_grad()
def test_the_bonus_begins_as_the_log_of_the_first_lags_count() -> None:
    made = transitions(NEXT, AFTER_NEXT, kept=2)
    bonus = made.bonus(torch.randn(1, 2), *made.look_up(torch.tensor([[1, 3]])))
    assert bonus.ids.tolist() == [[2, 4, 5, 0]]
    assert bonus.bonus[0].tolist() == pytest.approx([np.log(3), 0, 0, 0])


@given(lags=st.lists(PAIRS, min_size=1, max_size=3), last=st.lists(ITEMS, min_size=3, max_size=3))
def test_bonuses_equal_naive_ones(lags: list[list[tuple[int, int]]], last: list[int]) -> None:
    made = transitions(*lags, kept=N_ITEMS)
    given_trust = np.linspace(-1, 2, 2 * len(lags))
    trust(made, [[0.0, 0.0]] * len(given_trust), given_trust.tolist())
    expected: Counter[int] = Counter()
    for lag, pairs in enumerate(lags):
        slope = given_trust[2 * lag + 1] + (lag == 0)
        for item, n in Counter(after for before, after in pairs if before == last[lag]).items():
            expected[item] += given_trust[2 * lag] + slope * np.log(n)
    with torch.no_grad():
        found = made.bonus(torch.zeros(1, 2), *made.look_up(torch.tensor([last[: len(lags)]])))
    ids = found.ids[0].tolist()
    real = [item for item in ids if item]
    assert sorted(real) == sorted(expected)
    pairs_found = zip(ids, found.bonus[0].tolist(), strict=True)
    assert {item: bonus for item, bonus in pairs_found if item} == pytest.approx(dict(expected), abs=1e-5)


def test_bonus_teaches_the_trust_in_every_lag() -> None:
    made = transitions(NEXT, AFTER_NEXT, kept=2)
    made.bonus(torch.ones(1, 2), *made.look_up(torch.tensor([[1, 3]]))).bonus.sum().backward()
    assert made.trust.bias.grad is not None
    # two followers a lag; sums of logs of their counts
    expected = [2, np.log(3), 2, np.log(5) + np.log(2)]
    assert made.trust.bias.grad.tolist() == pytest.approx(expected, abs=1e-5)


def test_last_items_by_hand() -> None:
    history = torch.tensor([[7, 8, 9, 0], [5, 0, 0, 0]])
    rows, positions = torch.tensor([0, 0, 0, 1]), torch.tensor([2, 1, 0, 0])
    assert last_items(history, rows, positions, 3).tolist() == [[9, 8, 7], [8, 7, 0], [7, 0, 0], [5, 0, 0]]
    assert last_items(history, rows, positions, 1).tolist() == [[9], [8], [7], [5]]
    assert last_items(history, rows, positions, 6)[0].tolist() == [9, 8, 7, 0, 0, 0]


# --- as a part of HierSRec -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def build(shop: Path, model: str, **settings: Any) -> tuple[Any, Any, Any]:
    """(model, training part, test part)."""
    values = {**SMALL, "data_path": str(shop), "train_neg_sample_args": None, **settings}
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


@pytest.mark.parametrize("length", [2, 3, 5])
def test_training_looks_up_what_all_other_rows_tell(shop: Path, length: int) -> None:
    """At every position and lag: naive counts of the training rows, less the pair that ends in the target."""
    model, train, _ = build(shop, "HierSRec", MAX_ITEM_LIST_LENGTH=length, followers=10, follower_lags=3)
    feat = train.inter_feat
    history, lengths = feat["item_id_list"], feat["item_length"]
    rows = [
        [*h[:n], t]
        for h, n, t in zip(*(x.tolist() for x in (history, lengths, feat["item_id"])), strict=True)
    ]
    pairs = [Counter(pair for row in rows for pair in zip(row, row[lag:], strict=False)) for lag in (1, 2, 3)]
    places = [(row, position) for row, items in enumerate(rows) for position in range(len(items) - 1)]
    targets = torch.tensor([rows[row][position + 1] for row, position in places])
    ids, counts = model._look_up(history, *torch.tensor(places).T, targets)
    assert ids.shape == counts.shape == (len(places), 3, 10)
    taken = 0
    for (row, position), found, of in zip(places, ids.tolist(), counts.tolist(), strict=True):
        for lag in (1, 2, 3):
            expected: Counter[int] = Counter()
            if position + 1 >= lag:
                item, target = rows[row][position + 1 - lag], rows[row][position + 1]
                expected.update({after: n for (before, after), n in pairs[lag - 1].items() if before == item})
                expected[target] -= 1
                taken += expected[target] == 0
            told = {i: n for i, n in zip(found[lag - 1], of[lag - 1], strict=True) if i}
            assert told == {i: n for i, n in expected.items() if n}
    assert taken > 0  # in some places nothing is left of the target


@pytest.mark.parametrize("lags", [1, 2, 3])
def test_with_everything_else_zero_the_ranking_is_a_markov_chains(shop: Path, lags: int) -> None:
    """Of the first order, however many lags there are: at the start, all but the first add nothing."""
    model, _, test = build(shop, "HierSRec", followers=100, follower_lags=lags, repeat_term=False)
    chain = build(shop, "MarkovChain")[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.network.transitions.trust.bias[0] = 3.0
        scores = model.full_sort_predict(test.inter_feat)[:, 1:]
        counts = chain.full_sort_predict(test.inter_feat)[
            :, 1:
        ].floor()  # without the order among equal counts
    places = [row.unique(return_inverse=True)[1].tolist() for row in scores]
    assert places == [row.unique(return_inverse=True)[1].tolist() for row in counts]
    assert all(len(set(row)) > 1 for row in places)


def test_a_model_keeps_as_many_followers_and_lags_as_it_is_told(shop: Path) -> None:
    for lags in (1, 3):
        made = build(shop, "HierSRec", followers=2, follower_lags=lags)[0].network.transitions
        assert made.followers.shape == made.counts.shape == (lags, 11, 2)
        assert made.trust.out_features == 2 * lags
    assert build(shop, "HierSRec", followers=0)[0].network.transitions is None

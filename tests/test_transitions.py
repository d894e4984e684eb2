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
from recbole_hiersrec.model.transitions import Transitions, count_transitions

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
    assert count([], kept=5) == ([[]] * (N_ITEMS + 1), [[]] * (N_ITEMS + 1))
    ids, counts = transitions([]).look_up(torch.tensor([3, 1]))
    assert ids.shape == counts.shape == (2, 0)
    assert transitions([]).bonus(torch.zeros(2, 2), ids, counts).shape == (2, 0)


def test_no_more_columns_than_the_item_with_most_followers_needs() -> None:
    assert len(count([(1, 2), (1, 3), (4, 2)], kept=1000)[0][0]) == 2


def transitions(pairs: list[tuple[int, int]], kept: int = 4) -> Transitions:
    """Of width 2, so that states can be told apart."""
    followers, counts = count(pairs, kept)
    shape = (N_ITEMS + 1, -1) if followers[0] else (N_ITEMS + 1, 0)
    return Transitions(torch.tensor(followers).long().view(shape), torch.tensor(counts).view(shape), 2)


def test_look_up_takes_out_the_transition_that_is_to_be_predicted() -> None:
    made = transitions([(1, 2)] * 3 + [(1, 4)])
    last = torch.tensor([1, 1, 1, 1, 3])
    ids, counts = made.look_up(last, torch.tensor([2, 4, 6, 1, 2]))
    # 1 -> 2 is left twice; 1 -> 4 not at all; 6 and 1 never followed 1; nothing followed 3
    assert ids.tolist() == [[2, 4], [2, 0], [2, 4], [2, 4], [0, 0]]
    assert counts[:4].tolist() == [[2, 1], [3, 0], [3, 1], [3, 1]]
    ids, counts = made.look_up(last)
    assert ids.tolist() == [[2, 4]] * 4 + [[0, 0]]
    assert counts.tolist() == [[3, 1]] * 4 + [[0, 0]]


def test_look_up_changes_no_count() -> None:
    made = transitions([(1, 2)] * 3)
    made.look_up(torch.tensor([1]), torch.tensor([2]))
    assert made.counts[1].tolist() == [3]


def test_bonus_by_hand() -> None:
    """a = 2 x first component, b = 0.5 in all states: a + 1.5 log n, and 0 where nothing followed."""
    made = transitions([(1, 2)] * 3 + [(1, 4)])
    with torch.no_grad():
        made.trust.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        made.trust.bias.copy_(torch.tensor([0.0, 0.5]))
        bonus = made.bonus(torch.tensor([[1.0, 9.0], [-1.0, 9.0]]), *made.look_up(torch.tensor([1, 1])))
        nothing = made.bonus(torch.tensor([[1.0, 9.0]]), *made.look_up(torch.tensor([5])))
    expected = [[2 + 1.5 * np.log(3), 2], [-2 + 1.5 * np.log(3), -2]]
    assert bonus.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert nothing.tolist() == [[0, 0]]


def test_the_bonus_begins_as_the_log_of_the_count() -> None:
    made = transitions([(1, 2)] * 3 + [(1, 4)])
    bonus = made.bonus(torch.randn(1, 2), *made.look_up(torch.tensor([1])))
    assert bonus.tolist()[0] == pytest.approx([np.log(3), 0])


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


@pytest.mark.parametrize("length", [2, 3, 5])
def test_every_training_transition_is_counted_once(shop: Path, length: int) -> None:
    """Sessions of the shop: u + step (1 + u mod 2), 6 items, of which the last two are not trained on."""
    _, train, _ = build(shop, "HierSRec", MAX_ITEM_LIST_LENGTH=length)
    tokens = train.field2id_token["item_id"]
    found = Counter((tokens[a], tokens[b]) for a, b in zip(*transitions_of(train), strict=True))
    sessions = [[f"i{(user + step * (1 + user % 2)) % 10}" for step in range(4)] for user in range(12)]
    assert found == Counter(pair for session in sessions for pair in pairwise(session))


def test_with_everything_else_zero_the_ranking_is_a_markov_chains(shop: Path) -> None:
    model, _, test = build(shop, "HierSRec", followers=100, repeat_term=False)
    chain = build(shop, "MarkovChain")[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.network.transitions.trust.bias.copy_(torch.tensor([3.0, 0.0]))
        scores = model.full_sort_predict(test.inter_feat)[:, 1:]
        counts = chain.full_sort_predict(test.inter_feat)[
            :, 1:
        ].floor()  # without the order among equal counts
    places = [row.unique(return_inverse=True)[1].tolist() for row in scores]
    assert places == [row.unique(return_inverse=True)[1].tolist() for row in counts]
    assert all(len(set(row)) > 1 for row in places)


def test_a_model_keeps_as_many_followers_as_it_is_told(shop: Path) -> None:
    assert build(shop, "HierSRec", followers=1)[0].network.transitions.followers.shape == (11, 1)
    assert build(shop, "HierSRec", followers=0)[0].network.transitions is None

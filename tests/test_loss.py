"""Training losses: by hand, against naive recomputation, and the sampled one against the full one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recbole_hiersrec.model.loss import (
    NegativeSampler,
    _among,
    full_softmax,
    item_loss,
    multi_task,
    next_items,
    sampled_softmax,
    step_items,
)
from recbole_hiersrec.model.repeats import own_items
from recbole_hiersrec.queries import Apart, distinct, join_apart

N_ITEMS = 9
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS), min_size=1, max_size=6), min_size=1, max_size=4)


def padded(sessions: list[list[int]], width: int = 7) -> Tensor:
    return torch.tensor([session + [0] * (width - len(session)) for session in sessions])


# --- what is learned at each position ------------------------------------------------------------------------


def test_labels_by_hand() -> None:
    labels = next_items(padded([[3, 5, 5], [7]], 4), torch.tensor([3, 1]), torch.tensor([8, 9]))
    assert labels.tolist() == [[5, 5, 8, 0], [9, 0, 0, 0]]


def test_a_full_row_has_a_label_at_every_position() -> None:
    assert next_items(padded([[3, 5]], 2), torch.tensor([2]), torch.tensor([8])).tolist() == [[5, 8]]


def test_distinct_by_hand() -> None:
    assert distinct(padded([[4, 2, 4, 4, 1, 2]], 7)).tolist() == [[4, 2, 0, 0, 1, 0, 0]]


def test_own_items_by_hand() -> None:
    """Items, how often, and how many steps ago."""
    history = padded([[4, 2, 4, 1], [5]], 5)
    own = own_items(history, *(history > 0).nonzero(as_tuple=True))
    expected = [
        ([4, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ([4, 2, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]),
        ([4, 2, 0, 0, 0], [2, 1, 0, 0, 0], [0, 1, 0, 0, 0]),
        ([4, 2, 0, 1, 0], [2, 1, 0, 1, 0], [1, 2, 0, 0, 0]),
        ([5, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ]
    assert list(zip(own.ids.tolist(), own.times.tolist(), own.since.tolist(), strict=True)) == expected


@given(sessions=HISTORIES)
def test_own_items_equal_naive_ones(sessions: list[list[int]]) -> None:
    history = padded(sessions)
    own = own_items(history, *(history > 0).nonzero(as_tuple=True))
    begun = [session[: end + 1] for session in sessions for end in range(len(session))]
    for row, items in enumerate(begun):
        ids = own.ids[row].tolist()
        assert {item: ids.index(item) for item in ids if item} == {item: items.index(item) for item in items}
        for place, item in enumerate(ids):
            times = items.count(item) if item else 0
            since = items[::-1].index(item) if item else 0
            assert (int(own.times[row, place]), int(own.since[row, place])) == (times, since)


@given(
    first=st.dictionaries(st.integers(1, N_ITEMS), st.floats(-5, 5), max_size=6),
    second=st.dictionaries(st.integers(1, N_ITEMS), st.floats(-5, 5), max_size=6),
    holes=st.integers(0, 2),
)
def test_joined_bonuses_are_summed(first: dict[int, float], second: dict[int, float], holes: int) -> None:
    def apart(bonuses: dict[int, float]) -> Apart:
        ids, values = [0] * holes + list(bonuses), [0.0] * holes + list(bonuses.values())
        return Apart(torch.tensor([ids]).long(), torch.tensor([values]).float())

    joined = join_apart(apart(first), apart(second))
    pairs = list(zip(joined.ids[0].tolist(), joined.bonus[0].tolist(), strict=True))
    assert all(bonus == 0 for item, bonus in pairs if item == 0)
    real = [(item, bonus) for item, bonus in pairs if item]
    expected = {item: first.get(item, 0) + second.get(item, 0) for item in first.keys() | second.keys()}
    assert len(real) == len(expected)
    assert dict(real) == pytest.approx(expected, abs=1e-5)


@given(
    negatives=st.lists(st.integers(1, N_ITEMS), min_size=1, max_size=12),
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, N_ITEMS), min_size=width, max_size=width), min_size=1, max_size=5
        )
    ),
)
def test_negatives_among_the_counted_equal_naive_ones(negatives: list[int], rows: list[list[int]]) -> None:
    found = _among(torch.tensor(negatives), torch.tensor(rows), N_ITEMS + 1)
    assert found.tolist() == [[negative in row for negative in negatives] for row in rows]


# --- full and sampled softmax, given the scores --------------------------------------------------------------


def test_full_softmax_by_hand() -> None:
    """Two items with scores 0 and log 3: the second has probability 3/4."""
    items = torch.tensor([[99.0], [0.0], [1.0]])
    queries = torch.tensor([[np.log(3.0)]])
    loss = full_softmax(queries.float(), items, torch.tensor([2]))
    assert loss.item() == pytest.approx(-np.log(3 / 4))


def test_sampled_softmax_tends_to_the_full_one() -> None:
    generator = torch.Generator().manual_seed(5)
    items = torch.randn(21, 6, generator=generator)
    queries, targets = (
        torch.randn(40, 6, generator=generator),
        torch.randint(1, 21, (40,), generator=generator),
    )
    counts = torch.arange(21) ** 2
    exact = full_softmax(queries, items, targets)
    torch.manual_seed(1)
    for power in (0.0, 0.5, 1.0):
        ids, expected = NegativeSampler(counts, power, 200_000).sample(torch.device("cpu"))
        positive = (queries * items[targets]).sum(-1)
        loss = sampled_softmax(positive, queries @ items[ids].T, ids == targets.unsqueeze(1), expected)
        assert loss.item() == pytest.approx(exact.item(), abs=0.02)


def test_sampled_softmax_leaves_out_the_target_among_the_negatives() -> None:
    positive, negative = torch.tensor([1.0]), torch.tensor([[5.0, 0.0]])
    loss = sampled_softmax(positive, negative, torch.tensor([[True, False]]), torch.tensor([1.0, 2.0]))
    assert loss.item() == pytest.approx(-np.log(np.e / (np.e + 0.5)))


def test_sampler_draws_by_count_to_the_power() -> None:
    torch.manual_seed(0)
    counts = torch.tensor([0, 1, 4, 0])  # the last one counts as seen once
    ids, expected = NegativeSampler(counts, 0.5, 40_000).sample(torch.device("cpu"))
    shares = torch.bincount(ids, minlength=4) / 40_000
    assert shares.tolist() == pytest.approx([0, 0.25, 0.5, 0.25], abs=0.01)
    assert set(expected.tolist()) == {10_000.0, 20_000.0}


def test_multi_task_weighs_each_level() -> None:
    logits = [torch.tensor([[0.0, np.log(3.0)]]), torch.zeros(1, 4)]
    loss = multi_task(torch.tensor(2.0), logits, torch.tensor([[1, 2]]), (0.5, 2.0))
    assert loss.item() == pytest.approx(2 - 0.5 * np.log(3 / 4) + 2 * np.log(4))


# --- the item loss with items that get a bonus ---------------------------------------------------------------


class Given:
    """A sampler that always draws the same."""

    def __init__(self, ids: list[int], expected: list[float]) -> None:
        self.drawn = torch.tensor(ids), torch.tensor(expected)

    def sample(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.drawn


EVERY_ITEM = Given([*range(1, N_ITEMS + 1)] * 2, [2.0] * 2 * N_ITEMS)
"""Each item twice, and expected twice: the estimate of the partition function is exact."""


def test_the_loss_with_a_bonus_by_hand() -> None:
    """All scores 0. Session 1, 1, 2: 1 and 2 get log 2. 2 was followed by 3, which gets log 4, and by 1: log 2.

    exp(score) of items 1 to 5: 4, 2, 4, 1, 1, so the target 3 has probability 4/12.
    """
    history, real = padded([[1, 1, 2]], 3), torch.tensor([[False, False, True]])
    targets, remembered = torch.tensor([3]), torch.tensor([[3, 1, 0]])
    own, known = float(np.log(2)), torch.tensor([[4.0, 2.0, 1.0]]).log()
    losses = []
    # All but 4 and 5 are counted already. In the end 4 is drawn twice, where 3 times were expected: 10 + 2/3.
    for sampler in (None, Given([4, 5, 1, 3, 2], [1.0] * 5), Given([4, 1, 3, 4, 2], [3.0] * 5)):
        items = step_items(history, targets, 5, sampler, remembered)  # type: ignore[arg-type]
        seen = own_items(items.history, *real.nonzero(as_tuple=True)).ids
        apart = join_apart(Apart(seen, own * (seen > 0)), Apart(items.known, known))
        vectors = torch.zeros(len(items.ids), 2)
        losses.append(item_loss(torch.ones(1, 2), items, vectors, real, apart).item())
    assert losses == pytest.approx([np.log(12 / 4), np.log(12 / 4), np.log((10 + 2 / 3) / 4)])


class Case:
    """Random sessions of few items, so that history, known items, targets and negatives meet in every way."""

    def __init__(self, seed: int, n_known: int = 5) -> None:
        random = np.random.default_rng(seed)
        lengths = random.integers(1, 7, 5)
        self.sessions = [random.integers(1, N_ITEMS + 1, length + 1).tolist() for length in lengths]
        self.history = padded([session[:-1] for session in self.sessions])
        labels = next_items(self.history, torch.tensor(lengths), torch.tensor([s[-1] for s in self.sessions]))
        self.real = labels > 0
        self.targets = labels[self.real]
        n = len(self.targets)
        drawn = [random.permutation(N_ITEMS + 1)[:n_known] for _ in range(n)]
        self.known = torch.tensor(np.array(drawn)).long()  # [T, E], distinct
        torch.manual_seed(seed)
        self.table = torch.randn(N_ITEMS + 1, 4, requires_grad=True)
        self.queries = torch.randn(n, 4, requires_grad=True)
        self.own = torch.randn(n, 1, requires_grad=True)
        self.bonus = torch.randn(n, n_known, requires_grad=True)

    def parameters(self, repeat: bool) -> list[Tensor]:
        bonus = [self.bonus] if self.bonus.numel() else []
        return [self.table, self.queries, *bonus, *([self.own] if repeat else [])]

    def loss(self, sampler: Any, repeat: bool, remember: bool) -> Tensor:
        items = step_items(self.history, self.targets, N_ITEMS, sampler, self.known)
        seen = own_items(items.history, *self.real.nonzero(as_tuple=True)).ids
        own = Apart(seen, self.own * (seen > 0))
        known = Apart(items.known, self.bonus * (items.known > 0))
        apart = {(1, 1): lambda: join_apart(own, known), (1, 0): lambda: own, (0, 1): lambda: known}
        chosen = apart.get((repeat, remember), lambda: None)()
        return item_loss(self.queries, items, self.table[items.ids], self.real, chosen)

    def naive(self, repeat: bool, remember: bool) -> float:
        """Score by score."""
        losses, row = [], 0
        for session in self.sessions:
            for end in range(1, len(session)):
                scores = (self.table @ self.queries[row]).tolist()
                for item in set(session[:end]) if repeat else ():
                    scores[item] += self.own[row].item()
                for item, bonus in zip(self.known[row].tolist(), self.bonus[row].tolist(), strict=True):
                    scores[item] += bonus if remember else 0
                losses.append(np.log(np.exp(scores[1:]).sum()) - scores[session[end]])
                row += 1
        return float(np.mean(losses))


KINDS = [(True, True), (True, False), (False, True), (False, False)]


def case(seed: int, remember: bool) -> Case:
    return Case(seed, 5 if remember else 0)


def test_the_cases_have_targets_that_are_known_and_in_the_session() -> None:
    """Their bonuses would be counted wrongly if those of a session and of the memory were not joined."""
    found = 0
    for made in map(Case, range(5)):
        target = made.targets.unsqueeze(1)
        ids = own_items(made.history, *made.real.nonzero(as_tuple=True)).ids
        own = (ids == target).any(1)
        found += int(((made.known == target).any(1) & own).sum())
    assert found > 0


@pytest.mark.parametrize(("repeat", "remember"), KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_the_item_loss_equals_a_naive_one(seed: int, repeat: bool, remember: bool) -> None:
    made = case(seed, remember)
    expected = made.naive(repeat, remember)
    assert made.loss(None, repeat, remember).item() == pytest.approx(expected, abs=1e-5)
    assert made.loss(EVERY_ITEM, repeat, remember).item() == pytest.approx(expected, abs=1e-5)


def test_nothing_known_changes_nothing_else() -> None:
    made = Case(1, n_known=0)
    for sampler in (None, EVERY_ITEM):
        assert made.loss(sampler, True, True).item() == pytest.approx(made.naive(True, False), abs=1e-5)
        assert made.loss(sampler, False, True).item() == pytest.approx(made.naive(False, False), abs=1e-5)


@pytest.mark.parametrize(("repeat", "remember"), KINDS)
def test_gradients_of_both_losses_are_equal_where_the_estimate_is_exact(repeat: bool, remember: bool) -> None:
    made = case(2, remember)
    parameters = made.parameters(repeat)
    exact, sampled = (
        torch.autograd.grad(made.loss(sampler, repeat, remember), parameters)
        for sampler in (None, EVERY_ITEM)
    )
    for one, other in zip(exact, sampled, strict=True):
        assert one.abs().max() > 1e-3
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_with_many_negatives_loss_and_gradients_tend_to_the_full_ones(power: float) -> None:
    made = Case(3)
    torch.manual_seed(4)
    sampler = NegativeSampler(torch.arange(N_ITEMS + 1), power, 100_000)
    exact, sampled = made.loss(None, True, True), made.loss(sampler, True, True)
    assert sampled.item() == pytest.approx(exact.item(), abs=0.01)
    gradients = [torch.autograd.grad(loss, made.parameters(True)) for loss in (exact, sampled)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=0.01, rtol=0.01)


def test_the_estimate_of_the_partition_function_is_unbiased() -> None:
    """exp(loss) = Z / exp(s) for one target: its mean over all single draws is that of the full softmax."""
    made = Case(3)
    made.real[:] = False
    made.real[0, 0] = True
    made.targets, made.known = made.targets[:1], made.known[:1]
    made.queries, made.own, made.bonus = made.queries[:1], made.own[:1], made.bonus[:1]
    draws = [Given([item], [1 / N_ITEMS]) for item in range(1, N_ITEMS + 1)]
    mean = np.mean([np.exp(made.loss(draw, True, True).item()) for draw in draws])
    assert mean == pytest.approx(np.exp(made.loss(None, True, True).item()), rel=1e-5)


def test_a_step_looks_up_each_item_once() -> None:
    made = Case(5)
    items = step_items(made.history, made.targets, N_ITEMS, Given([4, 4, 2], [1.0] * 3), made.known)  # type: ignore[arg-type]
    assert items.ids.tolist() == sorted(set(items.ids.tolist()))
    assert items.ids[0] == 0
    for places, ids in (
        (items.history, made.history),
        (items.targets, made.targets),
        (items.known, made.known),
        (items.negatives, torch.tensor([4, 4, 2])),
    ):
        assert places is not None
        assert torch.equal(items.ids[places], ids)

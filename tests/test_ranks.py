"""Ranks: ties, misses, non-finite scores, candidates, the scoring kernel and the fingerprints of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_contract import ScorerContract

from recbole_hiersrec.errors import HierSRecError, InputError
from recbole_hiersrec.evaluation import ranks as ranks_module
from recbole_hiersrec.evaluation.ranks import NonFiniteScoreError, candidate_ranks, rank_cases, target_ranks
from recbole_hiersrec.evaluation.scorer import (
    Cases,
    is_inner_product,
    score,
    score_kernel,
    universe_fingerprint,
)
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval.base import CandidateRule, Candidates
from recbole_hiersrec.retrieval.budget import item_budget
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists

PAD_SCORE = 99.0  # above every item: counting PAD would move every rank


class TableScorer:
    """Scores by an inner product with fixed tables; the query of a case is the mean vector of its history."""

    def __init__(self, cases: Cases, vectors: torch.Tensor, repeat: torch.Tensor | None = None) -> None:
        self.cases, self.vectors, self.n_items = cases, vectors, len(vectors) - 1
        self.repeat = repeat
        self.encoded = 0

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return index

    def queries(self, batch: torch.Tensor) -> Queries:
        self.encoded += len(batch)
        present = (self.cases.history[batch] != 0).float()[:, :, None]
        sums = (self.vectors[self.cases.history[batch]] * present).sum(1)
        history, apart = self.cases.history[batch], None
        if self.repeat is not None:
            ids = distinct(history)
            apart = Apart(ids, self.repeat[batch, None] * (ids > 0))
        return Queries(sums / self.cases.length[batch, None], history, apart)

    def item_vectors(self) -> torch.Tensor:
        return self.vectors

    def scores(self, batch: torch.Tensor) -> torch.Tensor:
        return score(self.queries(batch), self.vectors)


class FixedScorer:
    """Returns the given scores; not an inner product."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.table, self.n_items = scores, scores.shape[1] - 1

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return index

    def scores(self, batch: torch.Tensor) -> torch.Tensor:
        return self.table[batch]


class TheseItems(CandidateRule):
    """Proposes the same items to everyone."""

    name = "these"

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def _choose(self, queries, budgets, own):
        ids = np.tile(self.ids, (len(queries), 1))
        return np.where(np.arange(len(self.ids)) < budgets[:, None], ids, 0), np.full(len(queries), 2)


class TestTableScorer(ScorerContract):
    def make(self, cases, seed):
        vectors = torch.randn(self.n_items + 1, 6, generator=torch.Generator().manual_seed(seed))
        return TableScorer(cases, vectors)


class TestTableScorerWithRepeats(ScorerContract):
    def make(self, cases, seed):
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(self.n_items + 1, 6, generator=generator)
        return TableScorer(cases, vectors, torch.randn(len(cases), generator=generator))


def random_cases(n_cases, n_items, generator):
    length = torch.randint(1, 5, (n_cases,), generator=generator)
    history = torch.randint(1, n_items + 1, (n_cases, 4), generator=generator)
    history[torch.arange(4) >= length[:, None]] = 0
    return Cases(history, length, torch.randint(1, n_items + 1, (n_cases,), generator=generator))


def naive_rank(scores, target, eligible):
    """By the definition, one item after the other."""
    if target not in eligible:
        return math.inf
    greater = sum(scores[item] > scores[target] for item in eligible)
    equal = sum(scores[item] == scores[target] for item in eligible)
    return 1 + greater + (equal - 1) / 2


@pytest.mark.parametrize(
    ("items", "target", "expected"),
    [
        ([9, 5, 5, 5, 1], 1, 1),
        ([9, 5, 5, 5, 1], 2, 3),  # places 2, 3 and 4
        ([9, 5, 5, 1, 1], 3, 5 / 2),
        ([9, 5, 5, 1, 1], 4, 9 / 2),
        ([9, 8, 7, 6, 5], 5, 5),
        ([0, 0, 0, 0, 0], 4, 3),
        ([-3, -2, -9, -1, -0.5], 3, 5),
        ([0.0, -0.0, 1, 2, 3], 1, 9 / 2),  # both zeros are one number
    ],
)
def test_rank_by_hand(items, target, expected):
    scores = torch.tensor([[PAD_SCORE, *items]])
    assert target_ranks(scores, torch.tensor([target])).tolist() == [expected]


def test_one_item_is_always_first():
    assert target_ranks(torch.tensor([[PAD_SCORE, -4.0]]), torch.tensor([1])).tolist() == [1]


def test_rank_among_the_eligible():
    scores = torch.tensor([[PAD_SCORE, 5, 4, 4, 4, 3]] * 3)
    eligible = torch.tensor(
        [
            [True, False, True, True, False, True],  # 1 is out: 2 and 3 tie for places 1 and 2
            [True, True, True, False, False, True],
            [False, True, False, True, True, True],  # the target is out
        ]
    )
    ranks = target_ranks(scores, torch.tensor([2, 2, 2]), eligible=eligible)
    assert ranks.dtype == torch.float64
    assert ranks.tolist() == [3 / 2, 2, math.inf]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_fails(bad):
    scores = torch.zeros(3, 5)
    scores[1, 3] = bad
    with pytest.raises(
        NonFiniteScoreError, match=r"scores: received -?(nan|inf) for item 3 \(row 1 of the batch; 1 "
    ):
        target_ranks(scores, torch.tensor([1, 1, 1]))


def test_it_fails_where_it_is_not_eligible_too():
    scores = torch.tensor([[0, 1, math.nan]])
    with pytest.raises(NonFiniteScoreError):
        target_ranks(scores, torch.tensor([1]), eligible=torch.tensor([[False, True, False]]))


def test_the_score_of_pad_may_be_anything_and_sums_may_overflow():
    scores = torch.tensor([[-math.inf, 3e38, 3e38, 3e38], [math.nan, 1, 2, 3]])
    assert target_ranks(scores, torch.tensor([2, 2])).tolist() == [2, 2]


def test_large_matrices_are_compared_piece_by_piece(monkeypatch):
    scores = torch.randint(0, 9, (13, 41)).float()
    target = torch.randint(1, 41, (13,))
    whole = target_ranks(scores, target)
    monkeypatch.setattr(ranks_module, "_COMPARED_AT_ONCE", 100)
    assert torch.equal(target_ranks(scores, target), whole)


matrices = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.tuples(
            st.lists(st.integers(-2, 2) | st.floats(-2, 2, width=32), min_size=n, max_size=n),
            st.integers(1, n),
            st.sets(st.integers(1, n)),
        ),
        min_size=1,
        max_size=4,
    )
)


@given(matrices)
@settings(max_examples=150, deadline=None)
def test_ranks_equal_a_naive_recomputation(rows):
    scores = torch.tensor([[PAD_SCORE, *items] for items, _, _ in rows], dtype=torch.float32)
    target = torch.tensor([wanted for _, wanted, _ in rows])
    n_items = scores.shape[1] - 1
    naive = [
        naive_rank(row, t, range(1, n_items + 1))
        for row, t in zip(scores.tolist(), target.tolist(), strict=True)
    ]
    assert target_ranks(scores, target).tolist() == naive

    eligible = torch.zeros_like(scores, dtype=torch.bool)
    ids = torch.zeros(len(rows), n_items, dtype=torch.long)
    for row, (_, _, allowed) in enumerate(rows):
        eligible[row, list(allowed)] = True
        ids[row, : len(allowed)] = torch.tensor(sorted(allowed, reverse=True), dtype=torch.long)
    naive = [
        naive_rank(row, t, a)
        for row, t, (_, _, a) in zip(scores.tolist(), target.tolist(), rows, strict=True)
    ]
    assert target_ranks(scores, target, eligible=eligible).tolist() == naive
    assert candidate_ranks(scores, target, ids).tolist() == naive


@given(
    st.booleans(),
    st.sampled_from(["unmasked", "masked"]),
    st.sampled_from([None, 0.0, 1.0]),
    st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_all_items_as_candidates_give_identical_ranks(tied, history, repeat, seed):
    generator = torch.Generator().manual_seed(seed)
    n_items = int(torch.randint(1, 90, (1,), generator=generator))
    if tied:
        vectors = torch.randint(-1, 2, (n_items + 1, 3), generator=generator).float()
    else:
        vectors = torch.randn(n_items + 1, 7, generator=generator)
    cases = random_cases(11, n_items, generator)
    scorer = TableScorer(
        cases, vectors, None if repeat is None else repeat * torch.randn(11, generator=generator)
    )
    cells = Cells(build_lists(vectors, None, cap=4, seed=0), vectors)
    table = rank_cases(scorer, cases, history=history, rules={"all": (cells, 1.0)}, batch_size=4)
    np.testing.assert_array_equal(table.all, table.by_rule["all"])
    np.testing.assert_array_equal(table.scored["all"], np.full(11, n_items))


def test_candidates_by_hand():
    scores = torch.tensor([[PAD_SCORE, 5, 4, 4, 4, 3]] * 4)
    ids = torch.tensor([[3, 2, 5, 0], [5, 3, 1, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    ranks = candidate_ranks(scores, torch.tensor([2, 2, 5, 5]), ids)
    assert ranks.tolist() == [3 / 2, math.inf, 1, math.inf]


def test_rank_table_of_a_rule():
    vectors = torch.tensor([[7.0], [1.0], [2.0], [3.0], [4.0]])  # items 1 to 4 score 1 to 4 times the query
    cases = Cases(torch.tensor([[1, 0], [1, 4]]), torch.tensor([1, 2]), torch.tensor([2, 4]))
    scorer = TableScorer(cases, vectors)
    rules = {"half": (TheseItems([2, 3, 1]), 0.5), "most": (TheseItems([4, 2, 1]), 0.75)}
    table = rank_cases(scorer, cases, history="unmasked", rules=rules, batch_size=1)
    assert table.all.tolist() == [3, 1]
    assert table.by_rule["half"].tolist() == [2, math.inf]
    assert table.by_rule["most"].tolist() == [2, 1]
    assert table.scored["half"].tolist() == [2, 2]
    assert table.scored["most"].dtype == np.int64
    assert table.compared["most"].tolist() == [2, 2]
    assert scorer.encoded == 2  # each case once, rules or not


def test_masked_history_is_not_ranked():
    vectors = torch.tensor([[7.0], [1.0], [2.0], [3.0], [4.0]])
    cases = Cases(torch.tensor([[4, 3], [4, 1]]), torch.tensor([2, 2]), torch.tensor([2, 4]))
    rules = {"most": (TheseItems([4, 2, 1]), 0.75)}
    masked = rank_cases(TableScorer(cases, vectors), cases, history="masked", rules=rules)
    assert masked.all.tolist() == [1, math.inf]
    assert masked.by_rule["most"].tolist() == [1, math.inf]
    assert masked.scored["most"].tolist() == [3, 3]  # they were scored all the same
    unmasked = rank_cases(TableScorer(cases, vectors), cases, history="unmasked", rules=rules)
    assert unmasked.all.tolist() == [3, 1]


def test_batches_do_not_change_ranks():
    generator = torch.Generator().manual_seed(1)
    cases = random_cases(70, 200, generator)
    scorer = TableScorer(cases, torch.randn(201, 16, generator=generator))
    whole = rank_cases(scorer, cases, history="unmasked", batch_size=70)
    np.testing.assert_array_equal(whole.all, rank_cases(scorer, cases, history="unmasked", batch_size=3).all)


def test_a_scorer_without_queries_is_ranked_on_rules_that_need_none():
    cases = Cases(torch.tensor([[1]]), torch.tensor([1]), torch.tensor([2]))
    scorer = FixedScorer(torch.tensor([[0.0, 1, 2, 3]]))
    assert not is_inner_product(scorer)
    assert rank_cases(scorer, cases, history="unmasked").all.tolist() == [2]
    table = rank_cases(scorer, cases, history="unmasked", rules={"x": (TheseItems([1, 2]), 1.0)})
    assert table.by_rule["x"].tolist() == [1]
    assert table.scored["x"].tolist() == [2]


def test_bad_input_is_named():
    cases = Cases(torch.tensor([[1]]), torch.tensor([1]), torch.tensor([2]))
    scorer = FixedScorer(torch.zeros(1, 4))
    with pytest.raises(InputError, match="history: received 'mask', allowed: unmasked, masked"):
        rank_cases(scorer, cases, history="mask")
    scorer.n_items = 4
    with pytest.raises(InputError, match=r"scores: received shape \(1, 4\), allowed: \(1, 5\)"):
        rank_cases(scorer, cases, history="unmasked")


@pytest.mark.parametrize(
    ("fraction", "n_items", "expected"), [(0.07, 100, 7), (0.29, 100, 29), (1, 3, 3), (0.04, 99, 3)]
)
def test_item_budget(fraction, n_items, expected):
    assert item_budget(fraction, n_items) == expected


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, math.nan])
def test_item_fraction_out_of_range(fraction):
    with pytest.raises(InputError, match=r"item_fraction: received .*, allowed: a number in \(0, 1\]"):
        item_budget(fraction, 100)


def test_item_fraction_that_leaves_nothing():
    with pytest.raises(InputError, match=r"received 0\.01, which is less than one of 99 items"):
        item_budget(0.01, 99)


@pytest.mark.parametrize("n_items", [2, 5, 11, 63, 64, 1000])
@pytest.mark.parametrize("width", [3, 64, 131])
def test_kernel_scores_do_not_depend_on_the_batch(n_items, width):
    generator = torch.Generator().manual_seed(n_items)
    queries = torch.randn(77, width, generator=generator)
    vectors = torch.randn(n_items + 1, width, generator=generator)
    together = score_kernel(queries, vectors)
    assert together.shape == (77, n_items + 1)
    torch.testing.assert_close(together, queries @ vectors.T, rtol=1e-4, atol=1e-4)
    for rows in ([0], [40], [76], [5, 40, 3], list(range(1, 70))):
        assert torch.equal(score_kernel(queries[rows], vectors), together[rows])
    assert torch.equal(score_kernel(queries[1:], vectors), together[1:])  # another alignment in memory


def test_kernel_ties_identical_items():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(10, 131, generator=generator)
    vectors[[1, 4, 9]] = vectors[2].clone()
    scores = score_kernel(torch.randn(3, 131, generator=generator), vectors)
    assert torch.equal(scores[:, [1, 4, 9]], scores[:, [2, 2, 2]])


def test_kernel_of_nothing_and_without_gradients():
    assert score_kernel(torch.zeros(0, 4), torch.zeros(9, 4)).shape == (0, 9)
    assert not score_kernel(torch.zeros(2, 4, requires_grad=True), torch.zeros(9, 4)).requires_grad


def make_cases(history, length, target):
    return Cases(torch.tensor(history), torch.tensor(length), torch.tensor(target))


def test_fingerprint_ignores_padding_and_the_numbering_of_items():
    tokens = ["[PAD]", "a", "b", "c"]
    first = make_cases([[1, 2], [3, 0]], [2, 1], [3, 1]).fingerprint(tokens)
    assert len(first) == 64
    assert make_cases([[1, 2, 0, 0], [3, 0, 0, 0]], [2, 1], [3, 1]).fingerprint(tokens) == first
    assert make_cases([[3, 2], [1, 0]], [2, 1], [1, 3]).fingerprint(["[PAD]", "c", "b", "a"]) == first


def test_fingerprint_does_not_depend_on_how_many_rows_are_listed_at_once(monkeypatch):
    cases = make_cases([[1, 2], [3, 0], [2, 0], [1, 3], [2, 2]], [2, 1, 1, 2, 2], [3, 1, 1, 2, 3])
    whole = cases.fingerprint(["[PAD]", "a", "b", "c"])
    monkeypatch.setattr("recbole_hiersrec.evaluation.scorer._LISTED_ROWS", 2)
    assert cases.fingerprint(["[PAD]", "a", "b", "c"]) == whole


@pytest.mark.parametrize(
    "other",
    [
        make_cases([[1, 2], [3, 0]], [2, 1], [3, 2]),  # a target
        make_cases([[2, 1], [3, 0]], [2, 1], [3, 1]),  # the order of a history
        make_cases([[3, 0], [1, 2]], [1, 2], [1, 3]),  # the order of the cases
        make_cases([[1, 2]], [2], [3]),  # a case less
        make_cases([[1, 0], [3, 0]], [1, 1], [3, 1]),  # an item less
    ],
)
def test_fingerprint_sees_every_difference(other):
    tokens = ["[PAD]", "a", "b", "c"]
    assert other.fingerprint(tokens) != make_cases([[1, 2], [3, 0]], [2, 1], [3, 1]).fingerprint(tokens)


@pytest.mark.parametrize("token", ["a,b", 'a","b'])
def test_fingerprint_is_not_fooled_by_punctuation_in_tokens(token):
    two, one = make_cases([[1, 2]], [2], [3]), make_cases([[1, 0]], [1], [3])
    assert two.fingerprint(["", "a", "b", "c"]) != one.fingerprint(["", token, "b", "c"])


def test_universe_fingerprint():
    assert universe_fingerprint(["[PAD]", "a", "b"]) == universe_fingerprint(["", "a", "b"])
    assert universe_fingerprint(["", "a", "b"]) != universe_fingerprint(["", "b", "a"])
    assert universe_fingerprint(["", "a", "b"]) != universe_fingerprint(["", "a", "b", "c"])


def test_cases_of_unequal_lengths():
    with pytest.raises(ValueError, match=r"received \(2, 1\), \(2,\), \(1,\)"):
        make_cases([[1], [2]], [1, 1], [3])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([2, 3, 1], "rule greedy: received 3 candidates for a query, allowed: 2"),
        ([2, 2], "received an item twice"),
    ],
)
def test_a_rule_that_breaks_its_promise_fails_the_ranking(ids, message):
    class Greedy(TheseItems):
        def candidates(self, queries, budget):  # around what the base class would mend
            return Candidates(torch.tensor([ids] * len(queries)), torch.zeros(len(queries), dtype=torch.long))

    cases = Cases(torch.tensor([[1]]), torch.tensor([1]), torch.tensor([2]))
    scorer = TableScorer(cases, torch.tensor([[7.0], [1.0], [2.0], [3.0], [4.0]]))
    with pytest.raises(HierSRecError, match=message):
        rank_cases(scorer, cases, history="unmasked", rules={"greedy": (Greedy(ids), 0.5)})


def naive_lists(scores, k, eligible):
    """How many rows have each item among their k best, by sorting each row."""
    counts = [0] * scores.shape[1]
    for row, allowed in zip(scores.tolist(), eligible.tolist(), strict=True):
        items = [item for item in range(1, len(row)) if allowed[item]]
        for item in sorted(items, key=lambda item: (-row[item], item))[:k]:
            counts[item] += 1
    return counts


@pytest.mark.parametrize(
    ("items", "k", "expected"),
    [
        ([9, 5, 7, 1], 1, [1]),
        ([9, 5, 7, 1], 2, [1, 3]),
        ([5, 9, 5, 5], 2, [1, 2]),  # three are equal: the lowest id
        ([5, 9, 5, 5], 3, [1, 2, 3]),
        ([5, 9, 5, 5], 4, [1, 2, 3, 4]),
        ([5, 9, 5, 5], 9, [1, 2, 3, 4]),
        ([0.0, -0.0, -1, 1], 2, [1, 4]),
        ([3, 3, 3, 3], 1, [1]),
    ],
)
def test_the_best_items_by_hand(items, k, expected):
    scores = torch.tensor([[PAD_SCORE, *items]])
    found = ranks_module.count_recommended(scores, [k])[0]
    assert found.nonzero().flatten().tolist() == expected
    assert int(found.sum()) == len(expected)


def test_the_best_of_the_eligible():
    scores = torch.tensor([[PAD_SCORE, 5, 4, 4, 4, 3]] * 2)
    eligible = torch.tensor(
        [[True, False, False, True, True, True], [False, False, False, False, True, False]]
    )
    found = ranks_module.count_recommended(scores, [1, 2], eligible=eligible)
    assert found.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 2, 0]]


@settings(max_examples=200)
@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.lists(st.integers(1, 11), min_size=1, max_size=3, unique=True),
    st.integers(0, 2**31),
    st.sampled_from([1, 7, 1 << 22]),
)
def test_the_best_items_against_a_sort(n_rows, n_items, ks, seed, at_once):
    """Few different scores, so that most rows have ties; pieces of any size."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (n_rows, n_items + 1), generator=generator).float()
    scores[:, 0] = PAD_SCORE
    eligible = torch.rand(n_rows, n_items + 1, generator=generator) < 0.7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks_module, "_COMPARED_AT_ONCE", at_once)
        some = ranks_module.count_recommended(scores, ks, eligible=eligible)
        every = ranks_module.count_recommended(scores, ks)
    assert some.tolist() == [naive_lists(scores, k, eligible) for k in ks]
    assert every.tolist() == [naive_lists(scores, k, torch.ones_like(eligible)) for k in ks]


@pytest.mark.parametrize("history", ["unmasked", "masked"])
def test_lists_follow_the_rule_for_the_history(history):
    generator = torch.Generator().manual_seed(5)
    cases = random_cases(13, 9, generator)
    scores = torch.randint(0, 5, (13, 10), generator=generator).float()
    eligible = torch.ones(13, 10, dtype=torch.bool)
    if history == "masked":
        eligible.scatter_(1, cases.history, False)
    table = rank_cases(FixedScorer(scores), cases, history=history, batch_size=4, list_ks=[1, 3])
    assert {k: counts.tolist() for k, counts in table.recommended.items()} == {
        k: naive_lists(scores, k, eligible) for k in (1, 3)
    }
    assert rank_cases(FixedScorer(scores), cases, history=history).recommended == {}

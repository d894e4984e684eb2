"""What every scorer must keep. Subclass :class:`ScorerContract` in a test module and say how to make one.

::

    class TestPopularity(ScorerContract):
        def make(self, cases, seed):
            return ...  # a scorer of these cases, made the same way whenever the seed is the same
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.scorer import Cases, Scorer, is_inner_product
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.base import CandidateRule


class EveryItem(CandidateRule):
    """All items are candidates, the last ones first, so that nothing hangs on their order."""

    name = "every item"

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items

    def _choose(
        self, queries: Queries, budgets: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        ids = np.tile(np.arange(self.n_items, 0, -1), (len(queries), 1))
        return ids, np.zeros(len(queries), dtype=np.int64)


class ScorerContract:
    """Tests shared by all scorers."""

    n_items = 30
    width = 8
    """Columns of the histories that :meth:`make` is given, at most; it must accept fewer, too."""
    tolerance = 1e-5

    def make(self, cases: Cases, seed: int) -> Scorer:
        """Build a scorer of ``cases`` (items 1..n_items), with random parameters drawn from ``seed``."""
        raise NotImplementedError

    def reload(self, scorer: Scorer, cases: Cases, folder: Path) -> Scorer:
        """Save what ``scorer`` has learned below ``folder``; a scorer of the same cases that was made from it alone."""
        pytest.skip("what it has learned is saved by the model around it")

    def cases(self) -> Cases:
        """Twelve histories of 1 to ``width - 3`` items, so that there is room for more padding."""
        generator = torch.Generator().manual_seed(7)
        length = torch.randint(1, self.width - 2, (12,), generator=generator)
        length[0], length[1] = 1, self.width - 3
        history = torch.randint(1, self.n_items + 1, (12, self.width), generator=generator)
        history[torch.arange(self.width) >= length[:, None]] = 0
        return Cases(history, length, torch.randint(1, self.n_items + 1, (12,), generator=generator))

    def score(self, cases: Cases, index: torch.Tensor, seed: int = 3) -> torch.Tensor:
        """Scores of the items 1..N for the cases ``index``."""
        scorer = self.make(cases, seed)
        with torch.no_grad():
            return scorer.scores(scorer.batch(index))[:, 1:].clone()

    def test_shape_and_finiteness(self) -> None:
        scorer = self.make(self.cases(), 3)
        with torch.no_grad():
            scores = scorer.scores(scorer.batch(torch.arange(5)))
        assert scorer.n_items == self.n_items
        assert scores.shape == (5, self.n_items + 1)
        assert scores.dtype == torch.float32
        assert torch.isfinite(scores[:, 1:]).all()

    def test_scores_depend_on_the_item(self) -> None:
        scores = self.score(self.cases(), torch.arange(12))
        assert (scores.max(dim=1).values > scores.min(dim=1).values + self.tolerance).any()

    def test_batch_equals_single(self) -> None:
        cases = self.cases()
        together = self.score(cases, torch.arange(12))
        alone = torch.cat([self.score(cases, torch.tensor([row])) for row in range(12)])
        torch.testing.assert_close(together, alone, rtol=self.tolerance, atol=self.tolerance)

    def test_rows_are_addressed_by_index(self) -> None:
        cases = self.cases()
        order = torch.tensor([11, 0, 5, 5])
        expected = self.score(cases, torch.arange(12))[order]
        torch.testing.assert_close(
            self.score(cases, order), expected, rtol=self.tolerance, atol=self.tolerance
        )

    def test_padding_changes_nothing(self) -> None:
        cases = self.cases()
        longest = int(cases.length.max())
        narrow = Cases(cases.history[:, :longest], cases.length, cases.target)
        every = torch.arange(12)
        torch.testing.assert_close(
            self.score(narrow, every), self.score(cases, every), rtol=self.tolerance, atol=self.tolerance
        )

    def test_same_seed_same_result(self) -> None:
        cases, every = self.cases(), torch.arange(12)
        assert torch.equal(self.score(cases, every), self.score(cases, every))

    def test_scoring_twice_changes_nothing(self) -> None:
        scorer = self.make(self.cases(), 3)
        with torch.no_grad():
            first = scorer.scores(scorer.batch(torch.arange(12))).clone()
            assert torch.equal(first[:, 1:], scorer.scores(scorer.batch(torch.arange(12)))[:, 1:])

    def test_the_target_is_not_read(self) -> None:
        cases, every = self.cases(), torch.arange(12)
        other = Cases(cases.history, cases.length, cases.target % self.n_items + 1)
        assert torch.equal(self.score(cases, every), self.score(other, every))

    def test_inner_product_identity(self) -> None:
        scorer = self.make(self.cases(), 3)
        if not is_inner_product(scorer):
            return
        with torch.no_grad():
            batch = scorer.batch(torch.arange(12))
            queries = scorer.queries(batch)
            product = queries.vectors @ scorer.item_vectors().T
            if queries.apart is not None:
                for row, pairs in enumerate(zip(queries.apart.ids, queries.apart.bonus, strict=True)):
                    for item, bonus in zip(*pairs, strict=True):
                        product[row, item] += bonus
            scores = scorer.scores(batch)
        assert scorer.item_vectors().shape[0] == self.n_items + 1
        torch.testing.assert_close(scores[:, 1:], product[:, 1:], rtol=self.tolerance, atol=self.tolerance)

    def test_no_item_is_scored_apart_twice(self) -> None:
        scorer = self.make(self.cases(), 3)
        if not is_inner_product(scorer):
            return
        with torch.no_grad():
            apart = scorer.queries(scorer.batch(torch.arange(12))).apart
        if apart is None:
            return
        assert apart.ids.shape == apart.bonus.shape
        for row, bonus in zip(apart.ids, apart.bonus, strict=True):
            real = row[row > 0].tolist()
            assert len(real) == len(set(real))
            assert not bonus[row == 0].any()

    @pytest.mark.parametrize("history", ["unmasked", "masked"])
    def test_candidates_of_all_items_give_identical_ranks(
        self, history: Literal["unmasked", "masked"]
    ) -> None:
        cases = self.cases()
        rules = {"all": (EveryItem(self.n_items), 1.0)}
        ranks = rank_cases(self.make(cases, 3), cases, history=history, rules=rules)
        assert np.array_equal(ranks.by_rule["all"], ranks.all)
        assert (ranks.scored["all"] == self.n_items).all()
        assert np.isfinite(ranks.all).any()

    def test_saved_and_loaded_it_scores_the_same(self, tmp_path: Path) -> None:
        cases = self.cases()
        scorer = self.make(cases, 3)
        loaded = self.reload(scorer, cases, tmp_path)
        assert loaded is not scorer
        with torch.no_grad():
            wanted, found = (
                one.scores(one.batch(torch.arange(12)))[:, 1:].clone() for one in (scorer, loaded)
            )
        assert torch.equal(wanted, found)

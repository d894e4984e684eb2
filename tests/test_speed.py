"""Timing: what is counted, in which order, and that the stages make up the total."""

from __future__ import annotations

import time

import faiss
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation import speed
from recbole_hiersrec.evaluation.speed import Timing, _top_of, _top_of_all, time_scorer
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists
from recbole_hiersrec.retrieval.popularity import Popularity
from recbole_hiersrec.settings import SpeedSettings

N_ITEMS = 60
SETTINGS = SpeedSettings(k=5, batch_size=8, repeats=4, warmup=2)
QUANTITIES = [
    ("latency median", "ms"),
    ("latency p95", "ms"),
    ("latency p99", "ms"),
    ("throughput", "queries/s"),
]


class QueryScorer:
    """An inner-product scorer that writes down what it is asked, and sleeps while it encodes."""

    n_items = N_ITEMS

    def __init__(self, seconds: float = 0.0) -> None:
        self.vectors = torch.randn(N_ITEMS + 1, 4, generator=torch.Generator().manual_seed(0))
        self.seconds, self.log = seconds, []
        self.threads, self.inference = set(), set()

    def batch(self, index):
        self.log.append(("batch", index.tolist()))
        return index

    def queries(self, batch):
        self.log.append(("queries", len(batch)))
        self.threads.add((torch.get_num_threads(), faiss.omp_get_max_threads()))
        self.inference.add(torch.is_inference_mode_enabled())
        time.sleep(self.seconds)
        return Queries(torch.ones(len(batch), 4), torch.ones(len(batch), 1, dtype=torch.long))

    def item_vectors(self):
        self.log.append(("item vectors", None))
        return self.vectors

    def scores(self, batch):
        return self.queries(batch).vectors @ self.vectors.T


class PlainScorer:
    """A scorer without queries."""

    n_items = N_ITEMS

    def batch(self, index):
        time.sleep(0.03)  # must not be counted
        return index

    def scores(self, batch):
        time.sleep(0.002)
        return torch.randn(len(batch), N_ITEMS + 1)


class SlowCells(Cells):
    """Cells whose stages take known times, and which are written to a scorer's log."""

    def __init__(self, scorer, select=0.0, search=0.0):
        super().__init__(build_lists(scorer.vectors, None, 5, seed=0), scorer.vectors)
        self.scorer, self.pauses = scorer, (select, search)

    def select(self, queries, budget):
        self.scorer.log.append(("select", budget))
        time.sleep(self.pauses[0])
        return super().select(queries, budget)

    def search_lists(self, queries, selected, k):
        self.scorer.log.append(("search", k))
        time.sleep(self.pauses[1])
        return super().search_lists(queries, selected, k)


def value(rows, variant, stage, quantity):
    (found,) = (
        row["value"]
        for row in rows
        if (row["variant"], row["stage"], row["quantity"]) == (variant, stage, quantity)
    )
    return found


def test_timing_median_and_percentiles():
    timing = Timing(np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert timing.median == 3
    assert timing.percentile(25) == 2
    assert timing.percentile(95) == pytest.approx(4.8)  # 4/5 of the way from 4 to 5


def test_rows_of_an_inner_product_scorer():
    scorer = QueryScorer()
    rows = time_scorer(scorer, 10, SETTINGS, {"candidates@0.5": (SlowCells(scorer), 30)}, threads=1)
    stages = [("all items", stage) for stage in ("encoder", "top-k", "total")]
    stages += [("candidates@0.5", stage) for stage in ("encoder", "retrieval", "top-k", "total")]
    assert [(row["variant"], row["stage"], row["quantity"], row["unit"]) for row in rows] == [
        (*key, *quantity) for key in stages for quantity in QUANTITIES
    ]
    assert all(row["threads"] == 1 and np.isfinite(row["value"]) and row["value"] > 0 for row in rows)
    assert all(type(row["value"]) is float for row in rows)


def test_rows_of_another_scorer_and_batches_are_not_timed():
    rows = time_scorer(
        PlainScorer(), 10, SpeedSettings(k=5, batch_size=64, repeats=4, warmup=1), {}, threads=1
    )
    assert [(row["variant"], row["stage"], row["quantity"]) for row in rows] == [
        ("all items", "total", quantity) for quantity, _ in QUANTITIES
    ]
    assert 2 <= value(rows, "all items", "total", "latency median") < 30
    assert 64 / 0.03 < value(rows, "all items", "total", "throughput") <= 64 / 0.002


def test_stages_make_up_the_total_and_each_holds_its_own_time():
    scorer = QueryScorer(seconds=0.004)
    rows = time_scorer(scorer, 10, SETTINGS, {"c": (SlowCells(scorer, 0.008, 0.016), 30)}, threads=1)
    latency = {
        stage: value(rows, "c", stage, "latency median") for stage in ("encoder", "retrieval", "top-k")
    }
    assert latency["encoder"] >= 4
    assert latency["retrieval"] >= 8
    assert latency["top-k"] >= 16
    assert latency["encoder"] < latency["retrieval"] < latency["top-k"]
    assert value(rows, "c", "total", "latency median") == pytest.approx(sum(latency.values()), rel=0.25)
    assert value(rows, "c", "total", "throughput") <= 8 / 0.028
    quantities = ("latency median", "latency p95", "latency p99")
    percentiles = [value(rows, "c", "total", quantity) for quantity in quantities]
    assert percentiles == sorted(percentiles)
    assert value(rows, "all items", "encoder", "latency median") >= 4


def test_warm_up_rounds_are_not_counted():
    scorer = QueryScorer()
    pauses = iter([*[0.03] * 5, *[0] * 3] * 2)  # single queries, then batches
    scorer.queries = lambda batch: (
        time.sleep(next(pauses)) or Queries(torch.ones(len(batch), 4), torch.ones(len(batch), 1))
    )
    rows = time_scorer(scorer, 10, SpeedSettings(k=5, batch_size=8, repeats=3, warmup=5), {}, threads=1)
    assert value(rows, "all items", "encoder", "latency median") < 20
    assert next(pauses, None) is None  # warm-up and repeats, twice


def test_variants_take_turns_and_share_the_cases_of_a_round():
    scorer = QueryScorer()
    rules = {"a": (SlowCells(scorer), 10), "b": (SlowCells(scorer), 20)}
    time_scorer(scorer, 3, SpeedSettings(k=2, batch_size=4, repeats=2, warmup=1), rules, threads=1)
    one_round = ["batch", "queries", "queries", "select", "search", "queries", "select", "search"]
    names = [name for name, _ in scorer.log]
    assert names == ["item vectors"] + one_round * 3 * 2  # three rounds of single queries, three of batches
    assert [given for name, given in scorer.log if name == "batch"] == [
        [0], [1], [2], [0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]
    ]  # fmt: skip
    assert {given for name, given in scorer.log if name == "search"} == {2}
    assert [given for name, given in scorer.log if name == "select"] == [10, 20] * 6


def test_threads_are_set_while_measuring_and_restored():
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    try:
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        scorer = QueryScorer()
        time_scorer(scorer, 3, SETTINGS, {}, threads=2)
        assert scorer.threads == {(2, 2)}
        assert scorer.inference == {True}
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (1, 1)

        scorer.queries = lambda batch: 1 / 0
        with pytest.raises(ZeroDivisionError):
            time_scorer(scorer, 3, SETTINGS, {}, threads=2)
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (1, 1)
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])


def test_bad_input_is_named():
    scorer = QueryScorer()
    with pytest.raises(InputError, match=r"speed\.k: received 61, allowed: at most the 60 items"):
        time_scorer(scorer, 3, SpeedSettings(k=61), {}, threads=1)
    with pytest.raises(InputError, match="cases: received none"):
        time_scorer(scorer, 0, SETTINGS, {}, threads=1)


def test_rules_of_other_scorers_are_not_timed():
    rows = time_scorer(PlainScorer(), 3, SETTINGS, {"p": (Popularity(np.arange(N_ITEMS + 1)), 9)}, threads=1)
    assert {row["variant"] for row in rows} == {"all items"}


@pytest.mark.parametrize("repeat", [None, 2.0])
def test_top_of_candidates_and_of_all_items(repeat):
    table = torch.tensor([[9.0], [1.0], [2.0], [3.0], [2.5]])
    history = torch.tensor([[1, 0]])
    queries = Queries(
        torch.ones(1, 1), history, None if repeat is None else Apart(history, torch.full((1, 2), repeat))
    )
    best = [3, 4, 2] if repeat is None else [3, 1, 4]
    assert set(_top_of_all(queries, table, 3)[0].tolist()) == set(best)
    assert set(_top_of(queries, torch.tensor([[4, 0, 1, 3, 2]]), table, 3)[0].tolist()) == set(best)
    assert set(_top_of(queries, torch.tensor([[4, 0]]), table, 3)[0].tolist()) == {4, 0}


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


def test_candidates_are_scored_in_blocks_of_bounded_size(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(41, 8, generator=generator)
    history = torch.randint(1, 41, (20, 12), generator=generator)
    bonus = Apart(distinct(history), torch.rand(20, 12, generator=generator))
    queries = Queries(torch.randn(20, 8, generator=generator), history, bonus)
    ids = torch.rand(20, 40, generator=generator).argsort(1)[:, :30] + 1
    whole = _top_of(queries, ids, table, 5)
    monkeypatch.setattr(speed, "_GATHERED", 1000)  # two of the 20 rows: 2 * 30 * 12
    with Largest() as largest:
        assert torch.equal(_top_of(queries, ids, table, 5), whole)
    assert largest.elements <= 1000
    assert len(_top_of(Queries(torch.zeros(0, 8), history[:0]), ids[:0], table, 5)) == 0


def test_other_rules_are_timed_too():
    rows = time_scorer(QueryScorer(), 3, SETTINGS, {"p": (Popularity(np.arange(N_ITEMS + 1)), 9)}, threads=1)
    assert {row["stage"] for row in rows if row["variant"] == "p"} == {
        "encoder",
        "retrieval",
        "top-k",
        "total",
    }

"""How long a query takes and how many are served a second; encoder, retrieval and top-k apart.

Only the call itself is timed: batches, the item vectors and the index exist before, as in a service. The
variants take turns within every round, on the same cases, so that drift of the machine hits all alike. Top-k
over all items is one plain matrix product here: the scoring kernel would pad a single query to a whole block,
which would flatter the candidates.

Axes: B queries, A augmented width, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import faiss
import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.scorer import Scorer, is_inner_product
from recbole_hiersrec.queries import Queries, add_apart
from recbole_hiersrec.retrieval.base import CandidateRule, Candidates
from recbole_hiersrec.retrieval.cells import Cells, Selection
from recbole_hiersrec.settings import SpeedSettings

ALL_ITEMS = "all items"
TOTAL = "total"
_GATHERED = 1 << 24  # elements of candidates' vectors gathered at once (64 MiB)

Step = tuple[str, Callable[[Any], Any]]
"""A stage's name, and what it makes of the previous stage's result (the first one: of the batch)."""


class Batches(Protocol):
    """Gives the batch of cases, which are addressed by their number."""

    def batch(self, index: Tensor) -> Any:
        """The input that the first stage takes, for the cases ``index`` (long [B])."""


class TimingRow(TypedDict):
    """One line of timing.csv, less the columns that name the job."""

    variant: str
    stage: str
    threads: int
    quantity: str
    unit: str
    value: float


@dataclass(frozen=True)
class Timing:
    """Seconds of each measured call, float64 [repeats]."""

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return float(np.median(self.seconds))

    def percentile(self, q: float) -> float:
        """The q-th percentile (0 to 100), in seconds, interpolated linearly."""
        return float(np.percentile(self.seconds, q))


def time_scorer(
    scorer: Scorer,
    n_cases: int,
    settings: SpeedSettings,
    rules: Mapping[str, tuple[CandidateRule, int]],
    threads: int,
) -> list[TimingRow]:
    """Time top-k recommendation over all items and over the candidates of every rule.

    Args:
        scorer: one that does not score by an inner product has the stage ``total`` only, and its rules are not
            timed: all items are scored before candidates are looked at.
        n_cases: cases the scorer knows; rounds go through them in turn.
        settings: k, batch size for throughput, repeats, warm-up.
        rules: variant name, such as ``cells@0.04`` -> (rule, budget of items).
        threads: of torch and FAISS while measuring; what was set before is restored.

    Returns:
        For each variant and stage the rows ``latency median``, ``latency p95`` and ``latency p99`` (ms, one query at
        a time) and ``throughput`` (queries/s, in batches). Stages and total come from the same calls.

    Raises:
        InputError: if k exceeds the number of items, or there is no case.
    """
    if settings.k > scorer.n_items:
        raise InputError(f"speed.k: received {settings.k}, allowed: at most the {scorer.n_items} items")
    if n_cases < 1:
        raise InputError("cases: received none, allowed: at least one")
    variants = _variants(scorer, settings.k, rules)
    with using_threads(threads), torch.inference_mode():
        single = take_turns(scorer, variants, n_cases, 1, settings)
        batched = take_turns(scorer, variants, n_cases, settings.batch_size, settings)
    return [
        TimingRow(variant=variant, stage=stage, threads=threads, quantity=quantity, unit=unit, value=value)
        for (variant, stage), timing in single.items()
        for quantity, unit, value in (
            ("latency median", "ms", 1e3 * timing.median),
            ("latency p95", "ms", 1e3 * timing.percentile(95)),
            ("latency p99", "ms", 1e3 * timing.percentile(99)),
            ("throughput", "queries/s", settings.batch_size / batched[variant, stage].median),
        )
    ]


def _variants(
    scorer: Scorer, k: int, rules: Mapping[str, tuple[CandidateRule, int]]
) -> dict[str, list[Step]]:
    """The stages of every variant, in the order they run."""
    if not is_inner_product(scorer):
        return {ALL_ITEMS: [(TOTAL, lambda batch: _top_items(scorer.scores(batch)[:, 1:], k))]}
    with torch.no_grad():
        table = scorer.item_vectors().contiguous()  # [N+1, A]
    encoder: Step = ("encoder", scorer.queries)
    variants = {ALL_ITEMS: [encoder, ("top-k", lambda queries: _top_of_all(queries, table, k))]}
    return variants | {
        label: [encoder, *rule_steps(rule, budget, k, table)] for label, (rule, budget) in rules.items()
    }


def rule_steps(rule: CandidateRule, budget: int, k: int, table: Tensor) -> list[Step]:
    """Retrieval and top-k: of lists with their index, of other rules by looking the candidates' vectors up.

    Args:
        rule: of the candidates.
        budget: candidates a query, at most.
        k: items returned.
        table: item vectors [N + 1, A].

    Returns:
        The steps "retrieval" and "top-k", each with what it does to what the one before it returned.
    """

    def retrieve(queries: Queries) -> tuple[Queries, Selection | Candidates]:
        if isinstance(rule, Cells):
            return queries, rule.select(queries, budget)
        return queries, rule.candidates(queries, budget)

    def search(found: tuple[Queries, Selection | Candidates]) -> object:
        queries, chosen = found
        if isinstance(rule, Cells) and isinstance(chosen, Selection):
            return rule.search_lists(queries, chosen, k)
        assert isinstance(chosen, Candidates)
        return _top_of(queries, chosen.ids.to(table.device), table, k)

    return [("retrieval", retrieve), ("top-k", search)]


def _top_of_all(queries: Queries, table: Tensor, k: int) -> Tensor:
    """Ids [B, k] of the best of all items of ``table`` [N+1, A]."""
    scores = queries.vectors @ table.T
    return _top_items(add_apart(scores, queries)[:, 1:], k)


def _top_of(queries: Queries, ids: Tensor, table: Tensor, k: int) -> Tensor:
    """Ids [B, min(k, P)] of the best of the items ``ids`` [B, P]; 0 where a row has fewer. Gathers block by block."""
    wide = max(table.shape[1], 0 if queries.apart is None else queries.apart.ids.shape[1])
    rows = max(1, _GATHERED // max(1, ids.shape[1] * wide))
    parts = [slice(start, start + rows) for start in range(0, max(1, len(ids)), rows)]
    scores = torch.cat([_scores_of(queries, ids, table, part) for part in parts])
    best = scores.masked_fill(ids == 0, -torch.inf).topk(min(k, ids.shape[1]), dim=1).indices
    return ids.gather(1, best)


def _scores_of(queries: Queries, ids: Tensor, table: Tensor, part: slice) -> Tensor:
    """Scores [b, P] of the items ``ids`` [B, P] in b of the rows."""
    scores = torch.bmm(table[ids[part]], queries.vectors[part].unsqueeze(2)).squeeze(2)
    if queries.apart is None:
        return scores
    same = ids[part].unsqueeze(2) == queries.apart.ids[part].unsqueeze(1)  # [b, P, E]
    return scores + (same * queries.apart.bonus[part].unsqueeze(1)).sum(2)


def _top_items(scores: Tensor, k: int) -> Tensor:
    """Ids [B, k] of the best items, from scores [B, N] without PAD."""
    return scores.topk(k, dim=1).indices + 1


def take_turns(
    batches: Batches,
    variants: Mapping[str, Sequence[Step]],
    n_cases: int,
    batch_size: int,
    settings: SpeedSettings,
) -> dict[tuple[str, str], Timing]:
    """Run every variant once a round, each round on the next cases; timings by (variant, stage).

    Args:
        batches: gives the cases' batches, which are not timed.
        variants: the stages of each, in the order they run.
        n_cases: cases there are.
        batch_size: cases a round.
        settings: repeats and warm-up.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for turn in range(settings.warmup + settings.repeats):
        batch = batches.batch((torch.arange(batch_size) + turn * batch_size) % n_cases)
        for variant, steps in variants.items():
            for stage, elapsed in _run(steps, batch).items():
                if turn >= settings.warmup:
                    seconds.setdefault((variant, stage), []).append(elapsed)
    return {key: Timing(np.array(values)) for key, values in seconds.items()}


def _run(steps: Sequence[Step], value: Any) -> dict[str, float]:
    """Seconds of each step and of all together, each step fed with the result of the one before."""
    start = now()
    ends = []
    for _, step in steps:
        value = step(value)
        ends.append(now())
    stages = [name for name, _ in steps]
    return dict(zip(stages, np.diff([start, *ends]).tolist(), strict=True)) | {TOTAL: ends[-1] - start}


def now() -> float:
    """Seconds on the monotonic clock, once a GPU that is in use has finished what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def using_threads(threads: int, of_torch: int | None = None) -> Iterator[None]:
    """Set the threads of torch and FAISS, and restore them; ``of_torch`` if torch is to have others than FAISS.

    Each has OpenMP threads of its own, which spin for a while after their work is done. On a machine with no more
    cores than threads, those of the one then keep those of the other from starting, for milliseconds: a single
    request, whose encoder gains nothing from a second thread, is best served with one thread of torch.
    """
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(of_torch or threads)
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])

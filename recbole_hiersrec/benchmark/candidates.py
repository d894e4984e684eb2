"""The candidate part of a job: builds the suite's rules for a trained model, and turns their ranks into rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import HierSRecError, InputError
from recbole_hiersrec.evaluation.metrics import mean_metrics
from recbole_hiersrec.evaluation.ranks import RankTable
from recbole_hiersrec.evaluation.scorer import Scorer, is_inner_product, score
from recbole_hiersrec.reading import parse
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.budget import candidate_label
from recbole_hiersrec.retrieval.exact import ExactSearch
from recbole_hiersrec.retrieval.needs import LISTED, check_needs
from recbole_hiersrec.retrieval.rules import RuleContext, build_rule, exact_lists
from recbole_hiersrec.scoring import item_category_of, training_counts, training_rows
from recbole_hiersrec.settings import CandidateSettings

EXACT = "exact"
"""Variant of the exact search, in accuracy and timing rows."""


@dataclass(frozen=True)
class Retrieval:
    """What a job searches with beside a look at all items.

    Attributes:
        rules: label, such as "cells@0.04" -> (rule, item fraction).
        seconds: rule -> seconds it took to build.
        exact: the exact search, if the suite asks for it.
    """

    rules: dict[str, tuple[CandidateRule, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    exact: ExactSearch | None = None


def build_retrieval(job: Job, scorer: Scorer, train: Any) -> Retrieval:
    """Build every rule of the job.

    Args:
        job: whose ``candidates`` say which.
        scorer: of the trained model.
        train: the training part, as RecBole built it.

    Raises:
        InputError: a rule needs what the model or its data has not.
    """
    if job.candidates is None:
        return Retrieval()
    settings = parse(CandidateSettings, job.candidates, "candidates")
    context = _context(job, settings, scorer, train)
    heads = _has_heads(scorer)
    found = Retrieval()
    for name in settings.rules:
        check_needs(
            job.name,
            name,
            inner_product=context.item_vectors is not None,
            categories=context.item_category is not None,
            heads=heads,
        )
    for name in settings.rules:
        began = time.perf_counter()
        rule = build_rule(name, context)
        found.seconds[name] = time.perf_counter() - began
        found.rules.update({candidate_label(name, share): (rule, share) for share in settings.item_fractions})
    if not settings.exact:
        return found
    if not is_inner_product(scorer):
        raise InputError(
            f"models: {job.name}: candidates: exact needs scores by inner products, which it has not"
        )
    began = time.perf_counter()
    vectors = scorer.item_vectors()
    blocks = part_widths(vectors.shape[1], job.settings.get("hidden_size"))
    exact = ExactSearch(exact_lists(context), vectors, blocks)
    return Retrieval(found.rules, found.seconds | {EXACT: time.perf_counter() - began}, exact)


def part_widths(width: int, hidden_size: int | None) -> tuple[int, ...]:
    """Blocks of an augmented vector of ``width``: the item's own part, each level's, and what is left, the bias.

    Args:
        width: A.
        hidden_size: D, of each part; None or above ``width``: one block.
    """
    if hidden_size is None or hidden_size > width:
        return (width,)
    rest = width % hidden_size
    return (hidden_size,) * (width // hidden_size) + ((rest,) if rest else ())


def candidate_rows(job: Job, ranks: RankTable, retrieval: Retrieval, n_items: int) -> list[dict[str, Any]]:
    """Rows of accuracy.csv for each rule and item fraction: metrics, and the shares of items scored and scanned."""
    rows = []
    for label, (rule, share) in retrieval.rules.items():
        some = {"variant": "candidates", "candidate_rule": rule.name, "item_fraction": share, "slice": "all"}
        rows += [
            some | {"metric": metric, "k": k, "value": value, "n_cases": n}
            for metric, k, value, n in mean_metrics(ranks.by_rule[label], job.metrics, job.ks)
        ]
        work = {
            "ScoredFraction": ranks.scored[label] / n_items,
            "ScannedFraction": (ranks.scored[label] + ranks.compared[label]) / n_items,
        }
        rows += [
            some | {"metric": metric, "k": None, "value": float(values.mean()), "n_cases": len(values)}
            for metric, values in work.items()
        ]
    return rows


def scan_warnings(job: Job, ranks: RankTable, retrieval: Retrieval, n_items: int) -> list[str]:
    """A line for each rule with lists that scans more than item_fraction + compared_fraction at some item fraction.

    Nothing is said of ``super_lists: 0``, which asks for every comparison.
    """
    if job.candidates is None:
        return []
    settings = parse(CandidateSettings, job.candidates, "candidates")
    if settings.super_lists == 0:
        return []
    target = settings.compared_fraction
    over: dict[str, list[str]] = {}
    for label, (rule, share) in retrieval.rules.items():
        scanned = float((ranks.scored[label] + ranks.compared[label]).mean()) / n_items
        if rule.name in LISTED and scanned > share + target + 1e-9:  # not for rounding
            over.setdefault(rule.name, []).append(f"{share:g}")
    return [
        f"rule {name}: ScannedFraction is above item_fraction + compared_fraction ({target:g}) at the item fractions "
        + ", ".join(shares)
        for name, shares in over.items()
    ]


@torch.no_grad()
def exact_scanned(exact: ExactSearch | None, scorer: Scorer, n_cases: int, k: int) -> np.ndarray:
    """Vectors that the exact search looks at, after its top k was found equal to that of all items.

    Returns:
        float32 [n_cases], an item that is looked at in part counts as that part; [0] without an exact search.

    Raises:
        HierSRecError: a case in which it found other scores than ranking all items does.
    """
    if exact is None or not is_inner_product(scorer):
        return np.empty(0, dtype=np.float32)
    scanned = []
    for index in torch.arange(n_cases).split(256):
        queries = scorer.queries(scorer.batch(index))
        _, found, work = exact.search(queries, k)
        scores = score(queries, scorer.item_vectors())[:, 1:].topk(k, dim=1).values.cpu().numpy()
        close = np.isclose(found, scores, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(scores).max())))
        if not close.all():
            case = int(index[int((~close).any(axis=1).argmax())])
            raise HierSRecError(f"exact search: the top {k} of case {case} differ from those of all items")
        scanned.append(work.astype(np.float32))
    return np.concatenate(scanned)


def exact_rows(scanned: np.ndarray, n_items: int) -> list[dict[str, Any]]:
    """The exact search's scanned fraction over all cases, from :func:`exact_scanned`."""
    if not len(scanned):
        return []
    row: Mapping[str, Any] = {"variant": EXACT, "candidate_rule": "", "item_fraction": None, "slice": "all"}
    mean = float((scanned.astype(np.float64) / n_items).mean())
    return [dict(row) | {"metric": "ScannedFraction", "k": None, "value": mean, "n_cases": len(scanned)}]


def _context(job: Job, settings: CandidateSettings, scorer: Scorer, train: Any) -> RuleContext:
    return RuleContext(
        n_items=scorer.n_items,
        item_counts=training_counts(train),
        training=training_rows(train),
        item_vectors=scorer.item_vectors() if is_inner_product(scorer) else None,
        item_category=item_category_of(train),
        seed=job.seed,
        list_size=settings.list_size,
        super_lists=settings.super_lists,
        compared_fraction=settings.compared_fraction,
        mixed_share=settings.mixed_share,
    )


@torch.no_grad()
def _has_heads(scorer: Scorer) -> bool:
    """Whether the scorer's queries hold category logits."""
    return is_inner_product(scorer) and bool(scorer.queries(scorer.batch(torch.arange(1))).category_logits)

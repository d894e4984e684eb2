"""From ranks back to the figures of a record: each mean over the test cases, by the place where a record has it.

Figures follow to the last digits (:data:`RELATIVE`), also from the ranks that a publication keeps: they are told apart
up to the largest k.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

import numpy as np

from recbole_hiersrec.benchmark.rankfiles import (
    HITS,
    MAJORITY,
    SCANNED_EXACT,
    Ranks,
    candidate_keys,
    counted,
    recommended,
)
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation import slices
from recbole_hiersrec.evaluation.beyond_accuracy import MEASURES
from recbole_hiersrec.evaluation.metrics import METRICS, mean_metrics
from recbole_hiersrec.retrieval.budget import candidate_label

RELATIVE = 1e-9  # sums and logarithms differ by less between processors and versions of numpy


@dataclass(frozen=True)
class Place:
    """Which figure of a job; the fields are columns of accuracy.csv."""

    variant: str
    candidate_rule: str
    item_fraction: float | None
    slice: str
    metric: str
    k: int | None

    def __str__(self) -> str:
        items = self.variant
        if self.item_fraction is not None:
            items = candidate_label(self.candidate_rule, self.item_fraction)
        part = "" if self.slice == "all" else f", {self.slice}"
        return f"{items}{part}, {self.metric}{'' if self.k is None else f'@{self.k}'}"


@dataclass(frozen=True)
class Figure:
    """One mean over test cases."""

    value: float
    n_cases: int

    def same(self, other: Figure) -> bool:
        """Whether both are of as many cases, and equal up to rounding."""
        close = isclose(self.value, other.value, rel_tol=RELATIVE, abs_tol=1e-12)
        return close and self.n_cases == other.n_cases

    def __str__(self) -> str:
        return f"{self.value:.10g} of {self.n_cases} cases"


def figures(rows: Iterable[Mapping[str, Any]], where: str) -> list[tuple[Place, Figure]]:
    """Rows of a record's section "accuracy" as places and figures.

    Args:
        rows: the section.
        where: what an error names.

    Raises:
        InputError: a row lacks a field, or has something else than a number in it.
    """
    fields = ("variant", "candidate_rule", "item_fraction", "slice", "metric", "k")
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            place = Place(*(row[name] for name in fields))
            found.append((place, Figure(float(row["value"]), int(row["n_cases"]))))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: row {number} of its accuracy is damaged: {error!r}") from None
    return found


def recomputed(record: Mapping[str, Any], ranks: Ranks) -> dict[Place, Figure]:
    """All figures that follow from a job's ranks.

    Args:
        record: of the job; what it says of accuracy is not used.
        ranks: of the job, see :mod:`recbole_hiersrec.benchmark.rankfiles`.

    Raises:
        InputError: the record asks for a metric that does not exist.
    """
    n_items, job = record["data"]["n_items"], record["job"]
    found: dict[Place, Figure] = {}

    def add_metrics(ranked: np.ndarray, variant: str, rule: str, share: float | None, part: str) -> None:
        for metric, k, value, n in mean_metrics(ranked, job["metrics"], job["ks"]):
            found[Place(variant, rule, share, part, metric, k)] = Figure(value, n)

    for name, array in ranks.items():
        if name == "all" or name.startswith("history "):
            add_metrics(array, "all items", "", None, name)
        for kind, metric in ((HITS, "CategoryAccuracy"), (MAJORITY, "MajorityCategory")):
            if name.startswith(f"{kind}, "):
                level = name.removeprefix(f"{kind}, ")
                found[Place("all items", "", None, level, metric, 1)] = _mean(array)
    for rule, share in _candidates(record, ranks):
        label = candidate_label(rule, share)
        add_metrics(ranks[label], "candidates", rule, share, "all")
        if f"scored {label}" in ranks and f"compared {label}" in ranks:
            scored, compared = (_mean(ranks[f"{kind} {label}"], n_items) for kind in ("scored", "compared"))
            scanned = Figure(scored.value + compared.value, scored.n_cases)
            for metric, figure in (("ScoredFraction", scored), ("ScannedFraction", scanned)):
                found[Place("candidates", rule, share, "all", metric, None)] = figure
    for k in job["ks"]:
        if lists := recommended(k, ranks):
            alone, together, training = lists
            for measure, of in MEASURES.items():
                value = of(together if measure == "Novelty" else alone, training)
                found[Place("all items", "", None, "all", measure, k)] = Figure(value, len(ranks["all"]))
    metric, _ = headline(job["metrics"], job["ks"])
    for slicing in _slicings(record, ranks):
        for k in job["ks"]:
            for name, value, n in slicing.means(METRICS[metric](ranks["all"], k)):
                found[Place("all items", "", None, name, metric, k)] = Figure(value, n)
    if SCANNED_EXACT in ranks:
        found[Place("exact", "", None, "all", "ScannedFraction", None)] = _mean(ranks[SCANNED_EXACT], n_items)
    return found


def _candidates(record: Mapping[str, Any], ranks: Ranks) -> list[tuple[str, float]]:
    """(rule, item fraction) of all candidate ranks, also of those that the record says nothing of."""
    recorded = candidate_keys(record)
    labels = {candidate_label(*key) for key in recorded}
    others = [name for name in ranks if "@" in name and " " not in name and name not in labels]
    return recorded + [(rule, float(share)) for rule, _, share in (name.rpartition("@") for name in others)]


def _slicings(record: Mapping[str, Any], ranks: Ranks) -> list[slices.Slicing]:
    """Every way in which the record slices its cases; none in records of versions before slices."""
    about = record["data"].get("slices")
    if about is None or any(name not in ranks for name in ("length", "target popularity", "repeated")):
        return []
    found = [
        slices.by_length(ranks["length"]),
        slices.by_popularity(ranks["target popularity"], slices.PopularityBorders(**about["popularity"])),
        slices.by_repeat(ranks["repeated"]),
    ]
    if about["category"]["level"] and "category" in ranks:
        found.append(slices.by_category(ranks["category"], about["category"]["names"]))
    return found


def _mean(numbers: np.ndarray, of: int = 1) -> Figure:
    """Mean of an array of numbers a case, or of (number, cases that have it), as a share ``of``."""
    value, cases = (numbers if numbers.ndim == 2 else counted(numbers)).T
    return Figure(float(value @ cases) / float(cases.sum()) / of, int(cases.sum()))

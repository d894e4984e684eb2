"""Records of one (data set, protocol) -> tables beyond overall accuracy: slices, lists, calibration.

Records of versions that did not measure them give no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.evaluation.beyond_accuracy import MEASURES
from recbole_hiersrec.evaluation.slices import (
    CATEGORY,
    LENGTH,
    LENGTHS,
    POPULARITIES,
    REPEATED,
    REPEATS,
    TARGET,
)
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.report.table import Table
from recbole_hiersrec.report.tables import Entry, accuracy_value, marks, number, percent

TITLES = {
    LENGTH: "items before the target",
    TARGET: "the target's popularity in training",
    REPEATED: "whether the target is in the history that the model is shown",
    CATEGORY: "the target's category",
}
FIXED = {LENGTH: tuple(name for _, name in LENGTHS), TARGET: POPULARITIES, REPEATED: REPEATS}
DIGITS = {"Novelty": 2}


def slices(lines: Sequence[Entry], kind: str) -> Table:
    """The headline metric of every ranked model in every slice of a kind; no row where all cases are of one slice."""
    ranked = [line for line in lines if line.ranked]
    cases = slice_cases(ranked, kind)
    if len(cases) < 2:
        return Table("", (), ())
    job = ranked[0].records[0]["job"]
    metric, k = headline(job["metrics"], job["ks"])
    rows = []
    for name, n_cases in cases.items():
        means = (slice_mean(line, kind, name) for line in ranked)
        rows.append([name, str(n_cases), *("-" if value is None else f"{value:.4f}" for value in means)])
    headers = ["slice", "cases", *(line.short for line in ranked)]
    return Table(f"{metric}@{k} by {_title(kind, ranked)}", headers, rows, across=2)


def slice_mean(line: Entry, kind: str, name: str) -> float | None:
    """The headline metric in one slice, mean over the seeds."""
    job = line.records[0]["job"]
    metric, k = headline(job["metrics"], job["ks"])
    return line.mean(partial(accuracy_value, metric=metric, k=k, part=f"{kind}: {name}"))


def slice_cases(lines: Sequence[Entry], kind: str) -> dict[str, int]:
    """Slices of a kind that have cases, in the order in which they are shown, and how many cases."""
    found: dict[str, int] = {}
    for line in lines:
        for row in line.records[0]["accuracy"]:
            of, _, name = row["slice"].partition(": ")
            if of == kind:
                found.setdefault(name, row["n_cases"])
    return {name: found[name] for name in FIXED.get(kind, found) if name in found}


def lists(lines: Sequence[Entry]) -> Table:
    """Coverage, Gini coefficient and novelty of what the models recommend."""
    shown = [line for line in lines if _list_columns(line.records[0])]
    columns = _list_columns(shown[0].records[0]) if shown else []
    rows = []
    for line in shown:
        of_line = [
            (metric, line.values(partial(accuracy_value, metric=metric, k=k))) for metric, k in columns
        ]
        rows.append([line.label, *(number(values, DIGITS.get(metric, 4)) for metric, values in of_line)])
    headers = ["model", *(f"{metric}@{k}" for metric, k in columns)]
    return Table("Recommended lists", headers, rows, marks(shown))


def calibrations(lines: Sequence[Entry]) -> Table:
    """How far predicted probabilities of categories are from how often they are right."""
    shown = [line for line in lines if levels(line)]
    rows = []
    for line in shown:
        for level in levels(line):
            found = [section for record in line.records if (section := calibration(record, level))]
            confidence, right, _ = zip(*(_pooled(section["bins"]) for section in found), strict=True)
            errors = [section["error"] for section in found]
            rows.append([line.label, level, percent(confidence), percent(right), number(errors, 4)])
    headers = ["model", "level", "mean confidence", "right", "expected calibration error"]
    return Table("Calibration of category probabilities", headers, rows, marks(shown), lower=headers[-1:])


def levels(line: Entry) -> list[str]:
    """Levels whose calibration the first record holds."""
    return [section["level"] for section in line.records[0].get("calibration", ())]


def calibration(record: Record, level: str) -> dict[str, Any] | None:
    """The record's calibration on one level."""
    return next((one for one in record.get("calibration", ()) if one["level"] == level), None)


def pooled_bins(line: Entry, level: str) -> list[tuple[float, float, int]]:
    """(mean confidence, share that is right, cases) of each bin that has cases, those of all seeds together."""
    by_bin: dict[int, list[Mapping[str, Any]]] = {}
    for record in line.records:
        section = calibration(record, level)
        for one in section["bins"] if section else ():
            by_bin.setdefault(one["bin"], []).append(one)
    return [_pooled(by_bin[place]) for place in sorted(by_bin)]


def _pooled(bins: Sequence[Mapping[str, Any]]) -> tuple[float, float, int]:
    """Mean confidence, share that is right, and cases of some bins together."""
    cases = sum(one["count"] for one in bins)
    confidence, accuracy = (
        sum(one[what] * one["count"] for one in bins) / cases for what in ("confidence", "accuracy")
    )
    return confidence, accuracy, cases


def _list_columns(record: Record) -> list[tuple[str, int]]:
    found = {(row["metric"], row["k"]) for row in record["accuracy"] if row["metric"] in MEASURES}
    return sorted(found, key=lambda column: (list(MEASURES).index(column[0]), column[1]))


def _title(kind: str, lines: Sequence[Entry]) -> str:
    if kind != CATEGORY:
        return TITLES[kind]
    found = (line.records[0]["data"].get("slices") for line in lines)
    level = next((slices["category"]["level"] for slices in found if slices), "")
    return f"{TITLES[kind]} ({level})" if level else TITLES[kind]

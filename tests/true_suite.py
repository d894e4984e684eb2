"""A finished suite whose records say what its ranks say, computed case by case in plain loops."""

from __future__ import annotations

import json
from math import inf, log2
from pathlib import Path
from typing import Any

import numpy as np
from fake_suite import make_records

from recbole_hiersrec.arrays import write_arrays
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.report.comparison import compare, comparison_frame
from recbole_hiersrec.report.frame import accuracy_frame, to_csv

N_CASES, N_ITEMS = 40, 30
SCANNED = [4.5, 6.25, 9.0]  # vectors that the exact search looks at, in turns


def finish(folder: Path, data: Path, **changes: Any) -> list[dict[str, Any]]:
    """Jobs, records, ranks and models of :func:`fake_suite.make_suite` in ``folder``, and its tables.

    What a job finds follows from its model and seed alone, as if every machine computed alike.
    """
    jobs, records = make_records(data, **changes)
    for record in records:
        path = folder / "jobs" / record["key"]
        (path / "model").mkdir(parents=True)
        (path / "model" / "weights").write_text("weights")
        put(folder, record, true_ranks(record))
    (folder / "jobs.json").write_text(json.dumps([job.to_dict() for job in jobs]))
    rewrite(folder)
    return records


def rewrite(folder: Path) -> None:
    """Accuracy and comparisons of what the folder holds now, as the report has them."""
    records = [load_record(JobStore(folder), job) for job in load_jobs(folder)]
    (folder / "accuracy.csv").write_text(to_csv(accuracy_frame(records)))
    (folder / "comparisons.csv").write_text(to_csv(comparison_frame(compare(folder, records).values())))


def put(folder: Path, record: dict[str, Any], ranks: dict[str, list[Any]]) -> None:
    """A record with the figures of ``ranks``, and those ranks."""
    record["accuracy"] = true_rows(record, ranks)
    arrays = {name: np.array(values) for name, values in ranks.items()}
    for name, values in ranks.items():
        if name.startswith(("scored", "compared", "scanned", "majority")):
            arrays[name] = np.array([[number, values.count(number)] for number in sorted(set(values))])
    write_arrays(folder / "jobs" / record["key"] / "ranks.npz", arrays)
    (folder / "jobs" / record["key"] / "record.json").write_text(json.dumps(record))


def true_ranks(record: dict[str, Any]) -> dict[str, list[Any]]:
    """Values a case, two cases a session: ranks, some between two, some beyond what a publication tells apart."""
    job = record["job"]
    random = np.random.default_rng([len(job["name"]), job["seed"]])

    def ranks() -> list[float]:
        return (np.ceil(2 * np.exp(random.uniform(0, 6, N_CASES))) / 2).tolist()

    found: dict[str, list[Any]] = {
        "target": [case % 7 + 1 for case in range(N_CASES)],
        "session": [case // 2 for case in range(N_CASES)],
        "all": ranks(),
        "history masked": ranks(),
    }
    if not job["candidates"]:
        return found
    for share in job["candidates"]["item_fractions"]:
        label = f"cells@{share:g}"
        found[label] = [inf if case % 9 == 0 else rank for case, rank in enumerate(ranks())]
        found[f"scored {label}"] = random.integers(1, 4, N_CASES).tolist()
        found[f"compared {label}"] = random.integers(2, 9, N_CASES).tolist()
    found["scanned exact"] = [SCANNED[case % 3] for case in range(N_CASES)]
    for level in ("level 1: class.first", "level 2: class"):
        found[f"category hit, {level}"] = (random.random(N_CASES) < 0.5).tolist()
        found[f"majority, {level}"] = (random.random(N_CASES) < 0.2).astype(int).tolist()
    return found


def true_rows(record: dict[str, Any], ranks: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The section "accuracy" of a record."""
    rows: list[dict[str, Any]] = []

    def add(values: list[float], metric: str, k: int | None, **where: Any) -> None:
        place = {"variant": "all items", "candidate_rule": "", "item_fraction": None, "slice": "all"} | where
        mean = sum(values) / len(values)
        rows.append(place | {"metric": metric, "k": k, "value": mean, "n_cases": len(values)})

    def add_metrics(found: list[float], **where: Any) -> None:
        gains = {"Recall": lambda r: 1.0, "MRR": lambda r: 1 / r, "NDCG": lambda r: 1 / log2(r + 1)}
        for metric in record["job"]["metrics"]:
            for k in record["job"]["ks"]:
                add([gains[metric](r) if r <= k else 0.0 for r in found], metric, k, **where)

    for name, values in ranks.items():
        kind, _, rest = name.partition(" ")
        if name == "all" or kind == "history":
            add_metrics(values, slice=name)
        elif name.startswith("cells@"):
            share = float(name.partition("@")[2])
            at = {"variant": "candidates", "candidate_rule": "cells", "item_fraction": share}
            scored, compared = ranks[f"scored {name}"], ranks[f"compared {name}"]
            add_metrics(values, **at)
            add([number / N_ITEMS for number in scored], "ScoredFraction", None, **at)
            both = [(a + b) / N_ITEMS for a, b in zip(scored, compared, strict=True)]
            add(both, "ScannedFraction", None, **at)
        elif name == "scanned exact":
            add([number / N_ITEMS for number in values], "ScannedFraction", None, variant="exact")
        elif kind == "category":
            add(values, "CategoryAccuracy", 1, slice=rest.removeprefix("hit, "))
        elif kind == "majority,":
            add(values, "MajorityCategory", 1, slice=rest)
    return rows

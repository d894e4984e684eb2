"""Whether a suite's tables are what its ranks say: every figure of accuracy.csv and comparisons.csv made anew.

Records, tables and ranks lie in one folder, runs/<suite> or results/<suite>. What a rank beyond every k is, no figure
tells, and so this does not either.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from math import isclose
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark.rankfiles import read_ranks
from recbole_hiersrec.benchmark.recompute import Figure, Place, figures, recomputed
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, labels
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.report.comparison import COLUMNS, EFFECTS, IDENTITY, compare, comparison_frame
from recbole_hiersrec.report.frame import ACCURACY_COLUMNS, Record, protocol_label, to_csv

RESAMPLED = 2e-8  # comparisons.csv is rounded to 8 digits, beyond which linear algebra libraries differ

Rows = list[dict[str, Any]]


@dataclass
class Verification:
    """What :func:`verify` found.

    Attributes:
        jobs: jobs whose figures were recomputed.
        figures: figures of accuracy.csv that were recomputed.
        comparisons: rows of comparisons.csv that were recomputed.
        differences: one line each, empty where everything agrees.
        not_in_ranks: metric and variant -> figures that do not follow from the ranks; record and table were compared.
        missing: jobs without a record.
        notes: what else a reader should know.
    """

    jobs: int = 0
    figures: int = 0
    comparisons: int = 0
    differences: list[str] = field(default_factory=list)
    not_in_ranks: Counter[str] = field(default_factory=Counter)
    missing: list[Job] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line: how much was checked, with what result, and what could not be."""
        differ, jobs = len(self.differences), f"{self.jobs} job{'s' if self.jobs != 1 else ''}"
        found = f"{differ or 'no'} difference{'s' if differ > 1 else ''}"
        texts = [
            f"{found}: {self.figures:,} figures of accuracy.csv and {self.comparisons:,} rows of comparisons.csv "
            f"recomputed from the ranks of {jobs}"
        ]
        if self.not_in_ranks:
            names = ", ".join(f"{name} {number:,}" for name, number in sorted(self.not_in_ranks.items()))
            texts.append(f"not in the ranks, so compared with the records alone: {names}")
        if self.missing:
            texts.append(f"without a record: {labels(self.missing)}")
        return "; ".join([*texts, *self.notes])


def verify(folder: Path) -> Verification:
    """Recompute all figures of a suite's folder, and compare them with its records and tables.

    Args:
        folder: runs/<suite> or results/<suite>; nothing in it is changed.

    Raises:
        InputError: the folder, its jobs.json or one of the tables is missing, or a record, ranks or a table
            cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: received neither a folder of runs nor of results")
    store, found, records = JobStore(folder), Verification(), []
    jobs, table, skipped = load_jobs(folder), _read_accuracy(folder / "accuracy.csv"), store.skipped()
    for job in jobs:
        if not (store.path(job.key) / "record.json").exists():
            found.missing += [] if job.key in skipped else [job]
            continue
        records.append(load_record(store, job))
        _check_job(folder, job, records[-1], table, found)
    for name in table:
        found.differences.append(f"accuracy.csv: {', '.join(name)}: there is no record of such a job")
    _check_comparisons(folder, records, found)
    return found


def _check_job(
    folder: Path, job: Job, record: Record, table: dict[tuple[str, ...], Rows], found: Verification
) -> None:
    """Compare a job's figures in its record and in the table, whose rows are taken out, with recomputed ones."""
    where = f"{job.label()} (job {job.key})"
    rows = table.pop((job.dataset, protocol_label(record), job.name, str(job.seed)), [])
    recorded = _by_place(record["accuracy"], f"{where}: record.json", found)
    shown = _by_place(rows, f"{where}: accuracy.csv", found)
    wanted = recomputed(record, read_ranks(folder, record))
    found.jobs += 1
    found.figures += len(wanted)
    for place in dict.fromkeys([*wanted, *recorded, *shown]):
        known = [recorded.get(place), shown.get(place)]
        if place in wanted:
            known.append(wanted[place])
        else:
            found.not_in_ranks[f"{place.metric} ({place.variant})"] += 1
        if not all(one and known[-1] and one.same(known[-1]) for one in known):
            names = ("record", "accuracy.csv", "recomputed")[: len(known)]
            texts = [f"{name} {one or 'nothing'}" for name, one in zip(names, known, strict=True)]
            found.differences.append(f"{where}: {place}: {', '.join(texts)}")
    if wrong := sorted({row["status"] for row in rows} - {record["status"]}):
        texts = [f"record {record['status']}", f"accuracy.csv {', '.join(wrong)}"]
        found.differences.append(f"{where}: status: {', '.join(texts)}")


def _by_place(rows: Sequence[Mapping[str, Any]], where: str, found: Verification) -> dict[Place, Figure]:
    """Figures by their place; one that is there twice is a difference."""
    known = figures(rows, where)
    times = Counter(place for place, _ in known)
    found.differences += [f"{where}: {place}: is there {n} times" for place, n in times.items() if n > 1]
    return dict(known)


def _read_accuracy(path: Path) -> dict[tuple[str, ...], Rows]:
    """Rows of accuracy.csv by data set, protocol, model and seed, with numbers where records have numbers."""
    found: dict[tuple[str, ...], Rows] = {}
    for number, row in enumerate(_read_table(path, [ACCURACY_COLUMNS])[1], start=2):
        try:
            share = float(row["item_fraction"]) if row["item_fraction"] else None
            k = int(row["k"]) if row["k"] else None
            typed = {
                "item_fraction": share,
                "k": k,
                "value": float(row["value"]),
                "n_cases": int(row["n_cases"]),
            }
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: line {number} is damaged: {error}") from None
        job = tuple(row[name] for name in ("dataset", "protocol", "model", "seed"))
        found.setdefault(job, []).append(row | typed)
    return found


def _check_comparisons(folder: Path, records: Sequence[Record], found: Verification) -> None:
    """Compare every cell of comparisons.csv with those that the ranks give."""
    path = folder / "comparisons.csv"
    older = tuple(name for name in COLUMNS if name not in EFFECTS)
    header, rows = _read_table(path, [COLUMNS, older])
    if header == older:
        found.notes.append("comparisons.csv is of a version without effect sizes")
    text = to_csv(comparison_frame(compare(folder, records).values()))
    wanted = {_identity(row): row for row in csv.DictReader(StringIO(text, newline=""))}
    found.comparisons = len(wanted)
    shown = Counter(map(_identity, rows))
    for identity in [*(one for one in wanted if one not in shown), *(one for one in shown if shown[one] > 1)]:
        found.differences.append(
            f"{_identity_text(identity)}: is there {shown[identity]} times, expected once"
        )
    for row in rows:
        identity = _identity(row)
        if identity not in wanted:
            found.differences.append(f"{_identity_text(identity)}: does not follow from the ranks")
            continue
        for name in header:
            if not _same_cell(row[name], wanted[identity][name]):
                cells = f"found {row[name] or 'nothing'}, recomputed {wanted[identity][name] or 'nothing'}"
                found.differences.append(f"{_identity_text(identity)}: {name}: {cells}")


def _identity(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in IDENTITY)


def _identity_text(identity: tuple[str, ...]) -> str:
    return f"comparisons.csv: {', '.join(part for part in identity if part)}"


def _same_cell(first: str, second: str) -> bool:
    """Whether two cells are the same text, or numbers that differ by no more than resampling does."""
    try:
        return isclose(float(first), float(second), rel_tol=0.0, abs_tol=RESAMPLED)
    except (ValueError, TypeError):
        return first == second


def _read_table(
    path: Path, allowed: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Columns, one of those ``allowed``, and rows of a CSV file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    header = tuple(reader.fieldnames or ())
    if header not in allowed:
        received = ", ".join(header) or "none"
        raise InputError(f"{path}: columns: received {received}, allowed: {', '.join(allowed[0])}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(
                f"{path}: line {number} is damaged: received another number of cells than {len(header)}"
            )
    return header, rows

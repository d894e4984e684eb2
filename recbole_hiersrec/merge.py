"""Put the finished jobs of several folders, of two machines, say, into one; what two of them hold must agree."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.atomic import alone_with, replace_folder, temporary_prefix, writable_folder, write_text
from recbole_hiersrec.benchmark.rankfiles import (
    SHARED,
    differing,
    publish_ranks,
    ranks_path,
    read_ranks,
)
from recbole_hiersrec.benchmark.recompute import figures
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, labels
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.records import as_text
from recbole_hiersrec.report.frame import table_groups
from recbole_hiersrec.report.page import write_report

PATIENCE = 60.0
NOT_COPIED = (".lock", ".tmp-*", ".old-*")


@dataclass(frozen=True)
class Merged:
    """What :func:`merge` did.

    Attributes:
        taken: folder -> finished jobs that are its own; a job of several folders counts for the first one.
        several: jobs that several folders have, with the same results.
        missing: jobs without a record anywhere.
    """

    taken: dict[Path, int]
    several: int
    missing: list[Job]

    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{number} of {folder}" for folder, number in self.taken.items())
        texts = [f"{sum(self.taken.values())} jobs: {counts}"]
        if self.several:
            texts.append(
                f"{self.several} in several folders with the same results, kept as in the first of them"
            )
        if self.missing:
            texts.append(f"without a record: {labels(self.missing)}")
        return "; ".join(texts)


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Unite the finished jobs of suites' folders in ``out``, and write its tables and report anew.

    Jobs stand in the order of the folders; where ``out`` is a suite's folder already, it is the first of them and keeps
    all that it holds. Of a job in several folders the first copy stays, with its machine, times and versions, and so
    do the first folder's names. All jobs of one table are compared with the reference that the first of them names.
    ``out`` is of the kind of the first folder that has a finished job: models and whole ranks, or a publication's
    records and ranks.

    Args:
        folders: runs/<suite> or results/<suite>, in any mixture; they stay as they are.
        out: a new or empty folder, or that of a suite.

    Raises:
        InputError: a folder is none of a suite, something in it is damaged, two copies of a job have other results
            (all of them are named), two jobs would share a line of a table, a job is under way in ``out``, or it
            cannot be written. Then nothing is written.
    """
    target = out.resolve()
    with ExitStack() as locks:
        if target.parent.is_dir():
            locks.enter_context(alone_with(target, "merge", PATIENCE))
        if (target / ".lock").exists():
            locks.enter_context(JobStore(target).open())
        inside = (target / "jobs.json").exists()
        if not inside and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{out}: received something else, allowed: a new or empty folder, or a suite's")
        if any((target / "jobs").glob(".tmp-*")):
            raise InputError(f"{out}: a job is under way here; let hiersrec bench come to its end first")
        named: dict[Path, Path] = {}
        for one in [*([out] if inside else []), *folders]:
            named.setdefault(one.resolve(), one)
        sources = list(named.values())
        jobs = _united({source: _jobs(source) for source in sources})
        origin, several = _origins(sources, jobs)
        if not origin:
            raise InputError(f"{', '.join(map(str, sources))}: no job has a record")
        records = [load_record(JobStore(origin[job.key]), job) for job in jobs if job.key in origin]
        table_groups(records)
        reasons: dict[str, str] = {}
        for source in sources:
            reasons = JobStore(source).skipped() | reasons
        skipped = [(job, reasons[job.key]) for job in jobs if job.key in reasons and job.key not in origin]
        missing = [job for job in jobs if job.key not in {*origin, *reasons}]
        first = next(one for one in sources if one in origin.values())
        published = not any((first / "jobs").glob("*/model"))
        with tempfile.TemporaryDirectory(
            prefix=temporary_prefix(target), dir=writable_folder(target.parent)
        ) as temporary:
            new = Path(temporary) / target.name
            if inside:
                shutil.copytree(target, new, ignore=shutil.ignore_patterns(*NOT_COPIED))
            for record in records:
                if origin[record["key"]] != out:
                    _take(origin[record["key"]], new, record, published)
            notes = json.dumps([job.to_dict() for job in jobs], indent=1)
            write_text(new / "jobs.json", notes + "\n")
            JobStore(new).write_skipped({job.key: reason for job, reason in skipped})
            write_report(new, records, missing, skipped)
            replace_folder(new, target)
    taken = {source: sum(one == source for one in origin.values()) for source in sources}
    return Merged(taken, several, missing)


def _jobs(folder: Path) -> list[Job]:
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: received neither a folder of runs nor of results")
    return load_jobs(folder)


def _united(jobs_of: dict[Path, list[Job]]) -> list[Job]:
    """Jobs of all folders, each key once, with one reference a table.

    Raises:
        InputError: two of them would be the same line of a table.
    """
    united: dict[str, tuple[Job, Path]] = {}
    references: dict[str, str] = {}
    lines: dict[str, str] = {}
    faults = []
    for folder, jobs in jobs_of.items():
        for job in jobs:
            table = json.dumps([job.dataset, job.protocol], sort_keys=True)
            reference = references.setdefault(table, job.reference)
            united.setdefault(job.key, (replace(job, reference=reference), folder))
            named = united[job.key][0]
            key = lines.setdefault(json.dumps([table, named.name, named.seed]), job.key)
            if key != job.key:
                faults.append(f"{job.label()} is job {key} in {united[key][1]} and job {job.key} in {folder}")
    if faults:
        raise InputError(
            f"{'; '.join(faults)}: other settings under the same name cannot stand in one table; give one of them "
            "another name"
        )
    return [job for job, _ in united.values()]


def _origins(sources: Sequence[Path], jobs: Iterable[Job]) -> tuple[dict[str, Path], int]:
    """(key -> first folder with a record, number of jobs that several have).

    Raises:
        InputError: copies of a job have other results; names all such jobs.
    """
    origin: dict[str, Path] = {}
    several, conflicts = 0, []
    for job in jobs:
        holders = [one for one in sources if (JobStore(one).path(job.key) / "record.json").exists()]
        copies = [_copy(holder, job.key) for holder in holders]
        if holders:
            origin[job.key] = holders[0]
            several += len(holders) > 1
        for holder, copy in zip(holders[1:], copies[1:], strict=True):
            if found := _disagreement(copies[0], copy):
                conflicts.append(f"{job.label()} (job {job.key}; {holders[0]} and {holder}): {found}")
    if conflicts:
        jobs_text = "1 job has" if len(conflicts) == 1 else f"{len(conflicts)} copies of jobs have"
        raise InputError(f"nothing was merged: {jobs_text} other results: {'; '.join(conflicts)}")
    return origin, several


def _copy(folder: Path, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(record, ranks) of a finished job, both whole."""
    record = JobStore(folder).load(key)
    figures(record["accuracy"], f"job {key} in {folder}")
    return record, dict(read_ranks(folder, record))


def _disagreement(
    first: tuple[dict[str, Any], dict[str, Any]], second: tuple[dict[str, Any], dict[str, Any]]
) -> str:
    """In what two copies of a job differ that a table shows, "" where in nothing.

    Only what both have counts: versions may note more figures. Times, machines and versions may differ.
    """
    (record, ranks), (other, other_ranks) = first, second
    texts = []
    if record["status"] != other["status"]:
        texts.append(f"status {record['status']} and {other['status']}")
    texts += [f"data.{name}" for name in ("universe", "cases") if record["data"][name] != other["data"][name]]
    known, others = (dict(figures(one["accuracy"], f"job {one['key']}")) for one in (record, other))
    wrong = [place for place in known if place in others and not known[place].same(others[place])]
    if wrong:
        more = f" and {len(wrong) - 1} other figures" if len(wrong) > 1 else ""
        texts.append(f"{wrong[0]} {known[wrong[0]]} and {others[wrong[0]]}{more}")
    if arrays := differing(ranks, other_ranks, record["job"]["ks"]):
        texts.append(f"ranks {', '.join(arrays)}")
    return ", ".join(texts)


def _take(source: Path, new: Path, record: dict[str, Any], published: bool) -> None:
    """Copy a finished job into the folder ``new``: whole, or as a publication has it."""
    store, target = JobStore(source), JobStore(new).path(record["key"])
    if target.exists():  # without a record
        shutil.rmtree(target)
    if published:
        target.mkdir(parents=True)
        write_text(target / "record.json", as_text(store.load(record["key"])))
        publish_ranks(source, new, record)
        return
    shutil.copytree(store.path(record["key"]), target)
    if SHARED in read_arrays(ranks_path(source, record["key"])):
        write_arrays(ranks_path(new, record["key"]), read_ranks(source, record))

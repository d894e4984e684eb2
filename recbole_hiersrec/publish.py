"""Copy what a suite produced to where it is kept for good: records, ranks, tables, report; no models."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from recbole_hiersrec.atomic import alone_with, replace_folder, temporary_prefix, writable_folder, write_text
from recbole_hiersrec.benchmark.rankfiles import publish_ranks
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import labels
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.records import as_text
from recbole_hiersrec.report.page import write_report

PATIENCE = 60.0
"""Seconds that a publication waits for another one of the same suite."""


def publish(name: str, runs_dir: Path, results_dir: Path, *, unfinished: bool = False) -> Path:
    """Publish suite ``name`` as ``results_dir/name``; an older one stays until the new one is complete.

    The tables are made anew from the records, so they cannot be older than the records beside them.

    Args:
        name: the suite's name.
        runs_dir: folder of all suites' folders.
        results_dir: folder of all publications.
        unfinished: publish what is done, though jobs are missing; the report names them.

    Returns:
        the publication's folder.

    Raises:
        InputError: the suite has not run, jobs are missing (with ``unfinished``: all of them, or some that an older
            publication has) or damaged, or a folder cannot be written.
    """
    source = runs_dir / name
    if not source.is_dir():
        raise InputError(f"no folder {source}: run hiersrec bench {name} first")
    store = JobStore(source)
    jobs, reasons = load_jobs(source), store.skipped()
    done = {job.key for job in jobs if store.is_done(job.key)}
    skipped = [(job, reasons[job.key]) for job in jobs if job.key in reasons and job.key not in done]
    missing = [job for job in jobs if job.key not in {*done, *reasons}]
    if missing and not (unfinished and done):
        raise InputError(
            f"{source}: {len(missing)} of {len(jobs)} jobs are not done ({labels(missing)}); run hiersrec bench first"
        )
    target = results_dir / name
    if lost := [job for job in missing if JobStore(target).has_record(job.key)]:
        raise InputError(
            f"{target}: has {len(lost)} jobs that {source} has not ({labels(lost)}) and would lose them; "
            f"join them instead: hiersrec results merge {target} {source} --out {target}"
        )
    writable_folder(results_dir)
    with (
        alone_with(target, "publication", PATIENCE),
        tempfile.TemporaryDirectory(prefix=temporary_prefix(target), dir=results_dir) as temporary,
    ):
        new = Path(temporary) / name
        new.mkdir()
        jobs = [job for job in jobs if job.key in done]
        for job in jobs:
            (new / "jobs" / job.key).mkdir(parents=True)
            record = store.load(job.key)
            write_text(new / "jobs" / job.key / "record.json", as_text(record))
            publish_ranks(source, new, record)
        shutil.copyfile(source / "jobs.json", new / "jobs.json")
        JobStore(new).write_skipped({job.key: reason for job, reason in skipped})
        write_report(new, [load_record(store, job) for job in jobs], missing, skipped)
        replace_folder(new, target)
    return target

"""`hiersrec report FOLDER`: what lies in runs/<suite> or results/<suite>, and its report made anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recbole_hiersrec.benchmark.rankfiles import ranks_path
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.report.comparison import Comparison, Group
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.report.page import DEFAULT, write_report


@dataclass(frozen=True)
class Suite:
    """A suite's folder.

    Attributes:
        folder: where it lies.
        records: of its finished jobs.
        missing: jobs that are neither finished nor skipped.
        skipped: jobs whose model cannot use the data, and why.
    """

    folder: Path
    records: list[Record]
    missing: list[Job]
    skipped: list[tuple[Job, str]]


def read_suite(folder: Path) -> Suite:
    """Read records and notes; nothing is changed.

    Raises:
        InputError: the folder is none of a suite, none of its jobs is finished, or something in it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: received neither a folder of runs nor of results")
    store, jobs = JobStore(folder), load_jobs(folder)
    reasons = store.skipped()
    done = [job for job in jobs if (store.path(job.key) / "record.json").exists()]
    if not done:
        raise InputError(f"{folder}: none of its {len(jobs)} jobs is finished; run hiersrec bench first")
    for job in done:
        if not ranks_path(folder, job.key).exists():
            raise InputError(
                f"{ranks_path(folder, job.key)} is missing, so {job.name} seed {job.seed} cannot be compared; "
                f"bring it back, or delete the folder {store.path(job.key)} to run this job again"
            )
    left = [job for job in jobs if job not in done]
    return Suite(
        folder,
        [load_record(store, job) for job in done],
        [job for job in left if job.key not in reasons],
        [(job, reasons[job.key]) for job in left if job.key in reasons],
    )


def make_report(
    folder: Path, out: Path | None = None, formats: Collection[str] = DEFAULT
) -> tuple[Suite, Mapping[Group, Comparison]]:
    """Write the report of a suite's folder anew, into it or into ``out``.

    Raises:
        InputError: as :func:`read_suite` and :func:`write_report` say; nothing is written then.
    """
    with ExitStack() as held:
        if out is None and (folder / ".lock").exists():  # hiersrec bench writes the same files
            held.enter_context(JobStore(folder).open())
        suite = read_suite(folder)
        return suite, write_report(
            folder, suite.records, suite.missing, suite.skipped, out=out, formats=formats
        )

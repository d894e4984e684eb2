"""What a run of a suite would do, and about how long it would take and how much memory it would need."""

from __future__ import annotations

import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark.runner import (
    describe_exit,
    done_elsewhere,
    environment_of,
    first_line,
    load_record,
    shared,
)
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, expand, reason_to_skip
from recbole_hiersrec.errors import InputError, SkippedError
from recbole_hiersrec.settings import SuiteSettings

PROBE = (sys.executable, "-m", "recbole_hiersrec.benchmark.probe")


@dataclass(frozen=True)
class Cost:
    """What one job takes.

    Attributes:
        seconds: of the whole job; where ``up_to``, of one that no patience ends.
        up_to: whether it is so, from a few measured steps; otherwise it is what another seed took.
        epoch: seconds of an epoch with its validation.
        peak_mib: most memory held.
    """

    seconds: float
    up_to: bool
    epoch: float
    peak_mib: float

    def text(self) -> str:
        """Such as "21 s an epoch, up to 12 min, 1.2 GiB"."""
        epoch = f"{duration(self.epoch)} an epoch, " if self.epoch else ""
        about = "up to" if self.up_to else "about"
        return f"{epoch}{about} {duration(self.seconds)}, {self.peak_mib / 1024:.1f} GiB"


def plan(
    suite: SuiteSettings,
    runs_dir: Path,
    *,
    workers: int = 1,
    elsewhere: Sequence[Path] = (),
    command: Sequence[str] = PROBE,
    echo: Callable[[str], None] = print,
) -> bool:
    """Say of every job of a suite whether it is done, and what it takes if not. Nothing is written.

    Each model is measured once a data set, in a process of its own, unless a record of another seed tells.

    Args:
        suite: what would run.
        runs_dir: folder of all suites' folders.
        workers: jobs at a time.
        elsewhere: folders of suites; what is done there would not run.
        command: measures a job; job.json and a folder are appended.
        echo: takes the lines for the terminal.

    Returns:
        whether every job that is left could be measured, and can run.

    Raises:
        InputError: the suite cannot run.
    """
    jobs = shared(expand(suite), workers)
    others = done_elsewhere(jobs, elsewhere)
    store = JobStore(runs_dir / suite.name)
    done, damaged = _results(store, jobs)
    costs: dict[str, Cost | SkippedError | str] = {}
    for job in done:
        record = load_record(store, job)
        if record["job"]["threads"] == job.threads:
            costs[_kind(job)] = _recorded(record)
    left: list[Cost] = []
    sound = True
    for number, job in enumerate(jobs, start=1):
        line, kind = f"[{number}/{len(jobs)}] {job.label()}", _kind(job)
        if job in done:
            echo(f"{line}: already done")
        elif job.key in damaged:
            sound = False
            echo(f"{line}: cannot run: {damaged[job.key]}")
        elif job.key in others:
            echo(f"{line}: done in {others[job.key]}")
        elif reason := reason_to_skip(job):
            echo(f"{line}: skipped: {reason}")
        else:
            if kind not in costs:
                costs[kind] = _measured(job, workers, command)
            cost = costs[kind]
            state = "under way" if store.is_under_way(job.key) else "to do"
            if isinstance(cost, Cost):
                left.append(cost)
                echo(f"{line}: {state}, {cost.text()}")
            elif isinstance(cost, SkippedError):
                echo(f"{line}: skipped: {cost}")
            else:
                sound = False
                echo(f"{line}: {state}, cannot be measured: {cost}")
    n_done = len({*others, *(job.key for job in done)})
    echo(f"{len(jobs)} jobs, {n_done} of them done{_total(left, workers)}")
    return sound


def _results(store: JobStore, jobs: Sequence[Job]) -> tuple[list[Job], dict[str, str]]:
    """Jobs that are done; and, by key, what is wrong with results that are damaged or of another version."""
    done, damaged = [], {}
    for job in jobs:
        try:
            done += [job] if store.is_done(job.key) else []
        except InputError as error:
            damaged[job.key] = str(error)
    return done, damaged


def _total(left: Sequence[Cost], workers: int) -> str:
    """What the jobs that are left take together."""
    if not left:
        return ""
    about = "up to" if any(cost.up_to for cost in left) else "about"
    ends = [0.0] * workers  # when each worker is free
    for cost in left:
        heapq.heapreplace(ends, ends[0] + cost.seconds)
    seconds = max(ends)
    memory = sum(sorted(cost.peak_mib for cost in left)[-workers:]) / 1024
    return (
        f"; {len(left)} to do: {about} {duration(seconds)} with {workers} at a time, "
        f"{memory:.1f} GiB of memory ({_memory_gib():.1f} are there)"
    )


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _kind(job: Job) -> str:
    """What jobs have in common that differ in the seed alone."""
    settings = [job.dataset, job.model, job.settings, job.candidates, job.limits, job.protocol, job.data_hash]
    return json.dumps(settings, sort_keys=True)


def _recorded(record: dict[str, Any]) -> Cost:
    training = record["training"]
    epochs = max(1, training["epochs"])
    epoch = training["seconds"] / epochs if training["epochs"] else 0.0
    seconds = record.get("seconds", training["seconds"])
    return Cost(seconds, False, epoch, record["peak_memory_mib"])


def _measured(job: Job, workers: int, command: Sequence[str]) -> Cost | SkippedError | str:
    """The cost of a job from a few steps of it; or that it is skipped; or why it cannot be measured, in one line."""
    with tempfile.TemporaryDirectory(prefix="hiersrec-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
        arguments = [*command, str(folder / "job.json"), name]
        began = time.monotonic()
        ended = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, env=environment_of(job, workers)
        )
        wall = time.monotonic() - began
        if ended.returncode != 0:
            if reason := first_line(folder / "skipped.txt"):
                return SkippedError(reason)
            return first_line(folder / "error.txt") or describe_exit(ended.returncode)
        found = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    epochs = job.limits["epochs"]
    if found["steps"]:
        epochs = min(epochs, job.limits["steps"] / found["steps"])
    training = min(found["pretraining"] + epochs * found["epoch"], job.limits["seconds"])
    start = wall - found["measured"]
    return Cost(start + training + found["test"], True, found["epoch"], found["peak_mib"])


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30

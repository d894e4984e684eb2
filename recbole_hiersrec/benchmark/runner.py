"""Run a suite: skip what is done, run the rest, each job in a fresh process, several of them at a time if asked.

A job's process gets two arguments, the path of job.json and the folder to write into. It writes
record.json, ranks.npz and model/ there and exits 0; or writes one line to error.txt, or to skipped.txt where the
model cannot use the data, and exits otherwise. What it keeps in state/ is there again when the job is started anew
after a kill.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_hiersrec.atomic import write_text
from recbole_hiersrec.benchmark.environment import code_hash
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, expand, headline, reason_to_skip
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.settings import SuiteSettings

COMMAND = (sys.executable, "-m", "recbole_hiersrec.benchmark.parent", "recbole_hiersrec.benchmark.job")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
"""glibc keeps freed memory instead of handing each large tensor back to the system: a fifth of a training step."""
SPINS = "2000"
"""How often a thread of OpenMP looks for work before it sleeps: libgomp's default makes a step with two threads 1.6
times as slow beside another busy process, and this one is as fast alone (docs/experiments.md)."""
GRACE_SECONDS = 5.0
POLL_SECONDS, WAIT_SECONDS = 0.05, 0.5  # until its own jobs, and those of other runners, are looked at again


@dataclass
class Outcome:
    """What :func:`run_suite` found and did; ``records`` has those of ``done`` and ``ran``.

    ``elsewhere`` are jobs that another folder has, with that folder.
    """

    store: JobStore
    jobs: list[Job]
    done: list[Job] = field(default_factory=list)
    ran: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, str]] = field(default_factory=list)
    skipped: list[tuple[Job, str]] = field(default_factory=list)
    elsewhere: list[tuple[Job, Path]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def run_suite(
    suite: SuiteSettings,
    runs_dir: Path,
    *,
    workers: int = 1,
    elsewhere: Sequence[Path] = (),
    command: Sequence[str] | None = None,
    echo: Callable[[str], None] = print,
) -> Outcome:
    """Bring every job of ``suite`` to an end, below ``runs_dir/<suite>``; other runners there share the work.

    Args:
        suite: what to run.
        runs_dir: folder of all suites' folders.
        workers: jobs at a time; the suite's threads are divided among them.
        elsewhere: folders of suites, runs/<suite> or results/<suite>; what is done there is not run.
        command: starts a job; job.json and a folder are appended. :data:`COMMAND` when absent.
        echo: takes the lines for the terminal.

    Returns:
        what was done before, what ran now, what failed, what was skipped because the model cannot use the data.

    Raises:
        InputError: the suite cannot run, or the folder cannot be written.
    """
    jobs = shared(expand(suite), workers)
    others = done_elsewhere(jobs, elsewhere)
    store = JobStore(runs_dir / suite.name)
    with store.open():
        store.tidy()
        write_text(store.folder / "jobs.json", json.dumps([job.to_dict() for job in jobs], indent=1) + "\n")
    work = _Work(store, jobs, workers, others, command or COMMAND, echo)
    try:
        outcome = work.outcome()
    finally:
        work.stop()
    with store.open():
        store.write_skipped({job.key: reason for job, reason in outcome.skipped})
    return outcome


def shared(jobs: Sequence[Job], workers: int) -> list[Job]:
    """The jobs, each with its share of the threads where several run at a time.

    Raises:
        InputError: ``workers`` is below 1.
    """
    if workers < 1:
        raise InputError(f"workers: received {workers}, allowed: whole numbers from 1")
    return [replace(job, threads=max(1, job.threads // workers)) for job in jobs]


def done_elsewhere(jobs: Sequence[Job], folders: Sequence[Path]) -> dict[str, Path]:
    """Key of each job that one of the folders has the result of, and the first such folder.

    Raises:
        InputError: there is no such folder, it is none of a suite, or a record in it is damaged.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        load_jobs(folder)
        store = JobStore(folder)
        for job in jobs:
            if job.key not in found and store.has_record(job.key):
                found[job.key] = folder
    return found


def load_jobs(folder: Path) -> list[Job]:
    """Jobs that :func:`run_suite` last noted in the suite's folder.

    Raises:
        InputError: there is no such note, or it is damaged.
    """
    path = folder / "jobs.json"
    try:
        jobs = json.loads(path.read_text(encoding="utf-8"))
        # Notes of versions without comparisons name no reference: it is the suite's first model, as by default.
        return [Job.from_dict({"reference": jobs[0]["name"]} | values) for values in jobs]
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run hiersrec bench first") from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); run hiersrec bench again") from None


def load_record(store: JobStore, job: Job) -> dict[str, Any]:
    """The job's record, under the names that the suite gives now: they are not part of the key."""
    record = store.load(job.key)
    named = {"name": job.name, "reference": job.reference, "tuned": job.tuned}
    return record | {"suite": job.suite, "job": record["job"] | named}


def describe_exit(status: int) -> str:
    """Why a process without a message of its own ended, from its exit status."""
    if status == errno.ENOSPC:
        return f"ended: {os.strerror(errno.ENOSPC)}"
    if status >= 0:
        return f"ended with exit status {status} and no message"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"killed by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")


@dataclass
class _Running:
    """A job under way in a process of its own."""

    number: int
    job: Job
    lock: int
    process: subprocess.Popen[bytes]
    start: float


class _Work:
    """The jobs of a suite, and where each of them stands. Jobs are known by their number in the suite, from 0.

    Args:
        store: where results lie.
        jobs: of the suite, in order.
        workers: jobs at a time.
        others: folders that have the results of jobs, by key.
        command: starts a job.
        echo: takes the lines for the terminal.
    """

    def __init__(
        self,
        store: JobStore,
        jobs: Sequence[Job],
        workers: int,
        others: Mapping[str, Path],
        command: Sequence[str],
        echo: Callable[[str], None],
    ) -> None:
        self.store, self.jobs, self.workers = store, jobs, workers
        self.others, self.command, self.echo = others, command, echo
        self.failures = [store.failure(job.key)[0] for job in jobs]  # of earlier runs: they are tried again
        self.running: list[_Running] = []
        self.done: set[int] = set()
        self.records: dict[int, dict[str, Any]] = {}
        self.failed: dict[int, str] = {}
        self.skipped: dict[int, str] = {}
        self.elsewhere: dict[int, Path] = {}

    def outcome(self) -> Outcome:
        """Bring all jobs to an end."""
        waiting = [number for number in range(len(self.jobs)) if not self._needs_no_start(number)]
        told: set[int] = set()  # jobs of which it was said that another runner works on them
        while waiting or self.running:
            pause = POLL_SECONDS
            for number in list(waiting):
                if len(self.running) == self.workers:
                    break
                if self._begin(number):
                    waiting.remove(number)
                    continue
                pause = WAIT_SECONDS
                if number not in told:
                    told.add(number)
                    self._say(number, ": another hiersrec bench works on it")
            for running in [one for one in self.running if one.process.poll() is not None]:
                self.running.remove(running)
                self._end(running)
            time.sleep(pause)
        order = sorted(self.records)
        return Outcome(
            self.store,
            list(self.jobs),
            done=[self.jobs[n] for n in order if n in self.done],
            ran=[self.jobs[n] for n in order if n not in self.done],
            failed=[(self.jobs[n], message) for n, message in sorted(self.failed.items())],
            skipped=[(self.jobs[n], reason) for n, reason in sorted(self.skipped.items())],
            elsewhere=[(self.jobs[n], folder) for n, folder in sorted(self.elsewhere.items())],
            records=[self.records[n] for n in order],
        )

    def stop(self) -> None:
        """End the jobs that are under way; what they go on from stays, and what they have just finished."""
        for running in self.running:
            _signal(running.process, signal.SIGTERM)
        for running in self.running:
            end_process(running.process)
            self.store.abandon(running.job.key, running.lock)

    def _needs_no_start(self, number: int) -> bool:
        try:
            if self.store.is_done(self.jobs[number].key):
                self._was_done(number)
                return True
        except InputError as error:
            # Damaged, or of another version: it stays as it is, and the other jobs run.
            self.failed[number] = str(error)
            self._say(number, f": failed: {error}")
            return True
        if folder := self.others.get(self.jobs[number].key):
            self.elsewhere[number] = folder
            self._say(number, f": done in {folder}")
            return True
        reason = reason_to_skip(self.jobs[number])
        if reason:
            self._skip(number, reason)
        return bool(reason)

    def _was_done(self, number: int) -> None:
        """Take note of a result that is there."""
        self.done.add(number)
        self.records[number] = load_record(self.store, self.jobs[number])
        other = self.records[number].get("code") != code_hash()
        hint = ", by other code (delete its folder to run it again)" if other else ""
        self._say(number, f": already done{hint}")

    def _begin(self, number: int) -> bool:
        """Start a job, or find that it needs no start; False while another runner works on it."""
        job, store = self.jobs[number], self.store
        try:
            lock = store.begin(job.key)
        except (InputError, OSError) as error:
            self._fail(number, str(error))
            return True
        if lock is None:
            return False
        # Another runner was here first, or one that did not live to take the result.
        if store.is_done(job.key):
            store.abandon(job.key, lock)
            self._was_done(number)
            return True
        mark, message = store.failure(job.key)
        if mark not in (None, self.failures[number]):
            store.abandon(job.key, lock)
            self._fail(number, message)
            return True
        try:
            process = self._start(job, lock)
        except (InputError, OSError) as error:
            self._give_up(number, lock, str(error))
            return True
        self.running.append(_Running(number, job, lock, process, time.monotonic()))
        self._say(number, " ...")
        return True

    def _start(self, job: Job, lock: int) -> subprocess.Popen[bytes]:
        """Start the job's process; its standard output goes to its log, its progress bar (stderr) on to ours.

        The process is its own group, so that Ctrl-C reaches the runner alone, which then ends the whole group;
        and it holds the read end of a pipe and the job's lock: see ``benchmark.parent``, ``JobStore``.
        """
        work = self.store.work(job.key)
        description = work / "job.json"
        write_text(description, json.dumps(job.to_dict(), indent=1) + "\n")
        with self.store.log(job.key).open("wb") as output:
            return subprocess.Popen(
                [*self.command, str(description), str(work)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if self.workers == 1 else output,  # two progress bars would overwrite each other
                env=environment_of(job, self.workers) | {"HIERSREC_RUNNER": str(os.getpid())},
                pass_fds=(lock,),
                start_new_session=True,
            )

    def _end(self, running: _Running) -> None:
        """Store what a job left, or why it left nothing."""
        number, job, lock = running.number, running.job, running.lock
        assert running.process.stdin is not None
        running.process.stdin.close()
        status = running.process.returncode
        if status != 0:
            work = self.store.work(job.key)
            reason = first_line(work / "skipped.txt")
            if reason:
                self.store.drop(job.key, lock)
                return self._skip(number, reason)
            return self._give_up(number, lock, first_line(work / "error.txt") or describe_exit(status))
        try:
            self.store.commit(job.key, lock)
        except (InputError, OSError) as error:
            return self._give_up(number, lock, str(error))
        record = load_record(self.store, job)
        self.records[number] = record
        stopped = ", stopped by the clock" if record["status"] != "ok" else ""
        seconds = time.monotonic() - running.start
        return self._say(number, f": done in {seconds:.0f} s{_headline_text(record)}{stopped}")

    def _give_up(self, number: int, lock: int, message: str) -> None:
        try:
            self.store.fail(self.jobs[number].key, lock, message)
        except (InputError, OSError) as error:  # a full disk: the other jobs go on
            message += f"; {error}"
        self._fail(number, message)

    def _skip(self, number: int, reason: str) -> None:
        self.skipped[number] = reason
        self._say(number, f": skipped: {reason}")

    def _fail(self, number: int, message: str) -> None:
        self.failed[number] = f"{message} (log: {self.store.log(self.jobs[number].key)})"
        self._say(number, f": failed: {message}")

    def _say(self, number: int, text: str) -> None:
        job = self.jobs[number]
        self.echo(f"[{number + 1}/{len(self.jobs)}] {job.dataset} {job.name} seed {job.seed}{text}")


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children: politely first, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    if process.stdin:
        process.stdin.close()


def environment_of(job: Job, workers: int) -> dict[str, str]:
    """Environment of a job's process: this one's, with fixed hashing, the job's threads, and memory that is kept."""
    fixed = dict.fromkeys(THREAD_VARIABLES, str(job.threads)) | ALLOCATOR | spinning()
    return os.environ | fixed | {"PYTHONHASHSEED": "0", "HIERSREC_WORKERS": str(workers)}


def spinning() -> dict[str, str]:
    """How threads wait for each other, as an environment; empty where the user said so."""
    return {} if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ) else {"GOMP_SPINCOUNT": SPINS}


def first_line(path: Path) -> str:
    """First line of a file that is not blank; empty where there is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in lines if line.strip()), "")


def _headline_text(record: Mapping[str, Any]) -> str:
    metric, k = headline(record["job"]["metrics"], record["job"]["ks"])
    for row in record["accuracy"]:
        if (row["variant"], row["slice"], row["metric"], row["k"]) == ("all items", "all", metric, k):
            return f", {metric}@{k} {row['value']:.4f}"
    return ""

"""Run a suite: skip what is done, run the rest one after the other, each in a fresh process.

A job's process gets two arguments, the path of job.json and the folder to write into. It writes
record.json, ranks.npz and model/ there and exits 0; or writes one line to error.txt, or to skipped.txt where the
model cannot use the data, and exits otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from recbole_hiersrec.atomic import write_text
from recbole_hiersrec.benchmark.environment import code_hash
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, expand, headline, reason_to_skip
from recbole_hiersrec.errors import HierSRecError, InputError, SkippedError
from recbole_hiersrec.settings import SuiteSettings

COMMAND = (sys.executable, "-m", "recbole_hiersrec.benchmark.job")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
"""glibc keeps freed memory instead of handing each large tensor back to the system: a fifth of a training step."""
SPINS = "2000"
"""How often a thread of OpenMP looks for work before it sleeps: libgomp's default makes a step with two threads 1.6
times as slow beside another busy process, and this one is as fast alone (docs/experiments.md)."""
GRACE_SECONDS = 5.0


class JobError(HierSRecError):
    """A job failed; the message is its one line."""


@dataclass
class Outcome:
    """What :func:`run_suite` found and did; ``records`` has those of ``done`` and ``ran``."""

    store: JobStore
    jobs: list[Job]
    done: list[Job] = field(default_factory=list)
    ran: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, str]] = field(default_factory=list)
    skipped: list[tuple[Job, str]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def run_suite(
    suite: SuiteSettings,
    runs_dir: Path,
    *,
    command: Sequence[str] | None = None,
    echo: Callable[[str], None] = print,
) -> Outcome:
    """Bring every job of ``suite`` to an end, below ``runs_dir/<suite>``.

    Args:
        suite: what to run.
        runs_dir: folder of all suites' folders.
        command: starts a job; job.json and a folder are appended. :data:`COMMAND` when absent.
        echo: takes the lines for the terminal.

    Returns:
        what was done before, what ran now, what failed, what was skipped because the model cannot use the data.

    Raises:
        InputError: the suite cannot run, the folder cannot be written, or it holds a damaged record.
    """
    jobs = expand(suite)
    outcome = Outcome(JobStore(runs_dir / suite.name), jobs)
    store = outcome.store
    with store.open() as lock:
        done = [store.is_done(job.key) for job in jobs]
        write_text(store.folder / "jobs.json", json.dumps([job.to_dict() for job in jobs], indent=1) + "\n")
        for number, (job, is_done) in enumerate(zip(jobs, done, strict=True), start=1):
            line = f"[{number}/{len(jobs)}] {job.dataset} {job.name} seed {job.seed}"
            _bring_to_end(job, is_done, outcome, command or COMMAND, lock, partial(_say, echo, line))
        store.write_skipped({job.key: reason for job, reason in outcome.skipped})
    return outcome


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
    named = {"name": job.name, "reference": job.reference}
    return record | {"suite": job.suite, "job": record["job"] | named}


def describe_exit(status: int) -> str:
    """Why a process without a message of its own ended, from its exit status."""
    if status >= 0:
        return f"ended with exit status {status} and no message"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"killed by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")


def _bring_to_end(
    job: Job, is_done: bool, outcome: Outcome, command: Sequence[str], lock: int, say: Callable[[str], None]
) -> None:
    if is_done:
        outcome.done.append(job)
        outcome.records.append(load_record(outcome.store, job))
        other = outcome.records[-1].get("code") != code_hash()
        return say(
            ": already done" + (", by other code (delete its folder to run it again)" if other else "")
        )
    reason = reason_to_skip(job)
    if reason:
        outcome.skipped.append((job, reason))
        return say(f": skipped: {reason}")
    say(" ...")
    start = time.monotonic()
    try:
        _run(job, outcome.store, command, lock)
    except SkippedError as error:
        outcome.skipped.append((job, str(error)))
        return say(f": skipped: {error}")
    except (JobError, InputError) as error:
        outcome.failed.append((job, f"{error} (log: {outcome.store.log(job.key)})"))
        return say(f": failed: {error}")
    record = load_record(outcome.store, job)
    outcome.ran.append(job)
    outcome.records.append(record)
    stopped = ", stopped by the clock" if record["status"] != "ok" else ""
    return say(f": done in {time.monotonic() - start:.0f} s{_headline_text(record)}{stopped}")


def _run(job: Job, store: JobStore, command: Sequence[str], lock: int) -> None:
    """Run one job and commit what it wrote; a job that fails leaves only its log."""
    temporary = store.begin(job.key)
    log = store.log(job.key)
    try:
        description = temporary / "job.json"
        write_text(description, json.dumps(job.to_dict(), indent=1) + "\n")
        status = _wait([*command, str(description), str(temporary)], log, _environment(job.threads), lock)
        if status != 0:
            reason = _line(temporary / "skipped.txt")
            if reason:
                log.unlink()
                raise SkippedError(reason)
            raise JobError(_line(temporary / "error.txt") or describe_exit(status))
        store.commit(temporary, job.key)
        log.unlink()
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _wait(command: list[str], log: Path, environment: Mapping[str, str], lock: int) -> int:
    """Run ``command`` to its end; its standard output goes to ``log``, its progress bar (stderr) on to ours.

    The process is its own group, so that Ctrl-C reaches the runner alone, which then ends the whole group;
    and it holds the read end of a pipe and the folder's lock: see ``benchmark.parent``, ``JobStore.open``.
    """
    # Once Polars is imported, Ctrl-C would not end the wait below: its handler has system calls begin anew.
    signal.siginterrupt(signal.SIGINT, True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            env=environment,
            pass_fds=(lock,),
            start_new_session=True,
        )
        try:
            return process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            if process.stdin:
                process.stdin.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children: politely first, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _environment(threads: int) -> dict[str, str]:
    """This process's environment, with fixed hashing, the suite's number of threads, and memory that is kept.

    How threads wait is left to the user who said so.
    """
    fixed = dict.fromkeys(THREAD_VARIABLES, str(threads)) | ALLOCATOR
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        fixed["GOMP_SPINCOUNT"] = SPINS
    return os.environ | fixed | {"PYTHONHASHSEED": "0", "HIERSREC_RUNNER": str(os.getpid())}


def _line(path: Path) -> str:
    """First line of a file that is not blank; empty where there is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in lines if line.strip()), "")


def _say(echo: Callable[[str], None], line: str, text: str) -> None:
    echo(line + text)


def _headline_text(record: Mapping[str, Any]) -> str:
    metric, k = headline(record["job"]["metrics"], record["job"]["ks"])
    for row in record["accuracy"]:
        if (row["variant"], row["slice"], row["metric"], row["k"]) == ("all items", "all", metric, k):
            return f", {metric}@{k} {row['value']:.4f}"
    return ""

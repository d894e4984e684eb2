"""Where results lie on disk: written under a temporary name, renamed when complete, never half there.

runs/<suite>/jobs.json              the suite's jobs, in order
runs/<suite>/skipped.json           key -> reason, of jobs whose model cannot use the data
runs/<suite>/jobs/<key>/            record.json, ranks.npz, model/, job.json: a finished job
runs/<suite>/jobs/<key>.log         what a failed job printed
runs/<suite>/jobs/<key>.error       the line of its failure
runs/<suite>/jobs/.tmp-<key>/       a job under way: its lock, the state of its training, and what it has written
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_hiersrec.arrays import read_arrays
from recbole_hiersrec.atomic import (
    locked,
    recover_folder,
    replace_folder,
    try_lock,
    writable_folder,
    write_text,
)
from recbole_hiersrec.benchmark.rankfiles import FILE
from recbole_hiersrec.errors import InputError

SCHEMA = 1
STATE, LOCK = "state", "lock"
SKIPPED = "skipped.json"
SECTIONS = {
    "status": str, "suite": str, "job": dict, "data": dict, "training": dict, "accuracy": list,
    "timing": list, "machine": dict, "versions": dict,
}  # fmt: skip


class JobStore:
    """Finished jobs below ``folder`` (runs/<suite>), one folder each, and those under way.

    Several runners may work on one folder: whoever starts a job holds its lock, and so does the job's process, so
    that a job which outlives its killed runner is not started a second time beside it.

    Args:
        folder: the suite's folder; only :meth:`open` creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"

    @contextmanager
    def open(self, patience: float = 60.0) -> Iterator[None]:
        """Hold the suite's own files (jobs.json, tables, report) for writing; for moments, as others wait for it.

        Args:
            patience: seconds to wait for another holder.

        Raises:
            InputError: the folder cannot be written, or another runner does not let go of it.
        """
        writable_folder(self.jobs)
        holder = f"{self.folder}: another hiersrec bench has been writing here for {patience:g} s"
        with locked(self.folder / ".lock", patience, holder):
            yield

    def tidy(self, keys: Collection[str]) -> None:
        """Remove what dead runners left, but for what the jobs ``keys`` go on from. Needs :meth:`open`."""
        for leftover in self.folder.glob(".tmp-*"):
            _remove(leftover)
        for work in self.jobs.glob(".tmp-*"):
            key = work.name.removeprefix(".tmp-")
            if work.is_file():
                work.unlink()
            elif key not in keys and (lock := self._lock(key)) is not None:
                shutil.rmtree(work)
                os.close(lock)
        for key in keys:
            if self.path(key).exists():
                self._strip(key)

    def path(self, key: str) -> Path:
        """Folder of the finished job ``key``."""
        return self.jobs / key

    def log(self, key: str) -> Path:
        """File that takes what the job ``key`` prints."""
        return self.jobs / f"{key}.log"

    def work(self, key: str) -> Path:
        """Folder that the job ``key`` writes into while it is under way."""
        return self.jobs / f".tmp-{key}"

    def begin(self, key: str) -> int | None:
        """Take the job ``key`` on: its work folder is there, with nothing in it but the state of an earlier attempt.

        Returns:
            the lock's file descriptor, for :meth:`commit`, :meth:`abandon` or :meth:`fail`, which let go of it; or
            None while another process works on the job.

        Raises:
            InputError: the folder cannot be written.
        """
        lock = self._lock(key)
        if lock is not None:
            recover_folder(self.path(key))
            for path in self.work(key).iterdir():
                if path.name not in (STATE, LOCK):
                    _remove(path)
        return lock

    def commit(self, key: str, lock: int) -> dict[str, Any]:
        """Make what lies in the work folder the result of job ``key``, in one step.

        Returns:
            the record.

        Raises:
            InputError: record or ranks are missing, damaged or of another job; nothing is stored then.
        """
        work = self.work(key)
        record = read_record(work, key)
        if not _has_ranks(work):
            raise InputError(f"{work / FILE} is missing")
        # Lock and state go along: without them a job that is not yet in its place could be begun, or begin anew.
        replace_folder(work, self.path(key))
        self._strip(key)
        os.close(lock)
        return record

    def abandon(self, key: str, lock: int) -> None:
        """Let go of a job that was stopped; the state of its training stays for the next attempt."""
        if not (self.work(key) / STATE).exists():
            shutil.rmtree(self.work(key))
        os.close(lock)

    def drop(self, key: str, lock: int) -> None:
        """Let go of a job that leaves nothing, not even its log."""
        shutil.rmtree(self.work(key))
        self.log(key).unlink()
        os.close(lock)

    def fail(self, key: str, lock: int, message: str) -> None:
        """Let go of a job that failed, and tell other runners why; its log stays."""
        try:
            with self.open():
                write_text(self.error(key), message + "\n")
        finally:
            shutil.rmtree(self.work(key))
            os.close(lock)

    def error(self, key: str) -> Path:
        """File with the line of a job's last failure."""
        return self.jobs / f"{key}.error"

    def failed_since(self, key: str, when: float) -> str:
        """The line of a failure after ``when``, in seconds since the epoch; "" if there was none."""
        path = self.error(key)
        try:
            return path.read_text(encoding="utf-8").strip() if path.stat().st_mtime >= when else ""
        except FileNotFoundError:
            return ""

    def is_under_way(self, key: str) -> bool:
        """Whether a process works on the job ``key`` now; changes nothing."""
        try:
            with (self.work(key) / LOCK).open() as file:
                return not try_lock(file.fileno())
        except FileNotFoundError:
            return False

    def _strip(self, key: str) -> None:
        """Remove what a finished job no longer needs; another runner may be doing the same."""
        shutil.rmtree(self.path(key) / STATE, ignore_errors=True)
        for path in (self.path(key) / LOCK, self.error(key), self.log(key)):
            path.unlink(missing_ok=True)

    def _lock(self, key: str) -> int | None:
        """Lock the job ``key``, making its work folder; None while another process holds it."""
        path = self.work(key) / LOCK
        while True:
            try:
                path.parent.mkdir(exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # its holder let go of it in between
                continue
            except OSError as error:
                raise InputError(f"{path}: cannot be written: {error.strerror}") from error
            if not try_lock(descriptor):
                os.close(descriptor)
                return None
            try:
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            except FileNotFoundError:
                pass
            os.close(descriptor)  # the file of a holder that let go of it in between

    def load(self, key: str) -> dict[str, Any]:
        """Record of the finished job ``key``.

        Raises:
            InputError: it is missing, truncated, or of another program, version or job.
        """
        return read_record(self.path(key), key)

    def write_skipped(self, reasons: Mapping[str, str]) -> None:
        """Note the jobs (by key) that were skipped, and why; without any there is no note."""
        path = self.folder / SKIPPED
        if reasons:
            write_text(path, json.dumps(dict(reasons), indent=1) + "\n")
        else:
            path.unlink(missing_ok=True)

    def skipped(self) -> dict[str, str]:
        """Key -> reason, as last noted; none where nothing was.

        Raises:
            InputError: the note is damaged.
        """
        path = self.folder / SKIPPED
        try:
            reasons = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); run hiersrec bench again") from None
        if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
            raise InputError(f"{path} is damaged (no reasons by key); run hiersrec bench again")
        return reasons

    def is_done(self, key: str) -> bool:
        """Whether job ``key`` has a sound record and its ranks.

        Raises:
            InputError: there is a record or a ranks file, and it is damaged or foreign.
        """
        if not (self.path(key) / "record.json").exists():
            return False
        self.load(key)
        return _has_ranks(self.path(key)) and (self.path(key) / "model").is_dir()


def read_record(folder: Path, key: str) -> dict[str, Any]:
    """Read ``folder/record.json`` and check that it is a whole record of job ``key``."""
    path = folder / "record.json"
    remedy = f"; delete the folder {folder} to run this job again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is truncated or not a record ({error}){remedy}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        received = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{path}: record schema {received!r}, this version reads {SCHEMA}{remedy}")
    if record.get("key") != key:
        raise InputError(f"{path}: is the record of job {record.get('key')!r}, expected {key!r}{remedy}")
    for section, kind in SECTIONS.items():
        if not isinstance(record.get(section), kind):
            raise InputError(f"{path}: section '{section}' is missing or not a {kind.__name__}{remedy}")
    return record


def _has_ranks(folder: Path) -> bool:
    path = folder / FILE
    if not path.exists():
        return False
    try:
        read_arrays(path)
    except InputError as error:
        raise InputError(f"{error}; delete the folder {folder} to run this job again") from None
    return True


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from recbole_hiersrec.arrays import read_arrays
from recbole_hiersrec.atomic import (
    locked,
    recover_folder,
    sync_tree,
    try_lock,
    writable_folder,
    write_text,
)
from recbole_hiersrec.benchmark.rankfiles import FILE
from recbole_hiersrec.benchmark.shape import misshapen
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.records import read_text

SCHEMA = 1
STATE, LOCK, MODEL = "state", "lock", "model"
SKIPPED = "skipped.json"


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
    def open(self, patience: float = 600.0) -> Iterator[None]:
        """Hold the suite's own files (jobs.json, tables, report) for writing.

        Args:
            patience: seconds to wait for another holder.

        Raises:
            InputError: the folder cannot be written, or another runner does not let go of it.
        """
        recover_folder(self.folder)  # of a merge that was killed between its two renames
        writable_folder(self.jobs)
        holder = f"{self.folder}: another hiersrec bench has been writing here for {patience:g} s"
        with locked(self.folder / ".lock", patience, holder):
            yield

    def tidy(self) -> None:
        """Remove what dead runners left, but for what jobs go on from and what is finished. Needs :meth:`open`."""
        for leftover in self.folder.glob(".tmp-*"):
            _remove(leftover)
        for gone in self.jobs.glob(".gone-*"):
            shutil.rmtree(gone, ignore_errors=True)  # another runner may be doing the same
        for work in self.jobs.glob(".tmp-*"):
            if work.is_file():
                work.unlink()
            elif not (work / STATE).exists() and not _is_whole(work):
                lock = self._lock(work.name.removeprefix(".tmp-"))
                if lock is not None:
                    self.abandon(work.name.removeprefix(".tmp-"), lock)
        for done in self.jobs.iterdir():
            if not done.name.startswith(".") and done.is_dir() and not self.work(done.name).exists():
                self._strip(done.name)

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

        A result that an earlier attempt finished, and nobody took, becomes the job's result now: see :meth:`is_done`.

        Returns:
            the lock's file descriptor, for :meth:`commit`, :meth:`abandon`, :meth:`drop` or :meth:`fail`, which let
            go of it; or None while another process works on the job.

        Raises:
            InputError: the folder cannot be written.
            OSError: the same, of what is in it.
        """
        lock = self._lock(key)
        if lock is None:
            return None
        try:
            recover_folder(self.path(key))
            if _is_whole(self.work(key)) and not self.is_done(key):
                self._place(key)
            else:
                _clear(self.work(key))
        except BaseException:
            os.close(lock)
            raise
        return lock

    def commit(self, key: str, lock: int) -> dict[str, Any]:
        """Make what lies in the work folder the result of job ``key``, in one step.

        Returns:
            the record.

        Raises:
            InputError: record, ranks or model are missing, damaged or of another job; nothing is stored then.
        """
        work = self.work(key)
        record = read_record(work, key)
        if not _has_ranks(work):
            raise InputError(f"{work / FILE} is missing")
        if not (work / MODEL).is_dir():
            raise InputError(f"{work / MODEL} is missing")
        self._place(key)
        os.close(lock)
        return record

    def abandon(self, key: str, lock: int) -> None:
        """Let go of a job: the state of its training stays for the next attempt, and so does a whole result that was
        not taken; whatever else it left does not."""
        work = self.work(key)
        try:
            here = _holds(lock, work / LOCK)  # otherwise the folder has become the result
            if here and not _is_whole(work):
                if (work / STATE).exists():
                    _clear(work)
                else:
                    self._discard(work)
        finally:
            os.close(lock)

    def drop(self, key: str, lock: int) -> None:
        """Let go of a job that leaves nothing, not even its log."""
        self.log(key).unlink(missing_ok=True)
        self.abandon(key, lock)

    def fail(self, key: str, lock: int, message: str) -> None:
        """Let go of a job that failed, and tell other runners why; its log stays, and the state of its training."""
        try:
            with self.open():
                write_text(self.error(key), message + "\n")
        finally:
            self.abandon(key, lock)

    def _place(self, key: str) -> None:
        """Rename the work folder to where results lie. Lock and state go along and are removed there: without them a
        job that is not yet in its place could be begun, or begin anew."""
        work, target = self.work(key), self.path(key)
        sync_tree(work)
        if target.exists():  # incomplete: it would not have been run again
            self._discard(target, work)
        else:
            os.rename(work, target)
        self._strip(key)

    def _discard(self, folder: Path, successor: Path | None = None) -> None:
        """Take a folder away in one step, since removing it takes several, and put another one in its place."""
        gone = self.jobs / f".gone-{uuid4().hex}"
        os.rename(folder, gone)
        if successor is not None:
            os.rename(successor, folder)
        shutil.rmtree(gone, ignore_errors=True)  # what stays is tidied up at the next start

    def error(self, key: str) -> Path:
        """File with the line of a job's last failure."""
        return self.jobs / f"{key}.error"

    def failure(self, key: str) -> tuple[tuple[int, int] | None, str]:
        """(what tells one failure of a job from another, its line); (None, "") where there is none."""
        path = self.error(key)
        try:
            found = path.stat()
            return (found.st_mtime_ns, found.st_ino), path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None, ""

    def is_under_way(self, key: str) -> bool:
        """Whether a process works on the job ``key`` now; changes nothing."""
        try:
            with (self.work(key) / LOCK).open("r+") as file:
                return not try_lock(file.fileno())
        except OSError:  # there is none, or it is not ours to lock
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
            except (FileNotFoundError, FileExistsError):  # the latter where mkdir finds it and then does not
                if not self.jobs.is_dir():
                    raise InputError(f"{self.jobs}: was removed while hiersrec bench ran") from None
                continue  # its holder let go of it in between
            except OSError as error:
                raise InputError(f"{path}: cannot be written: {error.strerror}") from error
            if not try_lock(descriptor):
                os.close(descriptor)
                return None
            if _holds(descriptor, path):
                return descriptor
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

    def has_record(self, key: str) -> bool:
        """Whether there is a sound record of job ``key``; a publication has no model beside it.

        Raises:
            InputError: there is a record, and it is damaged or foreign.
        """
        if not (self.path(key) / "record.json").exists():
            return False
        self.load(key)
        return True

    def is_done(self, key: str) -> bool:
        """Whether job ``key`` has a sound record and its ranks.

        Raises:
            InputError: there is a record or a ranks file, and it is damaged or foreign.
        """
        return self.has_record(key) and _has_ranks(self.path(key)) and (self.path(key) / MODEL).is_dir()


def read_record(folder: Path, key: str) -> dict[str, Any]:
    """Read ``folder/record.json`` and check that it is a whole record of job ``key``."""
    path = folder / "record.json"
    remedy = f"; delete the folder {folder} to run this job again"
    try:
        record = read_text(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is truncated or not a record ({error}){remedy}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        received = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{path}: record schema {received!r}, this version reads {SCHEMA}{remedy}")
    if record.get("key") != key:
        raise InputError(f"{path}: is the record of job {record.get('key')!r}, expected {key!r}{remedy}")
    if fault := misshapen(record):
        raise InputError(f"{path}: {fault}{remedy}")
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


def _is_whole(work: Path) -> bool:
    """Whether a job has written all that it leaves; the record is written last."""
    if not (work / "record.json").exists():
        return False
    try:
        read_record(work, work.name.removeprefix(".tmp-"))
        return _has_ranks(work) and (work / MODEL).is_dir()
    except InputError:
        return False


def _holds(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _clear(work: Path) -> None:
    """Remove all but the lock and the state of a training."""
    for path in work.iterdir():
        if path.name not in (STATE, LOCK):
            _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()

"""Where results lie on disk: written under a temporary name, renamed when complete, never half there.

runs/<suite>/jobs.json              the suite's jobs, in order
runs/<suite>/jobs/<key>/            record.json, ranks.npz, model/, job.json: a finished job
runs/<suite>/jobs/<key>.log         what a failed job printed
runs/<suite>/jobs/.tmp-<key>-.../   a job under way
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recbole_hiersrec.errors import InputError

SCHEMA = 1
SECTIONS = {
    "status": str, "suite": str, "job": dict, "data": dict, "training": dict, "accuracy": list,
    "timing": list, "machine": dict, "versions": dict,
}  # fmt: skip


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new one, also after a power cut."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` for text (UTF-8)."""
    write_bytes(path, text.encode())


def writable_folder(folder: Path) -> Path:
    """Make ``folder`` and prove with a file that it can be written.

    Raises:
        InputError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"folder {folder} cannot be written: {error.strerror}") from error
    return folder


def replace_folder(new: Path, target: Path) -> None:
    """Put the complete folder ``new`` in the place of ``target``; ``target`` may hold an older one.

    A folder cannot replace another in one step, so the older one is first moved to :func:`backup_of`;
    whoever dies between the two renames leaves it there for :func:`recover_folder`.
    """
    for path in sorted(new.rglob("*")):
        _sync(path)
    _sync(new)
    backup = backup_of(target)
    if target.exists():
        os.rename(target, backup)
    try:
        os.rename(new, target)
    except BaseException:
        if backup.exists():
            os.rename(backup, target)
        raise
    _sync_folder(target.parent)
    if backup.exists():
        shutil.rmtree(backup)


def recover_folder(target: Path) -> None:
    """Undo what a :func:`replace_folder` that was killed half way left behind."""
    backup = backup_of(target)
    if backup.exists() and not target.exists():
        os.rename(backup, target)
    elif backup.exists():
        shutil.rmtree(backup)


def backup_of(target: Path) -> Path:
    """Where :func:`replace_folder` keeps the older folder for a moment."""
    return target.with_name(f".old-{target.name}")


class JobStore:
    """Finished jobs below ``folder`` (runs/<suite>), one folder each, and those under way.

    Args:
        folder: the suite's folder; only :meth:`open` creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"

    @contextmanager
    def open(self, patience: float = 5.0) -> Iterator[int]:
        """Hold the folder for writing; yields the lock's file descriptor, which jobs inherit.

        A job that outlives its killed runner keeps the lock, so no second runner starts the same job
        beside it. Whoever gets the lock knows that every temporary folder is a dead one's, and removes it.

        Args:
            patience: seconds to wait for another holder.

        Raises:
            InputError: the folder cannot be written, or another runner holds it.
        """
        writable_folder(self.jobs)
        with (self.folder / ".lock").open("w") as lock:
            _lock(lock.fileno(), patience, self.folder)
            for leftover in (*self.jobs.glob(".tmp-*"), *self.folder.glob(".tmp-*")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            for backup in self.jobs.glob(".old-*"):
                recover_folder(self.jobs / backup.name.removeprefix(".old-"))
            yield lock.fileno()

    def path(self, key: str) -> Path:
        """Folder of the finished job ``key``."""
        return self.jobs / key

    def log(self, key: str) -> Path:
        """File that takes what the job ``key`` prints."""
        return self.jobs / f"{key}.log"

    def begin(self, key: str) -> Path:
        """Make the temporary folder that the job ``key`` writes into."""
        return Path(tempfile.mkdtemp(prefix=f".tmp-{key}-", dir=self.jobs))

    def commit(self, temporary: Path, key: str) -> dict[str, Any]:
        """Make what the job wrote into ``temporary`` the result of job ``key``, in one step.

        Returns:
            the record.

        Raises:
            InputError: record or ranks are missing, damaged or of another job; nothing is stored then.
        """
        record = read_record(temporary, key)
        if not _has_ranks(temporary):
            raise InputError(f"{temporary / 'ranks.npz'} is missing")
        temporary.chmod(0o755)  # mkdtemp makes folders that only their owner may read
        replace_folder(temporary, self.path(key))
        return record

    def load(self, key: str) -> dict[str, Any]:
        """Record of the finished job ``key``.

        Raises:
            InputError: it is missing, truncated, or of another program, version or job.
        """
        return read_record(self.path(key), key)

    def is_done(self, key: str) -> bool:
        """Whether job ``key`` has a sound record and its ranks.

        Raises:
            InputError: there is a record or a ranks file, and it is damaged or foreign.
        """
        if not (self.path(key) / "record.json").exists():
            return False
        self.load(key)
        return _has_ranks(self.path(key))


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
    path = folder / "ranks.npz"
    if not path.exists():
        return False
    if not zipfile.is_zipfile(path):  # looks for the directory at the end: a truncated file has none
        raise InputError(f"{path} is truncated; delete the folder {folder} to run this job again")
    return True


def _lock(descriptor: int, patience: float, folder: Path) -> None:
    give_up = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise InputError(
                    f"{folder}: another hiersrec bench is at work here; wait for it to end"
                ) from None
            time.sleep(0.05)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems refuse to sync a folder; the rename itself is done
        _sync(folder)

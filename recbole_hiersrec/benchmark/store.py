"""Where results lie on disk: written under a temporary name, renamed when complete, never half there.

runs/<suite>/jobs.json              the suite's jobs, in order
runs/<suite>/skipped.json           key -> reason, of jobs whose model cannot use the data
runs/<suite>/jobs/<key>/            record.json, ranks.npz, model/, job.json: a finished job
runs/<suite>/jobs/<key>.log         what a failed job printed
runs/<suite>/jobs/.tmp-<key>-.../   a job under way
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_hiersrec.arrays import read_arrays
from recbole_hiersrec.atomic import locked, recover_folder, replace_folder, writable_folder, write_text
from recbole_hiersrec.benchmark.rankfiles import FILE
from recbole_hiersrec.errors import InputError

SCHEMA = 1
SKIPPED = "skipped.json"
SECTIONS = {
    "status": str, "suite": str, "job": dict, "data": dict, "training": dict, "accuracy": list,
    "timing": list, "machine": dict, "versions": dict,
}  # fmt: skip


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
        holder = f"{self.folder}: another hiersrec bench is at work here; wait for it to end"
        with locked(self.folder / ".lock", patience, holder) as descriptor:
            for leftover in (*self.jobs.glob(".tmp-*"), *self.folder.glob(".tmp-*")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            for backup in self.jobs.glob(".old-*"):
                recover_folder(self.jobs / backup.name.removeprefix(".old-"))
            yield descriptor

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
            raise InputError(f"{temporary / FILE} is missing")
        temporary.chmod(0o755)  # mkdtemp makes folders that only their owner may read
        replace_folder(temporary, self.path(key))
        return record

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

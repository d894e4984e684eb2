"""Files and folders that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_hiersrec.errors import InputError


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


def replace_file(new: Path, target: Path) -> None:
    """Put the complete file ``new`` in the place of ``target``; both lie on one file system."""
    _sync(new)
    os.replace(new, target)
    _sync_folder(target.parent)


def free_for_files(paths: Iterable[Path]) -> None:
    """Ask before the first of several files is written.

    Raises:
        InputError: something that is no file stands where one would be written.
    """
    for path in paths:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file; a file of this name would be written")


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
    sync_tree(new)
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
        _remove(backup, f"{target} is complete and in place")


def sync_tree(folder: Path) -> None:
    """Have a folder's content written to the disk before it is renamed."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def recover_folder(target: Path) -> None:
    """Undo what a :func:`replace_folder` that was killed half way left behind."""
    backup = backup_of(target)
    if not backup.is_dir():  # a file of that name is somebody's
        return
    if not target.exists():
        os.rename(backup, target)
    else:
        _remove(backup, f"{target} is complete")


def _remove(backup: Path, state: str) -> None:
    try:
        shutil.rmtree(backup)
    except OSError as error:
        raise InputError(
            f"{state}, but the older one cannot be removed: {error.filename or backup}: {error.strerror}; "
            f"remove {backup} by hand"
        ) from error


@contextmanager
def locked(path: Path, patience: float, message: str) -> Iterator[int]:
    """Hold the lock file ``path``; yields its descriptor, which child processes may inherit to hold it too.

    Args:
        path: created where it is missing; it stays, unless the holder removes it.
        patience: seconds to wait for another holder.
        message: of the :class:`InputError` when the other one does not let go.

    Raises:
        InputError: another holder keeps it, or the file cannot be written.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            lock = path.open("w")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        with lock:
            if try_lock(lock.fileno()):
                if _is_at(lock.fileno(), path):
                    yield lock.fileno()
                    return
                continue  # its holder removed it; the next one may have made another
        if time.monotonic() > give_up:
            raise InputError(message)
        time.sleep(0.05)


@contextmanager
def alone_with(target: Path, what: str, patience: float) -> Iterator[None]:
    """Keep others like this from making ``target`` anew, and put right what one that was killed left.

    Args:
        target: a folder, or a file that is written in a temporary folder; may not exist; its parent does.
        what: is under way, for the message.
        patience: seconds to wait for another one.

    Raises:
        InputError: another one is at work, or the parent cannot be written.
    """
    beside = target.parent / f".lock-{target.name}"
    with locked(beside, patience, f"{target}: another {what} is at work here; wait for it to end"):
        try:
            recover_folder(target)
            for left in target.parent.glob(f"{glob.escape(temporary_prefix(target))}*"):
                shutil.rmtree(left)
            yield
        finally:
            beside.unlink(missing_ok=True)


def temporary_prefix(target: Path) -> str:
    """How the names of folders begin in which ``target``, and no other, is made anew; see :func:`alone_with`."""
    return f".tmp-{target.name}~"


def try_lock(descriptor: int) -> bool:
    """Lock an open file, for this process and those that inherit it, unless another one holds it."""
    import fcntl  # not on Windows, where the rest of this module works

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def backup_of(target: Path) -> Path:
    """Where :func:`replace_folder` keeps the older folder for a moment."""
    return target.with_name(f".old-{target.name}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems refuse to sync a folder; the rename itself is done
        _sync(folder)

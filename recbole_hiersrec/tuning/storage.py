"""Where studies lie: files and servers that Optuna stores them in, and the trials of workers that died."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial

from recbole_hiersrec.atomic import locked, writable_folder
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.tuning.task import slug

JOURNAL = "journal:"
HEARTBEAT, GRACE = 60, 180
"""Seconds between two signs of life of a trial, and after the last one until it counts as dead."""
BUSY = 120.0
"""Seconds that a worker waits for others to let go of a local storage."""
LOST = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)
FAULTS = (*LOST, ImportError, OSError, ValueError, RuntimeError)
"""Of a storage that went away, and of one that is opened."""


@dataclass(frozen=True)
class Place:
    """Where a study lies.

    Attributes:
        storage: an SQLAlchemy URL, or ``journal:PATH``.
        file: of a storage on this machine; None where it is a server.
        work: folder of the trials that are under way.
        lock: held while one of several workers on this machine takes a trial on.
    """

    storage: str
    file: Path | None
    work: Path
    lock: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock; waits for other holders.

        Raises:
            InputError: another one does not let go, or the folder cannot be written.
        """
        if not self.lock.parent.is_dir():
            writable_folder(self.lock.parent)
        with locked(self.lock, BUSY, f"{self.lock}: another hiersrec tune has held it for {BUSY:g} s"):
            yield


def place_of(study: str, storage: str | None, runs: Path) -> Place:
    """Where ``study`` lies: in ``storage``, or in ``runs/studies/STUDY.db`` when absent.

    Raises:
        InputError: the storage is no URL, or one that keeps nothing.
    """
    folder = runs / "studies"
    if storage is None:
        file: Path | None = folder / f"{slug(study)}.db"
        storage = f"sqlite:///{file}"
    elif storage.startswith(JOURNAL):
        file = Path(storage.removeprefix(JOURNAL))
    else:
        try:
            url = sqlalchemy.engine.make_url(storage)
        except sqlalchemy.exc.ArgumentError:
            raise InputError(
                f"--storage: received '{storage}'; allowed: an SQLAlchemy URL such as sqlite:///PATH, or journal:PATH"
            ) from None
        file = Path(url.database) if url.drivername.startswith("sqlite") and url.database else None
        if url.drivername.startswith("sqlite") and (file is None or url.database == ":memory:"):
            raise InputError(f"--storage: received '{storage}', which keeps nothing; allowed: sqlite:///PATH")
    beside = folder / slug(study) if file is None else file
    work = beside.with_name(f"{beside.name}.trials") / slug(study)
    return Place(storage, file, work, beside.with_name(f"{beside.name}.workers"))


def open_storage(
    place: Place, *, new: bool = True, heartbeat: int = HEARTBEAT, grace: int = GRACE
) -> BaseStorage:
    """Open a storage; a relational one notices workers that died, and has their trial retried once.

    Args:
        place: where it is.
        new: whether a local one may be created.
        heartbeat: seconds between signs of life.
        grace: seconds after the last one.

    Raises:
        InputError: it cannot be reached.
    """
    quiet()
    if not new and place.file is not None and not place.file.exists():
        there = sorted(path.stem for path in place.file.parent.glob("*.db"))
        raise InputError(
            f"no storage {place.file}{nearest(place.file.stem, there)} (there: {', '.join(there) or 'none'}); run "
            "hiersrec tune run first, or say with --storage where it is"
        )
    with reached(place):
        if place.storage.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(str(place.file)))
        waits = {"connect_args": {"timeout": BUSY}} if place.file is not None else {}
        return RDBStorage(
            place.storage,
            engine_kwargs=waits,
            heartbeat_interval=heartbeat,
            grace_period=grace,
            heartbeat_stale_trial_callback=retry,
        )


@contextmanager
def reached(place: Place, faults: tuple[type[Exception], ...] = FAULTS) -> Iterator[None]:
    """Say in one line that a storage cannot be reached, and why; without its password."""
    try:
        yield
    except faults as error:
        wrapped = isinstance(error, StorageInternalError | ImportError)
        cause = (error.__cause__ if wrapped else None) or error
        reason = str(getattr(cause, "orig", None) or cause).split("\n")[0]
        raise InputError(
            f"storage {shown(place)}: cannot be reached: {reason or type(cause).__name__}"
        ) from error


def shown(place: Place) -> str:
    """The storage without its password."""
    if place.storage.startswith(JOURNAL):
        return place.storage
    return sqlalchemy.engine.make_url(place.storage).render_as_string(hide_password=True)


def retry(study: Study, trial: FrozenTrial) -> None:
    """Queue the configuration of a trial whose worker died: once, and again where it had come further than before."""
    if before := retried(trial):
        earlier = study.get_trials(deepcopy=False)[before[-1]]
        if len(trial.intermediate_values) <= len(earlier.intermediate_values):
            return
    RetryHeartbeatStaleTrialCallback()(study, trial)


def retried(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials whose worker died and that this one goes on from, the first one first."""
    return list(trial.system_attrs.get("retry_history", ()))


def quiet() -> None:
    """Optuna logs a line a trial and warns of what is experimental; both are said in our words."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)

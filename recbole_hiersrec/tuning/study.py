"""Studies of Optuna: where they are stored, whose they are, and how the next trial is chosen and ended early."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from recbole_hiersrec.atomic import locked, writable_folder
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import short
from recbole_hiersrec.tuning.space import Choice, FloatRange, Parameter, Space
from recbole_hiersrec.tuning.task import Task, one_of, slug

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "hyperband", "none")
IDENTITY, WARM, SUITE, BEGUN = "hiersrec", "warm start", "suite", "begun"
"""Of studies: what they search, set once they are whole; queued ones; the suite; what trials they begin with."""
KEY, WORKER, SAME_AS, REFUSED, ERROR, FACTS = "key", "worker", "same_as", "refused", "error", "facts"
"""User attributes of trials: the job's key; host, sampler and pruner; whose value was taken over; why it was not run;
why it failed; what the training tells of itself."""
NOT_OURS = "was not made by hiersrec tune"
START = "fixed_params"
"""Optuna's own attribute of a trial whose settings were queued: the defaults are that of the first one."""
JOURNAL = "journal:"
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""Of the first and the second objective."""
HEARTBEAT, GRACE = 60, 180
"""Seconds between two signs of life of a trial, and after the last one until it counts as dead."""
BUSY, OPENING = 120.0, 20.0
"""Seconds that a worker waits for others to let go of a local storage; and for the next of the trials that another
machine gives a new study."""
WARM_TRIALS = 5
STARTUP, WARM_EPOCHS, LEAST_AT_EPOCH = 5, 5, 3
"""The median pruner waits for so many complete trials, leaves a trial's first epochs alone, and compares it at an epoch
that so many of those have reached: slow learners are no bad ones, and few trials train for long. Successive halving
leaves the first epochs alone too."""
REDUCTION = 3
"""One in so many trials goes on from a rung of successive halving and of Hyperband to the next."""
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


@dataclass(frozen=True)
class Export:
    """Trials that a new study begins with.

    Attributes:
        file: where they were read.
        digest: of what stands there.
        trials: from number 0 on.
        has_defaults: whether that of the defaults is among them.
    """

    file: Path
    digest: str
    trials: Sequence[FrozenTrial]
    has_defaults: bool

    def ended(self) -> list[FrozenTrial]:
        """Those that were run, and did not fail."""
        return [trial for trial in self.trials if trial.state != TrialState.FAIL]


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


def open_study(task: Task, place: Place, storage: BaseStorage, export: Export | None = None) -> Study:
    """The task's study, created where it is not there yet: with the trials of an export, and then the defaults unless
    they are among those. Needs the lock.

    Raises:
        InputError: the study of this name is of something else; the line names what differs.
    """
    with reached(place):
        study, new = _created(task, place, storage)
        if not new and place.file is None:
            _await(study)
    wanted = json.loads(json.dumps(task.identity()))
    found = study.user_attrs.get(IDENTITY)
    if found is None:
        _begin(study, task, place, export)
        study.set_user_attr(IDENTITY, wanted)
    elif different := difference(found, wanted):
        raise InputError(
            f"{shown(place)}: study '{task.study}' differs in {different}; choose another --study"
        )
    return study


def _begin(study: Study, task: Task, place: Place, export: Export | None) -> None:
    """Give a new study its first trials, or those that are missing where this was interrupted."""
    there, begun = study.get_trials(deepcopy=False), study.user_attrs.get(BEGUN)
    mark = [task.identity(), export.digest if export else ""]
    digest = hashlib.sha256(json.dumps(mark).encode()).hexdigest()[:16]
    if there and begun is None:
        raise InputError(f"{shown(place)}: study '{task.study}' {NOT_OURS}")
    if begun not in (None, digest):
        raise InputError(
            f"{shown(place)}: study '{task.study}' was only begun, with other options or another --elsewhere; say "
            "those, or choose another --study"
        )
    study.set_user_attr(BEGUN, digest)
    study.set_user_attr(SUITE, task.job.suite)
    first = list(export.trials) if export else []
    if export is None or not export.has_defaults:
        first.append(_queued(task))
    study.add_trials(first[len(there) :])


def _queued(task: Task) -> FrozenTrial:
    """The defaults, as :meth:`Study.enqueue_trial` has them."""
    return create_trial(state=TrialState.WAITING, system_attrs={START: encoded(task.space, task.start())})


def _created(task: Task, place: Place, storage: BaseStorage) -> tuple[Study, bool]:
    """The study, and whether it was created: of several machines at once, by one."""
    directions = DIRECTIONS[: len(task.objectives)]
    try:
        return optuna.create_study(study_name=task.study, storage=storage, directions=directions), True
    except DuplicatedStudyError:
        return optuna.load_study(study_name=task.study, storage=storage), False


def _await(study: Study) -> None:
    """Wait while another machine, whose lock is not ours, fills the study that it has created; until it is dead."""
    trials, changed = -1, time.monotonic()
    while IDENTITY not in study.user_attrs and time.monotonic() - changed < OPENING:
        now = len(study.get_trials(deepcopy=False))
        if now != trials:
            trials, changed = now, time.monotonic()
        time.sleep(0.1)


def load_study(name: str, place: Place) -> Study:
    """A study that is there.

    Raises:
        InputError: it is not there, or is none of ours.
    """
    storage = open_storage(place, new=False)
    with reached(place):
        names = optuna.get_all_study_names(storage)
        if name not in names:
            told = ", ".join(names) or "none"
            raise InputError(f"{shown(place)}: no study '{name}'{nearest(name, names)} (there: {told})")
        study = optuna.load_study(study_name=name, storage=storage)
    if IDENTITY not in study.user_attrs:
        cause = "is not whole: go on with hiersrec tune run" if BEGUN in study.user_attrs else NOT_OURS
        raise InputError(f"{shown(place)}: study '{name}' {cause}")
    return study


def is_there(name: str, place: Place) -> bool:
    """Whether the storage has a study of this name."""
    if place.file is not None and not place.file.exists():
        return False
    storage = open_storage(place, new=False)
    with reached(place):
        return name in optuna.get_all_study_names(storage)


def warm_start(study: Study, source: Study, task: Task) -> int:
    """Queue the best configurations of another study of the same model, as far as the space holds them; once.

    Values are not taken over: they are of other data, or of another space or metric.

    Returns:
        how many were queued.

    Raises:
        InputError: it is of another model, or has no finished trial.
    """
    model = source.user_attrs[IDENTITY]["model"]
    if model != task.job.model:
        raise InputError(
            f"--warm-start: study '{source.study_name}' is of model {model}, not {task.job.model}"
        )
    if source.study_name in study.user_attrs.get(WARM, []):
        return 0
    done = [trial for trial in source.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if not done:
        raise InputError(f"--warm-start: study '{source.study_name}' has no finished trial")
    up = source.directions[0] == StudyDirection.MAXIMIZE
    done.sort(key=lambda trial: trial.values[0], reverse=up)
    theirs = {json.dumps(trial.params, sort_keys=True): trial.params for trial in done}
    queued = 0
    for params in list(theirs.values())[:WARM_TRIALS]:
        known = {
            name: value
            for name, value in params.items()
            if name in task.space.parameters and _holds(task.space.parameters[name], value)
        }
        if known:
            study.enqueue_trial(known, skip_if_exists=True)
            queued += 1
    study.set_user_attr(WARM, [*study.user_attrs.get(WARM, []), source.study_name])
    return queued


def sampler_of(name: str, task: Task, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of trial ``number``: its seed follows from the study's and the number, whoever runs the trial.

    Raises:
        InputError: no such sampler, or a grid without end.
    """
    one_of(name, SAMPLERS, "--sampler")
    if name == "grid":
        return optuna.samplers.GridSampler(grid_points(task.space), seed=task.job.seed)
    seed = int(np.random.SeedSequence([task.job.seed, number]).generate_state(1)[0])
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # In groups, so that conditional settings are sampled together; running trials count as bad ones.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def pruner_of(name: str | None, task: Task) -> optuna.pruners.BasePruner:
    """The pruner; ``median`` when absent, and none for two objectives, for which Optuna has none.

    Raises:
        InputError: no such pruner, or one for two objectives.
    """
    chosen = name or default_pruner(task)
    one_of(chosen, PRUNERS, "--pruner")
    if task.second and chosen != "none":
        raise InputError(f"--pruner: received '{chosen}' with two objectives; allowed: none")
    if chosen == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=STARTUP, n_warmup_steps=WARM_EPOCHS + 1, n_min_trials=LEAST_AT_EPOCH
        )
    if chosen == "halving":  # the sampler learns from all trials; Hyperband samples its brackets apart
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=WARM_EPOCHS, reduction_factor=REDUCTION)
    if chosen == "hyperband":
        most = int(task.job.limits["epochs"])
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most, reduction_factor=REDUCTION)
    return optuna.pruners.NopPruner()


def default_pruner(task: Task) -> str:
    """The one that is taken when none is asked for."""
    return "none" if task.second else "median"


def suggested(trial: Trial, task: Task) -> dict[str, Any]:
    """The settings that the sampler chose for a trial."""

    def pick(name: str, parameter: Parameter) -> Any:
        return decoded(parameter, _suggested(trial, name, parameter))

    return task.space.values(pick, task.job.settings)


def _suggested(trial: Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(name, [_stored(value) for value in parameter.choice])
    if isinstance(parameter, FloatRange):
        return trial.suggest_float(name, *parameter.float, log=parameter.log, step=parameter.step)
    return trial.suggest_int(name, *parameter.int, log=parameter.log, step=parameter.step)


def decoded(parameter: Parameter, value: Any) -> Any:
    """A setting's value from what Optuna stores: lists from their text, steps without the error of their sum."""
    if isinstance(parameter, Choice):
        return next(
            one for one in parameter.choice if _stored(one) == value and type(_stored(one)) is type(value)
        )
    return float(f"{value:.10g}") if isinstance(parameter, FloatRange) and parameter.step else value


def encoded(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Optuna stores them."""
    return {
        name: _stored(value) if isinstance(space.parameters[name], Choice) else value
        for name, value in values.items()
    }


def grid_points(space: Space) -> dict[str, list[Any]]:
    """Every value of every setting, as Optuna stores them.

    Raises:
        InputError: a range has infinitely many.
    """
    return {name: [_stored(one) for one in points] for name, points in space.grid().items()}


def distribution(parameter: Parameter) -> BaseDistribution:
    """What Optuna notes of a setting that :func:`suggested` asked for."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution([_stored(value) for value in parameter.choice])
    if isinstance(parameter, FloatRange):
        return FloatDistribution(*parameter.float, log=parameter.log, step=parameter.step)
    return IntDistribution(*parameter.int, log=parameter.log, step=parameter.step)


def _stored(value: Any) -> Any:
    """Optuna stores plain values alone; others become their text."""
    return value if value is None or isinstance(value, str | int | float | bool) else json.dumps(value)


def _holds(parameter: Parameter, stored: Any) -> bool:
    if isinstance(parameter, Choice):
        return any(_stored(one) == stored for one in parameter.choice)
    return parameter.contains(stored)


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What of two identities differs first; empty where nothing does."""
    for key in {**ours, **theirs}:
        a, b = theirs.get(key), ours.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            inner = next(name for name in {**b, **a} if a.get(name) != b.get(name))
            key, a, b = f"{key} ({inner})", a.get(inner), b.get(inner)
        return f"{key}: {short(a)}, asked for {short(b)}"
    return ""


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


def seen(trials: list[FrozenTrial], *states: TrialState) -> list[FrozenTrial]:
    """Those of the trials that are in one of the states."""
    return [trial for trial in trials if trial.state in states]


def quiet() -> None:
    """Optuna logs a line a trial and warns of what is experimental; both are said in our words."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)

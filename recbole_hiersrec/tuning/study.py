"""Studies of Optuna: whose they are, and what they begin with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import short
from recbole_hiersrec.tuning.sampling import encoded, holds
from recbole_hiersrec.tuning.storage import Place, open_storage, reached, shown
from recbole_hiersrec.tuning.task import Task

IDENTITY, WARM, SUITE, BEGUN = "hiersrec", "warm start", "suite", "begun"
"""Of studies: what they search, set once they are whole; queued ones; the suite; what trials they begin with."""
KEY, WORKER, SAME_AS, REFUSED, ERROR, FACTS = "key", "worker", "same_as", "refused", "error", "facts"
"""User attributes of trials: the job's key; host, sampler and pruner; whose value was taken over; why it was not run;
why it failed; what the training tells of itself."""
NOT_OURS = "was not made by hiersrec tune"
START = "fixed_params"
"""Optuna's own attribute of a trial whose settings were queued: the defaults are that of the first one."""
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
"""Of the first and the second objective."""
OPENING = 20.0
"""Seconds that a worker waits for the next of the trials that another machine gives a new study."""
WARM_TRIALS = 5


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
            if name in task.space.parameters and holds(task.space.parameters[name], value)
        }
        if known:
            study.enqueue_trial(known, skip_if_exists=True)
            queued += 1
    study.set_user_attr(WARM, [*study.user_attrs.get(WARM, []), source.study_name])
    return queued


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


def seen(trials: list[FrozenTrial], *states: TrialState) -> list[FrozenTrial]:
    """Those of the trials that are in one of the states."""
    return [trial for trial in trials if trial.state in states]

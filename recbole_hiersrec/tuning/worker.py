"""Workers that share studies: each takes a trial on, has a process of its own train it, and tells Optuna how it goes.

Of several studies the one with the fewest trials is next, so that whenever the work ends they have about as many.

A trial's process gets three arguments: the path of job.json, the folder to write into, and the second objective or "".
It keeps curve.json (one entry a validation) up to date there, and at its end writes result.json and exits 0; or it
writes a line to error.txt, or to skipped.txt, and exits otherwise. What it keeps in state/ is there again when the same
configuration is tried anew after a kill.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from recbole_hiersrec.atomic import locked, try_lock, writable_folder, write_text
from recbole_hiersrec.benchmark.runner import (
    GRACE_SECONDS,
    describe_exit,
    end_process,
    environment_of,
    first_line,
    shared,
)
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.tuning.sampling import default_pruner, pruner_of, sampler_of, suggested
from recbole_hiersrec.tuning.storage import LOST, Place, open_storage, reached, retry
from recbole_hiersrec.tuning.study import ERROR, FACTS, KEY, REFUSED, SAME_AS, WORKER, open_study, seen
from recbole_hiersrec.tuning.task import Task

COMMAND = (sys.executable, "-m", "recbole_hiersrec.benchmark.parent", "recbole_hiersrec.tuning.trial")
CURVE, RESULT = "curve.json", "result.json"
POLL_SECONDS, WAIT_SECONDS = 0.1, 0.5
MOST_REFUSED = 5
"""Configurations that others are at work on in a row, after which a worker waits for one of those to end."""
MOST_FAILURES = 3
"""Failed trainings in a row after which a worker gives up: the fault is not in the settings then."""
TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class TrialFailed(Exception):
    """A training that gave no value; the message says why."""


class Turn(Enum):
    """What came of a worker's turn at a study: a trial, nothing until others have done theirs, nothing any more."""

    RAN, WAITS, DONE = range(3)


class _Refused(Exception):
    """A trial that was not run: another one has its configuration, or there are enough."""


class _Stopped(Exception):
    """A trial that was ended with its worker, and goes on with the next one."""


@dataclass(frozen=True)
class Options:
    """How a study is worked on.

    Attributes:
        trials: finished or pruned ones that the study is to have in all.
        sampler: one of :data:`~recbole_hiersrec.tuning.study.SAMPLERS`.
        pruner: one of :data:`~recbole_hiersrec.tuning.study.PRUNERS`; None: as the objectives allow.
        workers: trials at a time; the job's threads are divided among them.
        seconds: after which this call ends; its trials go on with the next one. None: no ceiling.
        command: starts a trial; three arguments are appended.
    """

    trials: int
    sampler: str = "tpe"
    pruner: str | None = None
    workers: int = 1
    seconds: float | None = None
    command: Sequence[str] | None = None


@dataclass
class Crew:
    """What the workers of one call share.

    Attributes:
        studies: what is searched, and where it lies.
        options: how.
        events: kind, study, and what there is to tell.
        stop: set when the workers are to end.
        faults: of workers themselves.
        failures: study -> why workers gave it up.
    """

    studies: Sequence[tuple[Task, Place]]
    options: Options
    events: queue.SimpleQueue[tuple[str, str, Any]] = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)
    faults: list[BaseException] = field(default_factory=list)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class _Attempt:
    """What a worker does about one trial of Optuna's.

    Attributes:
        study_lock: held until the trial is known by its key, and by its host.
        own_lock: that of the configuration, held until Optuna was told how the trial ended.
        key: of the configuration, once it is trained.
        told: kind and line for the terminal.
        again: the same configuration, if it is to be tried anew.
    """

    study_lock: ExitStack
    own_lock: ExitStack
    key: str = ""
    told: tuple[str, str] | None = None
    again: FrozenTrial | None = None


class Worker:
    """Takes trials of one study on, one at a time, with a connection of its own to the storage."""

    def __init__(self, crew: Crew, task: Task, place: Place) -> None:
        self.crew, self.task, self.place, self.options = crew, task, place, crew.options
        with self.place.alone():
            self.storage = open_storage(self.place)
            self.study = open_study(self.task, self.place, self.storage)
            self._bury()  # so that what died before does not count as taken
        self.study.pruner = pruner_of(self.options.pruner, self.task)
        self.failures: list[str] = []  # in a row
        self.refused = 0  # in a row, since a trial ended
        self.ended = 0  # trials that had, when that was counted

    def taken(self) -> int:
        """How many trials the study has, those under way included."""
        return len(seen(self.study.get_trials(deepcopy=False), *TAKEN))

    def step(self) -> Turn:
        """Run one trial, if there is one to run."""
        with ExitStack() as held:
            held.enter_context(self.place.alone())
            self._bury()
            trials = self.study.get_trials(deepcopy=False)
            self._progress(trials)
            ended, running = len(seen(trials, *TAKEN[:2])), seen(trials, TrialState.RUNNING)
            if ended != self.ended:
                self.ended, self.refused = ended, 0
            self.study.sampler = sampler_of(self.options.sampler, self.task, len(trials))
            if ended >= self.options.trials or self._exhausted(trials):
                return Turn.DONE
            if ended + len(running) < self.options.trials and (self.refused < MOST_REFUSED or not running):
                return self._run(held)
        return Turn.WAITS if any(self._may_come_back(trial) for trial in running) else Turn.DONE

    def _run(self, held: ExitStack) -> Turn:
        """Have Optuna ask for one trial, and do what it asks; done when the worker gives up."""
        with ExitStack() as own:
            attempt = _Attempt(held, own)
            try:
                self.study.optimize(
                    lambda trial: self._objective(trial, attempt),
                    n_trials=1,
                    catch=(TrialFailed, _Refused, _Stopped),
                )
            except (
                UpdateFinishedTrialError
            ):  # no sign of life for too long: it counted as dead, another one has it
                attempt.told = ("failed", "a trial was taken over by another worker")
            if attempt.key and attempt.again is None:
                shutil.rmtree(self.place.work / attempt.key, ignore_errors=True)
        if attempt.again is not None:
            self.study.add_trial(attempt.again)
        if attempt.told:
            self._say(*attempt.told)
        if len(self.failures) < MOST_FAILURES:
            return Turn.RAN
        self.crew.failures[self.task.study].append(
            f"{MOST_FAILURES} failures in a row, the last one: {self.failures[-1]}"
        )
        return Turn.DONE

    def _objective(self, trial: Trial, attempt: _Attempt) -> list[float]:
        """The values of one configuration: those of its training, or of a trial before it that was the same."""
        try:
            job = self.task.trial_job(suggested(trial, self.task))
            trial.set_user_attr(KEY, job.key)
            twin = self._twin(trial, job.key)
            if twin is not None:
                attempt.told = ("done", f"trial {trial.number}: the same as trial {twin.number}")
                return _same_as(trial, twin)
            lock = self._claim(trial, job.key, attempt)
            values = self._trained(trial, job, lock)
        except _Stopped:
            trial.set_user_attr(REFUSED, "stopped; goes on as another trial")
            attempt.again = _again(trial)
            raise
        except (TrialFailed, InputError) as error:
            self.failures.append(str(error))
            trial.set_user_attr(ERROR, str(error))
            attempt.told = ("failed", f"trial {trial.number}: failed: {error}")
            raise TrialFailed(str(error)) from None
        except TrialPruned:
            attempt.told = ("done", f"trial {trial.number}: pruned")
            self.failures.clear()
            raise
        attempt.told = ("done", f"trial {trial.number}: {self.task.objectives[0]} {values[0]:.4f}")
        self.failures.clear()
        return values

    def _claim(self, trial: Trial, key: str, attempt: _Attempt) -> int:
        """Take a configuration's lock, and let go of the study's: others know now what this trial is."""
        path = writable_folder(self.place.work) / f"{key}.lock"
        busy = f"{path}: is held by another process"
        lock = attempt.own_lock.enter_context(locked(path, 2 * GRACE_SECONDS, busy))
        attempt.key = key
        pruner = self.options.pruner or default_pruner(self.task)
        how = {"host": socket.gethostname(), "sampler": self.options.sampler, "pruner": pruner}
        trial.set_user_attr(WORKER, how)
        attempt.study_lock.close()
        return lock

    def _twin(self, trial: Trial, key: str) -> FrozenTrial | None:
        """An ended trial with the same settings.

        Raises:
            _Refused: one with the same settings is under way, or enough trials are.
        """
        others = [one for one in self.study.get_trials(deepcopy=False) if one.number != trial.number]
        before = [one for one in seen(others, *TAKEN) if one.number < trial.number]
        if len(before) >= self.options.trials:
            self._refuse(trial, "enough trials are under way")
        same = [one for one in seen(others, *TAKEN) if one.user_attrs.get(KEY) == key]
        for one in seen(same, *TAKEN[:2]):
            return one
        for one in same:
            self._refuse(trial, f"the same as trial {one.number}, which is under way")
        return None

    def _refuse(self, trial: Trial, reason: str) -> None:
        self.refused += 1
        trial.set_user_attr(REFUSED, reason)
        raise _Refused(reason)

    def _trained(self, trial: Trial, job: Job, lock: int) -> list[float]:
        """The values that the trial's process found.

        Raises:
            TrialPruned, TrialFailed, _Stopped: it was ended early, gave none, or this worker stops.
        """
        folder, log = self.place.work / job.key, self.place.work / f"{job.key}.log"
        folder.mkdir(exist_ok=True)
        for name in ("error.txt", "skipped.txt", CURVE):
            (folder / name).unlink(missing_ok=True)
        told: set[int] = set()
        if not (folder / RESULT).exists():  # that of a training which its worker did not live to see
            with _process(self._start(job, folder, log, lock)) as process:
                while process.poll() is None:
                    if self._report(trial, folder, told) and trial.should_prune():
                        raise TrialPruned
                    if self.crew.stop.is_set():
                        raise _Stopped
                    time.sleep(POLL_SECONDS)
            if process.returncode:
                reason = first_line(folder / "error.txt") or first_line(folder / "skipped.txt")
                raise TrialFailed(f"{reason or describe_exit(process.returncode)} (log: {log})")
        self._report(trial, folder, told)
        try:
            result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            trial.set_user_attr(FACTS, result["facts"])
            values = [float(value) for value in result["values"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            (folder / RESULT).unlink(missing_ok=True)
            raise TrialFailed(f"{folder / RESULT}: no result: {error}") from None
        log.unlink(missing_ok=True)
        return values

    def _start(self, job: Job, folder: Path, log: Path, lock: int) -> subprocess.Popen[bytes]:
        """Start the trial's process; it ends with this one, and holds the configuration's lock as long as it lives."""
        job = shared([job], self.options.workers)[0]
        description = folder / "job.json"
        write_text(description, json.dumps(job.to_dict(), indent=1) + "\n")
        with log.open("wb") as output:
            return subprocess.Popen(
                [*(self.options.command or COMMAND), str(description), str(folder), self.task.second],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment_of(job, self.options.workers) | {"HIERSREC_RUNNER": str(os.getpid())},
                pass_fds=(lock,),
                start_new_session=True,
            )

    def _report(self, trial: Trial, folder: Path, told: set[int]) -> bool:
        """Tell Optuna of the validations since the last time; it takes none of trials with two objectives.

        Returns:
            whether there were any.
        """
        if self.task.second or not (folder / CURVE).exists():
            return False
        curve = json.loads((folder / CURVE).read_text(encoding="utf-8"))
        new = [point for point in curve if point["epoch"] not in told]
        for point in new:
            trial.report(point["valid"], point["epoch"])
            told.add(point["epoch"])
        return bool(new)

    def _bury(self) -> None:
        """Find trials of workers on this machine that died, by their locks, and have them tried once more; those of
        other machines are found by their missing heartbeats. Needs the lock."""
        for trial in seen(self.study.get_trials(deepcopy=False), TrialState.RUNNING):
            if self._is_dead(trial) and self._runs(trial):
                retry(
                    self.study,
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True),
                )
        if isinstance(self.storage, RDBStorage):
            optuna.storages.fail_stale_trials(self.study)

    def _runs(self, trial: FrozenTrial) -> bool:
        """Whether it still counts as running, now that its lock was found free: a worker tells Optuna of the end
        before it lets go, so a trial that was only slow to be looked at has ended by now."""
        now = next(one for one in self.study.get_trials(deepcopy=False) if one.number == trial.number)
        return now.state == TrialState.RUNNING

    def _is_dead(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if (
            worker is None
        ):  # not yet told apart: whoever does that on this machine holds the lock, which we do
            return self.place.file is not None
        if worker["host"] != socket.gethostname():
            return False
        path = self.place.work / f"{trial.user_attrs[KEY]}.lock"
        if not path.exists():
            return self.place.file is not None
        with path.open("r+") as file:
            return try_lock(file.fileno())

    def _may_come_back(self, trial: FrozenTrial) -> bool:
        """Whether it would be seen if the trial's worker died: then its configuration is to be tried once more."""
        worker = trial.user_attrs.get(WORKER, {})
        return isinstance(self.storage, RDBStorage) or worker.get("host") == socket.gethostname()

    def _exhausted(self, trials: list[FrozenTrial]) -> bool:
        sampler = self.study.sampler
        if not isinstance(sampler, optuna.samplers.GridSampler) or seen(trials, TrialState.WAITING):
            return False
        return sampler.is_exhausted(self.study)

    def _progress(self, trials: list[FrozenTrial]) -> None:
        finished, best = seen(trials, *TAKEN[:2]), best_text(trials, self.task.objectives[0])
        self.crew.events.put(("progress", self.task.study, (len(finished), best)))

    def _say(self, kind: str, text: str) -> None:
        trials = self.study.get_trials(deepcopy=False)
        best = best_text(trials, self.task.objectives[0])
        so_far = f"; so far {best}" if best else ""
        self.crew.events.put((kind, self.task.study, f"{self.task.study}: {text}{so_far}"))


def work(crew: Crew) -> None:
    """One worker's life; a fault of its own stops the others too."""
    try:
        workers = []
        for task, place in crew.studies:
            with reached(place, LOST):
                workers.append(Worker(crew, task, place))
        while workers and not crew.stop.is_set():
            workers = _turn(crew, workers)
    except BaseException as error:
        crew.faults.append(error)
        crew.stop.set()


def _turn(crew: Crew, workers: list[Worker]) -> list[Worker]:
    """Run a trial of the study with the fewest, or of the next one where that waits for others.

    Returns:
        those whose studies have something left to do.
    """
    for worker in sorted(workers, key=_taken):
        with reached(worker.place, LOST):
            turn = worker.step()
        if turn is Turn.DONE:
            return [other for other in workers if other is not worker]
        if turn is Turn.RAN:
            return workers
    crew.stop.wait(WAIT_SECONDS)
    return workers


def _taken(worker: Worker) -> int:
    with reached(worker.place, LOST):
        return worker.taken()


def best_text(trials: Sequence[FrozenTrial], metric: str) -> str:
    """The best value of the first objective so far; empty where there is none."""
    values = [trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE]
    return f"best {metric} {max(values):.4f}" if values else ""


@contextmanager
def _process(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a process, and what it started, when this is left."""
    try:
        yield process
    finally:
        end_process(process)


def _same_as(trial: Trial, twin: FrozenTrial) -> list[float]:
    """Take over what a trial with the same settings gave."""
    trial.set_user_attr(SAME_AS, twin.number)
    if twin.state == TrialState.COMPLETE:
        return list(twin.values)
    for step in sorted(twin.intermediate_values)[-1:]:
        trial.report(twin.intermediate_values[step], step)
    raise TrialPruned


def _again(trial: Trial) -> FrozenTrial:
    """The same configuration, waiting; its training goes on from what it kept."""
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    return create_trial(
        state=TrialState.WAITING,
        params=frozen.params,
        distributions=frozen.distributions,
        user_attrs={KEY: frozen.user_attrs[KEY]},
        system_attrs=frozen.system_attrs,
    )

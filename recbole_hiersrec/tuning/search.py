"""Work on studies with several workers, until each has its trials, the seconds are over, or somebody stops it."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState
from tqdm import tqdm

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.tuning.exported import Export, export_of, read_exports
from recbole_hiersrec.tuning.sampling import PRUNERS, SAMPLERS, pruner_of, sampler_of
from recbole_hiersrec.tuning.storage import Place, open_storage, quiet
from recbole_hiersrec.tuning.study import KEY, is_there, load_study, open_study, seen, warm_start
from recbole_hiersrec.tuning.task import Task, one_of
from recbole_hiersrec.tuning.worker import POLL_SECONDS, TAKEN, Crew, Options, best_text, work

BAR = "{desc} |{bar:12}| {n_fmt}/{total_fmt} {elapsed}{postfix}"


@dataclass
class Outcome:
    """How far a study came.

    Attributes:
        finished: trials with a value, or pruned ones.
        complete: those with a value.
        ceiling: whether the seconds were over before.
        failure: why workers gave up; empty where none did.
        best: the best value of the first objective, in words.
    """

    finished: int = 0
    complete: int = 0
    ceiling: bool = False
    failure: str = ""
    best: str = ""

    def text(self, study: str, trials: int) -> str:
        """One line for the terminal."""
        parts = [f"{study}: {self.finished} of {trials} trials", *([self.best] if self.best else [])]
        if self.ceiling:
            parts.append("the seconds are over, the same command goes on from here")
        elif self.finished < trials and not self.failure:
            parts.append("the others are under way elsewhere, or every point of the grid was tried")
        return "; ".join(parts)


def search(
    studies: Sequence[tuple[Task, Place]],
    options: Options,
    *,
    warm: tuple[str, Place] | None = None,
    elsewhere: Sequence[Path] = (),
    echo: Callable[[str], None] = print,
) -> list[Outcome]:
    """Work on studies until each has enough trials; several calls, on any machines, may do so at once.

    Args:
        studies: what is searched, and where the study lies. The one with the fewest trials is always next.
        options: how.
        warm: another study of the model, and where it lies, whose best configurations are tried early.
        elsewhere: folders of exported studies; one that has no trial here yet goes on from there.
        echo: takes the lines for the terminal.

    Returns:
        how far each study came.

    Raises:
        InputError: a name or number is wrong, a storage cannot be reached, a study or its export is of something else,
            or an export is damaged.
        KeyboardInterrupt: Ctrl-C; the trials under way go on with the next call.
    """
    quiet()
    check_options(options)
    if warm and options.sampler == "grid":
        raise InputError(
            "--warm-start: received with sampler grid, which has no other points; allowed: tpe, random"
        )
    for task, _ in studies:
        pruner_of(options.pruner, task)
        sampler_of(options.sampler, task, 0)
    files = read_exports(elsewhere)  # all of it, before anything is written
    exports = {task.study: export_of(task, files) for task, _ in studies} if elsewhere else {}
    opened = [_opened(task, place, warm, exports, echo) for task, place in studies]
    crew = Crew(studies, options)
    threads = [
        threading.Thread(target=work, args=(crew,), name=f"worker {number}")
        for number in range(options.workers)
    ]
    for thread in threads:
        thread.start()
    try:
        over = _watch(crew, threads, echo)
    finally:
        crew.stop.set()
        for thread in threads:
            thread.join()
    if crew.faults:
        raise crew.faults[0]
    return [
        _outcome(study, task, options, over, crew.failures[task.study])
        for (task, _), study in zip(studies, opened, strict=True)
    ]


def _opened(
    task: Task,
    place: Place,
    warm: tuple[str, Place] | None,
    exports: Mapping[str, Export | None],
    echo: Callable[[str], None],
) -> Study:
    """The task's study, with the trials of its export or the queue of a warm start, without what dead trials left."""
    with place.alone():
        new = task.study in exports and not is_there(task.study, place)
        export = exports.get(task.study)
        study = open_study(task, place, open_storage(place), export)
        if export is not None:
            _say_whose(study, export, new, echo)
        elif new:
            echo(f"{task.study}: begins anew, there is no export of it")
        if warm:
            queued = warm_start(study, load_study(*warm), task)
            echo(f"{task.study}: {queued} configurations of study {warm[0]} are tried early")
        _tidy(study, place)
    return study


def _say_whose(study: Study, export: Export, new: bool, echo: Callable[[str], None]) -> None:
    """How many trials a new study has from its export; how many of those one that was there before lacks, if any."""
    trials, name = export.ended(), study.study_name
    if new:
        echo(f"{name}: goes on from {len(trials)} trials of {export.file}")
        return
    known = {trial.user_attrs.get(KEY) for trial in seen(study.get_trials(deepcopy=False), *TAKEN[:2])}
    if lacks := sum(trial.user_attrs[KEY] not in known for trial in trials):
        echo(
            f"{name}: has trials of its own, and lacks {lacks} of {export.file}; to go on from those, choose another "
            "--runs or --storage"
        )


def _outcome(study: Study, task: Task, options: Options, over: bool, failures: Sequence[str]) -> Outcome:
    trials = study.get_trials(deepcopy=False)
    complete = len(seen(trials, TrialState.COMPLETE))
    finished = complete + len(seen(trials, TrialState.PRUNED))
    missing = finished < options.trials
    failure = failures[0] if failures and missing else ""
    return Outcome(finished, complete, over and missing, failure, best_text(trials, task.objectives[0]))


def check_options(options: Options) -> None:
    """Raise :class:`InputError` for a name or number that is wrong."""
    one_of(options.sampler, SAMPLERS, "--sampler")
    if options.pruner is not None:
        one_of(options.pruner, PRUNERS, "--pruner")
    for name, number in (("--trials", options.trials), ("--workers", options.workers)):
        if number < 1:
            raise InputError(f"{name}: received {number}, allowed: whole numbers from 1")
    if options.seconds is not None and not options.seconds > 0:
        raise InputError(f"--seconds: received {options.seconds:g}, allowed: numbers above 0")


def _tidy(study: Study, place: Place) -> None:
    """Remove what trials left that nobody goes on with. Needs the lock."""
    alive = seen(study.get_trials(deepcopy=False), TrialState.RUNNING, TrialState.WAITING)
    keys = {trial.user_attrs.get(KEY) for trial in alive}
    for path in place.work.glob("*"):
        if path.is_dir() and path.name not in keys:
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".lock" and path.stem not in keys:
            path.unlink(missing_ok=True)


def _watch(crew: Crew, threads: Sequence[threading.Thread], echo: Callable[[str], None]) -> bool:
    """Show how the workers come along until they have ended; True where the seconds were over before."""
    end = None if crew.options.seconds is None else time.monotonic() + crew.options.seconds
    terminal, trials = sys.stderr.isatty(), crew.options.trials
    finished = {task.study: 0 for task, _ in crew.studies}
    several = len(finished) > 1
    with tqdm(
        total=trials * len(finished),
        desc=f"{len(finished)} studies" if several else next(iter(finished)),
        disable=not terminal,
        dynamic_ncols=True,
        bar_format=BAR,
    ) as bar:
        while True:
            working = any(thread.is_alive() for thread in threads)
            while not crew.events.empty():
                kind, study, what = crew.events.get()
                if kind == "progress":
                    finished[study] = min(what[0], trials)
                    bar.n = sum(finished.values())
                    bar.set_postfix_str(f"{study}: {what[1]}" if several and what[1] else what[1])
                elif not terminal or kind == "failed":
                    bar.clear()
                    echo(what)
            bar.refresh()
            if not working:
                return False
            if end is not None and time.monotonic() > end:
                return True
            time.sleep(POLL_SECONDS)

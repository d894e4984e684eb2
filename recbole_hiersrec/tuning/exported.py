"""Trials as an export tells them, and from there back into a study that goes on from it.

The trials keep their numbers, by which others name them, samplers are seeded and Hyperband sorts: those that the export
leaves out, or that had not ended, are failed ones there that count as not run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import ConfigDict, Field

from recbole_hiersrec.benchmark.tuned import read_exported
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import Settings, parse
from recbole_hiersrec.tuning.sampling import decoded, distribution, encoded, grid_points
from recbole_hiersrec.tuning.space import Parameter
from recbole_hiersrec.tuning.study import (
    ERROR,
    FACTS,
    KEY,
    REFUSED,
    SAME_AS,
    START,
    WORKER,
    Export,
    difference,
)
from recbole_hiersrec.tuning.task import Task

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
ENDED = {STATES[state]: state for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
TOLD = ("epochs", "best_epoch", "seconds", "stopped_by", "peak_memory_mib")
"""Of the facts of a training; where it was made stands once for all trials."""
GRID = "grid_id"
OWN = re.compile(rf"{GRID}|completed_rung_[0-9]+")
"""What the grid sampler and successive halving note in a trial, and look for in others."""
AGAIN = "run hiersrec tune export again"


class ExportedTrial(Settings):
    """A trial's line in an export."""

    number: int = Field(ge=0)
    state: Literal["complete", "pruned", "failed", "running", "waiting"]
    values: tuple[float, ...] | None
    params: dict[str, Any]
    curve: dict[int, float]
    epochs: int | None = None
    best_epoch: int | None = None
    seconds: int | float | None = None
    stopped_by: str | None = None
    peak_memory_mib: int | float | None = None
    made_on: int | None = Field(None, ge=0)
    sampler: str | None = None
    pruner: str | None = None
    same_as: int | None = None
    error: str | None = None
    system: dict[str, int | float] = Field(default_factory=dict)


class ExportedStudy(Settings):
    """What of an export a study goes on from, beside its identity."""

    model_config = ConfigDict(extra="ignore")

    start: dict[str, Any]
    made_on: list[dict[str, Any]]
    trials: list[ExportedTrial]


def plain(
    trial: FrozenTrial, parameters: dict[str, Parameter], places: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A trial as plain values; the inverse of :func:`_trial`, apart from the host.

    Args:
        trial: one of a study.
        parameters: of its space.
        places: where trainings were made.
    """
    facts, worker = trial.user_attrs.get(FACTS, {}), trial.user_attrs.get(WORKER, {})
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "values": trial.values if trial.state == TrialState.COMPLETE else None,
        "params": {name: decoded(parameters[name], value) for name, value in trial.params.items()},
        "curve": {str(epoch): value for epoch, value in sorted(trial.intermediate_values.items())},
        **{name: facts[name] for name in TOLD if name in facts},
        **({"made_on": places.index(facts["made_on"])} if facts.get("made_on") else {}),
        **{name: worker[name] for name in ("sampler", "pruner") if name in worker},
        **{name: trial.user_attrs[name] for name in (SAME_AS, ERROR) if name in trial.user_attrs},
        **({"system": own} if (own := _own(trial)) else {}),
    }


def _own(trial: FrozenTrial) -> dict[str, Any]:
    return {name: value for name, value in sorted(trial.system_attrs.items()) if OWN.fullmatch(name)}


def read_exports(folders: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """What ``hiersrec tune export`` wrote into folders, by file.

    Raises:
        InputError: there is no such folder, or a file in it is damaged or no export.
    """
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--elsewhere: received {folder}; allowed: a folder of exported studies")
        for path in sorted(folder.glob("*.json")):
            found[path] = read_exported(path)
    return found


def export_of(task: Task, exports: dict[Path, dict[str, Any]]) -> Export | None:
    """The export of the task's study, of several that with the most trials; None where none of them is of it.

    Raises:
        InputError: it is of something else than the task, or damaged.
    """
    found = None
    for file, study in exports.items():
        if study.get("study") == task.study:
            export = _export(task, study, file)
            if found is None or len(export.ended()) > len(found.ended()):
                found = export
    return found


def _export(task: Task, study: dict[str, Any], file: Path) -> Export:
    wanted = json.loads(json.dumps(task.identity()))
    if different := difference({key: study[key] for key in wanted if key in study}, wanted):
        raise InputError(
            f"{file}: study '{task.study}' differs in {different}; leave --elsewhere out, or choose another --study"
        )
    known = parse(ExportedStudy, study, f"{file} is damaged ({AGAIN})")
    try:
        trials = _trials(task, known)
    except ValueError as error:  # InputError, and what Optuna says of values and distributions
        raise InputError(f"{file} is damaged: {error}; {AGAIN}") from None
    ended = [row.params for row in known.trials if row.state in ENDED]
    digest = hashlib.sha256(json.dumps(study).encode()).hexdigest()[:16]
    return Export(file, digest, trials, known.start in ended)


def _trials(task: Task, study: ExportedStudy) -> list[FrozenTrial]:
    numbers = [row.number for row in study.trials]
    if numbers != sorted(set(numbers)):
        raise ValueError("trials: expected rising numbers")
    rows = {row.number: row for row in study.trials if row.state in ENDED}
    first = {START: encoded(task.space, _searched(task, study.start))}
    found = []
    for number in range(max(rows, default=-1) + 1):
        system = first if number == 0 else {}
        try:
            found.append(
                _trial(task, rows[number], study.made_on, system) if number in rows else _gap(system)
            )
        except (ValueError, IndexError) as error:
            raise ValueError(f"trial {number}: {error}") from None
    return found


def _gap(system: dict[str, Any]) -> FrozenTrial:
    """In the place of a trial that is left out."""
    return create_trial(state=TrialState.FAIL, user_attrs={REFUSED: "not in the export"}, system_attrs=system)


def _trial(
    task: Task, row: ExportedTrial, places: Sequence[dict[str, Any]], system: dict[str, Any]
) -> FrozenTrial:
    state, values = ENDED[row.state], row.values
    if state == TrialState.COMPLETE and len(values or ()) != len(task.objectives):
        raise ValueError(f"expected a value an objective, received {values}")
    if state == TrialState.PRUNED and row.curve:  # as Optuna has it
        values = (row.curve[max(row.curve)],)
    params = _searched(task, row.params)
    facts = row.model_dump(include=set(TOLD), exclude_unset=True)
    attrs = {
        WORKER: row.model_dump(include={"sampler", "pruner"}, exclude_unset=True),
        FACTS: facts if row.made_on is None else facts | {"made_on": places[row.made_on]},
        **row.model_dump(include={SAME_AS, ERROR}, exclude_unset=True),
    }
    if state != TrialState.FAIL:  # the settings of failed ones may not go together
        attrs[KEY] = task.trial_job(params).key
    grid = {"search_space": grid_points(task.space)} if GRID in row.system else {}
    return create_trial(
        state=state,
        values=values,
        params=encoded(task.space, params),
        distributions={name: distribution(task.space.parameters[name]) for name in params},
        intermediate_values=row.curve,
        user_attrs={name: value for name, value in attrs.items() if value not in ({}, None)},
        system_attrs=system | row.system | grid,
    )


def _searched(task: Task, params: dict[str, Any]) -> dict[str, Any]:
    """The settings, each of which the space has."""
    for name in params:
        if name not in task.space.parameters:
            raise ValueError(f"setting '{name}' is not searched{nearest(name, list(task.space.parameters))}")
    return params

"""What a study found, as plain values: best trial, Pareto front, importance; and its export for suites.

The importance of a setting is that of PED-ANOVA (Watanabe et al., IJCAI 2023, https://arxiv.org/abs/2304.10255): how
far its values in the best tenth of the trials differ from those in all of them; shares that sum to 1.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.importance import get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from recbole_hiersrec.atomic import writable_folder, write_text
from recbole_hiersrec.benchmark.tuned import STUDY_SCHEMA
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import parse
from recbole_hiersrec.records import as_text
from recbole_hiersrec.tuning.exported import STATES, plain
from recbole_hiersrec.tuning.sampling import decoded
from recbole_hiersrec.tuning.space import KINDS, Parameter
from recbole_hiersrec.tuning.storage import retried
from recbole_hiersrec.tuning.study import ERROR, FACTS, IDENTITY, REFUSED, START, SUITE, WORKER, seen


def summary(study: Study) -> dict[str, Any]:
    """A study as plain JSON values.

    Trials that were not run (another one had their settings) or that went on as another one (they were stopped, or
    their worker died) are left out; so ``counts`` are of configurations that were trained, and those whose value was
    taken over (``same_as``). ``cut_short`` are complete ones that the seconds of a trial ended.
    """
    identity = study.user_attrs[IDENTITY]
    parameters = {name: _parameter(given) for name, given in identity["space"].items()}
    every = study.get_trials(deepcopy=False)
    gone_on = {number for trial in every for number in retried(trial)}
    trials = [one for one in every if REFUSED not in one.user_attrs and one.number not in gone_on]
    complete = seen(trials, TrialState.COMPLETE)
    front = sorted(study.best_trials, key=lambda trial: -trial.values[0]) if complete else []
    places = _made_on(trials)
    found = {
        "schema": STUDY_SCHEMA,
        "study": study.study_name,
        "suite": study.user_attrs.get(SUITE, ""),
        **identity,
        "counts": {name: len(seen(trials, state)) for state, name in STATES.items()},
        "cut_short": sum(one.user_attrs.get(FACTS, {}).get("stopped_by") == "seconds" for one in complete),
        "samplers": _used(trials, "sampler"),
        "pruners": _used(trials, "pruner"),
        "made_on": places,
        "start": _start(every, parameters),
        "defaults": _defaults(every, complete),
        "best": front[0].number if front else None,
        "front": [trial.number for trial in front] if len(study.directions) > 1 else [],
        "importance": _importance(study, complete),
        "trials": [plain(trial, parameters, places) for trial in trials],
    }
    return json.loads(json.dumps(found))


def _used(trials: list[FrozenTrial], what: str) -> list[str]:
    """Names of the samplers or pruners that workers had."""
    return sorted({trial.user_attrs[WORKER][what] for trial in trials if WORKER in trial.user_attrs})


def _made_on(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Machine, versions and commit of the trainings, each once."""
    every = [trial.user_attrs.get(FACTS, {}).get("made_on") for trial in trials]
    return [one for place, one in enumerate(every) if one and one not in every[:place]]


def _start(every: list[FrozenTrial], parameters: dict[str, Parameter]) -> dict[str, Any]:
    """The defaults, with which the study began."""
    start = every[0].system_attrs.get(START, {}) if every else {}
    return {name: decoded(parameters[name], value) for name, value in start.items()}


def _defaults(every: list[FrozenTrial], complete: list[FrozenTrial]) -> int | None:
    """The trial of the defaults, which may have gone on under another number; None if it has no value."""
    start = every[0].system_attrs.get(START) if every else None
    return next((trial.number for trial in complete if trial.params == start), None)


def _parameter(given: dict[str, Any]) -> Parameter:
    kind = next(kind for kind in KINDS if kind in given)
    found: Any = parse(KINDS[kind], given, "space of the study")
    return found


def _importance(study: Study, complete: list[FrozenTrial]) -> dict[str, float]:
    """Of each setting for the first objective; empty where the trials do not differ."""
    if len({trial.values[0] for trial in complete}) < 2:
        return {}
    if len(study.directions) == 1:
        found = get_param_importances(study)
    else:
        with warnings.catch_warnings():  # that it explains low values of the target, which these are
            warnings.simplefilter("ignore", UserWarning)
            found = get_param_importances(study, target=lambda trial: -trial.values[0])
    return {name: float(share) for name, share in found.items()}


def text(found: dict[str, Any]) -> str:
    """A study's summary for a terminal."""
    counts = ", ".join(f"{number} {name}" for name, number in found["counts"].items() if number)
    lines = [
        f"{found['study']}: {found['line']} on {found['dataset']}, validation {' and '.join(found['objectives'])}",
        f"trials: {counts or 'none'}; sampler: {', '.join(found['samplers']) or 'none yet'}; "
        f"pruner: {', '.join(found['pruners']) or 'none yet'}",
    ]
    if found["cut_short"]:
        lines.append(f"cut short by the seconds of a trial: {found['cut_short']} of the complete ones")
    if found["best"] is None:
        return "\n".join([*lines, "no trial has finished"])
    trials = {trial["number"]: trial for trial in found["trials"]}
    best = trials[found["best"]]
    lines += ["", f"best: trial {best['number']}, {_values(found, best)}"]
    lines += _columns(best["params"])
    if found["defaults"] is not None:
        lines += [f"first trial (the defaults): {_values(found, trials[found['defaults']])}"]
    if found["importance"]:
        lines += [
            "",
            f"importance, of {found['counts']['complete']} complete trials",
            *_columns({n: f"{share:.3f}" for n, share in found["importance"].items()}),
        ]
    if found["front"]:
        front = {f"trial {number}": _values(found, trials[number]) for number in found["front"]}
        lines += ["", "Pareto front", *_columns(front)]
    failed = [trial for trial in found["trials"] if trial["state"] == "failed" and ERROR in trial]
    lines += [f"failed: trial {trial['number']}: {trial[ERROR]}" for trial in failed]
    return "\n".join(lines)


def overview(studies: Sequence[dict[str, Any]]) -> str:
    """A line a study for a terminal: how far it came, what is best, and what the defaults are worth."""
    rows = {}
    for found in studies:
        trials = {trial["number"]: trial for trial in found["trials"]}
        counts = ", ".join(f"{number} {name}" for name, number in found["counts"].items() if number)
        told = [counts or "no trials", *([f"{found['cut_short']} cut short"] if found["cut_short"] else [])]
        if found["best"] is not None:
            told.append(f"best {_values(found, trials[found['best']])}")
        if found["defaults"] is not None:
            told.append(f"the defaults {_values(found, trials[found['defaults']])}")
        rows[found["study"]] = "; ".join(told)
    return "\n".join(line.strip() for line in _columns(rows))


def _columns(rows: dict[str, Any]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in rows.items()]


def _values(found: dict[str, Any], trial: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4f}" for name, value in zip(found["objectives"], trial["values"], strict=True)
    )


def export(found: dict[str, Any], out: Path, number: int | None = None) -> list[Path]:
    """Write a trial's settings as YAML, which suites name as ``tuned``, and the study beside it as JSON.

    Args:
        found: of :func:`summary`.
        out: the YAML file.
        number: of the trial; the best one when absent, of two objectives that with the best first one.

    Returns:
        the two files.

    Raises:
        InputError: no trial has finished, there is no such trial, or the files cannot be written.
    """
    values = {trial["number"]: trial for trial in found["trials"] if trial["values"]}
    if not values:
        raise InputError(f"study '{found['study']}' has no finished trial; nothing to export")
    chosen = found["best"] if number is None else number
    if chosen not in values:
        told = ", ".join(map(str, values))
        raise InputError(f"--trial: received {chosen}; allowed, as finished: {told}")
    if out.suffix != ".yaml":
        raise InputError(f"--out: received {out}; allowed: a name that ends in .yaml")
    trial = values[chosen]
    counts = found["counts"]
    header = [
        f"Settings of {found['model']} that hiersrec tune chose on the validation part of {found['dataset']}.",
        f"Study {found['study']}: {_values(found, trial)} in trial {chosen} of {counts['complete']} complete, "
        f"{counts['pruned']} pruned and {counts['failed']} failed; sampler {', '.join(found['samplers'])}, "
        f"pruner {', '.join(found['pruners'])}.",
        f"Data: SHA-256 {found['data']}. What was not searched stands in {out.with_suffix('.json').name}.",
    ]
    writable_folder(out.parent)
    lines = "".join(f"# {line}\n" for line in header)
    write_text(out, lines + yaml.safe_dump(trial["params"], sort_keys=False))
    study = found | {"exported": chosen, "value": trial["values"][0]}
    write_text(out.with_suffix(".json"), as_text(study))
    return [out, out.with_suffix(".json")]

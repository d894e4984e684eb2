"""What a user asked for -> tasks: of one model on one data set, or of every line of a suite that has a space."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark.suite import (
    Job,
    expand,
    headline,
    load_suite,
    reason_to_skip,
    resolve,
)
from recbole_hiersrec.errors import InputError, SkippedError
from recbole_hiersrec.names import check_model
from recbole_hiersrec.reading import parse, read_yaml
from recbole_hiersrec.settings import ModelEntry, SuiteSettings
from recbole_hiersrec.tuning.space import Space, read_space, shipped_space
from recbole_hiersrec.tuning.task import SCANNED, SECOND, Task, one_of, slug

METRIC = r"(NDCG|MRR|Recall)@[1-9][0-9]*"
PROTOCOL, LIMITS = ("split", "history", "max_length"), ("epochs", "patience")


@dataclass(frozen=True)
class Wishes:
    """What is asked for in either case; None: the suite's, or as said.

    Attributes:
        objective: a validation metric; the suite's headline metric, NDCG@10, when absent.
        second: one of :data:`~recbole_hiersrec.tuning.task.SECOND`; one objective when absent.
        seed: of the trainings and the sampler; the suite's first one when absent.
        threads: of torch.
        trial_seconds: most that a trial trains; the suite's seconds when absent.
        space: a file; the space that ships for the model when absent.
        study: its name; MODEL.DATASET or SUITE.DATASET.LINE when absent.
    """

    objective: str | None = None
    second: str | None = None
    seed: int | None = None
    threads: int | None = None
    trial_seconds: float | None = None
    space: Path | None = None
    study: str | None = None


def task_of(model: str | None, dataset: str | None, options: Mapping[str, Any], wishes: Wishes) -> Task:
    """The task of one model on one data set, under a suite's defaults.

    Args:
        model: its name.
        dataset: its name.
        options: ``data_path``; ``split``, ``history``, ``max_length`` of the protocol; ``epochs``, ``patience`` of the
            limits; ``settings``, the path of a YAML file of what is not searched.
        wishes: the rest.

    Raises:
        InputError: a name, number, space or setting is wrong, or the model cannot use the data.
    """
    if model is None or dataset is None:
        raise InputError("expected MODEL and DATASET, or --suite; see hiersrec tune run --help")
    check_model(model)
    fixed = read_yaml(options["settings"]) if "settings" in options else {}
    where = {"name": dataset} | {key: str(options[key]) for key in ("data_path",) if key in options}
    values: dict[str, Any] = {
        "name": "tune",
        "datasets": [where],
        "models": [{"model": model, "settings": fixed}],
        "protocol": {key: options[key] for key in PROTOCOL if key in options},
        "limits": {key: options[key] for key in LIMITS if key in options},
    }
    if wishes.objective is not None:  # a suite's 20 items may be more than there are
        k = int(_checked(wishes.objective).partition("@")[2])
        values |= {"ks": [k], "speed": {"k": k}}
    suite = parse(SuiteSettings, values, "options")
    if wishes.second == SCANNED:
        fields = resolve(suite, suite.datasets[0], suite.models[0]).get("category_fields")
        entry = ModelEntry(model=model, settings=fixed, candidates=("cells" if fields else "k-means",))
        suite = suite.model_copy(update={"models": (entry,)})
    space = _space(model, wishes.space)
    if space is None:
        raise InputError(f"model {model} has no search space in properties/space/; name one with --space")
    left = space.without(fixed)
    if not left.parameters:
        raise InputError(f"{space.where}: --settings fixes all of it; nothing is left to search")
    named = replace(wishes, study=wishes.study or f"{model}.{dataset}")
    tasks = _tasks(suite, {model: left}, named, _refuse)
    return tasks[0]


def tasks_of_suite(
    name: str, given: Collection[str], only: Sequence[str], wishes: Wishes, echo: Callable[[str], None]
) -> list[Task]:
    """One task a data set and model line, of the lines of which something is searched; the others are named.

    Args:
        name: the suite's file or name; its settings are where each search starts.
        given: options that were used and that the suite decides.
        only: names of lines; all of them when empty.
        wishes: the rest.
        echo: takes lines about what is left out.

    Raises:
        InputError: an option is the suite's, a name, space or setting is wrong, or nothing is left to search.
    """
    for option in given:
        raise InputError(f"{option}: received with --suite, which says it itself; leave it out")
    suite = load_suite(name)
    lines = {entry.name or entry.model: entry.model for entry in suite.models}
    for line in only:
        one_of(line, list(lines), "--only")
    spaces = {}
    for line, model in lines.items():
        space = _space(model, wishes.space) if not only or line in only else None
        if space is not None:
            spaces[line] = space
        elif not only or line in only:
            echo(f"{line}: skipped: {model} has no search space in properties/space/")
    if not spaces:
        raise InputError(f"suite {suite.name}: no line has a search space; nothing to tune")
    for option, value in (("--study", wishes.study), ("--space", wishes.space)):
        if value is not None and len(spaces) > 1:
            raise InputError(f"{option}: received '{value}' for several lines; pick one with --only")
    if wishes.study is not None and len(suite.datasets) > 1:
        raise InputError(f"--study: received '{wishes.study}' for several data sets; leave it out")

    def skip(job: Job, reason: str) -> None:
        echo(f"{job.dataset} {job.name}: skipped: {reason}")

    return _tasks(suite, spaces, wishes, skip)


def _refuse(job: Job, reason: str) -> None:
    raise InputError(f"model {job.name} cannot use data set {job.dataset}: {reason}")


def _space(model: str, file: Path | None) -> Space | None:
    path = file or shipped_space(model)
    return None if path is None else read_space(path, model)


def _tasks(
    suite: SuiteSettings, spaces: Mapping[str, Space], wishes: Wishes, skip: Callable[[Job, str], None]
) -> list[Task]:
    """Tasks of the lines that ``spaces`` names."""
    metric = _checked(wishes.objective or "{}@{}".format(*headline(list(suite.metrics), list(suite.ks))))
    if wishes.second is not None:
        one_of(wishes.second, SECOND, "--second-objective")
    entries = tuple(
        _entry(entry, metric, wishes.second)
        for entry in suite.models
        if (entry.name or entry.model) in spaces
    )
    changes: dict[str, Any] = {"models": entries, "reference": None, "seeds": suite.seeds[:1]}
    changes |= {"seeds": (wishes.seed,)} if wishes.seed is not None else {}
    changes |= {"threads": wishes.threads} if wishes.threads is not None else {}
    if wishes.trial_seconds is not None:
        changes["limits"] = suite.limits.model_dump() | {"seconds": wishes.trial_seconds}
    asked = parse(SuiteSettings, suite.model_dump() | changes, "options")
    tasks = []
    for job in expand(asked):
        if reason := reason_to_skip(job):
            skip(job, reason)
            continue
        objectives = (metric, wishes.second) if wishes.second else (metric,)
        study = slug(wishes.study or f"{suite.name}.{job.dataset}.{job.name}")
        task = Task(study, _one_rule(job), spaces[job.name], objectives)
        task.start()  # a default outside its range is told before anything runs
        tasks.append(task)
    if not tasks:
        raise SkippedError(f"suite {suite.name}: no line can use its data; nothing to tune")
    return tasks


def _checked(metric: str) -> str:
    if not re.fullmatch(METRIC, metric):
        raise InputError(
            f"--objective: received '{metric}'; allowed: NDCG@K, MRR@K, Recall@K, such as NDCG@10"
        )
    return metric


def _entry(entry: ModelEntry, metric: str, second: str | None) -> ModelEntry:
    """The line with the objective as the metric that training stops by; candidates only where they are an objective."""
    if second == SCANNED and not entry.candidates:
        raise InputError(
            f"--second-objective: scanned needs candidates of model {entry.name or entry.model} in the suite"
        )
    candidates = entry.candidates if second == SCANNED else False
    return entry.model_copy(
        update={"settings": {**entry.settings, "valid_metric": metric}, "candidates": candidates}
    )


def _one_rule(job: Job) -> Job:
    """The job with its first candidate rule at the first item fraction."""
    if job.candidates is None:
        return job
    candidates = job.candidates | {name: job.candidates[name][:1] for name in ("rules", "item_fractions")}
    return replace(job, candidates=candidates | {"exact": False})

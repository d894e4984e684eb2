"""How the next trial is chosen and ended early, and how Optuna stores what was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.tuning.space import Choice, FloatRange, Parameter, Space
from recbole_hiersrec.tuning.task import Task, one_of

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "hyperband", "none")
STARTUP, WARM_EPOCHS, LEAST_AT_EPOCH = 5, 5, 3
"""The median pruner waits for so many complete trials, leaves a trial's first epochs alone, and compares it at an epoch
that so many of those have reached: slow learners are no bad ones, and few trials train for long. Successive halving
leaves the first epochs alone too."""
REDUCTION = 3
"""One in so many trials goes on from a rung of successive halving and of Hyperband to the next."""


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


def holds(parameter: Parameter, stored: Any) -> bool:
    """Whether a value, as Optuna stores it, is one that the search may choose."""
    if isinstance(parameter, Choice):
        return any(_stored(one) == stored for one in parameter.choice)
    return parameter.contains(stored)

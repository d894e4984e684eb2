"""What Optuna is told and what is made of it: values as they were meant, importance of what makes a model good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from fake_suite import write_data
from optuna.distributions import FloatDistribution
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import create_trial
from tune_driver import task as driver_task

from recbole_hiersrec.tuning.sampling import default_pruner, encoded, pruner_of, sampler_of, suggested
from recbole_hiersrec.tuning.summary import _importance

SPACE = """
learning_rate: {float: [1.0e-4, 2.0e-2], log: true}
hidden_dropout_prob: {float: [0.0, 0.7], step: 0.1}
n_layers: {int: [1, 3]}
hidden_act: {choice: [gelu, [1, 2], ~, "a", true]}
n_negatives: {int: [1, 1024], log: true, when: {n_layers: [2, 3]}}
"""


@pytest.fixture
def task(tmp_path: Path) -> Any:
    write_data(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    return driver_task(tmp_path)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_samplers_give_values_of_the_space(task: Any, sampler: str) -> None:
    study = optuna.create_study()
    study.enqueue_trial(encoded(task.space, task.start()))
    seen = set()
    for number in range(30):
        study.sampler = sampler_of(sampler, task, number)
        trial = study.ask()
        found = suggested(trial, task)
        if number == 0:
            assert found == task.start()
        for name, value in found.items():
            assert task.space.parameters[name].contains(value)
        assert found["hidden_dropout_prob"] in (
            0.0,
            0.1,
            0.2,
            0.3,
            0.4,
            0.5,
            0.6,
            0.7,
        )  # not 0.30000000000000004
        assert ("n_negatives" in found) == (found["n_layers"] > 1)
        assert type(found["n_layers"]) is int
        seen.add(repr(found["hidden_act"]))
        study.tell(trial, found["learning_rate"])
    assert seen == {"'gelu'", "[1, 2]", "None", "'a'", "True"}


def test_tpe_is_multivariate_and_counts_running_trials(task: Any) -> None:
    sampler = sampler_of("tpe", task, 3)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert (sampler._multivariate, sampler._group, sampler._constant_liar) == (True, True, True)


def test_pruners(task: Any) -> None:
    assert isinstance(pruner_of(None, task), MedianPruner)
    assert (default_pruner(task), default_pruner(replace(task, objectives=("NDCG@10", "latency")))) == (
        "median",
        "none",
    )
    assert isinstance(pruner_of("none", task), NopPruner)
    halving = pruner_of("halving", task)
    assert isinstance(halving, SuccessiveHalvingPruner)
    assert (halving._min_resource, halving._reduction_factor) == (5, 3)
    hyperband = pruner_of("hyperband", task)
    assert isinstance(hyperband, HyperbandPruner)
    assert hyperband._max_resource == task.job.limits["epochs"]


@pytest.mark.parametrize(
    ("epoch", "others", "ended"),
    [
        (6, [9] * 5, True),
        (5, [9] * 5, False),  # its first five epochs are its own
        (6, [9] * 4, False),  # five trials come first
        (6, [9, 9, 9, 5, 5], True),
        (6, [9, 9, 5, 5, 5], False),  # two have come that far
    ],
)
def test_the_median_pruner_is_patient(task: Any, epoch: int, others: list[int], ended: bool) -> None:
    """``others`` are the epochs of complete trials, all of them better than the one that is asked about."""
    study = optuna.create_study(direction="maximize", pruner=pruner_of("median", task))
    for epochs in others:
        curve = dict.fromkeys(range(1, epochs + 1), 0.5)
        study.add_trial(create_trial(value=0.5, intermediate_values=curve))
    trial = study.ask()
    for step in range(1, epoch + 1):
        trial.report(0.1, step)
    assert trial.should_prune() == ended


def test_halving_lets_the_best_third_go_on(task: Any) -> None:
    """Values of trials after five epochs, one trial after another."""
    study = optuna.create_study(direction="maximize", pruner=pruner_of("halving", task))
    ended = []
    for value in (0.3, 0.2, 0.4, 0.35, 0.5, 0.45, 0.1):
        trial = study.ask()
        for step in range(1, 6):
            trial.report(value, step)
            if step < 5:
                assert not trial.should_prune()
        ended.append(trial.should_prune())
    assert ended == [False, True, False, True, False, False, True]


@pytest.mark.parametrize("objectives", [1, 2])
def test_importance_is_of_what_the_best_trials_have(objectives: int) -> None:
    """The best values need a near 1; b only tells the bad ones apart."""
    random = np.random.default_rng(1)
    directions = ["maximize", "minimize"][:objectives]
    study = optuna.create_study(directions=directions)
    ranges = {name: FloatDistribution(0.0, 1.0) for name in "ab"}
    for a, b in random.random((200, 2)).tolist():
        good = 10 * a if a > 0.85 else b
        values = [good, 1.0][:objectives]
        study.add_trial(create_trial(params={"a": a, "b": b}, distributions=ranges, values=values))
    found = _importance(study, study.trials)
    assert found["a"] > 0.9
    assert sum(found.values()) == pytest.approx(1)

"""Workers on one study: as many trials as asked for, none lost, none twice, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from fake_suite import write_data
from fake_trial import FAKE_TRIAL, worth
from optuna.trial import FrozenTrial, TrialState
from tune_driver import run, task

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.tuning import worker as worker_module
from recbole_hiersrec.tuning.search import search
from recbole_hiersrec.tuning.storage import Place, open_storage, place_of
from recbole_hiersrec.tuning.study import load_study, open_study
from recbole_hiersrec.tuning.summary import summary
from recbole_hiersrec.tuning.worker import TAKEN, Crew, Options, Turn, Worker

SPACE = "learning_rate: {float: [1.0e-4, 2.0e-2], log: true}\nhidden_dropout_prob: {float: [0.0, 0.6], step: 0.1}\n"
FEW = "learning_rate: {choice: [0.001, 0.01, 0.02]}\n"
DRIVER = Path(__file__).with_name("tune_driver.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path


@pytest.fixture
def driver(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that work on a study; those that still do are ended with the test."""
    started = []

    def start(storage: str, trials: int, workers: int = 1) -> subprocess.Popen[bytes]:
        arguments = [str(one) for one in (folder, storage, trials, workers)]
        started.append(subprocess.Popen([sys.executable, str(DRIVER), *arguments], start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def trials_of(folder: Path, storage: str | None = None, name: str = "s") -> list[FrozenTrial]:
    return load_study(name, place_of(name, storage, folder / "runs")).trials


def ran(folder: Path, event: str) -> Counter[str]:
    """How often each configuration had an event."""
    lines = [line.split(" ", 3) for line in (folder / "log").read_text().splitlines()]
    return Counter(key for key, _, _, what in lines if what == event)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def worker_of(folder: Path, place: Place) -> Worker:
    """A worker that is to see to one trial."""
    return Worker(Crew([(task(folder), place)], Options(1)), task(folder), place)


def taken(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state in TAKEN]


def test_the_first_trial_is_the_defaults_and_values_are_those_of_the_settings(folder: Path) -> None:
    told: list[str] = []
    outcome = run(folder, trials=3, told=told)
    trials = trials_of(folder)
    assert (outcome.finished, outcome.complete, outcome.failure) == (3, 3, "")
    assert trials[0].params == {"learning_rate": 0.001, "hidden_dropout_prob": 0.5}
    for trial in trials:
        assert trial.value == pytest.approx(worth(trial.params))
        assert sorted(trial.intermediate_values) == [1, 2, 3]
    assert len(told) == 3
    assert f"best NDCG@10 {max(trial.value for trial in trials):.4f}" in told[-1]
    assert not any(path.is_dir() for path in (folder / "runs/studies/s.db.trials/s").iterdir())


def test_the_next_call_adds_what_is_missing_and_the_same_call_nothing(folder: Path) -> None:
    run(folder, trials=2)
    run(folder, trials=4)
    assert run(folder, trials=4).finished == len(trials_of(folder)) == 4
    assert sum(ran(folder, "starts").values()) == 4


def test_a_trial_depends_on_seed_and_history_alone(folder: Path) -> None:
    run(folder, trials=4, study="a")
    for trials in (2, 4):
        run(folder, trials=trials, study="b")
    run(folder, trials=2, study="c", seed=7)
    a, b, c = ([trial.params for trial in trials_of(folder, name=name)] for name in "abc")
    assert a == b
    assert a[1] != c[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_four_workers_of_which_one_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, driver: Callable[..., Any], kind: str
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.2")
    monkeypatch.setenv("FAKE_EPOCHS", "8")
    storage = f"{kind}{folder / 'study'}"
    crew = [driver(storage, 10) for _ in range(4)]

    def in_the_middle() -> bool:
        """Whether the last that is known of the first worker's trial is its second epoch."""
        log = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
        return [line.split(" ", 3)[3] for line in log if line.split()[2] == str(crew[0].pid)][-1:] == [
            "epoch 2"
        ]

    wait_for(in_the_middle)
    crew[0].send_signal(signal.SIGKILL)
    for process in crew[1:]:
        assert process.wait(120) == 0
    trials = trials_of(folder, storage)
    assert len(taken(trials)) == 10
    assert all(trial.state == TrialState.COMPLETE for trial in taken(trials))
    assert set(ran(folder, "ends").values()) == {1}
    assert len(ran(folder, "ends")) == len({trial.user_attrs["key"] for trial in trials if trial.value}) == 10
    assert not any("enough trials" in trial.user_attrs.get("refused", "") for trial in trials)
    (twice,) = [key for key, times in ran(folder, "starts").items() if times > 1]
    assert ran(folder, "starts")[twice] == 2
    assert ran(folder, "epoch 1")[twice] == 1  # it went on, rather than beginning anew
    failed = [
        trial for trial in trials if trial.state == TrialState.FAIL and "refused" not in trial.user_attrs
    ]
    assert [trial.user_attrs["key"] for trial in failed] == [twice]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_call_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, driver: Callable[..., Any], number: signal.Signals
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.4")
    storage = f"sqlite:///{folder / 'study.db'}"
    process = driver(storage, 4, 2)
    wait_for(lambda: (folder / "log").exists() and sum(ran(folder, "epoch 1").values()) >= 2)
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    started = [int(line.split()[1]) for line in (folder / "log").read_text().splitlines()]
    wait_for(lambda: not any(_lives(one) for one in started))
    begun = set(ran(folder, "starts"))
    monkeypatch.setenv("FAKE_SECONDS", "0")
    assert run(folder, storage, 4).complete == 4
    assert begun <= set(ran(folder, "ends"))
    assert len(ran(folder, "ends")) == 4
    assert set(ran(folder, "epoch 1").values()) == {1}


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_seconds_are_a_ceiling(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.8")
    outcome = run(folder, trials=3, seconds=1.5)
    assert (outcome.ceiling, outcome.finished) == (True, 0)
    assert "same command goes on" in outcome.text("s", 3)
    monkeypatch.setenv("FAKE_SECONDS", "0")
    assert run(folder, trials=1).complete == 1
    assert set(ran(folder, "epoch 1").values()) == {1}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_configuration_is_not_run_twice(folder: Path, sampler: str) -> None:
    (folder / "space.yaml").write_text(FEW)
    assert run(folder, trials=8, sampler=sampler).finished == 8
    assert set(ran(folder, "starts").values()) == {1}
    trials = trials_of(folder)
    same = [trial for trial in trials if "same_as" in trial.user_attrs]
    assert len(same) == 8 - len(ran(folder, "starts"))
    for trial in same:
        twin = trials[trial.user_attrs["same_as"]]
        assert (trial.params, trial.value, trial.state) == (twin.params, twin.value, twin.state)


def test_what_is_under_way_is_not_run_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "space.yaml").write_text("learning_rate: {choice: [0.001, 0.01]}\n")
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    assert run(folder, trials=4, workers=4).finished == 4
    assert set(ran(folder, "starts").values()) == {1}
    refused = [trial for trial in trials_of(folder) if trial.state == TrialState.FAIL]
    assert refused
    assert all("under way" in trial.user_attrs["refused"] for trial in refused)


def test_the_grid_is_tried_once_and_ends(folder: Path) -> None:
    (folder / "space.yaml").write_text(FEW + "hidden_dropout_prob: {float: [0.4, 0.5], step: 0.1}\n")
    outcome = run(folder, trials=50, sampler="grid")
    assert outcome.finished < 50
    assert "every point of the grid" in outcome.text("s", 50)
    found = {tuple(trial.params.values()) for trial in trials_of(folder)}
    assert len(found) == len(ran(folder, "starts")) == 6
    (folder / "space.yaml").write_text(SPACE)
    with pytest.raises(InputError, match="grid needs finite ranges; 'learning_rate' is a float without step"):
        run(folder, study="other", sampler="grid")


def test_failed_trainings_are_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "0.005")
    told: list[str] = []
    assert run(folder, trials=6, sampler="random", told=told).finished == 6
    failed = [trial for trial in trials_of(folder) if trial.state == TrialState.FAIL]
    assert failed
    for trial in failed:
        assert trial.params["learning_rate"] > 0.005
        assert trial.user_attrs["error"].startswith("ValueError: training loss is nan (log: ")
    assert sum("failed: ValueError" in line for line in told) == len(failed)


def test_three_failures_in_a_row_end_a_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "0")
    outcome = run(folder, trials=6)
    assert (outcome.finished, len(trials_of(folder))) == (0, 3)
    assert outcome.failure.startswith("3 failures in a row, the last one: ValueError: training loss is nan")


@pytest.mark.slow
@pytest.mark.filterwarnings("error:The reported value is ignored")
@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_a_pruner_is_fed_every_epoch_and_ends_trials(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pruner: str
) -> None:
    monkeypatch.setattr(worker_module, "pruner_of", lambda *_: optuna.pruners.ThresholdPruner(lower=0.22))
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    assert run(folder, trials=4, sampler="random", pruner=pruner).finished == 4
    pruned = [trial for trial in trials_of(folder) if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in trials_of(folder):
        steps = sorted(trial.intermediate_values)
        assert steps == [1, 2, 3][: len(steps)]
        assert (trial.state == TrialState.PRUNED) == (worth(trial.params) / 2 < 0.22)
    assert not set(ran(folder, "ends")) & {trial.user_attrs["key"] for trial in pruned}


def test_two_objectives(folder: Path) -> None:
    assert run(folder, trials=3, second="latency").complete == 3
    for trial in trials_of(folder):
        assert trial.values == pytest.approx([worth(trial.params), 2 * worth(trial.params)])
        assert not trial.intermediate_values
    with pytest.raises(InputError, match="--pruner: received 'median' with two objectives; allowed: none"):
        run(folder, second="latency", pruner="median")


def test_a_trial_of_a_dead_machine_is_found_by_its_heartbeat_and_tried_once_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(place: Any, **more: Any) -> Any:
        return open_storage(place, heartbeat=1, grace=1, **more)

    monkeypatch.setattr(worker_module, "open_storage", quick)
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    for again in (False, True):
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 2e-2, log=True)
        trial.suggest_float("hidden_dropout_prob", 0.0, 0.6, step=0.1)
        trial.set_user_attr("worker", {"host": "elsewhere", "sampler": "tpe"})
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        if not again:
            time.sleep(2.1)
            assert run(folder, trials=1).finished == 1
            failed, retried = trials_of(folder)
            assert (failed.state, retried.state) == (TrialState.FAIL, TrialState.COMPLETE)
            assert failed.params == retried.params
            assert retried.system_attrs["retry_history"] == [0]


def test_a_worker_that_dies_twice_over_a_configuration_leaves_it(folder: Path) -> None:
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    for _ in range(2):
        study.ask().suggest_float("learning_rate", 1e-4, 2e-2, log=True)  # and then this worker dies
        worker_of(folder, place)._bury()
    states = [trial.state for trial in trials_of(folder)]
    assert states == [TrialState.FAIL, TrialState.FAIL]


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
@pytest.mark.parametrize("values", [[0.5], None])
def test_a_trial_that_ends_while_the_others_are_looked_at_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, values: list[float] | None
) -> None:
    place = place_of("s", f"{kind}{folder / 'study'}", folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    worker = worker_of(folder, place)
    trial = study.ask()
    trial.set_user_attr("key", "k")
    trial.set_user_attr("worker", {"host": os.uname().nodename, "sampler": "tpe"})
    is_dead, asked = worker._is_dead, []

    def late(running: FrozenTrial) -> bool:
        """Its worker tells of the end, and lets go of its lock, after the trials were read."""
        study.tell(trial, values, state=None if values else TrialState.FAIL)
        asked.append(is_dead(running))
        return asked[-1]

    monkeypatch.setattr(worker, "_is_dead", late)
    worker._bury()
    assert asked == [True]
    (only,) = trials_of(folder, f"{kind}{folder / 'study'}")
    assert only.state == (TrialState.COMPLETE if values else TrialState.FAIL)


def test_where_no_lock_is_shared_the_later_trial_gives_way(folder: Path) -> None:
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    worker = worker_of(folder, place)
    study.ask()  # of another machine, after this one had counted
    worker.study.sampler = optuna.samplers.RandomSampler()
    assert worker._run(ExitStack()) is Turn.RAN
    first, second = trials_of(folder)
    assert (first.state, second.state) == (TrialState.RUNNING, TrialState.FAIL)
    assert second.user_attrs["refused"] == "enough trials are under way"
    assert not (folder / "log").exists()


def told_by(folder: Path, names: str, **changes: Any) -> list[str]:
    """The study of each trial in the order in which they ended, of a search in several studies by one worker."""
    told: list[str] = []
    studies = [task(folder, study=name) for name in names]
    places = [place_of(one.study, None, folder / "runs") for one in studies]
    options = Options(**{"trials": 3, "pruner": "none", "command": FAKE_TRIAL} | changes)
    outcomes = search(list(zip(studies, places, strict=True)), options, echo=told.append)
    assert [outcome.finished for outcome in outcomes] == [options.trials] * len(names)
    return [line[0] for line in told]


def test_the_study_with_the_fewest_trials_is_next(folder: Path) -> None:
    assert told_by(folder, "abc", trials=2) == list("abcabc")
    assert told_by(folder, "dabc", trials=4) == list("dddabcdabc")


def test_the_bar_counts_the_trials_of_all_studies_and_says_the_best(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert told_by(folder, "ab", trials=2) == []  # the bar says it
    shown = capsys.readouterr().err.split("\r")
    best = max(trial.value for trial in trials_of(folder, name="b"))
    assert any("2 studies |" in line and "0/4" in line for line in shown)
    assert f"b: best NDCG@10 {best:.4f}" in shown[-1]
    assert "4/4" in shown[-1]
    run(folder, trials=2, study="a")
    assert "a |" in capsys.readouterr().err


def test_several_workers_share_several_studies(folder: Path) -> None:
    assert Counter(told_by(folder, "abc", trials=2, workers=2)) == {"a": 2, "b": 2, "c": 2}
    assert sum(ran(folder, "starts").values()) == sum(ran(folder, "ends").values()) == 6


def test_a_study_that_fails_leaves_the_others_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "0.005")
    (folder / "space.yaml").write_text("hidden_dropout_prob: {float: [0.0, 0.6], step: 0.1}\n")
    bad, good = task(folder, study="bad"), task(folder, study="good")
    bad = replace(bad, job=replace(bad.job, settings=bad.job.settings | {"learning_rate": 0.01}))
    studies = [(one, place_of(one.study, None, folder / "runs")) for one in (bad, good)]
    found = search(studies, Options(4, pruner="none", command=FAKE_TRIAL), echo=lambda _: None)
    assert [outcome.complete for outcome in found] == [0, 4]
    assert found[0].failure.startswith("3 failures in a row")
    assert found[1].failure == ""


@pytest.mark.parametrize(
    ("epochs", "waiting"), [([1], 1), ([1, 1], 0), ([0, 0], 0), ([1, 3], 1), ([1, 3, 3], 0), ([1, 3, 4], 1)]
)
def test_a_trial_that_comes_further_each_time_is_tried_again(
    folder: Path, epochs: list[int], waiting: int
) -> None:
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    for reached in epochs:  # and then the worker dies
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 2e-2, log=True)
        for epoch in range(1, reached + 1):
            trial.report(0.1, epoch)
        worker_of(folder, place)._bury()
    states = Counter(trial.state for trial in trials_of(folder))
    assert states == Counter({TrialState.FAIL: len(epochs), TrialState.WAITING: waiting})
    assert summary(study)["counts"]["failed"] == 1 - waiting  # what goes on has not failed


def test_a_warm_start_tries_the_best_of_another_study(folder: Path) -> None:
    run(folder, trials=8, study="first", sampler="random")
    best = sorted(trials_of(folder, name="first"), key=lambda trial: -trial.value)[:5]
    warm = ("first", place_of("first", None, folder / "runs"))
    (folder / "space.yaml").write_text(SPACE.replace("[0.0, 0.6]", "[0.0, 0.5]"))
    for _ in range(2):
        run(folder, trials=6, study="second", warm=warm)
    second = trials_of(folder, name="second")
    assert second[0].params == {"learning_rate": 0.001, "hidden_dropout_prob": 0.5}
    for trial, source in zip(second[1:6], best, strict=False):
        assert trial.params["learning_rate"] == source.params["learning_rate"]
        if source.params["hidden_dropout_prob"] <= 0.5:
            assert trial.params == source.params
    assert len(taken(second)) == 6


def test_a_storage_that_goes_away_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_: Any) -> Turn:
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(worker_module.Worker, "step", step)
    with pytest.raises(
        InputError, match=r"storage sqlite:.*s.db: cannot be reached: server closed the connection$"
    ):
        run(folder)


def test_results_that_a_dead_worker_did_not_take_are_taken(folder: Path) -> None:
    place = place_of("s", None, folder / "runs")
    job = task(folder).trial_job(task(folder).start())
    left = place.work / job.key
    left.mkdir(parents=True)
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))
    trial = study.ask()
    trial.suggest_float("learning_rate", 1e-4, 2e-2, log=True)
    trial.suggest_float("hidden_dropout_prob", 0.0, 0.6, step=0.1)
    trial.set_user_attr("key", job.key)
    trial.set_user_attr("worker", {"host": os.uname().nodename, "sampler": "tpe"})
    (left / "result.json").write_text('{"values": [0.25], "facts": {}}')
    assert run(folder, trials=1).complete == 1
    assert [trial.value for trial in trials_of(folder)] == [None, 0.25]
    assert not (folder / "log").exists()

"""Studies that go on from an export, on a machine that has no storage of theirs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from fake_suite import write_data
from fake_trial import worth
from optuna.trial import FrozenTrial, TrialState
from test_tune_summary import SPACE as EVERY_KIND
from test_tune_worker import FEW, SPACE, ran, taken, trials_of
from tune_driver import run, task

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.records import read_text
from recbole_hiersrec.tuning import study as study_module
from recbole_hiersrec.tuning.exported import export_of, read_exports
from recbole_hiersrec.tuning.sampling import sampler_of, suggested
from recbole_hiersrec.tuning.storage import open_storage, place_of, retry
from recbole_hiersrec.tuning.study import IDENTITY, Export, load_study, open_study
from recbole_hiersrec.tuning.summary import export, summary


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path


def tried(folder: Path, trials: int, sampler: str = "random", epochs: int = 3, **wishes: Any) -> None:
    """A study of so many trials, as workers of another machine leave it; without their processes."""
    wanted = task(folder, **wishes)
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(wanted, place, open_storage(place))
    for _ in range(trials):
        study.sampler = sampler_of(sampler, wanted, len(study.trials))
        trial = study.ask()
        settings = suggested(trial, wanted)
        value = worth(settings)
        trial.set_user_attr("key", wanted.trial_job(settings).key)
        trial.set_user_attr("worker", {"host": "far", "sampler": sampler, "pruner": "none"})
        trial.set_user_attr("facts", {"epochs": epochs, "seconds": 0.1})
        if wishes:
            study.tell(trial, [value, 2 * value])
            continue
        for epoch in range(1, epochs + 1):
            trial.report(value * epoch / (epoch + 1), epoch)
        study.tell(trial, value)


def exported(folder: Path, name: str = "out", **changes: Any) -> Path:
    """The export of the study in ``folder``, with changes of the JSON; the folder it lies in."""
    out = folder / name / "x.yaml"
    export(summary(load_study("s", place_of("s", None, folder / "runs"))), out)
    if changes:
        study = read_text(out.with_suffix(".json").read_text())
        out.with_suffix(".json").write_text(json.dumps(study | changes))
    return out.parent


def text(where: Path) -> str:
    return (where / "x.json").read_text()


def other_machine(folder: Path) -> None:
    """Nothing is left of the storage."""
    shutil.move(folder / "runs", folder / "runs of before")
    (folder / "log").unlink(missing_ok=True)


def test_a_study_goes_on_as_if_it_had_run_here(folder: Path) -> None:
    tried(folder, 12, sampler="tpe")
    whole = [trial.params for trial in trials_of(folder)]
    shutil.rmtree(folder / "runs")
    tried(folder, 11, sampler="tpe")  # from the eleventh on TPE goes by those before
    first = exported(folder)
    before = trials_of(folder)
    other_machine(folder)
    told: list[str] = []
    assert run(folder, trials=11, elsewhere=[first], told=told).complete == 11
    assert told == [f"s: goes on from 11 trials of {first / 'x.json'}"]
    assert not (folder / "log").exists()
    assert text(exported(folder, "again")) == text(first)
    for mine, theirs in zip(trials_of(folder), before, strict=True):
        assert (mine.params, mine.distributions, mine.values) == (
            theirs.params,
            theirs.distributions,
            theirs.values,
        )
        assert (mine.number, mine.state, mine.intermediate_values) == (
            theirs.number,
            theirs.state,
            theirs.intermediate_values,
        )
        noted = {name: it for name, it in theirs.system_attrs.items() if not name.startswith("tpe:")}
        assert mine.system_attrs == noted  # what TPE notes is for running trials
        worker = dict(theirs.user_attrs["worker"])
        worker.pop("host")
        assert mine.user_attrs == theirs.user_attrs | {"worker": worker}
    told.clear()
    assert run(folder, trials=12, elsewhere=[first], told=told).complete == 12
    assert [trial.params for trial in trials_of(folder)] == whole  # TPE has the same to go by
    assert sum(ran(folder, "starts").values()) == len(told) == 1


def test_every_kind_of_setting_comes_back_as_it_was(folder: Path) -> None:
    (folder / "space.yaml").write_text(EVERY_KIND)
    tried(folder, 12)
    first = exported(folder)
    before = trials_of(folder)
    other_machine(folder)
    run(folder, trials=12, sampler="random", elsewhere=[first])
    assert text(exported(folder, "again")) == text(first)
    for mine, theirs in zip(trials_of(folder), before, strict=True):
        assert mine.distributions == theirs.distributions
        assert {name: type(value) for name, value in mine.params.items()} == {
            name: type(value) for name, value in theirs.params.items()
        }
        for name, value in theirs.params.items():  # steps without the error of their sum
            assert mine.params[name] == (pytest.approx(value) if isinstance(value, float) else value)


def storage_with_every_state(folder: Path) -> list[FrozenTrial]:
    """A study with a trial that died and was tried again, and one each that is complete, the same as another, pruned,
    refused, failed and under way."""
    place = place_of("s", None, folder / "runs")
    with place.alone():
        study = open_study(task(folder), place, open_storage(place))

    def ask(rate: float, dropout: float, **attrs: Any) -> optuna.Trial:
        if study.get_trials(deepcopy=False)[-1].state != TrialState.WAITING:
            study.enqueue_trial({"learning_rate": rate, "hidden_dropout_prob": dropout})
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 2e-2, log=True)
        trial.suggest_float("hidden_dropout_prob", 0.0, 0.6, step=0.1)
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        return trial

    def key(trial: optuna.Trial) -> str:
        return task(folder).trial_job(trial.params).key

    worker = {"host": "far", "sampler": "tpe", "pruner": "hyperband"}
    machine = {"machine": {"processor": "P"}, "versions": {}, "commit": ""}
    dead = ask(0.001, 0.5, worker=worker)
    dead.report(0.1, 1)
    retry(study, study.tell(dead, state=TrialState.FAIL))
    first = ask(0.001, 0.5, worker=worker)
    first.set_user_attr("key", key(first))
    first.set_user_attr("facts", {"epochs": 2, "seconds": 3.5, "peak_memory_mib": 9.25, "made_on": machine})
    for epoch in (1, 2):
        first.report(1 / (3 * epoch), epoch)
        first.storage.set_trial_system_attr(first._trial_id, f"completed_rung_{epoch - 1}", 1 / (3 * epoch))
    study.tell(first, 1 / 3)
    twin = ask(0.001, 0.5, same_as=1, key=key(first))
    study.tell(twin, 1 / 3)
    pruned = ask(0.01, 0.1, worker=worker)
    pruned.set_user_attr("key", key(pruned))
    pruned.report(1 / 7, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(ask(0.01, 0.1, refused="the same as trial 3, which is under way"), state=TrialState.FAIL)
    study.tell(ask(0.02, 0.1, worker=worker, error="loss is nan"), state=TrialState.FAIL)
    ask(0.005, 0.0, worker=worker)
    last = ask(0.004, 0.2, worker=worker)
    last.set_user_attr("key", key(last))
    study.tell(last, 0.25)
    return study.get_trials()


def test_numbers_states_and_what_pruners_noted_are_kept(folder: Path) -> None:
    before = storage_with_every_state(folder)
    where = exported(folder)
    original = read_text(text(where))
    other_machine(folder)
    assert run(folder, trials=4, elsewhere=[where]).finished == 4
    trials = trials_of(folder)
    assert len(trials) == len(before) == 8
    left_out = [0, 4, 6]  # died and went on, was refused, was running
    for mine, theirs in zip(trials, before, strict=True):
        if mine.number in left_out:
            assert mine.state == TrialState.FAIL
            assert mine.user_attrs == {"refused": "not in the export"}
            continue
        assert (mine.state, mine.values, mine.params) == (theirs.state, theirs.values, theirs.params)
        assert mine.intermediate_values == theirs.intermediate_values
    assert trials[1].system_attrs == {
        "completed_rung_0": 1 / 3,
        "completed_rung_1": 1 / 6,
    }
    assert trials[1].user_attrs["facts"] == before[1].user_attrs["facts"]
    assert trials[3].user_attrs["worker"] == {"sampler": "tpe", "pruner": "hyperband"}
    again = read_text(text(exported(folder, "again")))
    original["trials"] = [trial for trial in original["trials"] if trial["state"] != "running"]
    original["counts"]["running"] = 0
    assert again == original
    assert again["defaults"] == 1
    assert again["start"] == {"learning_rate": 0.001, "hidden_dropout_prob": 0.5}


def test_the_defaults_are_queued_unless_the_export_has_them(folder: Path) -> None:
    tried(folder, 2)
    rows = read_text(text(exported(folder)))["trials"]
    rows[0]["state"], rows[0]["values"] = "running", None
    where = exported(folder, trials=rows)
    other_machine(folder)
    assert run(folder, trials=2, elsewhere=[where]).complete == 2
    trials = trials_of(folder)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].params == {"learning_rate": 0.001, "hidden_dropout_prob": 0.5}
    assert read_text(text(exported(folder, "again")))["defaults"] == 2
    assert sum(ran(folder, "starts").values()) == 1


def test_what_was_tried_there_is_not_run_here(folder: Path) -> None:
    (folder / "space.yaml").write_text(FEW)
    tried(folder, 6)
    there = {trial.user_attrs["key"] for trial in trials_of(folder)}
    where = exported(folder)
    other_machine(folder)
    told: list[str] = []
    assert run(folder, trials=12, sampler="random", elsewhere=[where], told=told).finished == 12
    here = set(ran(folder, "starts")) if (folder / "log").exists() else set()
    assert not here & there
    assert len(here | there) == 3
    assert len([line for line in told if "the same as trial" in line]) == 6 - len(here)


def test_the_grid_goes_on_where_it_was(folder: Path) -> None:
    (folder / "space.yaml").write_text(FEW + "hidden_dropout_prob: {float: [0.4, 0.5], step: 0.1}\n")
    tried(folder, 3, sampler="grid")
    there = {trial.user_attrs["key"] for trial in trials_of(folder)}
    where = exported(folder)
    other_machine(folder)
    outcome = run(folder, trials=50, sampler="grid", elsewhere=[where])
    assert "every point of the grid" in outcome.text("s", 50)
    assert len(there | set(ran(folder, "starts"))) == 6
    assert not there & set(ran(folder, "starts"))
    points = [trial.system_attrs.get("grid_id") for trial in trials_of(folder)]
    assert sorted(point for point in points if point is not None) == list(range(6))


def test_the_pruner_knows_the_curves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_EPOCHS", "8")
    tried(folder, 6, epochs=8)
    rows = read_text(text(exported(folder)))["trials"]
    for row in rows:  # all of them far better than what follows
        row["curve"] = dict.fromkeys(row["curve"], 0.9)
    where = exported(folder, trials=rows)
    other_machine(folder)
    monkeypatch.setenv("FAKE_SECONDS", "0.15")
    assert run(folder, trials=7, pruner="median", elsewhere=[where]).complete == 6
    assert trials_of(folder)[6].state == TrialState.PRUNED


def test_two_objectives(folder: Path) -> None:
    tried(folder, 3, second="latency")
    where = exported(folder)
    other_machine(folder)
    assert run(folder, trials=4, second="latency", elsewhere=[where]).complete == 4
    assert sum(ran(folder, "starts").values()) == 1
    front = read_text(text(where))["front"]
    assert {trial.number for trial in load(folder).best_trials} >= set(front) - {3}


def load(folder: Path) -> optuna.Study:
    return load_study("s", place_of("s", None, folder / "runs"))


def test_the_storage_wins(folder: Path) -> None:
    tried(folder, 4)
    where = exported(folder)
    told: list[str] = []
    run(folder, trials=4, elsewhere=[where], told=told)
    assert told == []
    other_machine(folder)
    tried(folder, 2)
    run(folder, trials=2, elsewhere=[where], told=told)
    assert told == [
        f"s: has trials of its own, and lacks 2 of {where / 'x.json'}; to go on from those, choose another --runs or "
        "--storage"
    ]
    assert len(trials_of(folder)) == 2


def test_a_study_without_an_export_begins_anew(folder: Path) -> None:
    tried(folder, 2)
    where = exported(folder, study="other")
    other_machine(folder)
    told: list[str] = []
    for _ in range(2):
        assert run(folder, trials=1, elsewhere=[where], told=told).complete == 1
    assert [line for line in told if "export" in line] == ["s: begins anew, there is no export of it"]


def test_of_two_exports_that_with_more_trials_is_taken(folder: Path) -> None:
    tried(folder, 1)
    few = exported(folder, "a")
    tried(folder, 2)
    many = exported(folder, "b")
    other_machine(folder)
    for folders in ([few, many], [many, few]):
        found = export_of(task(folder), read_exports(folders))
        assert found is not None
        assert (found.file, len(found.trials)) == (many / "x.json", 3)


ROW = {"number": 0, "state": "complete", "values": [0.5], "params": {"learning_rate": 0.001}, "curve": {}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": "0" * 64},
            "x.json: study 's' differs in data: '0000.*', asked for '.*; leave --elsewhere out",
        ),
        ({"space": {}}, r"differs in space \(learning_rate\): None, asked for"),
        ({"settings": {}}, "differs in settings"),
        ({"seed": 3}, "differs in seed: 3, asked for 2026"),
        ({"objectives": ["NDCG@10", "latency"]}, "differs in objectives"),
        ({"limits": {}}, r"differs in limits \(epochs\)"),
        ({"start": None}, "x.json is damaged .*: start: .* received None"),
        ({"trials": 3}, "x.json is damaged .*: trials: "),
        (
            {"trials": [ROW, ROW]},
            "x.json is damaged: trials: expected rising numbers; run hiersrec tune export",
        ),
        ({"trials": [ROW | {"state": "done"}]}, r"trials.0.state: .* received 'done'"),
        ({"trials": [ROW | {"values": None}]}, "trial 0: expected a value an objective, received None"),
        ({"trials": [ROW | {"values": [float("nan")]}]}, "trials.0.values.0: .* finite"),
        (
            {"trials": [ROW | {"params": {"learning_rat": 1}}]},
            "'learning_rat' is not searched.* 'learning_rate'",
        ),
        ({"trials": [ROW | {"params": {"learning_rate": 7}}]}, "trial 0: The value 7 of parameter"),
        ({"trials": [ROW | {"params": {"learning_rate": "x"}}]}, "x.json is damaged: trial 0: "),
        ({"trials": [ROW | {"made_on": 7}]}, "trial 0: .*out of range"),
        ({"trials": [ROW | {"curve": {"one": 1}}]}, "curve.one"),
        ({"schema": 0}, "x.json is not a study of this version"),
    ],
)
def test_another_identity_and_damage_are_one_line_and_nothing_is_written(
    folder: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    tried(folder, 1)
    where = exported(folder, **changes)
    other_machine(folder)
    with pytest.raises(InputError, match=message) as caught:
        run(folder, trials=1, elsewhere=[where])
    assert "\n" not in str(caught.value)
    assert not (folder / "runs").exists()


def test_files_that_are_no_exports(folder: Path) -> None:
    with pytest.raises(InputError, match="--elsewhere: received .*nosuch; allowed: a folder of exported"):
        run(folder, elsewhere=[folder / "nosuch"])
    (folder / "x.json").write_text('{"schema"')
    with pytest.raises(InputError, match="x.json is damaged"):
        run(folder, elsewhere=[folder])
    assert not (folder / "runs").exists()


@contextmanager
def killed_after(added: int) -> Iterator[None]:
    """Ends whoever begins a study when it has given it so many trials."""

    class Killed(BaseException):
        pass

    def some(study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        for trial in trials[:added]:
            study.add_trial(trial)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.Study, "add_trials", some)
        with pytest.raises(Killed):
            yield


def test_whoever_is_killed_on_the_way_is_gone_on_from(folder: Path) -> None:
    tried(folder, 4)
    where = exported(folder)
    other_machine(folder)

    with killed_after(2):
        run(folder, trials=4, elsewhere=[where])
    with pytest.raises(InputError, match="study 's' is not whole: go on with hiersrec tune run"):
        trials_of(folder)
    for others in ([], [exported_again(folder, where)]):
        with pytest.raises(InputError, match="was only begun, with other options or another --else"):
            run(folder, trials=4, elsewhere=others)
    assert run(folder, trials=4, elsewhere=[where]).complete == 4
    assert text(exported(folder, "again")) == text(where)
    assert not (folder / "log").exists()


def exported_again(folder: Path, where: Path) -> Path:
    """The same export with a trial less."""
    study = read_text(text(where))
    (folder / "less").mkdir()
    (folder / "less" / "x.json").write_text(json.dumps(study | {"trials": study["trials"][:-1]}))
    return folder / "less"


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_two_at_once_take_the_trials_over_once(folder: Path, kind: str) -> None:
    tried(folder, 5)
    where = exported(folder)
    other_machine(folder)
    driver = Path(__file__).with_name("tune_driver.py")
    storage = f"{kind}{folder / 'study'}"
    both = [
        subprocess.Popen([sys.executable, str(driver), str(folder), storage, "7", "1", "60", str(where)])
        for _ in range(2)
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    trials = trials_of(folder, storage)
    assert len(taken(trials)) == 7
    assert [trial.number for trial in trials if "host" not in trial.user_attrs.get("worker", {})][:5] == list(
        range(5)
    )
    assert sum(ran(folder, "starts").values()) == 2


def opened_by_another(folder: Path, added: int) -> tuple[Any, Export, Any]:
    """A place on a server, an export, and the study there as another machine has begun it."""
    tried(folder, 4)
    found = export_of(task(folder), read_exports([exported(folder)]))
    assert found is not None
    place = replace(place_of("s", f"sqlite:///{folder / 'server.db'}", folder / "runs"), file=None)
    with killed_after(added):
        open_study(task(folder), place, open_storage(place), found)
    return place, found, optuna.load_study(study_name="s", storage=open_storage(place))


def test_a_machine_waits_for_another_one_that_fills_the_study(folder: Path) -> None:
    place, found, study = opened_by_another(folder, 2)
    waiting = threading.Thread(target=lambda: open_study(task(folder), place, open_storage(place), found))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    study.add_trials(found.trials[2:])
    study.set_user_attr(IDENTITY, json.loads(json.dumps(task(folder).identity())))
    waiting.join(20)
    assert not waiting.is_alive()
    assert len(study.get_trials()) == 4


def test_a_machine_goes_on_for_another_one_that_died(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, found, study = opened_by_another(folder, 2)
    monkeypatch.setattr(study_module, "OPENING", 0.1)
    open_study(task(folder), place, open_storage(place), found)
    assert [trial.params for trial in study.get_trials()] == [trial.params for trial in found.trials]

"""Where studies lie, whose they are, and what of the command line is refused in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from fake_suite import suite_values, write_data
from fake_trial import FAKE_TRIAL
from test_tune_worker import SPACE, ran
from tune_driver import run
from typer.testing import CliRunner

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.suite import expand, load_suite
from recbole_hiersrec.cli import app
from recbole_hiersrec.records import read_text
from recbole_hiersrec.tuning import worker as worker_module


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command, in a folder with data, with fake trials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(worker_module, "COMMAND", FAKE_TRIAL)
    write_data(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["tune", *arguments])

    return call


RUN = ("run", "SASRecAllPositions", "toy", "--space", "space.yaml", "--trials", "1", "--study", "s")


def write(text: str, name: str = "") -> str:
    path = Path(name or f"{abs(hash(text))}.yaml")
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--trials", "0"], "--trials: received 0, allowed: whole numbers from 1"),
        (["--workers", "0"], "--workers: received 0, allowed"),
        (["--seconds", "0"], "--seconds: received 0, allowed: numbers above 0"),
        (["--sampler", "tp"], "--sampler: received 'tp'; did you mean 'tpe'? (allowed: tpe, random, grid)"),
        (["--pruner", "medain"], "--pruner: received 'medain'; did you mean 'median'?"),
        (["--objective", "NDCG"], "--objective: received 'NDCG'; allowed: NDCG@K"),
        (["--second-objective", "latencies"], "did you mean 'latency'?"),
        (["--second-objective", "latency", "--pruner", "median"], "with two objectives; allowed: none"),
        (["--storage", "no url"], "--storage: received 'no url'; allowed: an SQLAlchemy URL"),
        (["--storage", "sqlite://"], "which keeps nothing"),
        (["--storage", "nosuch://host/name"], "storage nosuch://host/name: cannot be reached"),
        (["--storage", "sqlite:////dev/null/x.db"], "/dev/null cannot be written"),
        (["--seed", "-1"], "seeds.0: "),
        (["--epochs", "0"], "options: limits.epochs: "),
        (["--trial-seconds", "0"], "limits.seconds: "),
        (["--history", "mask"], "options: protocol.history: "),
        (["--warm-start", "nosuch"], "no storage runs/studies/nosuch.db"),
        (["--space", "nosuch.yaml"], "nosuch.yaml: no such file"),
        (["--settings", "nosuch.yaml"], "nosuch.yaml: no such file"),
        (["--only", "HierSRec"], "--only: received without --suite"),
        (["--suite", "quickstart"], "MODEL: received with --suite, which says it itself"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(
    tune: Callable[..., Any], changes: list[str], message: str
) -> None:
    result = tune(*RUN, *changes)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("log").exists()


def test_names_of_models_data_sets_and_settings_are_checked(tune: Callable[..., Any]) -> None:
    for arguments, message in (
        (["run"], "expected MODEL and DATASET, or --suite"),
        (["run", "HierSrec", "toy"], "unknown model 'HierSrec'; did you mean 'HierSRec'?"),
        (["run", "HierSRec", "toyy"], "toyy"),
        (["run", "MarkovChain", "toy"], "model MarkovChain has no search space in properties/space/"),
        (["run", "SASRec", "toy", "--settings", write("epochs: 3")], "key 'epochs' is not set here"),
        (["run", "SASRec", "toy", "--settings", write("learning_rat: 3")], "unknown key 'learning_rat'"),
        (
            [*RUN[:3], "--space", write("learning_rate: {float: [0.5, 1]}")],
            "starts from 0.001, allowed: {'float': [0.5",
        ),
        (
            [*RUN, "--settings", write(SPACE.replace("{float: [1.0e-4, 2.0e-2], log: true}", "1"))],
            "space.yaml: --settings fixes all of it; nothing is left to search",
        ),
        (
            ["show", "s"],
            "no storage runs/studies/s.db (there: none); run hiersrec tune run first, or say",
        ),
        (["export", "s"], "no storage runs/studies/s.db"),
        (["show"], "expected STUDY or --suite, one of them"),
        (["export", "s", "--suite", "quickstart"], "expected STUDY or --suite, one of them"),
        (
            ["export", "--suite", "quickstart", "--out", "x.yaml"],
            "--out: received with --suite; name one STUDY",
        ),
    ):
        result = tune(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert message in result.stderr


def test_a_study_of_something_else_is_refused(tune: Callable[..., Any]) -> None:
    assert tune(*RUN).exit_code == 0
    for changes, message in (
        (["--space", write(SPACE.replace("0.6", "0.5"))], "differs in space (hidden_dropout_prob): "),
        (["--objective", "MRR@5"], "differs in objectives: ['NDCG@10'], asked for ['MRR@5']"),
        (
            ["--second-objective", "latency"],
            "differs in objectives: ['NDCG@10'], asked for ['NDCG@10', 'latency']",
        ),
        (["--epochs", "3"], "differs in limits (epochs): 200, asked for 3"),
        (["--trial-seconds", "9"], "differs in limits (seconds): 3600.0, asked for 9.0"),
        (["--history", "masked"], "differs in protocol (history): 'unmasked', asked for 'masked'"),
        (["--seed", "5"], "differs in seed: 2026, asked for 5"),
        (["--settings", write("n_layers: 1")], "differs in settings (n_layers): 2, asked for 1"),
    ):
        result = tune(*RUN, *changes)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert "choose another --study" in result.stderr
    with Path("dataset/toy/toy.inter").open("a") as file:
        file.write("0\t7\t9999\n")
    assert "differs in data: " in tune(*RUN).stderr
    assert len(ran(Path(), "starts")) == 1


def test_studies_that_are_not_ours(tune: Callable[..., Any]) -> None:
    optuna.create_study(storage="sqlite:///x.db", study_name="s").add_trial(optuna.create_trial(value=1.0))
    for arguments in (RUN, ("show", "s"), ("export", "s")):
        result = tune(*arguments, "--storage", "sqlite:///x.db")
        assert result.exit_code == 2
        assert "study 's' was not made by hiersrec tune" in result.stderr
    assert "no study 't'" in tune("show", "t", "--storage", "sqlite:///x.db").stderr


def test_all_failed_is_status_1(tune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "0")
    result = tune(*RUN)
    assert result.exit_code == 1
    assert "failed: s: 3 failures in a row, the last one: ValueError: training loss is nan" in result.stderr
    for command in ("show", "export"):
        told = tune(command, "s")
        assert told.exit_code == (2 if command == "export" else 0)
        assert ("no finished trial; nothing to export" in told.stderr) == (command == "export")
    assert "no trial has finished" in tune("show", "s").stdout


def test_show_and_export(tune: Callable[..., Any], tmp_path: Path) -> None:
    tune(*RUN, "--trials", "6", "--pruner", "none", "--trial-seconds", "9")
    assert "no storage runs/studies/t.db (there: s)" in tune("show", "t").stderr
    shown = tune("show", "s")
    assert shown.exit_code == 0, shown.output
    for text in (
        "trials: 6 complete; sampler: tpe; pruner: none",
        "first trial (the defaults): NDCG@10 0.4410",
        "importance, of 6 complete trials",
    ):
        assert text in shown.stdout
    stems = ("history", "importance", "parallel")
    assert sorted(path.stem for path in Path("runs/studies/s.figures").iterdir()) == sorted(stems)
    assert tune("export", "s", "--out", "x.yaml").exit_code == 0
    params, study = yaml.safe_load(Path("x.yaml").read_text()), read_text(Path("x.json").read_text())
    assert study["limits"]["seconds"] == 9
    assert study["suite"] == "tune"
    assert Path("x.json").read_text().count("\n[") == 6  # a trial a line
    best = max(study["trials"], key=lambda trial: trial["values"][0])
    assert params == best["params"] == study["trials"][study["exported"]]["params"]
    assert study["value"] == best["values"][0]
    assert (
        f"NDCG@10 {best['values'][0]:.4f} in trial {best['number']} of 6 complete"
        in Path("x.yaml").read_text()
    )
    assert sum(study["importance"].values()) == pytest.approx(1)
    assert tune("export", "s", "--out", "y.yaml", "--trial", "0").exit_code == 0
    assert yaml.safe_load(Path("y.yaml").read_text()) == {"learning_rate": 0.001, "hidden_dropout_prob": 0.5}
    assert "--trial: received 9; allowed, as finished: 0, 1" in tune("export", "s", "--trial", "9").stderr
    assert "allowed: a name that ends in .yaml" in tune("export", "s", "--out", "z.txt").stderr


def test_the_pareto_front_is_that_of_both_objectives(tune: Callable[..., Any]) -> None:
    tune(*RUN, "--trials", "5", "--second-objective", "latency", "--sampler", "random")
    tune("export", "s", "--out", "x.yaml")
    study = read_text(Path("x.json").read_text())
    values = {trial["number"]: trial["values"] for trial in study["trials"]}
    front = {
        number
        for number, (good, slow) in values.items()
        if not any(a >= good and b <= slow and [a, b] != [good, slow] for a, b in values.values())
    }
    assert set(study["front"]) == front
    assert study["best"] == max(values, key=lambda number: values[number][0])
    assert "Pareto front" in tune("show", "s").stdout
    assert Path("runs/studies/s.figures/front.svg").is_file()


def test_a_suite_is_tuned_line_by_line(
    tune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [
        {"model": "SASRecAllPositions", "settings": {"learning_rate": 0.002}},
        {"model": "SASRecAllPositions", "name": "two layers", "settings": {"n_layers": 2, "n_heads": 1}},
        "MarkovChain",
    ]
    write(yaml.safe_dump(suite_values(tmp_path, models=models, limits={"epochs": 7})), "trial.yaml")
    nothing = tune("show", "--suite", "trial.yaml")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (2, 1)
    assert "'trial.yaml', none of whose models was tuned" in nothing.stderr
    monkeypatch.setenv("FAKE_STOPPED_BY", "seconds")
    result = tune("run", "--suite", "trial.yaml", "--trials", "2")
    assert result.exit_code == 0, result.output
    assert "MarkovChain: skipped: MarkovChain has no search space" in result.stdout
    names = ["trial.toy.SASRecAllPositions", "trial.toy.two-layers"]
    assert sorted(path.stem for path in Path("runs/studies").glob("*.db")) == names
    for name, rate in zip(names, (0.002, 0.001), strict=True):
        tune("export", name, "--out", f"{name}.yaml", "--trial", "0")
        study = read_text(Path(f"{name}.json").read_text())
        assert study["counts"]["complete"] == 2
        assert study["limits"]["epochs"] == 7
        assert study["trials"][0]["params"]["learning_rate"] == rate
        assert study["cut_short"] == 2
    assert "cut short by the seconds of a trial: 2 of the complete ones" in tune("show", names[0]).stdout
    lines = tune("show", "--suite", "trial.yaml").stdout.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(
        "2 complete; 2 cut short; best NDCG@10 0." in line and "; the defaults NDCG@10 0." in line
        for line in lines
    )
    monkeypatch.setattr(resources, "tuned_settings", lambda name: tmp_path / f"chosen-{name}.yaml")
    exported = tune("export", "--suite", "trial.yaml")
    assert exported.exit_code == 0, exported.output
    assert {path.name for path in tmp_path.glob("chosen-*")} == {
        f"chosen-{line}.toy.{kind}"
        for line in ("SASRecAllPositions", "two-layers")
        for kind in ("yaml", "json")
    }
    Path(f"runs/studies/{names[0]}.db").unlink()
    assert tune("show", "--suite", "trial.yaml").stdout.startswith(f"{names[0]}: no study yet\n{names[1]} ")
    again = tune("run", "--suite", "trial.yaml", "--trials", "2", "--only", "two layers")
    assert again.stdout.splitlines() == [
        "trial.toy.two-layers: 2 of 2 trials; " + again.stdout.split("; ")[1].strip()
    ]
    assert "did you mean 'two layers'" in tune("run", "--suite", "trial.yaml", "--only", "two layer").stderr
    assert (
        "--study: received 'x' for several lines"
        in tune("run", "--suite", "trial.yaml", "--study", "x").stderr
    )


def test_seconds_are_those_of_all_studies_of_a_suite(tune: Callable[..., Any], tmp_path: Path) -> None:
    models = ["SASRecAllPositions", "GRU4RecAllPositions"]
    write(yaml.safe_dump(suite_values(tmp_path, models=models)), "trial.yaml")
    result = tune("run", "--suite", "trial.yaml", "--trials", "99", "--seconds", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("the seconds are over, the same command goes on from here") == 2
    assert not Path("log").exists() or sum(ran(Path(), "starts").values()) < 20


def test_suites_name_what_was_exported(
    tune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = tmp_path / "root" / "properties" / "model"
    properties.mkdir(parents=True)
    monkeypatch.setattr(resources, "tuned_settings", lambda name: properties / f"{name}.yaml")
    tune(*RUN, "--trials", "4")
    exported = tune("export", "s")
    assert "say tuned: SASRecAllPositions.toy" in exported.stdout
    params = yaml.safe_load((properties / "SASRecAllPositions.toy.yaml").read_text())

    def jobs(entry: dict[str, Any]) -> list[Any]:
        models = [{"model": "SASRecAllPositions"} | entry]
        return expand(load_suite(write(yaml.safe_dump(suite_values(tmp_path, models=models)), "trial.yaml")))

    (plain,), (tuned,) = jobs({}), jobs({"tuned": "SASRecAllPositions.toy"})
    (mapped,), (own,) = (
        jobs({"tuned": {"toy": "SASRecAllPositions.toy"}}),
        jobs({"tuned": "SASRecAllPositions.toy", "settings": {"learning_rate": 0.5}}),
    )
    assert plain.tuned == {}
    assert tuned.settings == plain.settings | params
    assert (mapped.key, mapped.settings) == (tuned.key, tuned.settings)
    assert own.settings == tuned.settings | {"learning_rate": 0.5}
    (by_hand,) = jobs({"settings": params})
    assert by_hand.key == tuned.key  # how settings were found is no part of the key
    assert tuned.tuned["counts"]["complete"] + tuned.tuned["counts"]["pruned"] == 4
    assert (tuned.tuned["differs"], own.tuned["differs"]) == ([], ["learning_rate"])
    (other,) = jobs({"tuned": "SASRecAllPositions.toy", "settings": {"n_layers": 1, "hidden_size": 32}})
    assert other.tuned["differs"] == ["hidden_size", "n_layers"]
    for entry, message in (
        (
            {"tuned": "SASRecAllPositions.toi"},
            "no settings 'SASRecAllPositions.toi'.*mean 'SASRecAllPositions.toy'",
        ),
        (
            {"tuned": {"toi": "x"}},
            "received data set toi; did you mean 'toy'",
        ),
        (
            {"model": "HierSRec", "tuned": "SASRecAllPositions.toy"},
            "chosen for model SASRecAllPositions, received",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            jobs(entry)


def test_warm_start_from_another_model_is_refused(tune: Callable[..., Any]) -> None:
    write("learning_rate: {float: [1.0e-4, 2.0e-2], log: true}", "rate.yaml")
    assert (
        tune("run", "STAMP", "toy", "--space", "rate.yaml", "--trials", "1", "--study", "stamp").exit_code
        == 0
    )
    result = tune(*RUN, "--warm-start", "stamp")
    assert result.exit_code == 2
    assert "study 'stamp' is of model STAMP, not SASRecAllPositions" in result.stderr


def test_a_study_in_a_storage_with_others(tune: Callable[..., Any], tmp_path: Path) -> None:
    for study in ("a", "b"):
        run(tmp_path, "sqlite:///both.db", 2, study=study)
    assert "a: SASRecAllPositions on toy" in tune("show", "a", "--storage", "sqlite:///both.db").stdout
    assert "(there: a, b)" in tune("show", "c", "--storage", "sqlite:///both.db").stderr


def test_a_suite_goes_on_line_by_line(
    tune: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models: list[Any] = [
        "SASRecAllPositions",
        {"model": "SASRecAllPositions", "name": "wide", "settings": {"n_heads": 1}},
        "GRU4RecAllPositions",
    ]
    suite = suite_values(tmp_path, models=models)
    Path("trial.yaml").write_text(yaml.safe_dump(suite))
    monkeypatch.setattr(resources, "tuned_settings", lambda name: tmp_path / "model" / f"{name}.yaml")
    every = ("--suite", "trial.yaml")
    assert tune("run", *every, "--trials", "1", "--only", "wide").exit_code == 0
    monkeypatch.setenv("FAKE_FAIL", "0")
    assert tune("run", *every, "--trials", "1", "--only", "SASRecAllPositions").exit_code == 1
    monkeypatch.delenv("FAKE_FAIL")
    result = tune("export", *every)
    assert result.exit_code == 0, result.output
    assert "trial.toy.SASRecAllPositions: no trial has finished; nothing to export yet" in result.stdout
    assert "trial.toy.GRU4RecAllPositions: no study yet" in result.stdout
    assert [path.name for path in sorted(Path("model").iterdir())] == ["wide.toy.json", "wide.toy.yaml"]
    shutil.rmtree("runs")
    Path("log").unlink()
    result = tune("run", *every, "--trials", "2", "--elsewhere", "model")
    assert result.exit_code == 0, result.output
    assert "trial.toy.wide: goes on from 1 trials of model/wide.toy.json" in result.stdout
    for line in ("SASRecAllPositions", "GRU4RecAllPositions"):
        assert f"trial.toy.{line}: begins anew, there is no export of it" in result.stdout
    assert sum(ran(Path(), "starts").values()) == 5
    tune("export", *every)
    models[1] = models[1] | {"tuned": "wide.toy"}
    Path("trial.yaml").write_text(yaml.safe_dump(suite | {"models": models}))
    told = {job.name: job.tuned.get("counts", {}).get("complete") for job in expand(load_suite("trial.yaml"))}
    assert told == {"SASRecAllPositions": None, "wide": 2, "GRU4RecAllPositions": None}


def test_bad_folders_are_one_line_and_status_2(tune: Callable[..., Any]) -> None:
    result = tune(*RUN, "--elsewhere", "nosuch")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--elsewhere: received nosuch; allowed: a folder of exported studies" in result.stderr

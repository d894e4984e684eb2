"""What reports say of tuned models: a line a model, and the figures of the study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made
import pytest
from fake_job import write_result
from fake_suite import make_records, make_suite, suite_values

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.suite import expand
from recbole_hiersrec.report.page import render_page, write_report
from recbole_hiersrec.report.study_figures import draw_study
from recbole_hiersrec.report.tuning import tuning_figures, tuning_table

SPACE = {"learning_rate": {"float": [0.001, 0.1], "log": True}, "loss": {"choice": ["full", [1, 2]]}}


def study(**changes: Any) -> dict[str, Any]:
    trials = [
        {
            "number": 0,
            "state": "complete",
            "values": [0.1],
            "params": {"learning_rate": 0.01, "loss": "full"},
        },
        {"number": 1, "state": "pruned", "values": None, "params": {"learning_rate": 0.1, "loss": [1, 2]}},
        {"number": 2, "state": "complete", "values": [0.3], "params": {"learning_rate": 0.001}},
    ]
    values = {
        "schema": 1,
        "study": "s",
        "model": "HierSRec",
        "line": "HierSRec",
        "dataset": "toy",
        "space": SPACE,
        "objectives": ["NDCG@10"],
        "counts": {"complete": 2, "pruned": 1, "failed": 4},
        "cut_short": 1,
        "settings": {"n_layers": 3, "category_fields": ["class"]},
        "samplers": ["tpe"],
        "trials": [trial | {"curve": {"1": 0.05}} for trial in trials],
        "importance": {"learning_rate": 1.0},
        "front": [],
        "best": 2,
        "exported": 2,
        "value": 0.3,
    }
    return values | changes


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resources, "tuned_settings", lambda name: tmp_path / f"{name}.yaml")
    (tmp_path / "HierSRec.toy.yaml").write_text("learning_rate: 0.001\n")
    (tmp_path / "HierSRec.toy.json").write_text(json.dumps(study()))
    return tmp_path


def records(folder: Path, tuned: Any = "HierSRec.toy") -> list[dict[str, Any]]:
    models = suite_values(folder)["models"]
    jobs, found = make_records(folder, models=[models[0] | {"tuned": tuned}, *models[1:]])
    for job, record in zip(jobs, found, strict=True):
        record["job"]["tuned"] = job.tuned
    return found


def test_a_line_a_model_says_how_its_settings_were_chosen(exported: Path) -> None:
    table = tuning_table(records(exported))
    lines = {row[0]: list(row[1:]) for row in table.rows}
    differs, *rest = reversed(lines["HierSRec"])
    assert rest == ["tpe", "NDCG@10 0.3000", "1", "4", "1", "2", "3", "toy", "HierSRec.toy"]
    assert "n_layers" in differs.split(", ")  # 3 in the study
    assert "learning_rate" not in differs
    assert not {"loss", "category_fields"} & set(differs.split(", "))  # searched, unused; the same
    assert {name: line[0] for name, line in lines.items() if name != "HierSRec"} == dict.fromkeys(
        ("SASRecAllPositions", "SequentialPop"), "not tuned"
    )


def test_the_report_has_the_section_and_its_figures(exported: Path) -> None:
    found = records(exported)
    for record in found:
        (exported / "jobs" / record["key"]).mkdir(parents=True)
    page = render_page(found, [], ["tuning-history-HierSRec.toy.svg"])
    assert "### Tuning" in page
    assert (
        "![Validation metric of each trial, and the best so far. Best: 0.3000, trial 2 of 3 (learning_rate 0.001).]"
        "(figures/tuning-history-HierSRec.toy.svg)\n\n"
        "*HierSRec.toy: Validation metric of each trial, and the best so far.*" in page
    )
    assert set(tuning_figures(found)) == {"HierSRec.toy"}
    (exported / "HierSRec.toy.json").unlink()
    assert tuning_figures(found) == {}  # the line stays, as the record has it
    assert tuning_table(found).rows


def test_reproduction_has_the_commands_behind_the_settings(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "ROOT", exported)
    assert made.studies() == "No study is published."
    (exported / "properties" / "model").mkdir(parents=True)
    versions = {"python": "3.11", "torch": "2", "numpy": "2", "recbole": "1"}
    machine = {"processor": "P", "cores": 2, "memory_gib": 4}
    told = {"pruners": ["median"], "limits": {"seconds": 900.0}}
    told["made_on"] = [{"machine": machine, "versions": versions, "commit": "0123456789abcdef"}]
    for name, suite, own in (("a", "trial", "trial.toy.two-layers"), ("b", "tune", "s")):
        found = study(study=own, suite=suite, line="two layers", **told)
        (exported / "properties" / "model" / f"{name}.json").write_text(json.dumps(found))
    page = made.studies()
    for text in (
        "[a.yaml](../properties/model/a.yaml), [study](../properties/model/a.json) | 2 | 1 | 4 | 1 | NDCG@10 0.3000 |",
        "hiersrec tune run --suite trial --trials 3 --sampler tpe --pruner median --trial-seconds 900\n",
        "hiersrec tune run HierSRec toy --study s --trials 3 --sampler tpe",
        "\nhiersrec tune export --suite trial\nhiersrec tune export s\n",
        "Made on: P, 2 cores, 4 GiB, python 3.11, torch 2, numpy 2, recbole 1; commit `0123456789ab`.",
    ):
        assert text in page


def test_reports_without_tuned_models_say_nothing(tmp_path: Path) -> None:
    found = records(tmp_path, "")
    for record in found:
        del record["job"]["tuned"]  # as records of before
    assert "Tuning" not in render_page(found, [], ())
    assert tuning_figures(found) == {}


def test_settings_alone_will_do(exported: Path) -> None:
    (exported / "HierSRec.toy.json").unlink()
    table = tuning_table(records(exported))
    assert list(table.rows[0][:4]) == ["HierSRec", "HierSRec.toy", "", "unknown"]


def test_figures_are_drawn_of_what_there_is() -> None:
    assert set(draw_study(study())) == {"history", "parallel", "importance"}
    assert set(draw_study(study(importance={}))) == {"history", "parallel"}
    assert draw_study(study(importance={}, trials=study()["trials"][1:2])) == {}
    two = [trial | {"values": trial["values"] and [*trial["values"], 5.0]} for trial in study()["trials"]]
    drawn = draw_study(study(trials=two, objectives=["NDCG@10", "latency"], front=[2]))
    assert "front" in drawn
    assert all(svg.startswith(b"<svg ") for svg in drawn.values())
    assert draw_study(study()) == draw_study(study())


def test_a_whole_report_is_written(exported: Path) -> None:
    found = records(exported)
    for record in found:
        folder = exported / "runs" / "jobs" / record["key"]
        folder.mkdir(parents=True)
        write_result(folder, record)
    write_report(exported / "runs", found)
    names = {path.name for path in (exported / "runs" / "figures").iterdir()}
    stems = ("history", "importance", "parallel")
    assert {f"tuning-{stem}-HierSRec.toy.svg" for stem in stems} <= names
    assert [job.key for job in expand_again(exported)] == [record["key"] for record in found]


def expand_again(folder: Path) -> list[Any]:
    models = suite_values(folder)["models"]
    by_hand = models[0]["settings"] | {"learning_rate": 0.001}
    return expand(make_suite(folder, models=[models[0] | {"settings": by_hand}, *models[1:]]))

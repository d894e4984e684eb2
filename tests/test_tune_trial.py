"""One trial for real, on a small data set: what it is worth, what it goes on from, and what it never looks at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import register

register()

from recbole_hiersrec.benchmark.job import run as run_job  # noqa: E402
from recbole_hiersrec.benchmark.suite import Job  # noqa: E402
from recbole_hiersrec.errors import HierSRecError  # noqa: E402
from recbole_hiersrec.resuming import TrainingState  # noqa: E402
from recbole_hiersrec.tuning import trial as trial_module  # noqa: E402
from recbole_hiersrec.tuning.requests import Wishes, task_of  # noqa: E402
from recbole_hiersrec.tuning.search import search  # noqa: E402
from recbole_hiersrec.tuning.storage import place_of  # noqa: E402
from recbole_hiersrec.tuning.study import load_study  # noqa: E402
from recbole_hiersrec.tuning.trial import Closed, run  # noqa: E402
from recbole_hiersrec.tuning.worker import Options  # noqa: E402

FIXED = {key: SMALL[key] for key in ("gpu_id", "hidden_size", "inner_size", "n_layers", "n_heads")}
FIELDS = {"category_fields": ["department", "class"], "title_field": "title"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_shop(tmp_path / "dataset")
    (tmp_path / "space.yaml").write_text("learning_rate: {float: [1.0e-3, 5.0e-2], log: true}\n")
    (tmp_path / "fixed.yaml").write_text(json.dumps(FIXED | FIELDS))
    return tmp_path


def task(folder: Path, **wishes: Any) -> Any:
    options = {"data_path": folder / "dataset", "max_length": 5, "epochs": 4, "patience": 9}
    wanted = {"objective": "NDCG@3", "space": folder / "space.yaml", "threads": 1, "study": "s"} | wishes
    return task_of("HierSRec", "shop", options | {"settings": folder / "fixed.yaml"}, Wishes(**wanted))


def job(folder: Path, rate: float = 0.01, **wishes: Any) -> Job:
    return task(folder, **wishes).trial_job({"learning_rate": rate})


def in_folder(folder: Path, job: Job, name: str, second: str = "") -> dict[str, Any]:
    (folder / name).mkdir(exist_ok=True)
    return run(job, folder / name, second)


def test_a_trial_is_the_job_without_its_test_part(shop: Path) -> None:
    """Its value is what the same job of a suite gets in validation, epoch by epoch."""
    found = in_folder(shop, job(shop), "trial")
    (shop / "job").mkdir()
    speed = {"k": 3, "batch_size": 4, "repeats": 2, "warmup": 1}
    record = run_job(replace(job(shop), ks=[3], speed=speed), shop / "job")["training"]
    assert found["values"] == [record["best_valid"]]
    assert record["valid_metric"] == "NDCG@3"
    curve = json.loads((shop / "trial" / "curve.json").read_text())
    assert [point["valid"] for point in curve] == [point["valid"] for point in record["curve"]]
    assert found["values"][0] == max(point["valid"] for point in curve)
    assert found["facts"]["epochs"] == record["epochs"] == 4


def test_other_test_items_change_nothing(shop: Path) -> None:
    """Each session's last click, which is what is tested, becomes another item; items and values stay what they are."""
    found = in_folder(shop, job(shop), "before")
    path = shop / "dataset" / "shop" / "shop.inter"
    head, *rows = path.read_text().splitlines()
    for place in range(5, len(rows), 6):
        user, item, time = rows[place].split("\t")
        rows[place] = f"{user}\ti{(int(item[1:]) + 3) % 10}\t{time}"
    path.write_text("\n".join([head, *rows]) + "\n")
    other = job(shop)
    assert other.data_hash != job(shop).key
    again = in_folder(shop, other, "after")
    assert again["values"] == found["values"]
    curves = [json.loads((shop / name / "curve.json").read_text()) for name in ("before", "after")]
    assert [point["valid"] for point in curves[0]] == [point["valid"] for point in curves[1]]


def test_the_test_part_is_closed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    kept = trial_module.kept_trainer

    def look(job: Job, model_class: Any, data: Any, folder: Path) -> Any:
        seen.append(data)
        return kept(job, model_class, data, folder)

    monkeypatch.setattr(trial_module, "kept_trainer", look)
    in_folder(shop, job(shop), "trial")
    assert isinstance(seen[0].test, Closed)
    with pytest.raises(HierSRecError, match="the test part is closed while settings are chosen"):
        len(seen[0].test._dataset)


def test_a_killed_trial_goes_on_from_its_last_epoch(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = in_folder(shop, job(shop), "whole")
    monkeypatch.setattr(TrainingState, "every", 0.0)
    monkeypatch.setattr("recbole_hiersrec.resuming.SHARE", 0)
    write, steps = trial_module.write_text, []

    def die(path: Path, text: str) -> None:
        write(path, text)
        if len(json.loads(text)) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(trial_module, "write_text", die)
    with pytest.raises(KeyboardInterrupt):
        in_folder(shop, job(shop), "killed")

    def note(path: Path, text: str) -> None:
        write(path, text)
        if path.name == "curve.json":
            steps.append(len(json.loads(text)))

    monkeypatch.setattr(trial_module, "write_text", note)
    found = in_folder(shop, job(shop), "killed")
    assert steps == [3, 4, 4]  # epochs 1 and 2 were kept, 3 is trained again
    assert found["values"] == wanted["values"]
    curves = [json.loads((shop / name / "curve.json").read_text()) for name in ("whole", "killed")]
    assert [point["valid"] for point in curves[0]] == [point["valid"] for point in curves[1]]


def test_second_objectives(shop: Path) -> None:
    speed = {"k": 3, "batch_size": 4, "repeats": 3, "warmup": 1}
    found = in_folder(shop, replace(job(shop, second="latency"), speed=speed), "latency", "latency")
    assert 0 < found["values"][1] < 1000
    candidates = {
        "rules": ["k-means"],
        "item_fractions": [0.5],
        "list_size": 2,
        "super_lists": 0,
        "compared_fraction": 0.02,
        "mixed_share": 0.5,
        "exact": False,
    }
    found = in_folder(shop, replace(job(shop), candidates=candidates), "scanned", "scanned")
    compared = found["values"][1] * 10 - 5  # of 10 items 5 are scored, or 4 where a list does not fit
    assert 4 <= compared + 0 <= 9


def test_a_model_that_counts(shop: Path) -> None:
    (shop / "neighbours.yaml").write_text("neighbours: {int: [1, 100]}\n")
    options = {"data_path": shop / "dataset", "max_length": 5}
    wishes = Wishes(objective="NDCG@3", space=shop / "neighbours.yaml", threads=1)
    task = task_of("SKNN", "shop", options, wishes)
    found = in_folder(shop, task.trial_job({"neighbours": 5}), "trial")
    assert 0 < found["values"][0] <= 1
    assert found["facts"]["stopped_by"] == "counted"
    assert json.loads((shop / "trial" / "curve.json").read_text()) == []


def test_a_loss_that_is_no_number_fails(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_hiersrec.model.hiersrec import HierSRec

    monkeypatch.setattr(HierSRec, "calculate_loss", lambda self, _: torch.tensor(np.nan, requires_grad=True))
    with pytest.raises(ValueError, match="training loss is nan in epoch 1"):
        in_folder(shop, job(shop), "trial")


@pytest.mark.slow
def test_a_real_search(shop: Path) -> None:
    place = place_of("s", None, shop / "runs")
    told: list[str] = []
    (outcome,) = search([(task(shop), place)], Options(trials=2), echo=told.append)
    assert (outcome.complete, outcome.failure) == (2, ""), told
    first, second = load_study("s", place).trials
    assert first.params == {"learning_rate": 0.001}
    assert first.value == in_folder(shop, job(shop, 0.001), "by hand")["values"][0]
    assert sorted(second.intermediate_values) == [1, 2, 3, 4]
    assert second.user_attrs["facts"]["stopped_by"] == "epochs"


@pytest.fixture
def config_file(shop: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of RecBole's settings, as HyperTuning takes it."""
    monkeypatch.chdir(shop)
    fixed = {**SMALL, **FIELDS, "model": "HierSRec", "dataset": "shop", "data_path": "dataset"}
    (shop / "config.yaml").write_text(json.dumps(fixed))
    return str(shop / "config.yaml")


def test_what_recboles_hyper_tuning_calls_runs_on_hiersrec(config_file: str) -> None:
    from recbole.quick_start import objective_function

    found = objective_function(
        {"learning_rate": np.float64(0.01)}, [config_file]
    )  # hyperopt gives numpy's numbers
    assert (found["model"], found["valid_score_bigger"]) == ("HierSRec", True)
    assert found["best_valid_score"] == pytest.approx(found["best_valid_result"]["ndcg@3"])
    assert 0 <= found["test_result"]["ndcg@3"] <= 1


@pytest.mark.slow
def test_recboles_hyper_tuning_runs_on_hiersrec(config_file: str) -> None:
    pytest.importorskip(
        "hyperopt", reason="hyperopt is not installed (pip install 'recbole-hiersrec[hyperopt]')"
    )
    from recbole.quick_start import objective_function
    from recbole.trainer import HyperTuning

    tuning = HyperTuning(
        objective_function,
        algo="exhaustive",
        params_dict={"choice": {"learning_rate": [0.001, 0.01]}},
        fixed_config_file_list=[config_file],
    )
    tuning.run()
    assert tuning.best_params["learning_rate"] in (0.001, 0.01)
    assert len(tuning.params2result) == 2
    assert tuning.best_score == max(tuning.score_list)

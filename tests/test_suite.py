"""Suite -> jobs: order, keys, and what is checked before any job starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from atomic_files import write_manifest
from fake_suite import make_suite, suite_values, write_data, write_parts

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.suite import Job, expand, headline, job_key, load_suite, resolve
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings


def keys(folder: Path, **changes: Any) -> dict[str, str]:
    return {job.name: job.key for job in expand(make_suite(folder, **changes))}


def test_order_is_data_set_model_seed(tmp_path: Path) -> None:
    write_data(tmp_path)
    write_data(tmp_path, "second")
    datasets = [{"name": name, "data_path": str(tmp_path / "dataset")} for name in ("toy", "second")]
    jobs = expand(make_suite(tmp_path, datasets=datasets, seeds=[2, 1], models=["MarkovChain", "SASRec"]))
    assert [(job.dataset, job.model, job.seed) for job in jobs] == [
        (dataset, model, seed)
        for dataset in ("toy", "second")
        for model in ("MarkovChain", "SASRec")
        for seed in (2, 1)
    ]


def test_job_survives_json(tmp_path: Path) -> None:
    for job in expand(make_suite(tmp_path)):
        assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
        assert len(job.key) == 16
        assert job_key(job.to_dict()) == job.key


def test_key_is_the_same_for_the_same_job_wherever_the_data_lies(tmp_path: Path) -> None:
    here, there = keys(tmp_path / "a"), keys(tmp_path / "b")
    assert here == there
    assert keys(tmp_path / "a", name="other") == here
    renamed = keys(tmp_path / "a", models=[{"model": "SASRecAllPositions", "name": "My SASRec"}])
    assert renamed["My SASRec"] == here["SASRecAllPositions"]


def test_item_fractions_change_only_models_with_candidates(tmp_path: Path) -> None:
    before, after = keys(tmp_path), keys(tmp_path, candidates={"item_fractions": [0.5]})
    assert before["HierSRec"] != after["HierSRec"]
    assert before["SASRecAllPositions"] == after["SASRecAllPositions"]
    assert before["SequentialPop"] == after["SequentialPop"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"learning_rate": 0.01}},
        {"seeds": [7]},
        {"protocol": {"history": "masked"}},
        {"limits": {"steps": 9}},
        {"speed": {"repeats": 3}},
        {"metrics": ["Recall"]},
        {"ks": [10]},
    ],
)
def test_whatever_changes_a_result_changes_every_key(tmp_path: Path, change: dict[str, Any]) -> None:
    before, after = keys(tmp_path), keys(tmp_path, **change)
    assert all(before[name] != after[name] for name in before)


def test_threads_are_recorded_and_change_no_key(tmp_path: Path) -> None:
    assert keys(tmp_path) == keys(tmp_path, threads=2)
    assert {job.threads for job in expand(make_suite(tmp_path, threads=2))} == {2}


def test_data_changes_the_key(tmp_path: Path) -> None:
    before = keys(tmp_path)
    file = tmp_path / "dataset" / "toy" / "toy.inter"
    file.write_text(file.read_text() + "99\t1\t1\n")
    after = keys(tmp_path)
    assert all(before[name] != after[name] for name in before)


def test_later_settings_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, name in (("model", "SASRec"), ("dataset", "toy")):
        path = tmp_path / "properties" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{key}: {kind}\n" for key in "abcde"[kind == "dataset" :]))
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    suite = make_suite(
        tmp_path,
        settings=dict.fromkeys("cde", "suite"),
        datasets=[{"name": "toy", "settings": dict.fromkeys("de", "dataset entry")}],
        models=[{"model": "SASRec", "settings": {"e": "model entry"}}],
    )
    assert resolve(suite, suite.datasets[0], suite.models[0]) == {
        "a": "model",
        "b": "dataset",
        "c": "suite",
        "d": "dataset entry",
        "e": "model entry",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ["SASRek"]}, "SASRek"),
        ({"datasets": ["absent"]}, "absent"),
        ({"ks": [5, 31]}, "ks: received 31, data set 'toy' has 30 items"),
        ({"speed": {"k": 31}}, r"speed\.k: received 31"),
        (
            {"candidates": {"item_fractions": [0.01]}},
            r"data set 'toy': item_fraction: received 0\.01, which is less than one of 30 items",
        ),
        (
            {"models": [{"model": "HierSRec", "settings": {"category_fields": ["clas"]}}]},
            r"category_fields: .*no column 'clas'; did you mean 'class'\? \(columns: item_id, title, class\)",
        ),
        (
            {"models": [{"model": "HierSRec", "settings": {"title_field": "name"}}]},
            "title_field: .*no column 'name'",
        ),
        (
            {"models": [{"model": "HierSRec", "settings": {"follower_fields": ["clas"]}}]},
            r"settings of HierSRec: follower_fields: received 'clas'.*, allowed: ",
        ),
        (
            {
                "models": [
                    {
                        "model": "HierSRec",
                        "settings": {"category_fields": ["class"], "follower_fields": ["class"] * 2},
                    }
                ]
            },
            "follower_fields: 'class' stands more than once",
        ),
        (
            {"models": ["SASRec", {"model": "SASRec", "name": "again"}]},
            "'SASRec' and 'again' are the same job",
        ),
        ({"settings": {"day": __import__("datetime").date(2026, 1, 1)}}, "a value that JSON cannot hold"),
        (
            {"settings": {"epochs": 3}},
            "settings: key 'epochs' is not set here; a suite says it under: limits: epochs",
        ),
        (
            {"models": [{"model": "SASRec", "settings": {"topk": [3]}}]},
            "models: SASRec: settings: key 'topk' is not set here; a suite says it under: ks",
        ),
        (
            {"models": [{"model": "SASRec", "settings": {"hiden_size": 3}}]},
            "settings of SASRec: unknown key 'hiden_size'; did you mean 'hidden_size'",
        ),
        (
            {"models": [{"model": "HierSRec", "settings": {"hiden_size": 3}}]},
            "settings of HierSRec: unknown key 'hiden_size'; did you mean 'hidden_size'",
        ),
        (
            {"models": [{"model": "STAN", "settings": {"lambda2": 0}}]},
            "settings of STAN: lambda2: .*greater than 0; received 0",
        ),
        (
            {"models": [{"model": "VSKNN", "settings": {"mach_decay": "none"}}]},
            "settings of VSKNN: unknown key 'mach_decay'; did you mean 'match_decay'",
        ),
        ({"settings": {"valid_metric": "NDGC@10"}}, "valid_metric: .*received 'NDGC@10'"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate: .*received 'fast'"),
        ({"settings": {"eval_step": 0}}, "eval_step: .*received 0"),
        (
            {"models": [{"model": "SequentialPop", "candidates": True}]},
            "models: SequentialPop: the rule cells needs scores by inner products, .*: last-category, co",
        ),
        (
            {
                "models": [
                    {
                        "model": "SASRecAllPositions",
                        "candidates": ["leaf-categories"],
                        "settings": {"category_fields": ["class"]},
                    }
                ]
            },
            "models: SASRecAllPositions: the rule leaf-categories needs a model that predicts categories",
        ),
        (
            {
                "models": [
                    {
                        "model": "HierSRec",
                        "candidates": ["leaf-categories"],
                        "settings": {"category_fields": ["class"], "category_task": False},
                    }
                ]
            },
            "models: HierSRec: the rule leaf-categories needs a model that predicts categories",
        ),
        (
            {"candidates": {"item_fractions": [0.1], "super_lists": 3, "compared_fraction": 0.1}},
            r"candidates: data set 'toy': super_lists: received 3, where compared_fraction 0\.1 of 30 items allows 3 ",
        ),
        (
            {
                "models": [{"model": "MarkovChain", "candidates": ["popularity"]}],
                "candidates": {"item_fractions": [0.1], "exact": True},
            },
            "models: MarkovChain: candidates: exact needs scores by inner products, which it has not",
        ),
        (
            {"models": [{"model": "HierSRec", "candidates": True, "settings": {"category_fields": []}}]},
            "models: HierSRec: the rule cells needs category_fields, which it has not; .*k-means needs none",
        ),
        ({"models": ["pathlib:Paht"]}, "defines no class 'Paht'; did you mean 'Path'"),
        ({"models": ["nowhere.at.all:Model"]}, "no module named 'nowhere.at.all'"),
    ],
)
def test_wrong_suites_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        expand(make_suite(tmp_path, **change))
    assert "\n" not in str(caught.value)


def test_smallest_fraction_that_is_one_item_is_allowed(tmp_path: Path) -> None:
    assert expand(make_suite(tmp_path, candidates={"item_fractions": [1 / 30]}))


@pytest.mark.parametrize(
    ("rules", "super_lists", "compared_fraction"),
    [(["cells"], 2, 0.1), (["cells"], 0, 0.02), (["popularity"], 30, 0.02)],
)
def test_super_lists_that_can_be_had(
    tmp_path: Path, rules: list[str], super_lists: int, compared_fraction: float
) -> None:
    candidates = {"item_fractions": [0.1], "super_lists": super_lists, "compared_fraction": compared_fraction}
    assert expand(make_suite(tmp_path, candidates={"rules": rules} | candidates))


def test_category_fields_without_item_file(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    (tmp_path / "dataset" / "toy" / "toy.item").unlink()
    with pytest.raises(InputError, match=r"need an \.item file; there is no .*toy\.item"):
        expand(suite)


def test_load_suite_by_name_and_by_path(tmp_path: Path) -> None:
    assert load_suite("quickstart") == load_suite(str(resources.suite("quickstart")))
    with pytest.raises(InputError, match=r"no suite 'quikstart'.*quickstart.*did you mean 'quickstart'\?"):
        load_suite("quikstart")
    with pytest.raises(InputError, match=r"no suite '.*none\.yaml'"):
        load_suite(str(tmp_path / "none.yaml"))


def test_headline_is_ndcg_at_10_where_there_is_one() -> None:
    assert headline(["Recall", "NDCG"], [5, 10, 20]) == ("NDCG", 10)
    assert headline(["Recall", "MRR"], [5, 20]) == ("Recall", 20)


def test_jobs_are_frozen(tmp_path: Path) -> None:
    job = expand(make_suite(tmp_path))[0]
    assert replace(job, seed=3).seed == 3
    with pytest.raises(AttributeError):
        job.seed = 3  # type: ignore[misc]


def test_suite_without_candidates_needs_no_fraction_of_an_item(tmp_path: Path) -> None:
    values = suite_values(tmp_path, models=["SASRec"], candidates={"item_fractions": [0.001]})
    assert expand(parse(SuiteSettings, values, "test"))[0].candidates is None


def test_a_model_may_name_its_own_rules(tmp_path: Path) -> None:
    models = [{"model": "HierSRec", "candidates": ["k-means"]}, {"model": "SASRec", "candidates": False}]
    first, second = expand(make_suite(tmp_path, models=models, candidates={"item_fractions": [0.1]}))
    assert first.candidates is not None
    assert first.candidates["rules"] == ["k-means"]
    assert first.candidates["item_fractions"] == [0.1]
    assert second.candidates is None


def test_the_file_of_an_importable_class_is_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own_model.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    module.write_text("class Mine: pass\n")
    before = keys(tmp_path, models=["own_model:Mine"])
    module.write_text("class Mine: pass  # changed\n")
    assert keys(tmp_path, models=["own_model:Mine"]) != before


def test_package_defaults_that_the_suite_owns_are_not_in_the_settings(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, models=["HierSRec"])
    assert not {"epochs", "stopping_step"} & resolve(suite, suite.datasets[0], suite.models[0]).keys()


def test_an_item_with_two_rows_is_refused_before_any_job(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, settings={"category_fields": ["class"]}, models=["HierSRec"])
    path = tmp_path / "dataset" / "toy" / "toy.item"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(InputError, match="settings of HierSRec: .*has a row already, at line 2"):
        expand(suite)


TEMPORAL = {"protocol": {"split": "temporal"}}


def test_a_temporal_split_is_another_job(tmp_path: Path) -> None:
    before = keys(tmp_path)
    write_parts(tmp_path)
    after = keys(tmp_path, **TEMPORAL)
    last = keys(tmp_path, protocol={"split": "temporal", "test_cases": "last-item"})
    for name, key in before.items():
        assert len({key, after[name], last[name]}) == 3
    assert keys(tmp_path, protocol={"split": "temporal", "test_cases": "every-prefix"}) == after


def test_leave_one_out_keeps_the_protocol_of_records_there_are(tmp_path: Path) -> None:
    """Published records stay valid: no field came to the protocol of leave-one-out."""
    assert set(expand(make_suite(tmp_path))[0].protocol) == {
        "split",
        "history",
        "max_length",
        "catalogue_items",
        "exact_time_order",
    }


def test_data_prepared_for_another_split_is_refused(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    folder = write_parts(tmp_path)
    message = r"protocol: split: received 'leave-one-out', data set 'toy' was prepared with split 'temporal' \(.*json"
    with pytest.raises(InputError, match=message):
        expand(suite)
    write_manifest(folder, settings={"split": "leave-one-out"})
    with pytest.raises(InputError, match="received 'temporal', .* prepared with split 'leave-one-out'"):
        expand(make_suite(tmp_path, **TEMPORAL))
    (folder / "manifest.json").unlink()
    assert expand(suite)
    assert expand(make_suite(tmp_path, **TEMPORAL))


def test_a_temporal_split_needs_parts_before_any_job(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, **TEMPORAL)
    with pytest.raises(InputError, match=r"toy\.user does not exist: .*data prepare toy --split temporal"):
        expand(suite)
    path = write_parts(tmp_path) / "toy.user"
    path.write_text(path.read_text().replace("test", "valid"))
    with pytest.raises(InputError, match="no session of part 'test' has 2 or more interactions"):
        expand(suite)


def test_short_sessions_are_enough_for_a_temporal_split(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, **TEMPORAL)
    path = write_parts(tmp_path) / "toy.inter"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row for n, row in enumerate(rows) if n % 5 < 2)]) + "\n")
    assert expand(suite)


def test_settings_in_the_data_sets_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They win over this package's for the data set, and lose to the suite's."""
    suite = make_suite(tmp_path, models=["HierSRec"], settings={"title_vocab_size": 70})
    package = tmp_path / "properties" / "dataset" / "toy.yaml"
    package.parent.mkdir(parents=True)
    package.write_text("category_fields: [title]\nhidden_size: 8\n")
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    path = tmp_path / "dataset" / "toy" / "toy.yaml"
    path.write_text("category_fields: [class]\ntitle_field: title\ntitle_vocab_size: 60\n")
    found = resolve(suite, suite.datasets[0], suite.models[0])
    assert found == {
        "category_fields": ["class"],
        "title_field": "title",
        "hidden_size": 8,
        "title_vocab_size": 70,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel_field: title\n", r"toy\.yaml: unknown key 'titel_field'; did you mean 'title_field'"),
        ("epochs: 3\n", r"toy\.yaml of data set 'toy': key 'epochs' is not set here; .* limits: epochs"),
        ("prepared_split: last-item\n", "'prepared_split' is not set here; .* protocol: test_cases"),
        ("title_field: nothing\n", "title_field: .*no column 'nothing'"),
    ],
)
def test_faulty_settings_in_the_data_sets_folder(tmp_path: Path, text: str, message: str) -> None:
    suite = make_suite(tmp_path)
    (tmp_path / "dataset" / "toy" / "toy.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        expand(suite)
